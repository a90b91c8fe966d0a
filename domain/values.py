"""Small values that every aggregate speaks in: identifiers, money, and what comes with each event."""

from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any, NewType, NotRequired, TypedDict, TypeVar, dataclass_transform

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from domain.errors import Refused

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(kind: type[T]) -> type[T]:
    """A dataclass that never changes once it is made: the type checker sees to it.

    At run time nothing does. To guard the fields makes an object four times as expensive, and a message takes eight.
    """
    return dataclass(slots=True, unsafe_hash=True)(kind)


CustomerId = NewType("CustomerId", str)
StreamName = NewType("StreamName", str)
Position = NewType("Position", int)
"""Place of an event in the log: 1, 2, 3 … without gaps, in the order of commits."""

# Bounded, because a channel's mistake must end in a dead letter and not in a table. The pattern admits letters and
# digits of every script and refuses blanks and control characters.
Id = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[\w.:/@+-]+$")]
Label = Annotated[str, StringConstraints(min_length=1, max_length=120)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=4000)]
Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)]
Flag = Annotated[bool, Field(strict=True)]
Moment = Annotated[datetime, Field(description="RFC 3339 time with zone")]
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]


class Frozen(BaseModel):
    """Base of everything a channel sends: immutable, and an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Money(Frozen):
    """An amount in minor units (cents, fen) with its ISO 4217 code; negative when money leaves the account."""

    minor: Annotated[int, Field(strict=True, ge=-(10**15), le=10**15)]
    currency: Currency


class Event(Frozen):
    """Something that happened to one aggregate. What is stored under its registered name and version."""


class Dimensions(Event):
    """The optional dimensions by which every figure can be broken down."""

    branch: Label | None = None
    product: Label | None = None
    segment: Label | None = None
    project_id: Id | None = Field(default=None, description="project-finance customers: the financed project")


class DimensionValues(TypedDict):
    """The dimensions as keyword arguments."""

    branch: NotRequired[str | None]
    product: NotRequired[str | None]
    segment: NotRequired[str | None]
    project_id: NotRequired[str | None]


def dimensions(of: Any) -> DimensionValues:
    """The four dimensions of `of`, to hand them on to a derived event."""
    return {"branch": of.branch, "product": of.product, "segment": of.segment, "project_id": of.project_id}


@value
class Meta:
    """What comes with an event, whatever its type: who reported it, about whom, and when it happened.

    `(source, event_id)` is the identity of the channel's message; `occurred_at` is the channel's time. All events
    that one message led to share its meta.
    """

    event_id: str
    source: str
    customer_id: CustomerId
    occurred_at: datetime
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


@value
class Fact:
    """One validated message of a channel, ready to be decided on."""

    data: Event
    meta: Meta


@value
class Recorded:
    """An event in its stream: `originator_id` and `originator_version` are the store's words for stream and version.

    `position` and `recorded_at` are None until the event has been stored.
    """

    originator_id: str
    originator_version: int
    event: Event
    meta: Meta
    name: str
    position: Position | None = None
    recorded_at: datetime | None = None


def fingerprint(data: Event, at: datetime | None = None) -> str:
    """A digest of what a fact says (and of when it happened), so that a state knows it again without keeping its text.

    Absent and default values do not count, so a new optional field leaves the digests of older facts as they are.
    """
    digest = blake2b(data.__pydantic_serializer__.to_json(data, exclude_defaults=True), digest_size=12)
    if at is not None:
        digest.update(str(at.timestamp()).encode())
    return digest.hexdigest()


class BelongsToAnotherCustomer(Refused):
    """This stream belongs to another customer. Check the subject of the event."""


def require_customer(customer_id: str, fact: Fact) -> None:
    """Refuse a fact about one customer in the stream of another."""
    if fact.meta.customer_id != customer_id:
        raise BelongsToAnotherCustomer(fact.meta.customer_id)
