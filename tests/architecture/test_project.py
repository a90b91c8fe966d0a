"""The project's own rules: what stands where, what is pinned, and what must be written down."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.postgres import migrate
from tests.support.markdown import headings
from tests.support.project import FOLDERS, ROOT, entries, files, make_targets

PAGES = {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
SETTINGS = {"pyproject.toml", "docker-compose.yml", "Dockerfile", "Makefile"}
LOCKS = {"requirements.lock", "requirements-dev.lock"}
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
PIN = re.compile(r"[a-z0-9][\w.-]*==[\w.]+( ;[^\\]+)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)")


def test_everything_at_the_top_has_its_place() -> None:
    found = {entry.name for entry in entries() if not entry.name.startswith(".")}
    assert found - FOLDERS - PAGES - SETTINGS - LOCKS == set()
    assert found >= PAGES | SETTINGS | LOCKS


@pytest.mark.parametrize("lock", sorted(LOCKS))
def test_every_dependency_is_pinned_with_hashes_and_without_an_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    pins = [pin[0] for pin in PIN.finditer(text)]
    # Whatever is no pin is left over: an option, an address, a requirement without hashes.
    assert PIN.sub("", text).strip() == ""
    assert len(pins) > 40
    assert "://" not in text


def test_what_runs_is_pinned_as_it_is_tested() -> None:
    """`make demo` and `make setup` share an environment, too."""
    runs, tests = (
        {pin[0].split()[0] for pin in PIN.finditer((ROOT / lock).read_text(encoding="utf-8"))}
        for lock in ("requirements.lock", "requirements-dev.lock")
    )
    assert runs - tests == set()


def test_every_target_says_what_it_does() -> None:
    targets = make_targets()
    assert {"help", "demo", "test", "lint"} <= targets.keys()
    assert [name for name, sentence in targets.items() if len(sentence.split()) < 3] == []


def test_every_folder_with_code_is_a_package() -> None:
    folders = {file.parent for name in FOLDERS for file in files("*.py", ROOT / name)}
    assert ROOT / "infra" / "kafka" in folders
    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_a_command_that_runs_no_worker_does_not_wait_for_faust() -> None:
    loaded = "import sys, infra.cli.main; print('faust.types' in sys.modules, 'aiohttp' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_migrations_are_numbered_and_named_by_when_they_run() -> None:
    names = [file.name for file in sorted(migrate.FOLDER.iterdir()) if file.is_file()]
    assert [name for name in names if not re.fullmatch(r"\d{4}_(pre|post)(_[a-z0-9]+)+\.sql", name)] == []
    assert len({name[:4] for name in names}) == len(names)


def test_decisions_are_numbered_without_gaps() -> None:
    assert [adr.name for adr in ADRS if not re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", adr.name)] == []
    assert [int(adr.name[:4]) for adr in ADRS] == list(range(len(ADRS)))
    assert len(ADRS) > 8


@pytest.mark.parametrize("adr", ADRS, ids=lambda adr: adr.stem)
def test_a_decision_has_its_four_parts_on_one_page(adr: Path) -> None:
    title, *parts = headings(adr)
    assert title.startswith(f"# {int(adr.name[:4])}. ")
    assert parts == ["## Summary", "## Context", "## Decision", "## Consequences"]
    assert len(adr.read_text(encoding="utf-8").split()) < 600


def test_the_changelog_tells_what_is_unreleased() -> None:
    released = [heading for heading in headings(ROOT / "CHANGELOG.md") if heading.startswith("## ")]
    assert released[0] == "## Unreleased"
    assert [one for one in released[1:] if not re.fullmatch(r"## \d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", one)] == []
