"""A file outside the database that heads are told to, one as JSON a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from domain import heads
from domain.heads import Head
from infra.appending import append
from infra.errors import KehuError


class NotHeads(KehuError):
    """The file holds no heads, one as JSON a line. Give the file that a worker writes to KEHU_ANCHOR_FILE."""

    exit_code = 2


class AnchorNotWritten(KehuError):
    """Heads cannot be added to the anchor file. Let this process write it and see that its disk has room, or name
    another file in KEHU_ANCHOR_FILE (`--anchor`); what was sealed meanwhile is told then."""


@dataclass(frozen=True, slots=True)
class FileAnchor:
    """Appends to a file, best on another machine's disk or one where nothing can be overwritten."""

    path: Path

    @property
    def name(self) -> str:
        """By its place."""
        return f"file:{self.path}"

    def tell(self, told: Sequence[Head]) -> None:
        """Append and wait for the disk. Raises AnchorNotWritten."""
        # What a process began to write when it ended is told again.
        try:
            append(self.path, (orjson.dumps(head.as_json()) for head in told))
        except OSError as error:
            raise AnchorNotWritten(f"{self.path}: {error.strerror or error}") from error


def read(path: Path) -> Sequence[Head]:
    """The heads of an anchor file, as they were told; a line that was cut off and told again is left out.

    Raises NotHeads, also when there is none: a file that lost its heads must not pass for a witness.
    """
    try:
        *lines, _cut = path.read_bytes().split(b"\n")
        if not any(lines):
            raise ValueError("it is empty" if not _cut else "its only line was cut off")
        whole = [line for line, after in zip(lines, [*lines[1:], b""], strict=True) if not (_begun(line, after))]
        return [heads.from_json(line) for line in whole if line]
    except (OSError, ValueError) as error:
        raise NotHeads(f"{path}: {error}") from error


def _begun(line: bytes, after: bytes) -> bool:
    return len(line) < len(after) and after.startswith(line)
