"""Every code block of the pages is run, in order, on throw-away servers with a worker, as a reader would.

`python` blocks of a page share one namespace. `sh` blocks are commands, one a line; `console` blocks are commands after
`$ ` with the lines that must occur in what they print (`…` stands for anything within a line). All run in a folder of
their own, with `kehu` on the path, KEHU_POSTGRES and KEHU_KAFKA set, and an HTTP server at URL. Lines that call make
must name a target. A block after `<!-- not run: reason -->` is left out. Before a command that reads, the worker has
caught up with what was published.
"""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from time import monotonic

import psycopg
import pytest

from infra import bootstrap
from infra.embedded.broker import EmbeddedBroker, answers, free_port
from infra.embedded.postgres import EmbeddedPostgres
from infra.kafka.topics import TOPICS, extents
from tests.support.markdown import Block, blocks, name, pages
from tests.support.processes import until
from tests.support.project import ROOT, make_targets

RUN = ("python", "sh", "console")
SHIM = f'#!/bin/sh\nexec "{sys.executable}" -m infra.cli "$@"\n'
READS = re.compile(r"kehu (show|audit (replay|explain)|dead-letters|parked|trace|doctor|erase|subject-access)\b|curl ")
PATIENCE = 30.0


class Reader:
    """Does what a page says."""

    def __init__(self, folder: Path, env: Mapping[str, str], worker: "subprocess.Popen[bytes]") -> None:
        self.folder, self.env, self._worker = folder, env, worker

    def read(self, page: Path) -> None:
        """Run a page's blocks in order."""
        namespace: dict[str, object] = {"__name__": page.stem}
        for block in blocks(page):
            if block.language not in RUN or block.not_run:
                continue
            if block.language == "python":
                # Lines before the block keep the line numbers of the page in tracebacks.
                source = "\n" * (block.line - 1) + block.text
                exec(compile(source, page, "exec"), namespace)
                continue
            for command, shown in commands(block):
                self.enter(command, shown, f"{name(page)}:{block.line}")

    def enter(self, command: str, shown: list[str], where: str) -> None:
        """Run one command and compare what it prints."""
        if command.startswith("make "):
            assert command.removeprefix("make ").split()[0] in make_targets(), where
            return
        if READS.search(command):
            self.catch_up()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder,
            env=dict(self.env),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        told = f"{where}: {command}\n{done.stdout}{done.stderr}"
        assert done.returncode == 0, told
        printed = [" ".join(line.split()) for line in (done.stdout + done.stderr).splitlines()]
        for line in shown:
            parts = (re.escape(" ".join(part.split())) for part in line.split("…"))
            wanted = re.compile(".*".join(parts))
            assert any(wanted.search(one) for one in printed), f"{line!r} was not printed by {told}"

    def catch_up(self) -> None:
        """Wait until the worker has stored and folded everything that was published."""
        postgres, kafka = self.env["KEHU_POSTGRES"], self.env["KEHU_KAFKA"]
        there = asyncio.run(extents(kafka, list(TOPICS.values())))
        published = sum(extent.following for extent in there.values())
        deadline, never = monotonic() + PATIENCE, Event()
        with psycopg.connect(postgres, autocommit=True) as conn:
            query = (
                "SELECT (SELECT coalesce(sum(next_offset), 0) FROM kehu.positions) >= %s"
                " AND (SELECT coalesce(min(position), 0) FROM kehu.projections) >= (SELECT n FROM kehu.log_head)"
            )
            while conn.execute(query, (published,)).fetchone() != (True,):
                assert self._worker.poll() is None, "the worker ended"
                assert monotonic() < deadline, "the worker did not catch up"
                never.wait(0.02)


def commands(block: Block) -> list[tuple[str, list[str]]]:
    """The commands of a block, each with the lines that are shown below it."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if block.language == "sh":
            if line.strip() and not line.startswith("#"):
                found.append((line, []))
        elif line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        elif line.strip():
            found[-1][1].append(line)
    return found


@pytest.fixture(scope="module")
def reader(postgres_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """Servers, topics, a worker, and a folder to work in."""
    folder = tmp_path_factory.mktemp("reader")
    tools = folder / "bin"
    tools.mkdir()
    (tools / "kehu").write_text(SHIM)
    (tools / "kehu").chmod(0o755)
    with ExitStack() as running:
        broker = running.enter_context(EmbeddedBroker.start(folder / "broker.log"))
        env = {
            **os.environ,
            "PATH": os.pathsep.join((str(tools), str(Path(sys.executable).parent), os.environ["PATH"])),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "160",
            "FORCE_COLOR": "",  # plain text, whatever the environment asks for
            "KEHU_POSTGRES": postgres_server.create_database("reader"),
            "KEHU_KAFKA": broker.bootstrap_servers,
            "KEHU_HTTP_DEVELOPMENT_KEY": str(folder / "development-key.json"),
            "URL": f"http://127.0.0.1:{(port := free_port())}",
        }
        bootstrap.setup(env["KEHU_POSTGRES"], env["KEHU_KAFKA"])
        log = running.enter_context((folder / "worker.log").open("wb"))
        worker = subprocess.Popen([tools / "kehu", "worker"], cwd=folder, env=env, stdout=log, stderr=log)
        serving = [str(tools / "kehu"), "serve", "--port", str(port)]
        server = subprocess.Popen(serving, cwd=folder, env=env, stdout=log, stderr=log)
        for process in (worker, server):
            running.callback(process.wait, 20)
            running.callback(process.terminate)
        until(lambda: answers(port))
        yield Reader(folder, env, worker)


WITH_CODE = [page for page in pages() if any(block.language in RUN and not block.not_run for block in blocks(page))]


@pytest.mark.parametrize("page", WITH_CODE, ids=name)
def test_what_a_page_says_can_be_done(page: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("KEHU_POSTGRES", "KEHU_KAFKA"):
        monkeypatch.setenv(variable, reader.env[variable])
    monkeypatch.chdir(reader.folder)
    reader.read(page)


def test_a_command_that_fails_or_prints_something_else_is_found(reader: Reader) -> None:
    reader.enter("echo one two", ["one … two"], "here")
    with pytest.raises(AssertionError, match="three"):
        reader.enter("echo one two", ["three"], "here")
    with pytest.raises(AssertionError, match="false"):
        reader.enter("false", [], "here")
    with pytest.raises(AssertionError):
        reader.enter("make no-such-target", [], "here")
