"""`kehu show case`: a case as its events say, with both clocks and the time that each counted."""

from datetime import timedelta

from tests.support.cli import History


def test_a_case_is_shown_with_both_clocks(history: History) -> None:
    done = history("show", "case", "told-1")
    assert done.code == 0, done.err
    assert "Case told-1 of customer c-told: complaint, resolved, queue told, severity 3, outcome rejected" in done.out
    for told in ("uk_disp_standard v1", "service_default v1", "missed", "After the decision: ombudsman until"):
        assert told in done.out


def test_the_same_as_data(history: History) -> None:
    case = history("show", "case", "told-1", "--json").rows
    assert (case["status"], case["outcome"], case["customer_id"]) == ("resolved", "rejected", "c-told")
    statutory, service = case["clocks"]
    assert (statutory["preset"], statutory["state"], service["state"]) == ("uk_disp_standard", "missed", "missed")
    assert [one["clock"] for one in case["missed"]] == ["statutory", "service"]
    assert "explanations" not in case


def test_the_time_that_each_clock_counted(history: History) -> None:
    case = history("show", "case", "told-2", "--explain", "--json").rows
    statutory, service = case["explanations"]
    assert (statutory["kind"], statutory["count"], statutory["calendar"]) == ("W", 8, "uk")
    for clock, why in zip(case["clocks"], (statutory, service), strict=True):
        assert clock["due_at"] == why["due_at"]
        assert clock["state"] == "overdue"
    counted = [sum(s["amount"] for s in why["stretches"] if s["why"] == "counted") for why in (statutory, service)]
    assert counted == [56, 8 * 3600]
    text = history("show", "case", "told-2", "--explain").out
    assert "uk_disp_standard version 1 (law): 8 weeks from receipt, calendar uk version 1" in text
    assert "Service clock" in text


def test_a_case_is_shown_as_it_was_and_as_it_will_be(history: History) -> None:
    then = f"{history.now - timedelta(days=129):%Y-%m-%dT%H:%M:%S}"
    before = history("show", "case", "told-1", "--at", then, "--json").rows
    assert (before["status"], before["outcome"], before["missed"]) == ("open", None, [])
    assert [one["state"] for one in before["clocks"]] == ["in time", "in time"]
    ahead = f"{history.now + timedelta(days=1):%Y-%m-%d}"
    assert history("show", "case", "told-1", "--at", ahead, "--json").rows["status"] == "resolved"
    known = f"{history.now - timedelta(days=1):%Y-%m-%dT%H:%M:%S}"
    assert history("show", "case", "told-1", "--known-at", known).code == 1, "nothing was recorded by then"


def test_an_unknown_case_is_told_with_a_remedy(history: History) -> None:
    done = history("show", "case", "nobody")
    assert (done.code, done.out) == (1, "")
    assert "No case has this id at that time. Check it with `kehu show cases`" in done.err
    assert "(nobody)" in done.err
