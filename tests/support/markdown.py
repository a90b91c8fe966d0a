"""Pages as the tests see them: code blocks with their reasons not to be run, links, headings and named things."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.support.project import ROOT, files

NOT_RUN = re.compile(r"<!-- not run: (?P<reason>.+) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, text, the line where the text begins, and why it is not run, if it is not."""

    language: str
    text: str
    line: int
    not_run: str | None = None


def pages() -> list[Path]:
    """README, CONTRIBUTING and everything under docs."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *files("*.md", ROOT / "docs")]


def name(page: Path) -> str:
    """A page's path inside the project."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page, in order."""
    found, before = [], ""
    for token in _tokens(page):
        if token.type in ("fence", "code_block"):
            assert token.map
            reason = NOT_RUN.fullmatch(before.strip())
            found.append(
                Block(token.info.strip(), token.content, token.map[0] + 2, reason["reason"] if reason else None)
            )
        before = token.content if token.type == "html_block" else ""
    return found


def links(page: Path) -> Iterator[str]:
    """Where the links of a page lead."""
    for token in _tokens(page):
        for child in token.children or ():
            if child.type == "link_open":
                yield str(child.attrs["href"])


def headings(page: Path) -> list[str]:
    """The headings of a page, with their signs: `## Summary`."""
    tokens = _tokens(page)
    return [
        f"{token.markup} {tokens[at + 1].content}" for at, token in enumerate(tokens) if token.type == "heading_open"
    ]


def anchors(page: Path) -> set[str]:
    """What a link into the page may name, as common viewers make it from headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower()).replace(" ", "-") for heading in headings(page)}


def code_spans(page: Path) -> Iterator[str]:
    """Everything between backticks in the text."""
    for token in _tokens(page):
        yield from (child.content for child in token.children or () if child.type == "code_inline")


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8"))
