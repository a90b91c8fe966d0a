"""The usual message, read in one step from its bytes: structured mode, the attributes we know, data by contract.

What is read here reads the same in `infra.kafka.codec`, which takes everything else and tells what is wrong with it. A
property holds the two together (tests/contract/test_envelopes.py), since this one is several times faster and no judge.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta as Says

from domain import handling, registry
from domain.contracts import REFUSED, USUAL, has_usual_ids
from domain.ports import Message
from domain.values import CustomerId, Event, Fact, Id, Meta
from infra.kafka.limits import Limits
from infra.kafka.topics import topic_of

STRUCTURED = "application/cloudevents+json"
USUAL_HEADERS = ((), (("content-type", STRUCTURED.encode()),))
"""Headers of a message that is read here."""
Attribute = Annotated[str, Says(min_length=1, max_length=256)]


class Envelope(msgspec.Struct, frozen=True, gc=False, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """A CloudEvent without its data; each published type has a class of its own, with the data."""

    specversion: Literal["1.0"]
    id: Attribute
    source: Attribute
    subject: Id
    time: Annotated[str, Says(max_length=40)]
    datacontenttype: Literal["application/json"] | None = None
    dataschema: Attribute | None = None
    correlationid: Attribute | None = None
    causationid: Attribute | None = None
    traceparent: Attribute | None = None


def read(message: Message, now: datetime, limits: Limits) -> Fact | None:
    """The fact in a message; None for one that must be looked at more closely."""
    value = message.value
    if value is None or len(value) > limits.value_bytes or message.headers not in USUAL_HEADERS or b"\\u0000" in value:
        return None
    decode, topics = kinds()
    try:
        said = decode(value)
        at = datetime.fromisoformat(said.time)
    except (*REFUSED, ValueError):
        return None
    if topics[type(said)] != message.partition.topic or said.subject.encode() != message.key:
        return None
    if at.tzinfo is not UTC and not has_usual_offset(at):
        return None
    if said.subject.strip(USUAL) or not has_usual_ids(said.data):
        return None
    if not limits.earliest <= at <= now + limits.ahead:
        return None
    meta = Meta(
        said.id, said.source, CustomerId(said.subject), at, said.correlationid, said.causationid, said.traceparent
    )
    return Fact(said.data, meta)


def has_usual_offset(at: datetime) -> bool:
    """Whether a time has an offset, of whole minutes: RFC 3339 knows no other, and none could be written down."""
    offset = at.utcoffset()
    return offset is not None and not (offset.seconds % 60 or offset.microseconds)


class _Read(Envelope, frozen=True, tag="read"):
    """What `decode` returns, for the type checker."""

    data: Event


@cache
def kinds() -> tuple[Callable[[bytes], _Read], Mapping[type, str]]:
    """What decodes the newest version of each published type, and the topic of each class of envelope."""
    assert handling.AGGREGATES  # the aggregates register their events when they are imported
    topics: dict[Any, str] = {
        msgspec.defstruct(
            r.event.__name__,
            [("data", r.event)],
            bases=(Envelope,),
            tag_field="type",
            tag=r.type,
            frozen=True,
            gc=False,
            kw_only=True,
            forbid_unknown_fields=True,
        ): topic_of(r.name)
        for r in registry.all_registrations()
        if r.published
    }
    union: Any = msgspec.json.Decoder(_either(list(topics)))
    return union.decode, topics


def _either(kinds: list[Any]) -> Any:
    union = kinds[0]
    for kind in kinds[1:]:
        union |= kind
    return union
