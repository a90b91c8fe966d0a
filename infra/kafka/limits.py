"""What a message may be at most, looked at in its bytes before anything is parsed. Most messages cost two counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from re import compile as pattern

from infra.errors import Unreadable


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may be at most, and of which times its event may tell."""

    value_bytes: int = 1024 * 1024
    headers: int = 64
    header_bytes: int = 16 * 1024
    """Names and values of all headers together."""
    nesting: int = 32
    """Objects and arrays within each other."""
    digits: int = 40
    """Digits of one number."""
    ahead: timedelta = timedelta(hours=24)
    """How far an event's time may be ahead of now."""
    earliest: datetime = datetime(1900, 1, 1, tzinfo=UTC)


DEFAULT = Limits()
Headers = Sequence[tuple[str, bytes | None]]
REPLAYED = "kehu-dead-letter"
"""The header of a message that was published again: the id of its dead letter."""
_STRING = pattern(rb'"(?:[^"\\]|\\.)*+"?')
_MARKS = pattern(rb"[\[\]{}]")
_ZEROS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
"""Every digit as 0, and everything else as a blank."""


def check_size(value: bytes, headers: Headers, limits: Limits) -> None:
    """Raises Unreadable for what is larger than it may be. The header that a replay adds does not count."""
    if len(value) > limits.value_bytes:
        raise Unreadable("too-large", f"{len(value)} bytes, at most {limits.value_bytes} are accepted")
    if len(headers) > limits.headers and (number := len(_from_others(headers))) > limits.headers:
        raise Unreadable("too-many-headers", f"{number} headers, at most {limits.headers} are accepted")
    if _bytes(headers) > limits.header_bytes and (told := _bytes(_from_others(headers))) > limits.header_bytes:
        raise Unreadable("headers-too-large", f"{told} bytes of headers, at most {limits.header_bytes} are accepted")


def _bytes(headers: Headers) -> int:
    told = 0
    for name, content in headers:
        told += len(name) + len(content or b"")
    return told


def _from_others(headers: Headers) -> Headers:
    """Without what a replay added at the end; nothing else can hide behind its name, and nothing long."""
    name, content = headers[-1]
    return headers[:-1] if name == REPLAYED and len(content or b"") <= 20 else headers


def check_shape(value: bytes, limits: Limits) -> None:
    """Raises Unreadable for JSON that is nested too deeply or holds a number with too many digits."""
    if value.count(b"{") + value.count(b"[") > limits.nesting and _depth(value) > limits.nesting:
        raise Unreadable("too-deep", f"nested more than {limits.nesting} deep: send the fields of the schema only")
    if len(value) > limits.digits:
        long = b"0" * (limits.digits + 1)
        if long in value.translate(_ZEROS) and long in _STRING.sub(b" ", value).translate(_ZEROS):
            raise Unreadable("number-too-long", f"a number has more than {limits.digits} digits")


def _depth(value: bytes) -> int:
    """How deep objects and arrays are nested outside of strings."""
    depth = deepest = 0
    for mark in _MARKS.findall(_STRING.sub(b"", value)):
        depth += 1 if mark in b"{[" else -1
        deepest = max(deepest, depth)
    return deepest
