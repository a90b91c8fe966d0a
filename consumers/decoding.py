"""A batch of messages on its way to a decision: as they came, or decoded already."""

from collections.abc import Callable, Mapping, Sequence

from domain.ports import Message, Partition
from domain.values import Fact, Value
from infra.errors import Unreadable


class Decoded(Value):
    """A readable message: its fact, its identity in the inbox, the digest of its content, and its stream."""

    message: Message
    fact: Fact
    identity: bytes
    content: bytes
    stream: str


class Refusal(Value):
    """A message that cannot be read, and why."""

    message: Message
    error: Unreadable


Decode = Callable[[Message], Decoded]
"""Raises Unreadable for a message that cannot be read."""

One = Decoded | Refusal
Read = Mapping[Partition, Sequence[One]]
"""One batch that was read: the messages of each partition in order."""
Fetched = Mapping[Partition, Sequence[One] | Sequence[Message]]
"""One batch that was fetched: the messages of each partition in order, all of them read or all as they came."""


def read(decode: Decode, messages: Sequence[One] | Sequence[Message]) -> Sequence[One]:
    """The messages of one partition, read by now."""
    return [read_one(decode, one) if isinstance(one, Message) else one for one in messages]


def read_one(decode: Decode, message: Message) -> One:
    """A message, decoded if it can be."""
    try:
        return decode(message)
    except Unreadable as error:
        return Refusal(message, error)


def message_of(one: One | Message) -> Message:
    """The message itself."""
    return one if isinstance(one, Message) else one.message


def oldest(batch: Fetched) -> Mapping[str, int]:
    """Topic -> timestamp (ms) of the oldest message of a batch, taken for the first of each partition."""
    found: dict[str, int] = {}
    for partition, messages in batch.items():
        at = message_of(messages[0]).timestamp_ms
        found[partition.topic] = min(at, found.get(partition.topic, at))
    return found
