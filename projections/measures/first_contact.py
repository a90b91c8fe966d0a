"""First-contact resolution: which contacts settled their topic at once, alike for all read models.

A contact did when it ended as resolved and the customer had no other one about the same topic within the days of the
rule (domain/rules/contacts.toml) before it came or after it ended. Its topic is its reason; contacts without one are
one topic. A contact that is told late counts as if it had come in time, and one that the customer gave up counts as
another one. What counted can be taken back until the days are over.

Of each customer is kept, by topic, the last contact while another one would make it a failure, as JSON has it:
[contact, seconds since 1970, whether it counted, *where it counted].
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.rules import Rule, read

CONTACT, AT, COUNTED, WHERE = range(4)
DAY = 86_400


class FirstContactRule(Rule, frozen=True):
    """When a contact settled it."""

    days: int
    """The customer does not come back about the same for so long."""


FIRST_CONTACT = read("contacts", FirstContactRule)["first_contact"]

Recent = dict[str, Any]
"""By topic the customer's last contact."""


def topic_of(queued: Any) -> str:
    """What a contact is about, from the event that it begins with."""
    return queued.reason or ""


def came(known: Mapping[str, Any], contact: str, topic: str, at: datetime) -> tuple[Recent, bool, list[Any] | None]:
    """A contact comes: what is kept from now on, whether it is not the first, and where the other one had counted."""
    seconds, window = int(at.timestamp()), FIRST_CONTACT.at(at).days * DAY
    recent = {name: last for name, last in known.items() if seconds - last[AT] <= window}
    last, again, taken_back = recent.get(topic), False, None
    if last is not None and abs(seconds - last[AT]) <= window:
        again = True
        if last[COUNTED]:
            taken_back = last[WHERE:]
            last = recent[topic] = [last[CONTACT], last[AT], False]
    if last is None or seconds >= last[AT]:
        recent[topic] = [contact, seconds, False]
    return recent, again, taken_back


def settled(
    recent: Mapping[str, Any], contact: str, topic: str, at: datetime, where: tuple[Any, ...]
) -> tuple[Recent | None, bool]:
    """A first contact ends resolved: what is kept from now on, None if nothing changes, and whether it counts there.

    It does when no other one came meanwhile. If none did, one that comes soon takes this back.
    """
    last, seconds = recent.get(topic), int(at.timestamp())
    if last is None:
        return None, True  # it is out of the window of a later contact
    if last[CONTACT] != contact:
        return None, abs(last[AT] - seconds) > FIRST_CONTACT.at(at).days * DAY
    return {**recent, topic: [contact, max(seconds, last[AT]), True, *where]}, True
