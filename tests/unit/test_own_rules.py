"""Rules of a bank's own: beside those of the release, and refused with what to correct before anything runs."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from domain.clocks import PRESETS, preset
from domain.clocks.calendars import CalendarRule, calendar, made
from domain.clocks.policies import RULES as POLICIES
from domain.clocks.policies import PolicyRule, chosen
from domain.clocks.policies import checked as checked_policies
from domain.clocks.presets import Preset, checked
from domain.returns import RETURNS, Return
from domain.returns.rules import made as made_returns
from domain.rules import UnusableRules, Versions, read
from domain.rules.own import PACKAGE, SUBJECTS
from projections.outcomes.rules import COSTS, CostRule
from projections.service_queues.rules import RULES as QUEUES
from projections.service_queues.rules import QueueRule

OWN_PRESET = """
[[own_mortgage]]
version = 1000
effective_from = 2026-01-01
source = "board decision 7/2025"
kind = "BD"
resolve = 5
calendar = "uk"
"""
STRICTER = """
[[uk_disp_standard]]
version = 1000
effective_from = 2026-01-01
source = "board decision 8/2025"
kind = "W"
resolve = 6
calendar = "uk"
"""
COST = """
[[service]]
version = 1000
effective_from = 2026-01-01
source = "controlling, 2025"
hourly_minor = 4_210
currency = "GBP"
"""
RETURN = """
[[own_board]]
version = 1000
effective_from = 2026-01-01
source = "board paper 3/2026"
regimes = ["uk_disp_standard", "cn_2020"]
calendar = "uk"
bands = [
    { name = "within_10_days", upto = 10, kind = "BD" },
    { name = "within_8_weeks", upto = 8, kind = "W" },
    { name = "over" },
]
"""


def write(folder: Path, subject: str, text: str) -> Path:
    (folder / f"{subject}.toml").write_text(text, "utf-8")
    return folder


def presets_with(folder: Path, text: str) -> tuple[Preset, ...]:
    found = read("presets", Preset, write(folder, "presets", text))
    return checked([replace(one, name=name) for name, versions in found.items() for one in versions])


def at(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=UTC)


def test_a_preset_of_a_bank_stands_beside_those_of_the_release(tmp_path: Path) -> None:
    found = presets_with(tmp_path, OWN_PRESET)
    assert set(PRESETS) < set(found)
    assert preset("own_mortgage", at("2026-03-02"), found).resolve == 5


def test_a_version_of_a_bank_applies_from_its_date_and_a_later_one_of_the_release_from_its_own(tmp_path: Path) -> None:
    found = presets_with(tmp_path, STRICTER)
    assert preset("uk_disp_standard", at("2025-12-31"), found).version == 1
    assert preset("uk_disp_standard", at("2026-01-01"), found).version == 1000
    days = ("2001-12-01", "2026-01-01", "2027-01-01")
    of_both = [limit(1, days[0]), limit(1000, days[1]), limit(2, days[2])]
    rules = Versions("x", tuple(of_both))
    assert [rules.at(at(day)).version for day in days] == [1, 1000, 2]
    with pytest.raises(ValueError, match="greater number and a later date"):
        Versions("x", (limit(2, days[0]), limit(1000, days[1]), limit(1, days[2])))


def limit(version: int, day: str) -> CostRule:
    return CostRule(version=version, effective_from=at(day).date(), source="bank's own", hourly_minor=1, currency="EUR")


def test_a_bank_sets_what_an_hour_costs(tmp_path: Path) -> None:
    costs = read("costs", CostRule, write(tmp_path, "costs", COST))["service"]
    assert (costs.latest.hourly_minor, costs.latest.currency) == (4_210, "GBP")
    assert costs.pinned(1) == COSTS.pinned(1)


def test_a_bank_chooses_service_policies_and_has_calendars(tmp_path: Path) -> None:
    choice = """
        [[service_policies]]
        version = 1000
        effective_from = 2026-01-01
        source = "board decision 9/2025"
        otherwise = "service_always"
        """
    rules = read("service_policies", PolicyRule, write(tmp_path, "service_policies", choice))["service_policies"]
    assert checked_policies(rules).at(at("2026-02-01")).otherwise == "service_always"
    assert rules.at(at("2025-02-01")) == POLICIES.at(at("2025-02-01"))
    assert chosen(rules.latest.choices, "fraud", "complaint", 3) is None, "a version replaces all choices"
    week = """
        [[own_leeds]]
        version = 1000
        effective_from = 2026-01-01
        source = "branch manual"
        zone = "Europe/London"
        holidays_of = "uk"
        week = ["10:00-16:00", "10:00-16:00", "10:00-16:00", "10:00-16:00", "10:00-16:00", "", ""]
        """
    calendars = made(read("calendars", CalendarRule, write(tmp_path, "calendars", week)))
    found = calendar("own_leeds", at("2026-03-02"), calendars)
    assert found.business_seconds(at("2026-03-02"), at("2026-03-03")) == 6 * 3600


def changed(text: str, **fields: str) -> str:
    """The same text with these fields as they are here."""
    lines = text.splitlines()
    kept = [line for line in lines if line.partition(" =")[0] not in fields]
    return "\n".join([*kept, *(f"{name} = {value}" for name, value in fields.items())])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (OWN_PRESET.replace("own_mortgage", "mortgage"), "a new name begins with own_"),
        (changed(OWN_PRESET, version="1"), "a bank's own versions begin at 1000"),
        (changed(STRICTER, version="2"), "a bank's own versions begin at 1000"),
        (changed(OWN_PRESET, source='" "'), "say in `source` where it comes from"),
        (OWN_PRESET.replace("source", "sauce"), "presets.toml: Object contains unknown field `sauce`"),
        (OWN_PRESET.replace('source = "board decision 7/2025"\n', ""), "missing required field `source`"),
        (OWN_PRESET.replace("effective_from = 2026-01-01\n", ""), "missing required field `effective_from`"),
        (changed(OWN_PRESET, kind='"weeks"'), "Invalid enum value 'weeks'"),
        (changed(OWN_PRESET, calendar='"mars"'), "presets.own_mortgage version 1000: no calendar mars"),
        (changed(OWN_PRESET, on_miss='"nothing"'), "no preset nothing for on_miss"),
        (changed(STRICTER, effective_from="2001-12-01"), "a later date than the one before"),
        (OWN_PRESET + OWN_PRESET, "greater number and a later date"),
        ("own_mortgage = [", "presets.toml: "),
    ],
)
def test_a_preset_that_cannot_be_used_is_refused_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UnusableRules) as refused:
        presets_with(tmp_path, text)
    assert told in str(refused.value)
    assert "kehu_bank_rules" in str(refused.value)


def returns_with(folder: Path, text: str) -> Any:
    return made_returns(read("returns", Return, write(folder, "returns", text)))


def test_a_return_of_a_bank_stands_beside_those_of_the_release(tmp_path: Path) -> None:
    found = returns_with(tmp_path, RETURN)
    assert {name: list(found[name]) for name in RETURNS} == {name: list(RETURNS[name]) for name in RETURNS}
    (own,) = found["own_board"]
    assert (own.name, own.version, own.place.name) == ("own_board", 1000, "uk")
    started = at("2026-03-02")
    assert [own.band(started, at(day), ()) for day in ("2026-03-16", "2026-03-17", "2026-04-27", "2026-04-28")] == [
        "within_10_days",
        "within_8_weeks",
        "within_8_weeks",
        "over",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (RETURN.replace("own_board", "board"), "a new name begins with own_"),
        (
            RETURN.replace("own_board", "uk_disp"),
            "returns.toml, uk_disp: what the release has under this name is the same",
        ),
        (changed(RETURN, version="1"), "a bank's own versions begin at 1000"),
        (changed(RETURN, source='""'), "say in `source` where it comes from"),
        (changed(RETURN, regimes='["uk"]'), "own_board version 1000: uk is no statutory preset; there are cn_2020"),
        (changed(RETURN, regimes='["service_default"]'), "service_default is no statutory preset"),
        (changed(RETURN, regimes="[]"), "name the presets whose cases it counts in `regimes`"),
        (changed(RETURN, calendar='"mars"'), "no calendar mars; there are "),
        (RETURN.partition("bands")[0] + "bands = []", "the last band, and no other, has no end"),
        (RETURN.replace('    { name = "over" },\n', ""), "the last band, and no other, has no end"),
        (RETURN.replace("upto = 10", "upto = 0"), "give it an `upto` from 1 on"),
        (RETURN.replace('upto = 10, kind = "BD"', 'upto = 9, kind = "W"'), "write the shortest band first"),
        (RETURN.replace('"over"', '"within_8_weeks"'), "within_8_weeks is there more than once"),
        (RETURN.replace('"over"', '""'), "give each of the bands a name"),
        (changed(RETURN, untold='["overdue"]'), "give the states different names: overdue"),
        (RETURN.replace("upto = 8", "until = 8"), "unknown field `until`"),
    ],
)
def test_a_return_that_could_not_be_counted_is_refused_with_what_to_correct(
    tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(UnusableRules) as refused:
        returns_with(tmp_path, text)
    assert told in str(refused.value)


def used(subject: str, found: Any) -> object:
    """What becomes of rules when they are read."""
    return made(found) if subject == "calendars" else checked_policies(found["service_policies"])


@pytest.mark.parametrize(
    ("subject", "shape", "text", "told"),
    [
        ("costs", CostRule, COST.replace("service", "own_desk"), "there is no such rule"),
        ("calendars", CalendarRule, 'zone = "Mars/Olympus"\nweek = ["", "", "", "", "", "", ""]', "Mars/Olympus"),
        ("calendars", CalendarRule, 'zone = "UTC"\nweek = ["nine"]', "calendars.own_x"),
        ("calendars", CalendarRule, 'zone = "UTC"\nweek = ["09:00-17:00"]\nholidays_of = "mars"', "mars"),
        ("service_policies", PolicyRule, 'otherwise = "uk_disp_standard"', "no service policy uk_disp_standard"),
    ],
)
def test_other_rules_that_cannot_be_used_are_refused(
    tmp_path: Path, subject: str, shape: Any, text: str, told: str
) -> None:
    if "[[" not in text:
        name = "service_policies" if subject == "service_policies" else "own_x"
        text = f'[[{name}]]\nversion = 1000\neffective_from = 2026-01-01\nsource = "s"\n{text}'
    with pytest.raises(UnusableRules) as refused:
        used(subject, read(subject, shape, write(tmp_path, subject, text)))
    assert told in str(refused.value)


def test_what_a_fold_counts_by_is_not_a_banks_to_add(tmp_path: Path) -> None:
    """Two processes with other rules would fold the same events into other rows."""
    assert {"queues", "surveys", "causes", "outcomes", "contacts"}.isdisjoint(SUBJECTS)
    assert PACKAGE == "kehu_bank_rules"
    faster = '[[queues]]\nversion = 1000\neffective_from = 2026-01-01\nsource = "s"\nanswer_within_seconds = 5'
    assert read("queues", QueueRule, write(tmp_path, "queues", faster))["queues"].latest == QUEUES.latest
