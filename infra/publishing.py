"""Events that are looked at before they are published: what no worker would accept does not go out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import orjson

from domain.ports import Message, Partition
from domain.values import Meta
from infra.errors import Unreadable
from infra.kafka import codec
from infra.kafka.limits import DEFAULT, Limits

Headers = Sequence[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Checked:
    """A message for a topic, and who sent it."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers
    meta: Meta


def checked(value: bytes, now: datetime, limits: Limits = DEFAULT, headers: Headers = ()) -> Checked:
    """A CloudEvent with its topic and key: in JSON, or with headers `ce_…` its data. Raises Unreadable when no worker
    would accept it.
    """
    kind, subject = _binary(headers) if any(name == "ce_type" for name, _ in headers) else _structured(value)
    known = codec.readable().get(kind)
    topic, key = known[2] if known else "", subject.encode(errors="replace")
    fact = codec.decode(Message(Partition(topic, "", 0), 0, 0, key, value, tuple(headers)), now, limits)
    return Checked(topic, key, value, headers, fact.meta)


def _structured(value: bytes) -> tuple[str, str]:
    try:
        said = orjson.loads(value)
        return str(said["type"]), str(said["subject"])
    except (orjson.JSONDecodeError, TypeError) as error:
        raise Unreadable("bad-json", f"not one CloudEvent as a JSON object: {error}") from None
    except KeyError as error:
        raise Unreadable("bad-envelope", f"the attribute {error} is missing") from None


def _binary(headers: Headers) -> tuple[str, str]:
    said = {name: (content or b"").decode(errors="replace") for name, content in headers}
    if "ce_subject" not in said:
        raise Unreadable("bad-envelope", "the attribute 'subject' is missing")
    return said["ce_type"], said["ce_subject"]
