"""Small values that every aggregate speaks in: identifiers, money, and what comes with each event."""

from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Any, ClassVar, Literal, NewType, NotRequired, TypedDict, dataclass_transform, get_origin

from msgspec import Meta as Says
from msgspec import Struct, StructMeta, field, json, structs

from domain.errors import Refused


class _Kind(StructMeta):
    """How all values are made: frozen, and not looked at by the garbage collector, since none of them holds itself."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **given: Any) -> "_Kind":
        return super().__new__(mcls, name, bases, namespace, **{"frozen": True, "gc": False, **given})


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
class Value(Struct, metaclass=_Kind, frozen=True):
    """A value: equal when its fields are equal, and never changed. `msgspec.structs.replace` makes another."""


CustomerId = NewType("CustomerId", str)
StreamName = NewType("StreamName", str)
BANK = CustomerId("kehu:bank")
"""The subject of what the bank does itself and that is about no customer. No customer may have it (docs/adr/0014)."""
Position = NewType("Position", int)
"""Place of an event in the log: 1, 2, 3 … without gaps, in the order of commits."""

# Bounded, because a channel's mistake must end in a dead letter and not in a table. The pattern admits letters and
# digits of every script and refuses blanks and control characters. A pattern costs more to match than all the rest of
# an id, so the class does not know it; whoever reads what a channel sent asks `domain.contracts`.
Id = Annotated[str, Says(min_length=1, max_length=64, extra={"pattern": r"^[\w.:/@+-]+$"})]
Label = Annotated[str, Says(min_length=1, max_length=120)]
Text = Annotated[str, Says(min_length=1, max_length=4000)]
Count = Annotated[int, Says(ge=0, le=1_000_000_000)]
Flag = bool
Moment = Annotated[datetime, Says(tz=True)]
"""A time with its zone."""
Currency = Annotated[str, Says(pattern=r"^[A-Z]{3}\Z")]
Country = Annotated[str, Says(pattern=r"^[A-Z]{2}\Z")]


class _EventKind(_Kind):
    """How events are made, as `_Kind` and more: fields by name only, and an unknown field is an error."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **given: Any) -> "_EventKind":
        how = {"kw_only": True, "forbid_unknown_fields": True, "omit_defaults": True, **given}
        return super().__new__(mcls, name, bases, namespace, **how)  # type: ignore[return-value]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
class Frozen(Struct, metaclass=_EventKind, frozen=True, kw_only=True):
    """Base of everything a channel sends: immutable, and an unknown field is an error."""


class Money(Frozen):
    """An amount in minor units (cents, fen) with its ISO 4217 code; negative when money leaves the account."""

    minor: Annotated[int, Says(ge=-(10**15), le=10**15)]
    currency: Currency


class Event(Frozen):
    """Something that happened to one aggregate. What is stored under its registered name and version."""

    has_dimensions: ClassVar[bool] = False


class Dimensions(Event):
    """The optional dimensions by which every figure can be broken down."""

    has_dimensions: ClassVar[bool] = True
    branch: Label | None = None
    product: Label | None = None
    segment: Label | None = None
    project_id: Annotated[Id | None, Says(description="project-finance customers: the financed project")] = None


class DimensionValues(TypedDict):
    """The dimensions as keyword arguments."""

    branch: NotRequired[str | None]
    product: NotRequired[str | None]
    segment: NotRequired[str | None]
    project_id: NotRequired[str | None]


def dimensions(of: Any) -> DimensionValues:
    """The four dimensions of `of`, to hand them on to a derived event."""
    return {"branch": of.branch, "product": of.product, "segment": of.segment, "project_id": of.project_id}


class Meta(Value, rename={"event_id": "id", "customer_id": "customer", "occurred_at": "at"}, omit_defaults=True):
    """What comes with an event, whatever its type: who reported it, about whom, and when it happened.

    `(source, event_id)` is the identity of the channel's message; `occurred_at` is the channel's time. All events
    that one message led to share its meta. The other names are those under which it is stored.
    """

    event_id: str
    source: str
    customer_id: CustomerId
    occurred_at: datetime
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


class Fact(Value):
    """One validated message of a channel, ready to be decided on."""

    data: Event
    meta: Meta


class Recorded(Value):
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


_encode = json.Encoder().encode
_TEXT_DEFAULTS: dict[type[Event], tuple[tuple[str, str], ...]] = {}


def to_json(event: Event) -> bytes:
    """What an event says, as JSON; values that equal their default are left out.

    So a field that is added later changes nothing of what was said before, and a changed default is a new version.
    """
    return _encode(encodable(event))


def encodable(event: Event) -> Event:
    """The event with its defaults as its class has them, so that msgspec leaves them out when it encodes it."""
    kind = type(event)
    defaults = _TEXT_DEFAULTS.get(kind)
    if defaults is None:
        defaults = _TEXT_DEFAULTS[kind] = tuple(
            (one.name, one.default)
            for one in structs.fields(kind)
            if isinstance(one.default, str) and get_origin(one.type) is not Literal
        )
    for name, default in defaults:
        # The encoder knows a default by its identity, and a text that was read is another one (a code is not).
        if getattr(event, name) == default:
            event = structs.replace(event, **{name: default})
    return event


def fingerprint(data: Event, at: datetime | None = None) -> str:
    """A digest of what a fact says (and of when it happened), so that a state knows it again without keeping its text.

    Absent and default values do not count, so a new optional field leaves the digests of older facts as they are.
    """
    digest = blake2b(to_json(data), digest_size=12)
    if at is not None:
        digest.update(str(at.timestamp()).encode())
    return digest.hexdigest()


class BelongsToAnotherCustomer(Refused):
    """This stream belongs to another customer. Check the subject of the event."""


def require_customer(customer_id: str, fact: Fact) -> None:
    """Refuse a fact about one customer in the stream of another."""
    if fact.meta.customer_id != customer_id:
        raise BelongsToAnotherCustomer(fact.meta.customer_id)
