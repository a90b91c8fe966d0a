"""The rows of each list, for the OpenAPI document and for the choice of fields.

They are descriptions: the questions make the rows, and `tests/integration/test_http_views.py` compares the two.
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
    mean: float | None
    method: str | None
    response: float | None


class RiskRow(_Row):
    customer_id: str
    band: str
    probability: float | None
    logit: float | None
    reasons: list[dict[str, Any]] | None
    scored_at: datetime | None
    next_change_at: datetime | None
    branch: str | None
    segment: str | None
    project_id: str | None
    manager_id: str | None
    position: int


class QueueRow(_Row):
    queue: str
    kind: Literal["contact", "case"]
    open: int
    waiting: int
    age_p50: int | None
    age_p90: int | None
    age_max: int | None
    next_statutory_due: datetime | None
    next_service_due: datetime | None
    overdue_statutory: int
    overdue_service: int
    at_risk: int
    inflow_today: int
    outflow_today: int
    inflow_7d: int
    outflow_7d: int
    abandoned_7d: int
    reopened_7d: int
    service_level: float | None
    speed_of_answer: float | None
    handling_time: float | None
    days_of_work: float | None


class CaseRow(_Row):
    case: str
    state: str
    queue: str
    status: str
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


class CustomerRow(_Row):
    customer_id: str
    risk: RiskRow | None
    cases: list[CaseRow]
