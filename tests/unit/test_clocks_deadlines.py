"""Deadlines under each preset: length, extensions, pauses, versions, and why."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from domain.clocks import (
    CALENDARS,
    PRESETS,
    ExtensionRefused,
    Pause,
    Preset,
    PresetNotInForce,
    TimeOutOfRange,
    UnknownPreset,
    ack_due,
    due,
    elapsed_fraction,
    explain_due,
    gone_at,
    grant_extension,
    pinned,
    preset,
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]


def rule(name: str) -> Preset:
    return preset(name, utc(2026, 6, 1))


def last_date(name: str, start: datetime, extensions: int = 0, pauses: tuple[Pause, ...] = ()) -> date:
    """The local date of the deadline, which must be in time until the last instant of that date."""
    deadline = due(rule(name), start, extensions=extensions, pauses=pauses)
    place = CALENDARS[rule(name).calendar]
    assert deadline == place.end_of_day(place.local_date(deadline))
    return place.local_date(deadline)


RECEIVED = utc(2026, 4, 1, 10)  # Wednesday before Easter


@pytest.mark.parametrize(
    ("name", "extensions", "expected"),
    [
        ("uk_disp_standard", 0, date(2026, 5, 27)),  # 8 weeks
        ("uk_disp_psd", 0, date(2026, 4, 24)),  # 15 business days over Good Friday and Easter Monday
        ("uk_disp_psd", 1, date(2026, 5, 26)),  # 35, and over two bank holidays in May
        ("us_cfpb", 0, date(2026, 4, 16)),
        ("us_cfpb", 1, date(2026, 5, 31)),
        ("us_reg_e", 0, date(2026, 4, 15)),
        ("us_reg_e", 1, date(2026, 5, 16)),
        ("us_reg_e", 2, date(2026, 6, 30)),
        ("us_reg_z", 0, date(2026, 6, 30)),
        ("cn_2020", 0, date(2026, 4, 16)),
        ("cn_2020", 1, date(2026, 5, 1)),
        ("cn_2020", 2, date(2026, 5, 31)),
        ("gdpr_dsr", 0, date(2026, 5, 1)),
        ("gdpr_dsr", 1, date(2026, 7, 1)),
        ("pipl_dsr", 0, date(2026, 4, 23)),  # Tomb-Sweeping Day on Monday 6
    ],
)
def test_each_preset_counts_its_own_way(name: str, extensions: int, expected: date) -> None:
    assert last_date(name, RECEIVED, extensions) == expected


def test_summary_resolution_ends_with_business_on_the_third_business_day_after_receipt() -> None:
    assert due(rule("uk_disp_summary"), RECEIVED) == utc(2026, 4, 8, 16)  # 17:00 BST
    assert due(rule("uk_disp_summary"), utc(2026, 1, 10, 12)) == utc(2026, 1, 14, 17)  # received on a Saturday
    assert rule("uk_disp_summary").on_miss == "uk_disp_standard"


@pytest.mark.parametrize(
    ("start", "extensions", "expected"),
    [
        (utc(2028, 1, 31, 9), 0, date(2028, 2, 29)),  # no 31st: the last day
        (utc(2026, 1, 31, 9), 0, date(2026, 3, 2)),  # 28 February is a Saturday: the next working day
        (utc(2026, 3, 3, 9), 0, date(2026, 4, 7)),  # Good Friday: after Easter Monday
        (utc(2026, 11, 30, 9), 1, date(2027, 3, 1)),  # three months from the original start
        (utc(2026, 12, 15, 9), 0, date(2027, 1, 15)),  # over the year
    ],
)
def test_months_end_on_the_same_date_or_the_last_day_and_never_on_a_holiday(
    start: datetime, extensions: int, expected: date
) -> None:
    assert last_date("gdpr_dsr", start, extensions) == expected


def test_the_day_of_receipt_is_that_of_the_place() -> None:
    late = utc(2026, 4, 1, 20)  # already 2 April in Shanghai, still 1 April in New York
    assert last_date("cn_2020", late) == date(2026, 4, 17)
    assert last_date("us_cfpb", late) == date(2026, 4, 16)


def test_acknowledgements_have_their_own_time() -> None:
    assert ack_due(rule("uk_disp_standard"), RECEIVED) == CALENDARS["uk"].end_of_day(date(2026, 4, 10))
    assert ack_due(rule("us_reg_z"), RECEIVED) == CALENDARS["us"].end_of_day(date(2026, 5, 1))
    assert ack_due(rule("service_default"), utc(2026, 4, 1, 16)) == utc(2026, 4, 2, 16)
    assert ack_due(rule("cn_2020"), RECEIVED) is None


def test_a_service_target_depends_on_the_severity() -> None:
    policy = rule("service_default")
    targets = [due(policy.for_severity(severity), utc(2026, 6, 1, 9)) for severity in (1, 2, 3, 4)]
    assert targets == [utc(2026, 6, 1, 17), utc(2026, 6, 2, 17), utc(2026, 6, 5, 17), utc(2026, 6, 12, 17)]


# --- pauses ---


def test_a_service_clock_stops_while_the_customer_has_the_next_word() -> None:
    policy = rule("service_default").for_severity(1)
    start = utc(2026, 4, 1, 9)
    asked = (utc(2026, 4, 1, 11), utc(2026, 4, 2, 10), "waiting_customer")  # 6 h of Wednesday and 1 h of Thursday
    again = (utc(2026, 4, 2, 9, 30), utc(2026, 4, 2, 9, 45), "waiting_evidence")  # lies within the first
    assert due(policy, start, pauses=[again, asked]) == utc(2026, 4, 2, 16)
    assert due(policy, start, pauses=[(*asked[:2], "waiting_vendor")]) == utc(2026, 4, 1, 17)


def test_a_statutory_clock_does_not_wait_for_the_customer() -> None:
    pause = (utc(2026, 4, 2), utc(2026, 4, 20), "waiting_customer")
    assert last_date("uk_disp_standard", RECEIVED, pauses=(pause,)) == date(2026, 5, 27)
    assert last_date("cn_2020", RECEIVED, pauses=(pause,)) == date(2026, 4, 16)


def test_an_appraisal_takes_whole_days_out_of_the_chinese_clock() -> None:
    four_days = (utc(2026, 4, 5, 1), utc(2026, 4, 9, 1), "external_appraisal")
    same_day = (utc(2026, 4, 12, 1), utc(2026, 4, 12, 9), "external_appraisal")
    on_the_last_day = (utc(2026, 4, 16, 1), utc(2026, 4, 18, 1), "external_appraisal")
    after_it = (utc(2026, 4, 17, 1), utc(2026, 4, 19, 1), "external_appraisal")
    assert last_date("cn_2020", RECEIVED, pauses=(four_days,)) == date(2026, 4, 20)
    assert last_date("cn_2020", RECEIVED, pauses=(same_day,)) == date(2026, 4, 16)
    assert last_date("cn_2020", RECEIVED, pauses=(on_the_last_day,)) == date(2026, 4, 18)
    assert last_date("cn_2020", RECEIVED, pauses=(after_it,)) == date(2026, 4, 16)


def test_a_request_begins_when_the_identity_is_proved() -> None:
    unproved = (utc(2026, 3, 1), utc(2026, 4, 14, 9), "identity")  # began before the request arrived
    assert last_date("gdpr_dsr", RECEIVED, pauses=(unproved,)) == date(2026, 5, 14)


def test_a_pause_that_lasts_counts_up_to_the_time_of_asking() -> None:
    lasting = (utc(2026, 4, 5, 1), None, "external_appraisal")
    plain = due(rule("cn_2020"), RECEIVED)
    assert due(rule("cn_2020"), RECEIVED, pauses=[lasting]) == plain
    assert due(rule("cn_2020"), RECEIVED, pauses=[lasting], as_of=utc(2026, 4, 8, 1)) == plain + timedelta(days=3)


# --- extensions and versions ---


def test_an_extension_is_granted_when_everything_it_needs_is_provided() -> None:
    second = grant_extension(rule("cn_2020"), 1, {"superior_approval", "complainant_notice", "photo"})
    assert (second.to, second.kind) == (60, "CD")


@pytest.mark.parametrize(
    ("name", "already", "provided", "message"),
    [
        ("cn_2020", 0, [], "complex_flag"),
        ("cn_2020", 1, ["superior_approval"], "complainant_notice"),
        ("cn_2020", 2, ["complex_flag"], "all are used"),
        ("uk_disp_standard", 0, [], "allows 0"),
        ("us_reg_e", 0, ["special_case"], "provisional_credit"),
    ],
)
def test_an_extension_without_its_needs_is_refused(name: str, already: int, provided: list[str], message: str) -> None:
    with pytest.raises(ExtensionRefused, match=message):
        grant_extension(rule(name), already, provided)


def test_a_deadline_with_more_extensions_than_the_preset_has_is_refused() -> None:
    with pytest.raises(ExtensionRefused, match="allows 1, not 2"):
        due(rule("us_cfpb"), RECEIVED, extensions=2)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(UnknownPreset, match="uk_disp_standard"):
        preset("mars_2030", RECEIVED)
    with pytest.raises(UnknownPreset, match="known: \\[1\\]"):
        pinned("cn_2020", 7)


def test_a_preset_applies_from_its_date_on_the_wall_of_its_place() -> None:
    assert preset("cn_2020", utc(2020, 2, 29, 16)) == pinned("cn_2020", 1)  # midnight in Shanghai
    with pytest.raises(PresetNotInForce, match="2020-03-01"):
        preset("cn_2020", utc(2020, 2, 29, 15, 59))


def test_a_new_version_applies_from_its_date_and_the_old_one_stays_for_older_cases() -> None:
    old = rule("cn_2020")
    new = replace(old, version=2, effective_from=date(2027, 1, 1), resolve=10)
    both = (new, old)
    assert preset("cn_2020", utc(2026, 12, 31, 15), both) == old
    assert preset("cn_2020", utc(2026, 12, 31, 16), both) == new
    assert pinned("cn_2020", 1, both) == old


def test_presets_are_consistent() -> None:
    assert len({(rule.name, rule.version) for rule in PRESETS}) == len(PRESETS)
    for each in PRESETS:
        assert each.calendar in CALENDARS
        assert each.on_miss is None or pinned(each.on_miss, 1)
        assert all(extension.needs for extension in each.extensions)


@pytest.mark.parametrize("each", PRESETS, ids=lambda each: each.name)
def test_a_deadline_after_the_year_9999_is_refused(each: Preset) -> None:
    last = utc(9999, 12, 31, 20)
    with pytest.raises(TimeOutOfRange, match="9999-12-31"):
        due(each, last)
    with pytest.raises(TimeOutOfRange, match="9999-12-31"):
        preset("cn_2020", last)


# --- share of the time that is gone ---


def test_the_elapsed_share_counts_working_time_where_the_rule_does() -> None:
    policy, start = rule("service_default").for_severity(1), utc(2026, 4, 2, 13)
    deadline = due(policy, start)
    assert elapsed_fraction(start, deadline, utc(2026, 4, 2, 17), policy) == pytest.approx(0.5)
    assert elapsed_fraction(start, deadline, utc(2026, 4, 3, 9), policy) == pytest.approx(0.5)  # the night is free
    assert elapsed_fraction(start, deadline, utc(2026, 4, 3, 17), policy) == pytest.approx(1.5)  # overdue
    assert elapsed_fraction(start, deadline, utc(2026, 4, 1), policy) == 0


def test_the_elapsed_share_stands_still_during_a_pause() -> None:
    policy, start = rule("service_default").for_severity(1), utc(2026, 4, 1, 9)
    pauses = [(utc(2026, 4, 1, 11), utc(2026, 4, 1, 15), "waiting_customer")]
    deadline = due(policy, start, pauses=pauses)
    shares = [elapsed_fraction(start, deadline, utc(2026, 4, 1, h), policy, pauses=pauses) for h in (11, 13, 15, 17)]
    assert shares == pytest.approx([0.25, 0.25, 0.25, 0.5])


@pytest.mark.parametrize(
    ("name", "start", "extensions", "expected"),
    [
        ("service_default", utc(2026, 4, 1, 9), 0, utc(2026, 4, 6, 15)),  # 30 of 40 hours; four days of the week
        (
            "us_cfpb",
            utc(2026, 4, 1, 4),
            0,
            utc(2026, 4, 13, 3, 59, 59),
        ),  # 12 of 16 days, all of them
        ("uk_disp_summary", utc(2026, 4, 1, 8), 0, utc(2026, 4, 7, 16)),  # 24 of 32 hours; Easter is free
        ("us_reg_e", utc(2026, 4, 1, 4), 1, utc(2026, 5, 5, 15, 59, 59)),  # extended to days that all count
    ],
)
def test_three_quarters_are_gone_when_three_quarters_of_what_counts_are(
    name: str, start: datetime, extensions: int, expected: datetime
) -> None:
    found = gone_at(0.75, start, due(rule(name), start, extensions=extensions), rule(name), extensions=extensions)
    assert abs(found - expected) <= timedelta(seconds=1)


def test_a_pause_puts_off_when_three_quarters_are_gone() -> None:
    policy, start = rule("service_default").for_severity(1), utc(2026, 4, 1, 9)
    pauses = [(utc(2026, 4, 1, 11), utc(2026, 4, 1, 15), "waiting_customer")]
    deadline = due(policy, start, pauses=pauses)
    assert gone_at(0.75, start, deadline, policy, pauses=pauses) == utc(2026, 4, 2, 11)
    assert gone_at(0.25, start, deadline, policy, pauses=pauses) == utc(2026, 4, 1, 11)


# --- explanations ---


def test_an_explanation_lists_what_was_counted_and_what_was_not() -> None:
    explained = explain_due(rule("uk_disp_summary"), RECEIVED)
    assert [(stretch.why, stretch.amount) for stretch in explained.stretches] == [
        ("start", 1),
        ("counted", 1),
        ("holiday", 1),
        ("weekend", 2),
        ("holiday", 1),
        ("counted", 2),
    ]
    text = explained.text()
    assert "uk_disp_summary version 1 (law): 3 business days from receipt, calendar uk" in text
    assert "Fri 2026-04-03 to Fri 2026-04-03  1 d  holiday" in text
    assert "due   Wed 2026-04-08 17:00 BST" in text


def test_an_explanation_says_when_holidays_are_not_known() -> None:
    assert "known for 2010 to 2035 only" in explain_due(rule("uk_disp_psd"), utc(2035, 12, 20)).text()
    assert "known for" not in explain_due(rule("uk_disp_psd"), RECEIVED).text()


# --- properties ---

starts = st.timedeltas(timedelta(0), timedelta(days=1600)).map(lambda passed: utc(2024, 1, 1) + passed)
rules = st.sampled_from(PRESETS)


@st.composite
def pauses_of(draw: st.DrawFn) -> tuple[Preset, datetime, list[Pause]]:
    each, start = draw(rules), draw(starts)
    reasons = st.sampled_from(sorted(each.pauses | {"other"}))
    begins = st.timedeltas(timedelta(days=-5), timedelta(days=60))
    lengths = st.timedeltas(timedelta(0), timedelta(days=12))
    drawn = draw(st.lists(st.tuples(begins, lengths, reasons), max_size=4))
    return each, start, [(start + begin, start + begin + length, reason) for begin, length, reason in drawn]


@given(pauses_of())
def test_pauses_never_shorten_and_no_deadline_precedes_its_start(case: tuple[Preset, datetime, list[Pause]]) -> None:
    each, start, pauses = case
    plain = due(each, start)
    assert start < plain <= due(each, start, pauses=pauses)
    for known in range(len(pauses)):
        assert due(each, start, pauses=pauses[:known]) <= due(each, start, pauses=pauses[: known + 1])


@given(pauses_of(), st.floats(0.01, 1))
def test_a_share_is_gone_from_its_moment_on_and_not_before(
    case: tuple[Preset, datetime, list[Pause]], share: float
) -> None:
    each, start, pauses = case
    deadline, second = due(each, start, pauses=pauses), timedelta(seconds=1)
    known = [pause for pause in pauses if pause[1] is not None and pause[1] <= deadline]  # no pause of the future
    moment = gone_at(share, start, deadline, each, pauses=known)
    assert start <= moment <= deadline
    gone = [elapsed_fraction(start, deadline, at, each, pauses=known) for at in (moment - second, moment + second)]
    assert gone[0] <= share + 1e-9
    assert gone[1] >= share - 1e-9


@given(rules, starts, st.timedeltas(timedelta(0), timedelta(days=40)))
def test_a_later_start_and_an_extension_never_shorten(each: Preset, start: datetime, later: timedelta) -> None:
    deadlines = [due(each, start, extensions=n) for n in range(len(each.extensions) + 1)]
    assert deadlines == sorted(deadlines)
    assert due(each, start) <= due(each, start + later)


@given(pauses_of())
def test_an_explanation_adds_up_to_the_allowance(case: tuple[Preset, datetime, list[Pause]]) -> None:
    each, start, pauses = case
    explained = explain_due(each, start, pauses=pauses)
    assert explained.due == due(each, start, pauses=pauses)
    assert explained.text()
    counted = sum(stretch.amount for stretch in explained.stretches if stretch.why == "counted")
    match each.kind:
        case "BH":
            assert counted == pytest.approx(each.resolve * 3600)
        case "W":
            assert counted == each.resolve * 7
        case "M":
            assert 28 <= counted <= 31
        case _:
            assert counted == each.resolve
