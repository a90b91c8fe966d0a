"""Files that lines are only ever added to."""

import os
from collections.abc import Iterable
from pathlib import Path


def append(path: Path, lines: Iterable[bytes]) -> None:
    """Add lines, each without its line feed, to a file or to a new one, and wait for the disk. Raises OSError.

    A last line that has no line feed, such as one whose writer ended meanwhile, stays a line of its own.
    """
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")
        file.writelines(line + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
