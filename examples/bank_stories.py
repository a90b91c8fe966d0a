"""What happens in the example bank: its customers, and the stories of half a year that become events.

A story says when each of its events happens; what lies beyond the end has not happened yet.
"""

import heapq
from bisect import bisect
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count
from random import Random
from typing import Any

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
SOURCES = {"customer": "/crm", "contact": "/call-centre", "complaint": "/complaints-desk", "survey": "/surveys"}


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


class Stories:
    """What has happened by the end, in `sent`, and in `refused` what somebody asked for although it can never apply."""

    def __init__(self, random: Random, *, end: datetime, defects: bool) -> None:
        self.random = random
        self._end = end
        self._defects = defects
        self._ids = count(1)
        self.sent: list[Sent] = []
        self.refused: list[Sent] = []
        self.staying: list[Customer] = []
        """The customers to whom things happen, whoever is leaving left out."""

    def register(self, number: int) -> Customer:
        """A customer comes, before the half year begins."""
        random = self.random
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

    def contacts(self, number: int) -> None:
        """Two weeks of contacts, served first come first served by too few agents at noon."""
        random = self.random
        rush = number // 12
        for index, (queue, channel) in enumerate(QUEUES):
            own = number // len(QUEUES) + (index < number % len(QUEUES))
            arrivals = [self.moment(random.randrange(14)) for _ in range(own - rush // len(QUEUES))]
            arrivals += [self._end - timedelta(seconds=random.randrange(2_700)) for _ in range(own - len(arrivals))]
            arrivals = sorted(min(at, self._end - timedelta(seconds=5)) for at in arrivals)
            free = [self._end - timedelta(days=DAYS)] * max(1, round(own / 14 * 11 / 450))
            agents = [f"{queue}-{n + 1}" for n in range(len(free))]
            heap = list(zip(free, agents, strict=True))
            for arrived in arrivals:
                self._serve(arrived, queue, channel, heap)

    def _serve(self, arrived: datetime, queue: str, channel: str, agents: list[tuple[datetime, str]]) -> None:
        random, customer = self.random, self.random.choice(self.staying)
        contact = self.new_id("k")
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
        random = self.random
        scale = {"csat": 5, "ces": 7, "nps": 10}[metric]
        invitation = self.new_id("s")
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
        felt = lowest + (scale - lowest) * min(1.0, max(0.0, self.random.gauss(customer.mood + 0.1, 0.18)))
        self._send(at, "survey.answered", customer, {"invitation_id": invitation, "score": round(felt)})

    def complaint(self, customer: Customer, story: str | None = None, opened: datetime | None = None) -> None:
        """One complaint; the events that lie beyond the end have not happened yet, so some are still open."""
        random = self.random
        story = story or random.choice(("solved", "solved", "rejected", "reopened", "extended", "overdue", "withdrawn"))
        age = random.randrange(65, 120) if story == "overdue" else random.randrange(90)
        at = opened or self.moment(age)
        complaint, (currency, regime) = self.new_id("q"), BRANCHES[customer.branch]
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
            self.refused.append(self.happening(at + timedelta(hours=9), "complaint.extended", customer, late))
        if story == "reopened":
            step(4, "reopened", reason="the customer has new documents", new_facts=True)
            customer.mood *= 0.7
            step(1, "assigned", owner="senior-handler")
            resolve(4, "upheld")
        step(2, "closed")
        self._survey(at + timedelta(hours=2), customer, "csat", complaint, "email")

    def salaries(self, customer: Customer, months: int) -> None:
        """Money comes in each month."""
        pay = self.random.randrange(180_000, 900_000)
        for month in range(months):
            self.post(self.moment(DAYS - 10 - 30 * month), customer, "salary", pay)

    def leave(self, customer: Customer) -> None:
        """Served badly, paid elsewhere, emptied step by step, closed: what a retention model is to see coming."""
        random = self.random
        gone = random.randrange(-20, 60)  # days before the end on which the account is closed; negative: still to come
        self.salaries(customer, months=3)
        for week in range(5):
            self.post(
                self.moment(gone + 120 - 12 * week), customer, "card", -random.randrange(2_000, 9_000) // (week + 1)
            )
        self.complaint(customer, "rejected", self.moment(gone + 70))
        for survey, mood in enumerate((0.75, 0.45, 0.1)):
            at, invitation = self.moment(gone + 90 - 30 * survey), self.new_id("s")
            asked = {"invitation_id": invitation, "metric": "nps", "scale": 10, "channel": "email"}
            self._send(at, "survey.invited", customer, asked | customer.dimensions)
            customer.mood = mood
            self._answer(at + timedelta(hours=5), customer, invitation, 10, 0)
        out = -max(customer.balance, 1_000)
        self.post(self.moment(gone + 2), customer, "transfer", out, to_own_account_elsewhere=True)
        self._send(self.moment(gone), "customer.closed", customer, {"reason": "moved to another bank"})

    def consent(self, customer: Customer) -> None:
        """A customer agrees to marketing, and some take it back."""
        consent = {"purpose": "marketing", "channel": self.random.choice(("email", "phone")), "status": "granted"}
        at = self.moment(self.random.randrange(60, DAYS))
        self._send(at, "customer.consent-changed", customer, consent)
        if customer.mood < 0.6:
            self._send(at + timedelta(days=30), "customer.consent-changed", customer, consent | {"status": "revoked"})

    def post(self, at: datetime, customer: Customer, kind: str, minor: int, **more: Any) -> None:
        """Money moves."""
        customer.balance += minor
        currency = BRANCHES[customer.branch][0]
        posting = {
            "account_id": customer.account,
            "transaction_id": self.new_id("t"),
            "booked_on": at.date().isoformat(),
            "amount": {"minor": minor, "currency": currency},
            "kind": kind,
        }
        self._send(at, "transaction.posted", customer, posting | more | customer.dimensions)

    # --- small things ---

    def moment(self, days_ago: int) -> datetime:
        """A moment of the working hours, by the rhythm of arrivals; of today only what is past already."""
        random = self.random
        hour = HOURS[min(bisect(HOUR_WEIGHTS, random.random() * HOUR_WEIGHTS[-1]), len(HOURS) - 1)]
        into_day = timedelta(hours=hour, seconds=random.randrange(3_600))
        if days_ago == 0 and into_day >= NOON_RUSH:
            into_day = timedelta(hours=8, seconds=random.randrange(16_000))
        return self._end - NOON_RUSH - timedelta(days=days_ago) + into_day

    def new_id(self, prefix: str) -> str:
        """The next id of a kind."""
        return f"{prefix}-{next(self._ids):07}"

    def happening(self, at: datetime, name: str, customer: Customer, data: dict[str, Any]) -> Sent:
        """An event that is published when it happens."""
        event = {
            "specversion": "1.0",
            "id": self.new_id("e"),
            "source": SOURCES.get(name.partition(".")[0], "/core-banking"),
            "type": f"kehu.{name}.v1",
            "subject": customer.id,
            "time": rfc3339(at),
            "datacontenttype": "application/json",
            "data": data,
        }
        return Sent(at, name, customer, event)

    def _send(self, at: datetime, name: str, customer: Customer, data: dict[str, Any]) -> None:
        """It happens, unless it lies beyond the end."""
        if at <= self._end:
            self.sent.append(self.happening(at, name, customer, data))


def rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
