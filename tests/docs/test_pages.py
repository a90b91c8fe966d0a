"""What the pages say about the project exists: links, files, modules, tests; and every page can be found."""

import ast
import json
import re
from functools import cache
from pathlib import Path

import pytest

from infra.http.settings import HttpSettings
from infra.settings import MasterKeySettings, Settings
from tests.support.markdown import anchors, blocks, code_spans, headings, links, name, pages
from tests.support.project import FOLDERS, ROOT, make_targets

PATH = re.compile(rf"(?:{'|'.join(sorted(FOLDERS))})/[\w./-]+")
TEST = re.compile(r"(tests/[\w/]+\.py)((?:::\w+)+)")
RUN = {"python", "sh", "console"}
SHOWN = {"text", "json", "sql", "yaml", "toml"}
EVERY_PAGE = pytest.mark.parametrize("page", pages(), ids=name)


@EVERY_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert broken == []


@EVERY_PAGE
def test_files_and_folders_that_are_named_exist(page: Path) -> None:
    missing = [
        path
        for span in code_spans(page)
        for path in PATH.findall(span)
        if not (ROOT / path).exists() and "*" not in span and "NNNN" not in span
    ]
    assert missing == []


@EVERY_PAGE
def test_make_targets_that_are_named_exist(page: Path) -> None:
    named = {span.split()[1] for span in code_spans(page) if span.startswith("make ")}
    assert named - make_targets().keys() == set()


@EVERY_PAGE
def test_tests_that_are_named_exist(page: Path) -> None:
    named = TEST.findall(page.read_text(encoding="utf-8"))
    assert [f"{file}{test}" for file, test in named if test not in _tests(file)] == []


def test_every_guarantee_names_a_test() -> None:
    page = ROOT / "docs" / "explanation" / "guarantees.md"
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith(("| promise", "|---"))]
    assert len(promises) >= 15
    assert [row for row in promises if not TEST.search(row)] == []


def test_every_setting_of_a_worker_is_described() -> None:
    page = ROOT / "docs" / "howto" / "run-on-real-servers.md"
    described = {span for span in code_spans(page) if re.fullmatch("KEHU_[A-Z_]+", span)}
    assert described == {
        f"KEHU_{field.upper()}" for kind in (Settings, MasterKeySettings) for field in kind.model_fields
    }


def test_every_setting_of_the_http_server_is_described() -> None:
    described = {span for span in code_spans(ROOT / "docs" / "howto" / "query.md") if span.startswith("KEHU_HTTP_")}
    assert described == {f"KEHU_HTTP_{field.upper()}" for field in HttpSettings.model_fields}


@EVERY_PAGE
def test_every_code_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        assert block.language in RUN | SHOWN, f"{name(page)}:{block.line}"
        if block.language == "json":
            json.loads(block.text)


def test_every_page_has_one_title_and_can_be_found_from_the_readme() -> None:
    found, to_read = set(), [ROOT / "README.md"]
    while to_read:
        page = to_read.pop()
        if page not in found:
            found.add(page)
            local = (link.partition("#")[0] for link in links(page) if not link.startswith("https://"))
            to_read += [to for link in local if (to := (page.parent / link).resolve()).suffix == ".md" and to.exists()]
    assert [name(page) for page in pages() if page not in found] == []
    for page in pages():
        assert sum(heading.startswith("# ") for heading in headings(page)) == 1, name(page)


@cache
def _tests(file: str) -> frozenset[str]:
    path = ROOT / file
    if not path.is_file():
        return frozenset()
    named = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named.add(f"::{node.name}")
        if isinstance(node, ast.ClassDef):
            named |= {f"::{node.name}::{child.name}" for child in node.body if isinstance(child, ast.FunctionDef)}
    return frozenset(named)
