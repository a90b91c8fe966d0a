"""The rows of each list, for the OpenAPI document and for the choice of fields.

They are descriptions: the questions make the rows, and `tests/acceptance/test_http_views.py` compares the two.
"""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Fresh(BaseModel):
    """How much of the log a read model shows."""

    position: int = Field(description="Every event up to this one is shown.")
    recorded_at: datetime | None = Field(description="When that event was stored.")
    behind: int = Field(description="Events that are stored and not shown.")
    lag_seconds: float = Field(description="For how long the oldest of these has been stored.")


class _Row(BaseModel):
    model_config = ConfigDict(extra="allow")


class SatisfactionRow(_Row):
    metric: str
    scale: int
    group: dict[str, str | date | None] = Field(description="The value of each dimension that was grouped by.")
    invited: int
    bounced: int
    declined: int
    answered: int
    partial: int
    n: int
    suppressed: bool = Field(description="Too few answers for a score.")
    score: float | None
    low: float | None
    high: float | None
    method: str | None
    mean: float | None
    mean_low: float | None
    mean_high: float | None
    bottom_two: float | None
    bottom_two_low: float | None
    bottom_two_high: float | None
    response: float | None
    response_low: float | None
    response_high: float | None
    partial_rate: float | None
    partial_low: float | None
    partial_high: float | None


class RiskRow(_Row):
    customer_id: str
    band: str
    probability: float | None
    logit: float | None
    score: int | None = Field(description="The logit in scaled points.")
    reasons: list[dict[str, Any]] | None
    scored_at: datetime | None
    next_change_at: datetime | None
    model: str | None = Field(description="The id of the model that scored.")
    branch: str | None
    segment: str | None
    project_id: str | None
    manager_id: str | None
    position: int


class QueueRow(_Row):
    group: str = Field(description="The queue, or the value of what was asked by; '' where an item has none.")
    kind: Literal["contact", "case"]
    open: int
    waiting: int
    age_p50: int | None
    age_p90: int | None
    age_max: int | None
    business_p50: int | None
    business_p90: int | None
    business_max: int | None
    next_statutory_due: datetime | None
    next_service_due: datetime | None
    overdue_statutory: int
    overdue_service: int
    at_risk: int
    inflow_today: int
    outflow_today: int
    inflow_7d: int
    outflow_7d: int
    net_7d: int
    abandoned_7d: int
    reopened_7d: int
    service_level: float | None
    abandonment: float | None
    speed_of_answer: float | None
    handling_time: float | None
    days_of_work: float | None
    reopen_rate: float | None
    first_contact: float | None
    first_contact_final: float | None
    in_time_statutory: float | None
    in_time_service: float | None


class CaseRow(_Row):
    case: str
    state: str
    queue: str
    status: str
    case_type: str | None
    customer_id: str
    owner: str | None
    priority: int | None
    regime: str | None
    opened_at: datetime
    reopened: int
    statutory_due: datetime | None
    service_due: datetime | None
    branch: str | None
    product: str | None
    segment: str | None
    project_id: str | None
    overdue_statutory: bool
    overdue_service: bool
    age_seconds: int


class ListedCaseRow(CaseRow):
    breach: float | None = Field(description="How likely the next deadline is missed, 0..1; where that was asked for.")


class TimelineRow(_Row):
    customer_id: str
    log_position: int
    occurred_at: datetime
    recorded_at: datetime
    type: str
    stream: str
    summary: str
    source: str | None
    event_id: str | None
    project_id: str | None
    channel: str | None
    position: int
    changed_at: datetime


class ProjectionRow(_Row):
    name: str
    version: int
    build: int
    state: str
    position: int
    head: int
    behind: int
    paused: bool
    error: str | None
    updated_at: datetime
    model: str | None = Field(description="The model that scores its rows, where one does.")
    serial: int


class DeadLetterRow(_Row):
    id: int
    topic: str
    topic_id: str
    partition: int
    kafka_offset: int
    kafka_timestamp: int
    rule: str
    detail: str
    stream: str | None
    source: str | None
    event_id: str | None
    died_at: datetime
    published: bool
    replayed_at: datetime | None
    repaired_as: str | None
    remedy: str


class ParkedRow(_Row):
    seq: int
    stream: str
    topic: str
    topic_id: str
    partition: int
    kafka_offset: int
    kafka_timestamp: int
    rule: str
    detail: str
    parked_at: datetime
    next_try_at: datetime | None
    expires_at: datetime
    tries: int
    remedy: str


class WebhookRow(_Row):
    name: str
    view: str
    url: str
    segments: list[str] | None = Field(description="Only rows of these; null for all.")
    state: Literal["active", "failing", "paused"]
    reason: str | None = Field(description="Why it rests.")
    delivered: int = Field(description="Events that it took.")
    delivered_at: datetime | None
    attempts: int = Field(description="That failed since the last one that did not.")
    next_at: datetime | None
    error: str | None
    dead_letters: int
    token: str | None = Field(description="It took everything up to here.")
    added_at: datetime


class WebhookLetterRow(_Row):
    id: int
    webhook: str
    rows: int
    keys: list[str]
    error: str
    attempts: int
    again: bool = Field(description="It is being sent again.")
    given_up_at: datetime


class Receipt(_Row):
    source: str
    id: str
    outcome: Literal["appended", "duplicate", "parked", "dead", "unknown"]
    position: int | None = Field(description="Of the log, where it was appended.")
    stream: str | None
    parked: int | None = Field(description="Its number in the queue in which it waits.")
    rule: str | None = Field(description="What it waits for.")
    dead_letters: list[int]
    topic: str | None
    topic_id: str | None
    partition: int | None
    kafka_offset: int | None


class AccessRow(_Row):
    id: int
    at: datetime
    subject: str
    client: str | None
    method: str
    path: str
    query: str
    purpose: str | None
    customer_id: str | None
    status: int
    position: int | None
    answered_rows: int | None


class ActRow(_Row):
    position: int
    at: datetime
    recorded_at: datetime
    area: str
    act: str
    by: str
    reason: str | None
    what: dict[str, Any] = Field(description="What it was done to: the other fields of the event.")


class ReturnRow(_Row):
    """One version of a return."""

    name: str
    version: int
    effective_from: date
    applies: bool = Field(description="To periods that begin today.")
    own: bool = Field(description="Of the bank, and not of the release.")
    source: str
    note: str
    regimes: list[str] = Field(description="The statutory presets whose cases are counted.")
    calendar: str = Field(description="By whose days.")
    bands: list[dict[str, Any]] = Field(description="Shortest first: `name`, and the end, so many `upto` of a `kind`.")
    states: list[str]


class FigureRow(_Row):
    """Of a measure, all complaints, or those whose `by` has this value."""

    measure: str
    by: str
    value: str
    cases: int | None = Field(description="Null where no event of ours can say it.")
    minor: int | None = Field(description="Redress of the currency, in its minor units.")


class ReturnedRow(_Row):
    """One round of a complaint as it stood at the end of the period."""

    case: str
    round: int
    regime: str
    branch: str | None
    product: str | None
    segment: str | None
    project_id: str | None
    begun_at: datetime
    counted_from: datetime = Field(description="The start of the statutory clock.")
    ended_at: datetime | None
    days: int = Field(description="From then to the answer, or to the end of the period, without excluded ones.")
    band: str
    state: str
    outcome: str | None
    verdict: Literal["met", "missed"] | None
    redress_minor: int | None
    currency: str | None
    outstanding_at_start: bool
    opened: bool
    reopened: bool
    closed: bool
    outstanding_at_end: bool
    begun_position: int | None = Field(description="Of the event that began the round.")
    ended_position: int | None


class ReplayedRow(_Row):
    """A row of any view, with all columns of its table; or with `diff` what became of one."""

    position: int | None = Field(None, description="Of the last event that touched the row.")
    kind: Literal["added", "removed", "changed"] | None = Field(None, description="With `diff`, as what follows.")
    key: dict[str, Any] | None = None
    before: dict[str, Any] | None = Field(None, description="The columns that differ, at the moment asked about.")
    after: dict[str, Any] | None = Field(None, description="The same at the other moment.")
    because: Literal["events", "time"] | None = None
    events_total: int | None = Field(None, description="Events that did it; `events` has the first 20.")
    events: "list[SourceEvent] | None" = None


class SourceEvent(_Row):
    position: int
    stream: str
    name: str
    happened_at: datetime
    recorded_at: datetime
    source: str
    id: str


class ExplainedRiskRow(_Row):
    customer_id: str
    ids: list[str] = Field(description="All that were one then, the survivor first.")
    at: datetime
    position: int
    band: str
    probability: float | None
    logit: float | None = Field(description="The base of the model plus the points of the reasons.")
    score: int | None
    scored_at: datetime | None
    next_change_at: datetime | None
    model: dict[str, Any]
    windows: dict[str, Any]
    reasons: list[dict[str, Any]] = Field(description="With the events behind each of them.")
    events: int = Field(description="How many counted.")
    last_event: SourceEvent


class ExplainedCaseRow(_Row):
    case: str
    customer_id: str
    status: str
    at: datetime
    position: int
    clocks: list[dict[str, Any]]
    explanations: list[dict[str, Any]] = Field(description="Preset, calendar and counted time of each clock.")
    queue_rule: dict[str, Any]
    events: list[SourceEvent]


class ContactRow(_Row):
    contact: str
    queue: str
    status: str
    channel: str | None
    owner: str | None
    opened_at: datetime
    waiting_since: datetime | None
    customer_id: str
    age_seconds: int


class ProfileField(_Row):
    value: Any
    event: str = Field(description="The source and the id of the event that set it.")
    position: int
    occurred_at: datetime
    customer_id: str
    others: list[dict[str, Any]] = Field(description="What the other ids have instead.")


class Service(_Row):
    open_cases: int
    overdue: int
    at_risk: int
    next_due: datetime | None
    contacts_waiting: int
    contacts_active: int


class Scores(_Row):
    retention: RiskRow | None = Field(description="Of one who is merged: of all events, as those of one.")
    retention_of_each: list[RiskRow] = Field(description="Of each id, where there are several.")
    satisfaction: list[dict[str, Any]] = Field(description="The last answer for each metric.")
    service: Service


class CustomerRow(_Row):
    customer_id: str = Field(description="As it was asked for.")
    survivor: str = Field(description="The id into which the others were merged; the same where nobody was.")
    ids: list[str] = Field(description="All that are one, the survivor first.")
    merges: list[dict[str, Any]]
    restrictions: list[dict[str, Any]] = Field(
        description="Of those who asked to be forgotten: until when they must be kept, and on which basis."
    )
    erased: list[dict[str, Any]] = Field(
        description="Those of them who were forgotten, with when, and the position of `customer.erased`. They have no"
        " profile and no score, as of an earlier moment neither."
    )
    conflicts: list[dict[str, Any]] = Field(description="Strong ids that differ among them.")
    profile: dict[str, ProfileField]
    consents: list[dict[str, Any]]
    projects: list[dict[str, Any]]
    scores: Scores
    cases: list[CaseRow]
    contacts: list[ContactRow]
