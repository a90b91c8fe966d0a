"""Rules are data: each version says from when it applies and why, and one that was released never changes."""

import hashlib
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

import domain.rules
from domain.rules import Rule, Versions, read

FOLDER = Path(domain.rules.__file__).parent
SUBJECTS = sorted(path.stem for path in FOLDER.glob("*.toml"))
RELEASED = Path(__file__).parents[1] / "data" / "rules.json"


def versions_of(subject: str) -> dict[str, dict[str, Any]]:
    """Every version of a file as `name.version` -> its fields."""
    tables: dict[str, list[dict[str, Any]]] = tomllib.loads((FOLDER / f"{subject}.toml").read_text("utf-8"))
    return {f"{name}.{one['version']}": one for name, versions in tables.items() for one in versions}


def digest(version: dict[str, Any]) -> str:
    """The same for the same meaning: what a reader is told about a rule may be said better later."""
    meaning = {name: value for name, value in version.items() if name not in ("source", "note")}
    return hashlib.sha256(orjson.dumps(meaning, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_each_version_says_from_when_it_applies_and_where_it_comes_from(subject: str) -> None:
    for name, version in versions_of(subject).items():
        assert isinstance(version["effective_from"], date), name
        assert version["source"].startswith("http") or "bank's own" in version["source"], name


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_released_version_means_what_it_meant(subject: str) -> None:
    """To change a rule, add a version; then add the line that this test prints to tests/data/rules.json."""
    now = {name: digest(version) for name, version in versions_of(subject).items()}
    assert now == orjson.loads(RELEASED.read_bytes()).get(subject), orjson.dumps({subject: now}).decode()


class Limit(Rule, frozen=True):
    """A rule for these tests."""

    most: int


def limit(version: int, day: str) -> Limit:
    return Limit(version=version, effective_from=date.fromisoformat(day), source="bank's own", most=version * 10)


def test_a_version_applies_from_its_date_until_the_next_one() -> None:
    rules = Versions("limit", (limit(1, "2020-01-01"), limit(2, "2024-07-01")))
    assert [rules.on(date.fromisoformat(day)).version for day in ("2019-05-05", "2024-06-30", "2024-07-01")] == [
        1,
        1,
        2,
    ]
    assert rules.at(datetime(2030, 1, 1, tzinfo=UTC)) is rules.latest


def test_what_was_decided_under_a_version_finds_it_again() -> None:
    rules = Versions("limit", (limit(1, "2020-01-01"), limit(2, "2024-07-01")))
    assert rules.pinned(1).most == 10
    with pytest.raises(LookupError, match=r"limit version 3; known: \[1, 2\]"):
        rules.pinned(3)


@pytest.mark.parametrize(
    "versions", [(), (limit(2, "2020-01-01"), limit(1, "2021-01-01")), (limit(1, "2020-01-01"), limit(2, "2020-01-01"))]
)
def test_versions_that_do_not_follow_each_other_are_refused(versions: tuple[Limit, ...]) -> None:
    with pytest.raises(ValueError, match="greater number and a later date"):
        Versions("limit", versions)


def test_a_field_that_no_rule_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="edit_window_days"):
        read("surveys", Limit)
