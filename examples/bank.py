"""A believable bank for the demo, tests and benchmarks: half a year of customers, contacts, complaints and money.

    bank = Bank(seed=7, end=datetime(2026, 3, 2, 12, 40, tzinfo=UTC))
    for message in bank.messages(20_000):
        ...                      # message.topic, message.key, message.value: a CloudEvent as JSON
    bank.expected                # what the reconciliation must show, known by construction

The same seed, end and number give the same bytes. Whatever the hour of `end`, it is 12:40 in this bank: its days are
counted back from there, so that the history always ends in the middle of the noon rush, with people still waiting.
"""

import heapq
from bisect import bisect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count
from random import Random
from typing import Any, NamedTuple

import orjson

DAYS = 182
NOON_RUSH = timedelta(hours=12, minutes=40)
ARRIVALS_BY_HOUR = {8: 3, 9: 6, 10: 7, 11: 10, 12: 22, 13: 14, 14: 7, 15: 6, 16: 5, 17: 3}
HOURS, HOUR_WEIGHTS = tuple(ARRIVALS_BY_HOUR), tuple(accumulate(ARRIVALS_BY_HOUR.values()))
BRANCHES = {
    "Leeds": ("GBP", "uk_disp_standard"),
    "Bristol": ("GBP", "uk_disp_standard"),
    "Pudong": ("CNY", "cn_2020"),
    "Xihu": ("CNY", "cn_2020"),
}
QUEUES = (("phone-general", "phone"), ("phone-cards", "phone"), ("counter", "branch"), ("chat", "app"))
PRODUCTS = ("current_account", "savings", "credit_card", "mortgage", "investment_fund")
REASONS = ("card_blocked", "transfer", "fees", "loan", "password", "closing_account")
ISSUES = ("fee not explained", "transfer delayed", "card charged twice", "wrong advice", "long waiting time")
ONWARD = "You may refer this matter to the ombudsman within six months of this response."


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


@dataclass(slots=True)
class Customer:
    """A customer of the generator. `mood` is 0 (furious) to 1 (delighted)."""

    id: str
    account: str
    branch: str
    product: str
    segment: str
    project_id: str | None
    mood: float
    balance: int

    @property
    def dimensions(self) -> dict[str, Any]:
        """The dimensions as they go into an event; absent ones are left out."""
        known = {"branch": self.branch, "product": self.product, "segment": self.segment}
        return known | ({"project_id": self.project_id} if self.project_id else {})


@dataclass(slots=True)
class Sent:
    """An event and the moment when the channel publishes it, which is later than it happened when the event is late."""

    published_at: datetime
    name: str
    customer: Customer
    event: dict[str, Any]


class Bank:
    """The generator. Use an instance for one run: `expected` is about its last `messages`."""

    def __init__(self, seed: int, *, end: datetime, defects: bool = True) -> None:
        self._seed = seed
        self._end = end.replace(microsecond=0)
        self._defects = defects
        self.expected = Expected()

    def messages(self, events: int) -> Iterator[Message]:
        """Exactly `events` messages, in the order in which they are published."""
        self.expected = Expected(published=events)
        self._random = Random(f"{self._seed}/{events}")
        self._ids = count(1)
        self._sent: list[Sent] = []
        self._extra: list[tuple[datetime, Message]] = []
        if events <= 0:
            self.expected.published = 0
            return
        self._live(events)
        ordered = [(one.published_at, _message(one.name, one.customer, one.event)) for one in self._sent] + self._extra
        ordered.sort(key=lambda pair: pair[0])
        assert len(ordered) == events
        for _, message in ordered:
            yield message

    # --- the half year ---

    def _live(self, events: int) -> None:
        random, shares = self._random, _Shares.of(events, self._defects)
        self._customers = [self._register(number) for number in range(shares.customers)]
        leaving = self._customers[: shares.leaving]
        self._staying = self._customers[shares.leaving :] or self._customers
        self._contacts(shares.contacts)
        for _ in range(shares.complaints):
            self._complaint(random.choice(self._staying))
        for customer in self._staying[: shares.salaries]:
            self._salaries(customer, months=6)
        for customer in leaving:
            self._leave(customer)
        for customer in random.sample(self._staying, len(self._staying) // 10):
            self._consent(customer)
        self._swap(shares.healing)
        while len(self._sent) + len(self._extra) < events - shares.extras:
            customer = random.choice(self._staying)
            self._post(self._moment(random.randrange(DAYS)), customer, "card", -random.randrange(300, 20_000))
        if self._defects:
            self._spoil(shares)

    def _register(self, number: int) -> Customer:
        random = self._random
        project = random.random() < 0.03
        customer = Customer(
            id=f"c-{number:06}",
            account=f"a-{number:06}",
            branch=random.choice(tuple(BRANCHES)),
            product="project_loan" if project else random.choice(PRODUCTS),
            segment="project_finance" if project else random.choice(("mass", "mass", "affluent", "private")),
            project_id=f"p-{number // 60:04}" if project else None,
            mood=random.betavariate(5, 2),
            balance=random.randrange(50_000, 3_000_000),
        )
        since = (self._end - timedelta(days=DAYS + random.randrange(5_000))).date()
        self._send(
            self._end - timedelta(days=DAYS + 1) + timedelta(seconds=number),
            "customer.registered",
            customer,
            {
                **customer.dimensions,
                "kind": "organisation" if project else "person",
                "country": "GB" if BRANCHES[customer.branch][0] == "GBP" else "CN",
                "customer_since": since.isoformat(),
                "products": [customer.product, *random.sample(PRODUCTS, random.randrange(3))],
            },
        )
        return customer

    def _contacts(self, number: int) -> None:
        """Two weeks of contacts, served first come first served by too few agents at noon."""
        random = self._random
        rush = number // 12
        for index, (queue, channel) in enumerate(QUEUES):
            own = number // len(QUEUES) + (index < number % len(QUEUES))
            arrivals = [self._moment(random.randrange(14)) for _ in range(own - rush // len(QUEUES))]
            arrivals += [self._end - timedelta(seconds=random.randrange(2_700)) for _ in range(own - len(arrivals))]
            arrivals = sorted(min(at, self._end - timedelta(seconds=5)) for at in arrivals)
            free = [self._end - timedelta(days=DAYS)] * max(1, round(own / 14 * 11 / 450))
            agents = [f"{queue}-{n + 1}" for n in range(len(free))]
            heap = list(zip(free, agents, strict=True))
            for arrived in arrivals:
                self._serve(arrived, queue, channel, heap)

    def _serve(self, arrived: datetime, queue: str, channel: str, agents: list[tuple[datetime, str]]) -> None:
        random, customer = self._random, self._random.choice(self._staying)
        contact = self._id("k")
        reason = random.choice(REASONS[:-1] if customer.mood > 0.3 else REASONS)
        asked = {"contact_id": contact, "queue": queue, "channel": channel, "reason": reason, **customer.dimensions}
        self._send(arrived, "contact.queued", customer, asked)
        patience = arrived + timedelta(seconds=random.expovariate(1 / 2_400) + 60)
        free, agent = agents[0]
        started = max(free, arrived + timedelta(seconds=random.randrange(3, 20)))
        if started > patience:
            self._send(patience, "contact.abandoned", customer, {"contact_id": contact, "reason": "waited too long"})
            customer.mood *= 0.7
            return
        talk = timedelta(seconds=60 + random.gammavariate(2, 280))
        ended = started + talk
        heapq.heapreplace(agents, (ended, agent))
        self._send(started, "contact.started", customer, {"contact_id": contact, "agent_id": agent})
        if random.random() < 0.06:
            moved = {"contact_id": contact, "to_queue": "specialists", "to_agent": "specialist-1"}
            self._send(started + talk / 2, "contact.transferred", customer, moved)
        resolved = random.random() < 0.85
        end = {"contact_id": contact, "resolved": resolved, "wrap_up_seconds": random.randrange(10, 120)}
        self._send(ended, "contact.ended", customer, end)
        if not resolved:
            customer.mood *= 0.85
        if random.random() < 0.45:
            self._survey(
                ended + timedelta(minutes=5), customer, "ces" if channel == "app" else "csat", contact, channel
            )

    def _survey(self, at: datetime, customer: Customer, metric: str, about: str | None, channel: str) -> None:
        random = self._random
        scale = {"csat": 5, "ces": 7, "nps": 10}[metric]
        invitation = self._id("s")
        asked = {"invitation_id": invitation, "metric": metric, "scale": scale, "channel": channel}
        self._send(at, "survey.invited", customer, asked | ({"about": about} if about else {}) | customer.dimensions)
        later = at + timedelta(minutes=random.randrange(2, 900))
        what = random.random()
        if what < 0.55:
            self._answer(later, customer, invitation, scale, 0 if metric == "nps" else 1)
        elif what < 0.60:
            self._send(later, "survey.declined", customer, {"invitation_id": invitation})
        elif what < 0.63:
            self._send(later, "survey.bounced", customer, {"invitation_id": invitation, "reason": "mailbox full"})

    def _answer(self, at: datetime, customer: Customer, invitation: str, scale: int, lowest: int) -> None:
        felt = lowest + (scale - lowest) * min(1.0, max(0.0, self._random.gauss(customer.mood + 0.1, 0.18)))
        self._send(at, "survey.answered", customer, {"invitation_id": invitation, "score": round(felt)})

    def _complaint(self, customer: Customer, story: str | None = None, opened: datetime | None = None) -> None:
        """One complaint; the events that lie beyond the end have not happened yet, so some are still open."""
        random = self._random
        story = story or random.choice(("solved", "solved", "rejected", "reopened", "extended", "overdue", "withdrawn"))
        age = random.randrange(65, 120) if story == "overdue" else random.randrange(90)
        at = opened or self._moment(age)
        complaint, (currency, regime) = self._id("q"), BRANCHES[customer.branch]
        handler = f"handler-{random.randrange(1, 9)}"

        def step(days: float, name: str, **data: Any) -> None:
            nonlocal at
            at += timedelta(days=days * random.uniform(0.7, 1.3), seconds=30)
            self._send(at, f"complaint.{name}", customer, {"complaint_id": complaint, **data})

        def resolve(days: float, outcome: str) -> None:
            redress = {"redress": {"minor": random.randrange(500, 40_000), "currency": currency}}
            paid = redress if outcome == "upheld" else {}
            step(days, "resolved", outcome=outcome, reasons=f"Investigated: {outcome}.", onward_rights=ONWARD, **paid)

        opening = {
            "channel": random.choice(("app", "branch", "phone", "letter")),
            "regime": regime,
            **customer.dimensions,
        }
        step(0, "opened", **opening, severity=random.randrange(1, 5), issue=random.choice(ISSUES))
        if story == "overdue" and random.random() < 0.5:
            return  # nobody even acknowledged it
        step(1, "acknowledged", by=handler)
        step(1, "assigned", owner=handler, queue=f"complaints-{customer.branch}")
        customer.mood *= 0.8
        if story == "overdue":
            return
        if story == "withdrawn":
            step(3, "withdrawn", reason="solved by the branch")
            return
        if story == "extended":
            step(4, "escalated", reason="complex", to_queue="complaints-head-office")
            provided = {"cn_2020": ["complex_flag"], "uk_disp_standard": []}[regime]
            if provided:
                step(2, "extended", actor="head-office", reason="complex case", provided=provided)
        elif story == "rejected":
            step(2, "waiting", waiting_for="customer")
            step(3, "resumed")
        resolve(5, {"rejected": "rejected", "reopened": "partly_upheld"}.get(story, "upheld"))
        if story == "rejected":
            customer.mood *= 0.5
        if story == "extended" and self._defects and at < self._end - timedelta(days=1):
            # Somebody asks for more time after the final response: that can never apply.
            late = {"complaint_id": complaint, "actor": "head-office", "reason": "asked too late"}
            self._add(at + timedelta(hours=9), "complaint.extended", customer, late)
            self.expected.refused += 1
        if story == "reopened":
            step(4, "reopened", reason="the customer has new documents", new_facts=True)
            customer.mood *= 0.7
            step(1, "assigned", owner="senior-handler")
            resolve(4, "upheld")
        step(2, "closed")
        self._survey(at + timedelta(hours=2), customer, "csat", complaint, "email")

    def _salaries(self, customer: Customer, months: int) -> None:
        pay = self._random.randrange(180_000, 900_000)
        for month in range(months):
            self._post(self._moment(DAYS - 10 - 30 * month), customer, "salary", pay)

    def _leave(self, customer: Customer) -> None:
        """Served badly, paid elsewhere, emptied step by step, closed: what a retention model is to see coming."""
        random = self._random
        gone = random.randrange(-20, 60)  # days before the end on which the account is closed; negative: still to come
        self._salaries(customer, months=3)
        for week in range(5):
            self._post(
                self._moment(gone + 120 - 12 * week), customer, "card", -random.randrange(2_000, 9_000) // (week + 1)
            )
        self._complaint(customer, "rejected", self._moment(gone + 70))
        for survey, mood in enumerate((0.75, 0.45, 0.1)):
            at, invitation = self._moment(gone + 90 - 30 * survey), self._id("s")
            asked = {"invitation_id": invitation, "metric": "nps", "scale": 10, "channel": "email"}
            self._send(at, "survey.invited", customer, asked | customer.dimensions)
            customer.mood = mood
            self._answer(at + timedelta(hours=5), customer, invitation, 10, 0)
        out = -max(customer.balance, 1_000)
        self._post(self._moment(gone + 2), customer, "transfer", out, to_own_account_elsewhere=True)
        self._send(self._moment(gone), "customer.closed", customer, {"reason": "moved to another bank"})

    def _consent(self, customer: Customer) -> None:
        consent = {"purpose": "marketing", "channel": self._random.choice(("email", "phone")), "status": "granted"}
        at = self._moment(self._random.randrange(60, DAYS))
        self._send(at, "customer.consent-changed", customer, consent)
        if customer.mood < 0.6:
            self._send(at + timedelta(days=30), "customer.consent-changed", customer, consent | {"status": "revoked"})

    def _post(self, at: datetime, customer: Customer, kind: str, minor: int, **more: Any) -> None:
        customer.balance += minor
        currency = BRANCHES[customer.branch][0]
        posting = {
            "account_id": customer.account,
            "transaction_id": self._id("t"),
            "booked_on": at.date().isoformat(),
            "amount": {"minor": minor, "currency": currency},
            "kind": kind,
        }
        self._send(at, "transaction.posted", customer, posting | more | customer.dimensions)

    # --- what goes wrong on the way ---

    def _swap(self, number: int) -> None:
        """Let an invitation or an opening be published after what follows it in the same stream: it heals at once."""
        followers = [
            (first, second)
            for first, second in zip(self._sent, self._sent[1:], strict=False)
            if (first.name, second.name) in _PAIRS
            and _about(first) == _about(second)
            and second.published_at < self._end - timedelta(minutes=1)
        ]
        for first, second in self._random.sample(followers, min(number, len(followers))):
            first.published_at = second.published_at + timedelta(seconds=self._random.randrange(1, 20))
            self.expected.healing += 1

    def _spoil(self, shares: "_Shares") -> None:
        random, expected = self._random, self.expected
        good = list(self._sent)
        posted = [one for one in good if one.name == "transaction.posted"]
        for one in random.sample(posted, min(shares.late, len(posted))):
            late = timedelta(days=random.randrange(1, 20), minutes=random.randrange(600))
            one.published_at = min(one.published_at + late, self._end)
            expected.late += 1
        for one in random.choices(good, k=shares.duplicates):
            again = min(one.published_at + timedelta(seconds=random.randrange(90_000)), self._end)
            self._extra.append((again, _message(one.name, one.customer, one.event)))
            expected.duplicates += 1
        for _ in range(shares.refused):
            one = random.choice(good)
            other = one.event | {"time": _rfc3339(self._end + timedelta(seconds=1))}  # same id, other content
            self._extra.append((self._end, _message(one.name, one.customer, other)))
            expected.refused += 1
        for number in range(shares.never):
            name, data = _ORPHANS[number % len(_ORPHANS)]
            lost = dict.fromkeys(list(data)[:1], self._id("lost"))
            self._add(self._moment(random.randrange(1, 20)), name, random.choice(self._customers), data | lost)
            expected.never_healing += 1
        for number in range(shares.malformed):
            one = random.choice(good)
            whole = one.event | {"id": self._id("e")}
            spoilt = _MALFORMED[number % len(_MALFORMED)](whole)
            value = spoilt if isinstance(spoilt, bytes) else orjson.dumps(spoilt)
            self._extra.append((one.published_at, Message(_topic(one.name), one.customer.id, value)))
            expected.malformed += 1

    # --- small things ---

    def _moment(self, days_ago: int) -> datetime:
        """A moment of the working hours, by the rhythm of arrivals; of today only what is past already."""
        random = self._random
        hour = HOURS[min(bisect(HOUR_WEIGHTS, random.random() * HOUR_WEIGHTS[-1]), len(HOURS) - 1)]
        into_day = timedelta(hours=hour, seconds=random.randrange(3_600))
        if days_ago == 0 and into_day >= NOON_RUSH:
            into_day = timedelta(hours=8, seconds=random.randrange(16_000))
        return self._end - NOON_RUSH - timedelta(days=days_ago) + into_day

    def _id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._ids):07}"

    def _event(self, at: datetime, name: str, customer: Customer, data: dict[str, Any]) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": self._id("e"),
            "source": _SOURCES.get(name.partition(".")[0], "/core-banking"),
            "type": f"kehu.{name}.v1",
            "subject": customer.id,
            "time": _rfc3339(at),
            "datacontenttype": "application/json",
            "data": data,
        }

    def _send(self, at: datetime, name: str, customer: Customer, data: dict[str, Any]) -> None:
        """Publish an event when it happens; one beyond the end has not happened yet."""
        if at <= self._end:
            self._sent.append(Sent(at, name, customer, self._event(at, name, customer, data)))

    def _add(self, at: datetime, name: str, customer: Customer, data: dict[str, Any]) -> None:
        """Publish an event that will not apply: it is never repeated, swapped or delayed."""
        self._extra.append((at, _message(name, customer, self._event(at, name, customer, data))))


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


def _message(name: str, customer: Customer, event: dict[str, Any]) -> Message:
    return Message(_topic(name), customer.id, orjson.dumps(event))


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_SOURCES = {"customer": "/crm", "contact": "/call-centre", "complaint": "/complaints-desk", "survey": "/surveys"}
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
