"""Messages of a webhook: some CloudEvents in one body, with an id that is the same whenever they are sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

EVENTS, BYTES = 100, 256 * 1024
"""Of one message at most; a single event may be larger."""


@dataclass(frozen=True, slots=True)
class Message:
    """A batch of CloudEvents in JSON."""

    id: str
    body: bytes
    keys: Sequence[str]
    """Of the rows that it tells; an empty one for what is about no row."""


def batches(name: str, events: Sequence[tuple[str, bytes]]) -> list[Message]:
    """The messages for events with their keys, in their order."""
    made: list[Message] = []
    keys: list[str] = []
    parts: list[bytes] = []
    size = 0
    for key, event in events:
        if parts and (len(parts) == EVENTS or size + len(event) > BYTES):
            made.append(_message(name, keys, parts))
            keys, parts, size = [], [], 0
        keys.append(key)
        parts.append(event)
        size += len(event)
    return [*made, _message(name, keys, parts)] if parts else made


def _message(name: str, keys: list[str], parts: list[bytes]) -> Message:
    body = b"[" + b",".join(parts) + b"]"
    return Message(f"msg_{blake2b(name.encode() + body, digest_size=16).hexdigest()}", body, tuple(keys))
