"""What the campaign publishes: stories whose end is known by construction, shuffled, repeated, swapped and spoiled.

Written without the code of the worker: the messages are plain dictionaries.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

START = datetime(2026, 2, 2, 8, tzinfo=UTC)
SOURCE = "/campaign"


@dataclass(frozen=True, slots=True)
class Sent:
    """A message and its fate. `stream` and `step` tell its place in a stream; both are None for one that must die."""

    topic: str
    key: str
    value: bytes
    fate: str
    """appended, duplicate or dead."""
    id: str | None = None
    stream: str | None = None
    step: int | None = None


class Workload:
    """An endless seeded supply. Nothing is left waiting at the end of a chunk."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._stories = 0

    def chunk(self, messages: int) -> list[Sent]:
        """About so many messages: every good one once, and among them repeats, early ones and bad ones."""
        stories: list[list[Sent]] = []
        while sum(map(len, stories)) < messages:
            stories.append(self._story())
        sent = self._shuffled(stories)
        self._swap(sent)
        for one in self._random.sample(sent, len(sent) // 20):
            self._later(sent, one, Sent(one.topic, one.key, one.value, "duplicate", one.id, one.stream, one.step))
        for one in self._random.sample(sent, len(sent) // 50):
            if one.fate == "appended":
                other = json.dumps({**json.loads(one.value), "time": (START - timedelta(days=1)).isoformat()}).encode()
                self._later(sent, one, Sent(one.topic, one.key, other, "dead"))
        for n in range(len(sent) // 50):
            bad = b'{"specversion": "1.0", "spoiled": %d, ' % (self._stories * 1000 + n)
            sent.insert(self._random.randrange(len(sent)), Sent("kehu.contacts", "c1", bad, "dead"))
        return sent

    def _later(self, sent: list[Sent], one: Sent, again: Sent) -> None:
        sent.insert(self._random.randint(sent.index(one) + 1, len(sent)), again)

    def _shuffled(self, stories: list[list[Sent]]) -> list[Sent]:
        """All stories at once, each in its own order."""
        turns = [n for n, story in enumerate(stories) for _ in story]
        self._random.shuffle(turns)
        heads = [iter(story) for story in stories]
        return [next(heads[n]) for n in turns]

    def _swap(self, sent: list[Sent]) -> None:
        """Let the second message of some streams come before the first: it must wait for it."""
        first = {one.stream: n for n, one in enumerate(sent) if one.step == 0}
        for n, one in enumerate(sent):
            if one.step == 1 and self._random.random() < 0.1:
                before = first[one.stream]
                sent[before], sent[n] = sent[n], sent[before]

    def _story(self) -> list[Sent]:
        self._stories += 1
        make = self._random.choice([self._contact, self._survey, self._complaint, self._account])
        return make(f"{self._stories}", f"c{self._random.randrange(60)}")

    def _contact(self, n: str, customer: str) -> list[Sent]:
        steps: list[tuple[str, dict[str, Any]]] = [
            ("contact.queued", {"queue": "phone", "channel": "phone"}),
            ("contact.started", {"agent_id": "a1"}),
            *[
                step
                for i in range(self._random.randrange(3))
                for step in (("contact.transferred", {"to_queue": f"q{i}"}), ("contact.started", {"agent_id": f"a{i}"}))
            ],
            ("contact.ended", {"resolved": True}),
        ]
        return self._sent("kehu.contacts", customer, f"contact-{n}", {"contact_id": n}, steps)

    def _survey(self, n: str, customer: str) -> list[Sent]:
        steps: list[tuple[str, dict[str, Any]]] = [
            ("survey.invited", {"metric": "nps", "scale": 10, "channel": "app"}),
            ("survey.answered", {"score": self._random.randrange(11)}),
        ]
        return self._sent("kehu.surveys", customer, f"survey-{n}", {"invitation_id": n}, steps)

    def _complaint(self, n: str, customer: str) -> list[Sent]:
        steps: list[tuple[str, dict[str, Any]]] = [
            ("complaint.opened", {"channel": "app", "issue": "fee"}),
            *[("complaint.assigned", {"owner": f"o{i}"}) for i in range(self._random.randrange(1, 4))],
            ("complaint.resolved", {"outcome": "upheld", "reasons": "fee returned", "onward_rights": "the ombudsman"}),
            ("complaint.closed", {}),
        ]
        return self._sent("kehu.complaints", customer, f"complaint-{n}", {"complaint_id": n}, steps)

    def _account(self, n: str, customer: str) -> list[Sent]:
        money = {"amount": {"minor": -100, "currency": "EUR"}, "booked_on": "2026-02-02", "kind": "card"}
        steps = [
            ("transaction.posted", {"transaction_id": f"{n}-{i}", **money}) for i in range(self._random.randrange(1, 9))
        ]
        # A posting waits for nothing, so none may be called early: no step 1.
        told = self._sent("kehu.transactions", customer, f"account-{n}:2026-02", {"account_id": n}, steps)
        return [Sent(o.topic, o.key, o.value, o.fate, o.id, o.stream, (o.step or 0) + 2) for o in told]

    def _sent(
        self, topic: str, customer: str, stream: str, who: dict[str, str], steps: list[tuple[str, dict[str, Any]]]
    ) -> list[Sent]:
        made = []
        for step, (name, data) in enumerate(steps):
            event_id = f"{stream}#{step}"
            event = {
                "specversion": "1.0",
                "id": event_id,
                "source": SOURCE,
                "type": f"kehu.{name}.v1",
                "subject": customer,
                "time": (START + timedelta(minutes=step)).isoformat(),
                "data": {**who, **data},
            }
            made.append(Sent(topic, customer, json.dumps(event).encode(), "appended", event_id, stream, step))
        return made
