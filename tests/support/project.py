"""The project's own files, for tests about the project."""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = frozenset({"domain", "projections", "consumers", "infra", "tests", "benchmarks", "examples", "docs"})
# Made by tools; none of them is part of the project. An exported tree has none, a working one has some.
MADE = re.compile(r"\.git|\.venv|\.cache|\.kehu|\.\w+_cache|\.hypothesis|__pycache__|.*\.egg-info|node_modules|target")


def entries(folder: Path = ROOT) -> list[Path]:
    """What a folder holds, without what tools made."""
    return sorted(path for path in folder.iterdir() if not MADE.fullmatch(path.name))


def files(pattern: str, folder: Path = ROOT) -> Iterator[Path]:
    """Every file below a folder whose name matches a glob, without what tools made."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not MADE.fullmatch(name))
        yield from (path for name in sorted(names) if (path := Path(place, name)).match(pattern))


def make_targets() -> Mapping[str, str]:
    """Targets of the Makefile that people call -> their sentence ('' without one)."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rules = re.findall(r"^([a-z][a-z-]*):(?!=)(.*)$", text, re.M)
    return {name: rest.partition("## ")[2] for name, rest in rules}


def make_recipe(target: str) -> list[str]:
    """The commands of a target, with the Makefile's own variables put in."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    variables = dict(re.findall(r"^([A-Z]+) *[:?]?= *(.*)$", text, re.M))
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.M)
    assert found, f"the Makefile has no target {target}"
    lines = [line.strip().removeprefix("@") for line in found[1].splitlines()]
    while any("$(" in line for line in lines):
        lines = [re.sub(r"\$\((\w+)\)", lambda name: variables[name[1]], line) for line in lines]
    return lines
