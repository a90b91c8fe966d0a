"""A believable bank for the demo, tests and benchmarks: half a year of customers, contacts, complaints and money.

    bank = Bank(seed=7, end=datetime(2026, 3, 2, 12, 40, tzinfo=UTC))
    for message in bank.messages(20_000):
        ...                      # message.topic, message.key, message.value: a CloudEvent as JSON
    bank.expected                # what the reconciliation must show, known by construction

The same seed, end and number give the same bytes. Whatever the hour of `end`, it is 12:40 in this bank: its days are
counted back from there, so that the history always ends in the middle of the noon rush, with people still waiting.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import orjson

from examples.bank_stories import DAYS, Customer, Sent, Stories, rfc3339


class Message(NamedTuple):
    """One message as a channel publishes it; the key is the customer id."""

    topic: str
    key: str
    value: bytes


@dataclass(slots=True)
class Expected:
    """What becomes of the messages, known by construction. `late` and `healing` are among the appended ones."""

    published: int = 0
    duplicates: int = 0
    malformed: int = 0
    refused: int = 0
    never_healing: int = 0
    healing: int = 0
    late: int = 0

    @property
    def dead(self) -> int:
        """Messages that end as dead letters."""
        return self.malformed + self.refused

    @property
    def appended(self) -> int:
        """Messages that lead to events, once everything that waits for something has got it."""
        return self.published - self.duplicates - self.dead - self.never_healing


class Bank:
    """The generator. Use an instance for one run: `expected` is about its last `messages`."""

    def __init__(self, seed: int, *, end: datetime, defects: bool = True) -> None:
        self._seed = seed
        self._end = end.replace(microsecond=0)
        self._defects = defects
        self.expected = Expected()

    def messages(self, events: int) -> Iterator[Message]:
        """Exactly `events` messages, in the order in which they are published."""
        self.expected = Expected(published=max(0, events))
        if events <= 0:
            return
        random, shares = Random(f"{self._seed}/{events}"), _Shares.of(events, self._defects)
        bank = Stories(random, end=self._end, defects=self._defects)
        customers = self._live(bank, shares, events)
        spoilt = self._spoil(bank, shares, customers) if self._defects else []
        self.expected.refused += len(bank.refused)
        ordered = [(one.published_at, _message(one)) for one in (*bank.sent, *bank.refused)] + spoilt
        ordered.sort(key=lambda pair: pair[0])
        assert len(ordered) == events
        for _, message in ordered:
            yield message

    def _live(self, bank: Stories, shares: "_Shares", events: int) -> Sequence[Customer]:
        """Let the half year happen; returns all customers."""
        random = bank.random
        customers = [bank.register(number) for number in range(shares.customers)]
        leaving = customers[: shares.leaving]
        bank.staying = customers[shares.leaving :] or customers
        bank.contacts(shares.contacts)
        for _ in range(shares.complaints):
            bank.complaint(random.choice(bank.staying))
        for customer in bank.staying[: shares.salaries]:
            bank.salaries(customer, months=6)
        for customer in leaving:
            bank.leave(customer)
        for customer in random.sample(bank.staying, len(bank.staying) // 10):
            bank.consent(customer)
        self._swap(bank, shares.healing)
        while len(bank.sent) + len(bank.refused) < events - shares.extras:
            customer = random.choice(bank.staying)
            bank.post(bank.moment(random.randrange(DAYS)), customer, "card", -random.randrange(300, 20_000))
        return customers

    def _swap(self, bank: Stories, number: int) -> None:
        """Let an invitation or an opening be published after what follows it in the same stream: it heals at once."""
        followers = [
            (first, second)
            for first, second in zip(bank.sent, bank.sent[1:], strict=False)
            if (first.name, second.name) in _PAIRS
            and _about(first) == _about(second)
            and second.published_at < self._end - timedelta(minutes=1)
        ]
        for first, second in bank.random.sample(followers, min(number, len(followers))):
            first.published_at = second.published_at + timedelta(seconds=bank.random.randrange(1, 20))
            self.expected.healing += 1

    def _spoil(self, bank: Stories, shares: "_Shares", customers: Sequence[Customer]) -> list[tuple[datetime, Message]]:
        """Let some events be late; returns what comes on top, and when: repeated, refused, malformed, without a start.

        What comes on top is never repeated or delayed itself.
        """
        random, expected, good = bank.random, self.expected, bank.sent
        posted = [one for one in good if one.name == "transaction.posted"]
        for one in random.sample(posted, min(shares.late, len(posted))):
            late = timedelta(days=random.randrange(1, 20), minutes=random.randrange(600))
            one.published_at = min(one.published_at + late, self._end)
            expected.late += 1
        extra: list[tuple[datetime, Message]] = []
        for one in random.choices(good, k=shares.duplicates):
            again = min(one.published_at + timedelta(seconds=random.randrange(90_000)), self._end)
            extra.append((again, _message(one)))
            expected.duplicates += 1
        for _ in range(shares.refused):
            one = random.choice(good)
            other = one.event | {"time": rfc3339(self._end + timedelta(seconds=1))}  # same id, other content
            extra.append((self._end, _message(replace(one, event=other))))
            expected.refused += 1
        for number in range(shares.never):
            name, data = _ORPHANS[number % len(_ORPHANS)]
            lost = dict.fromkeys(list(data)[:1], bank.new_id("lost"))
            at, customer = bank.moment(random.randrange(1, 20)), random.choice(customers)
            extra.append((at, _message(bank.happening(at, name, customer, data | lost))))
            expected.never_healing += 1
        for number in range(shares.malformed):
            one = random.choice(good)
            whole = one.event | {"id": bank.new_id("e")}
            spoilt = _MALFORMED[number % len(_MALFORMED)](whole)
            value = spoilt if isinstance(spoilt, bytes) else orjson.dumps(spoilt)
            extra.append((one.published_at, Message(_topic(one.name), one.customer.id, value)))
            expected.malformed += 1
        return extra


@dataclass(frozen=True, slots=True)
class _Shares:
    """How many of each story make up a number of events. Together they stay below it; card payments fill the rest."""

    customers: int
    leaving: int
    contacts: int
    complaints: int
    salaries: int
    healing: int
    duplicates: int = 0
    malformed: int = 0
    refused: int = 0
    never: int = 0
    late: int = 0

    @classmethod
    def of(cls, events: int, defects: bool) -> "_Shares":
        customers = max(1, events * 11 // 100)
        stories = cls(customers, customers // 20, events // 17, events // 80, customers // 5, events // 400 * defects)
        if not defects:
            return stories
        return replace(
            stories,
            duplicates=events // 100,
            malformed=events // 200,
            refused=events // 1_000,
            never=events // 1_000,
            late=events // 100,
        )

    @property
    def extras(self) -> int:
        """Messages that come on top of what happens in the bank."""
        return self.duplicates + self.malformed + self.refused + self.never


def _topic(name: str) -> str:
    return f"kehu.{name.partition('.')[0]}s"


def _about(one: Sent) -> Any:
    """The contact, complaint or invitation of an event: the first field of its data."""
    return next(iter(one.event["data"].values()))


def _message(one: Sent) -> Message:
    return Message(_topic(one.name), one.customer.id, orjson.dumps(one.event))


_PAIRS = {
    ("survey.invited", "survey.answered"),
    ("contact.queued", "contact.started"),
    ("complaint.opened", "complaint.acknowledged"),
}
_ORPHANS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("survey.answered", {"invitation_id": "", "score": 4}),
    ("contact.ended", {"contact_id": "", "resolved": True}),
    ("complaint.closed", {"complaint_id": ""}),
)
_MALFORMED: tuple[Callable[[dict[str, Any]], dict[str, Any] | bytes], ...] = (
    lambda event: orjson.dumps(event)[:-20],
    lambda event: event | {"type": "kehu.weather.rained.v1"},
    lambda event: event | {"type": event["type"].replace(".v1", ".v99")},
    lambda event: {name: value for name, value in event.items() if name != "subject"},
    lambda event: event | {"data": event["data"] | {"surprise": 1}},
    lambda event: event | {"data": event["data"] | {next(iter(event["data"])): "nul\0nul"}},
    lambda event: event | {"time": "yesterday"},
    lambda event: orjson.dumps(event).replace(b'"id":"', b'"id":"\xff'),
)
