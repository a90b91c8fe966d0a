"""Every preset with starts and deadlines that were worked out by hand on paper calendars: one table, nothing left out.

Deadlines in days last until the end of the local date; those in hours, and a summary resolution, end at a minute.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.clocks import (
    CALENDARS,
    PRESETS,
    ExtensionRefused,
    Pause,
    Preset,
    ack_due,
    due,
    explain_due,
    grant_extension,
    pinned,
    service_policy,
    window_after_decision,
)
from domain.clocks.deadlines import period
from domain.clocks.policies import RULES, Choice, chosen


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Vector:
    """A start (UTC), and the local date or the instant (UTC) of the deadline."""

    preset: str
    start: str
    due: str
    why: str
    extensions: int = 0
    severity: int = 3
    pauses: tuple[tuple[str, str, str], ...] = ()
    cycles_end: date | None = None


VECTORS = [
    Vector("uk_disp_summary", "2026-03-02T12:00", "2026-03-05T17:00", "three business days, to close of business"),
    Vector("uk_disp_summary", "2026-12-24T10:00", "2026-12-31T17:00", "Christmas, Boxing Day and its substitute"),
    Vector("uk_disp_summary", "2026-03-27T10:00", "2026-04-01T16:00", "17:00 in British summer time"),
    Vector("uk_disp_summary", "2026-10-24T10:00", "2026-10-28T17:00", "received on a Saturday, clocks go back"),
    Vector("uk_disp_standard", "2026-03-02T12:00", "2026-04-27", "eight weeks over the change to summer time"),
    Vector("uk_disp_standard", "2025-11-03T09:00", "2025-12-29", "holidays do not count in weeks"),
    Vector("uk_disp_standard", "2026-12-31T09:00", "2027-02-25", "over the end of the year"),
    Vector("uk_disp_standard", "2026-06-01T23:30", "2026-07-28", "already the next day in London"),
    Vector("uk_disp_psd", "2026-12-14T09:00", "2027-01-07", "fifteen business days over Christmas and New Year"),
    Vector("uk_disp_psd", "2026-12-14T09:00", "2027-02-04", "thirty-five of them", extensions=1),
    Vector("us_cfpb", "2026-02-20T15:00", "2026-03-07", "fifteen days"),
    Vector("us_cfpb", "2028-02-20T15:00", "2028-03-06", "over 29 February"),
    Vector("us_cfpb", "2026-02-20T15:00", "2026-04-21", "sixty days, into daylight saving time", extensions=1),
    Vector("us_reg_e", "2026-12-18T15:00", "2027-01-05", "ten business days over two federal holidays"),
    Vector("us_reg_e", "2026-12-18T15:00", "2027-02-01", "forty-five calendar days", extensions=1),
    Vector("us_reg_e", "2026-12-18T15:00", "2027-03-18", "ninety", extensions=2),
    Vector("us_reg_z", "2026-01-15T15:00", "2026-04-15", "ninety days"),
    Vector("us_reg_z", "2026-01-15T15:00", "2026-03-20", "two billing cycles", cycles_end=date(2026, 3, 20)),
    Vector("us_reg_z", "2026-01-15T15:00", "2026-04-15", "cycles that end later", cycles_end=date(2026, 5, 1)),
    Vector("cn_2020", "2026-02-10T02:00", "2026-02-25", "calendar days over the Spring Festival"),
    Vector("cn_2020", "2026-02-10T17:00", "2026-02-26", "already the next day in Shanghai"),
    Vector("cn_2020", "2026-02-10T02:00", "2026-03-12", "complex", extensions=1),
    Vector("cn_2020", "2026-02-10T02:00", "2026-04-11", "especially complex", extensions=2),
    Vector(
        *("cn_2020", "2026-02-10T02:00", "2026-03-05", "eight days of appraisal"),
        pauses=(("2026-02-12T01:00", "2026-02-20T01:00", "external_appraisal"),),
    ),
    Vector(
        *("cn_2020", "2026-02-10T02:00", "2026-03-07", "two appraisals add up"),
        pauses=(
            ("2026-02-12T01:00", "2026-02-20T01:00", "external_appraisal"),
            ("2026-02-25T01:00", "2026-02-27T01:00", "external_appraisal"),
        ),
    ),
    Vector(
        *("cn_2020", "2026-02-10T02:00", "2026-03-20", "an extension and an appraisal"),
        extensions=1,
        pauses=(("2026-02-12T01:00", "2026-02-20T01:00", "external_appraisal"),),
    ),
    Vector("gdpr_dsr", "2026-01-31T09:00", "2026-03-02", "28 February is a Saturday"),
    Vector("gdpr_dsr", "2028-01-31T09:00", "2028-02-29", "the last day of a leap February"),
    Vector("gdpr_dsr", "2026-11-25T09:00", "2026-12-29", "Christmas to the day after the substitute of Boxing Day"),
    Vector("gdpr_dsr", "2026-11-30T09:00", "2027-03-01", "three months; 28 February is a Sunday", extensions=1),
    Vector(
        *("gdpr_dsr", "2026-04-01T09:00", "2026-05-11", "ten days until the identity was proved"),
        pauses=(("2026-04-02T09:00", "2026-04-12T09:00", "identity"),),
    ),
    Vector(
        *("gdpr_dsr", "2026-04-01T09:00", "2026-05-05", "one day for clarification, and a bank holiday"),
        pauses=(("2026-04-07T09:00", "2026-04-08T09:00", "clarification"),),
    ),
    Vector("pipl_dsr", "2026-02-09T01:00", "2026-03-10", "the Spring Festival; Saturdays 14 and 28 are not counted"),
    Vector("pipl_dsr", "2026-09-21T01:00", "2026-10-20", "Mid-Autumn and the National Day"),
    Vector("service_default", "2026-03-06T16:00", "2026-03-13T16:00", "forty hours from Friday, 16:00"),
    Vector("service_default", "2026-03-06T16:00", "2026-03-09T16:00", "eight hours", severity=1),
    Vector(
        *("service_default", "2026-03-06T16:00", "2026-03-10T10:00", "the customer has the next word for two hours"),
        severity=1,
        pauses=(("2026-03-09T10:00", "2026-03-09T12:00", "waiting_customer"),),
    ),
    Vector(
        *("service_default", "2026-03-06T16:00", "2026-03-09T16:30", "evidence for half an hour that counts"),
        severity=1,
        pauses=(("2026-03-09T15:00", "2026-03-09T15:30", "waiting_evidence"),),
    ),
    Vector("service_always", "2026-03-28T22:00", "2026-03-29T22:00", "a day and a night at the weekend"),
    Vector("service_always", "2026-03-28T22:00", "2026-03-29T02:00", "four hours", severity=1),
    Vector("service_branch", "2026-12-24T10:00", "2027-01-05T15:00", "half days, holidays, a Saturday, and lunch"),
    Vector("service_branch", "2026-03-28T12:00", "2026-03-30T15:00", "over lunch and summer time", severity=1),
    Vector(
        *("service_branch", "2026-03-28T12:00", "2026-03-31T10:30", "evidence until the end of lunch"),
        severity=1,
        pauses=(("2026-03-30T08:00", "2026-03-30T12:30", "waiting_evidence"),),
    ),
    Vector(
        *("service_branch", "2026-03-28T12:00", "2026-03-31T10:30", "the customer, and evidence within that time"),
        severity=1,
        pauses=(
            ("2026-03-30T08:00", "2026-03-30T12:30", "waiting_customer"),
            ("2026-03-30T09:00", "2026-03-30T10:00", "waiting_evidence"),
        ),
    ),
]  # fmt: skip


def newest(name: str) -> Preset:
    return max((one for one in PRESETS if one.name == name), key=lambda one: one.version)


def at_end(name: str, told: str) -> datetime:
    """The instant that a vector means."""
    return utc(told) if "T" in told else CALENDARS[newest(name).calendar].end_of_day(date.fromisoformat(told))


def pauses_of(vector: Vector) -> list[Pause]:
    return [(utc(begin), utc(end), reason) for begin, end, reason in vector.pauses]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: f"{one.preset}: {one.why}")
def test_a_start_leads_to_its_deadline(vector: Vector) -> None:
    preset = newest(vector.preset).for_severity(vector.severity)
    given_with = {"extensions": vector.extensions, "pauses": pauses_of(vector), "cycles_end": vector.cycles_end}
    deadline = due(preset, utc(vector.start), **given_with)  # type: ignore[arg-type]
    assert deadline == at_end(vector.preset, vector.due)
    assert explain_due(preset, utc(vector.start), **given_with).due == deadline  # type: ignore[arg-type]


def test_no_preset_and_no_extension_is_without_a_vector() -> None:
    expected = {(one.name, n) for one in PRESETS for n in range(len(one.extensions) + 1)}
    assert {(vector.preset, vector.extensions) for vector in VECTORS} == expected
    paused = {(vector.preset, reason) for vector in VECTORS for *_, reason in vector.pauses}
    assert paused == {(one.name, reason) for one in PRESETS for reason in one.pauses}


# --- acknowledgements and windows ---

ACKNOWLEDGED = {
    "uk_disp_standard": ("2026-12-21T09:00", "2026-12-30"),  # five business days over Christmas
    "us_reg_z": ("2026-01-15T15:00", "2026-02-14"),
    "service_default": ("2026-03-06T16:00", "2026-03-09T16:00"),
    "service_always": ("2026-03-28T23:30", "2026-03-29T00:30"),
    "service_branch": ("2026-03-28T12:00", "2026-03-30T15:00"),
}
WINDOWS: Mapping[str, tuple[str, dict[str, str]]] = {
    "uk_disp_summary": ("2026-08-31T12:00", {"ombudsman": "2027-02-28"}),  # there is no 31 February
    "uk_disp_standard": ("2026-03-29T12:00", {"ombudsman": "2026-09-29"}),
    "uk_disp_psd": ("2026-10-15T12:00", {"ombudsman": "2027-04-15"}),
    "us_cfpb": ("2026-03-01T15:00", {"feedback": "2026-04-30"}),
    "cn_2020": ("2026-03-01T17:00", {"review": "2026-04-01"}),  # already 2 March in Shanghai
}


@pytest.mark.parametrize("name", sorted({one.name for one in PRESETS}))
def test_each_acknowledgement_has_its_deadline(name: str) -> None:
    told = ACKNOWLEDGED.get(name)
    expected = at_end(name, told[1]) if told else None
    assert ack_due(newest(name), utc(told[0] if told else "2026-03-02T12:00")) == expected


@pytest.mark.parametrize("name", sorted({one.name for one in PRESETS}))
def test_each_window_ends_a_while_after_the_decision(name: str) -> None:
    decided, windows = WINDOWS.get(name, ("2026-03-02T12:00", {}))
    assert window_after_decision(newest(name), utc(decided)) == {
        window: at_end(name, until) for window, until in windows.items()
    }


def test_an_explanation_says_when_the_billing_cycles_ended_the_period() -> None:
    start = utc("2026-01-15T15:00")
    explained = explain_due(newest("us_reg_z"), start, cycles_end=date(2026, 3, 20))
    assert "2 billing cycles end on 2026-03-20, before that time" in explained.text()
    assert "billing cycles" not in explain_due(newest("us_reg_z"), start, cycles_end=date(2026, 4, 15)).text()


# --- extensions and pauses ---


@pytest.mark.parametrize("preset", PRESETS, ids=lambda one: f"{one.name}.{one.version}")
def test_an_extension_needs_all_that_the_preset_asks(preset: Preset) -> None:
    for number, extension in enumerate(preset.extensions):
        assert grant_extension(preset, number, extension.needs) == extension
        for need in extension.needs:
            with pytest.raises(ExtensionRefused, match=need):
                grant_extension(preset, number, extension.needs - {need})
    with pytest.raises(ExtensionRefused, match="all are used"):
        grant_extension(preset, len(preset.extensions), {"anything"})


REASONS = sorted({reason for one in PRESETS for reason in one.pauses} | {"waiting_vendor"})


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("preset", PRESETS, ids=lambda one: f"{one.name}.{one.version}")
def test_a_pause_stops_only_the_clocks_that_list_it(preset: Preset, reason: str) -> None:
    start = utc("2026-03-02T09:00")
    paused = due(preset, start, pauses=[(utc("2026-03-02T10:00"), utc("2026-03-12T10:00"), reason)])
    assert (paused > due(preset, start)) == (reason in preset.pauses)


def test_what_the_law_does_and_does_not_allow() -> None:
    """§2.6 of the domain rules, beside the numbers."""
    assert {one.name for one in PRESETS if "waiting_customer" in one.pauses} == {"service_default", "service_branch"}
    assert {one.name for one in PRESETS if one.restart_on} == {"cn_2020"}
    assert {one.name: one.on_miss for one in PRESETS if one.on_miss} == {"uk_disp_summary": "uk_disp_standard"}
    assert {one.name for one in PRESETS if one.basis == "policy"} == {
        *("pipl_dsr", "service_default", "service_always", "service_branch")
    }
    assert {one.name for one in PRESETS if one.from_ != "receipt"} == {"us_cfpb"}
    assert all(one.notice_for <= one.pauses for one in PRESETS)
    assert pinned("cn_2020", 1).notice_for == {"external_appraisal"}


# --- service policies ---


def test_the_first_choice_that_fits_is_taken() -> None:
    choices = [
        Choice("night", queues=("fraud", "cards"), severities=(1, 2)),
        Choice("cards", queues=("cards",)),
        Choice("data", case_types=("data_request",)),
    ]
    asked = [
        ("cards", "complaint", 1),
        ("cards", "complaint", 3),
        ("loans", "data_request", 1),
        ("loans", "dispute", 1),
    ]
    assert [chosen(choices, *one) for one in asked] == ["night", "cards", "data", None]


def test_every_policy_that_can_be_chosen_is_a_preset_of_the_service_clock() -> None:
    named = {rule.otherwise for rule in RULES} | {choice.policy for rule in RULES for choice in rule.choices}
    assert {one.name for one in PRESETS if one.clock == "service"} == named
    assert service_policy("complaints", "complaint", 3, utc("2026-03-02T12:00")) == "service_default"
    assert service_policy("fraud", "complaint", 3, utc("2026-03-02T12:00")) == "service_always"
    assert service_policy("cards", "dispute", 1, utc("2026-03-02T12:00")) == "service_always"
    assert service_policy("branch", "complaint", 3, utc("2026-03-02T12:00")) == "service_branch"


# --- properties ---

starts = st.timedeltas(timedelta(0), timedelta(days=3000)).map(lambda passed: utc("2024-01-01") + passed)


@dataclass(frozen=True)
class Case:
    """A preset after some extensions, a start, and pauses for reasons that it lists and others."""

    preset: Preset
    extensions: int
    start: datetime
    pauses: list[Pause] = field(default_factory=list)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    preset = draw(st.sampled_from(PRESETS))
    start = draw(starts)
    reasons = st.sampled_from(sorted(preset.pauses | {"other"}))
    drawn = draw(
        st.lists(
            st.tuples(
                st.timedeltas(timedelta(days=-5), timedelta(days=60)),
                st.timedeltas(timedelta(0), timedelta(days=12)),
                reasons,
            ),
            max_size=4,
        )
    )
    pauses: list[Pause] = [(start + begin, start + begin + length, reason) for begin, length, reason in drawn]
    return Case(preset, draw(st.integers(0, len(preset.extensions))), start, pauses)


@given(cases())
def test_counted_time_always_adds_up_to_the_allowance(case: Case) -> None:
    explained = explain_due(case.preset, case.start, extensions=case.extensions, pauses=case.pauses)
    counted = sum(stretch.amount for stretch in explained.stretches if stretch.why == "counted")
    count, kind = period(case.preset, case.extensions)
    assert (explained.count, explained.kind) == (count, kind)
    match kind:
        case "BH":
            assert counted == pytest.approx(count * 3600)
        case "W":
            assert counted == count * 7
        case "M":
            assert 28 * count <= counted <= 31 * count
        case _:
            assert counted == count


@given(cases())
def test_pauses_accumulate_day_by_day(case: Case) -> None:
    """A deadline in calendar days moves by exactly the days that the explanation calls paused, however they overlap."""
    _, kind = period(case.preset, case.extensions)
    if kind not in ("CD", "W"):
        return
    explained = explain_due(case.preset, case.start, extensions=case.extensions, pauses=case.pauses)
    place = explained.calendar
    plain = due(case.preset, case.start, extensions=case.extensions)
    moved = (place.local_date(explained.due) - place.local_date(plain)).days
    assert moved == sum(stretch.amount for stretch in explained.stretches if stretch.why == "paused")


@given(cases(), st.timedeltas(timedelta(0), timedelta(days=12)))
def test_another_pause_never_shortens(case: Case, length: timedelta) -> None:
    for reason in (*sorted(case.preset.pauses), "other"):
        more = (case.start + length, case.start + 2 * length, reason)
        before = due(case.preset, case.start, extensions=case.extensions, pauses=case.pauses)
        after = due(case.preset, case.start, extensions=case.extensions, pauses=[*case.pauses, more])
        assert before <= after
        assert reason in case.preset.pauses or before == after


@given(cases(), st.timedeltas(timedelta(0), timedelta(days=40)))
def test_a_later_start_is_never_due_earlier(case: Case, later: timedelta) -> None:
    """Without pauses: a pause that began before the start leaves it less to stop."""
    first = due(case.preset, case.start, extensions=case.extensions)
    assert case.start < first <= due(case.preset, case.start + later, extensions=case.extensions)


@given(st.sampled_from(PRESETS), starts, starts)
def test_windows_follow_the_decision(preset: Preset, one: datetime, other: datetime) -> None:
    early, late = sorted((one, other))
    windows, later = window_after_decision(preset, early), window_after_decision(preset, late)
    assert all(early < windows[name] <= later[name] for name in windows)
