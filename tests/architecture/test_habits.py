"""What runs before a commit is what CI runs: one list of tools, in the Makefile."""

import re
from typing import Any

import yaml

from tests.support.project import ROOT, make_recipe

HOOKS: list[dict[str, Any]] = [
    hook
    for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    for hook in repo["hooks"]
]


def test_the_hooks_run_what_make_lint_runs() -> None:
    commands = [hook["entry"] for hook in HOOKS]
    lint = make_recipe("lint")
    assert len(lint) >= 4
    assert [command for command in lint if command not in commands] == []


def test_the_hooks_use_the_tools_of_the_project() -> None:
    for hook in HOOKS:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")
        assert hook["pass_filenames"] is False


def test_ci_runs_the_targets_of_the_makefile() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {"make lint", "make test", "make test-kafka"} <= set(script)
    assert any(re.fullmatch(r"make .*\bfaults", line) for line in script)
