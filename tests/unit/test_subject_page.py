"""The page for a person: words, readable times and amounts, why they are judged as they are, and no columns of ours."""

from datetime import UTC, datetime
from typing import Any

import pytest

from infra.subject_page import page, said

AT = datetime(2026, 3, 2, 12, 5, tzinfo=UTC)
OPENED = {"complaint_id": "p-1", "description": "<b>Too dear</b>", "amount": {"minor": -12345, "currency": "GBP"}}
RISK = {
    "customer_id": "c-1",
    "band": "medium",
    "probability": 0.289,
    "logit": -0.9,
    "score": 513,
    "reasons": [
        {"code": "open-complaint", "points": "0.900", "value": "20 days", "window": "12 months", "sources": ["/a#1"]}
    ],
    "scored_at": AT,
    "features": {"at": 1427198400},
    "model": "cold_start.1",
}


def told(**more: Any) -> dict[str, Any]:
    opened = {"happened_at": AT, "type": "complaint.opened", "source": "/branch", "says": {**OPENED, "owner": None}}
    due = {"clock": "statutory", "preset_version": 1, "due_at": "2026-05-02T22:59:59.999Z"}
    clock = {"happened_at": AT, "type": "complaint.clock-set", "source": "/branch", "says": due}
    waiting = {"parked_at": AT, "topic": "kehu.surveys", "rule": "survey-not-invited-yet", "unreadable": None}
    dead = {"died_at": AT, "topic": "kehu.surveys", "rule": "bad-json", "unreadable": None, "value": b"{not json"}
    return {
        "customer": "c-1",
        "known_as": ["c-1", "c-2"],
        "as_of": AT,
        "events": [opened, clock],
        "waiting": [{**waiting, "value": b'{"id":"e1","data":{"score":3,"comment":"Meh"}}'}],
        "dead_letters": [dead],
        "read_models": {"retention_risk": [RISK], "customer_timeline": [{"log_position": 1}]},
        "accesses": [],
        "not_told": [{"webhook": "crm", "rows": ['["p-1", "service"]'], "given_up_at": AT}],
        "erasures": [],
        **more,
    }


def test_a_page_says_in_words_what_happened_and_why_the_person_is_judged_so() -> None:
    made = page(told(), None)
    for words in (
        "<h2>Complaints and other cases</h2>",
        "<td>2 March 2026, 12:05</td><td>Complaint opened</td>",
        "Complaint id: p-1<br>Description: &lt;b&gt;Too dear&lt;/b&gt;<br>Amount: -123.45 GBP",
        "<td>Deadline set</td><td>Clock: statutory<br>Due at: 2 May 2026, 22:59</td>",
        "<td>Medium, 28.9 %</td>",
        "<td>Open complaint</td><td>20 days (12 months)</td><td>+0.9</td>",
        "<td>Survey not invited yet</td><td>Score: 3<br>Comment: Meh</td>",
        "<td>{not json</td>",
        "<td>crm</td><td>p-1, service</td>",
        "another form: customer timeline.",
    ):
        assert words in made, words
    for ours in ("logit", "features", "1427198400", "set_by", "position", "preset_version", "513", "incomplete"):
        assert ours not in made, ours


def test_a_page_begins_with_what_is_missing_and_who_was_forgotten() -> None:
    erased = {"customer_id": "c-1", "begun_at": AT, "ended_at": AT, "reason": "request dr-1"}
    made = page(told(erasures=[erased]), "Set KEHU_MASTER_KEY_FILE.")
    assert made.index("This answer is incomplete. Set KEHU_MASTER_KEY_FILE.") < made.index(
        "c-1 was forgotten on 2 March"
    )
    assert "<td>request dr-1</td>" in made


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ""),
        (True, "yes"),
        (AT.date(), "2 March 2026"),
        ("2026-03-02", "2 March 2026"),
        ("2026-03-02T13:05:00+01:00", "2 March 2026, 12:05"),
        ("2026-03-02 or so", "2026-03-02 or so"),
        ({"minor": 500, "currency": "JPY"}, "500 JPY"),
        ({"first_name": "Ann", "age": None}, "First name: Ann"),
        (["a", AT.date()], "a, 2 March 2026"),
    ],
)
def test_values_are_as_people_write_them(value: Any, words: str) -> None:
    assert said(value) == words
