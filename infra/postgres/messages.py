"""Messages and snapshots as they are kept: what may hold personal data is encrypted under the key of its customer.

Of a message that waits or died these are the value and the values of its headers. Its key is the customer's id; where
it is none, or what cannot be read is about another than its key says, the key is hidden, too, and all of it is under
the key of the system, since nobody knows whom it is about.
"""

from collections.abc import Mapping
from re import compile as pattern

from msgspec import msgpack
from msgspec.structs import replace

from domain import customer
from domain.ports import Batch, Conflict, DeadLetter, Message, Parked, Snapshot
from infra.boxes import box, opened
from infra.postgres.data_keys import SYSTEM, Keys
from infra.postgres.naming import subjects_of

PLACE_COLUMNS = "topic, topic_id, partition, kafka_offset, kafka_timestamp"
"""Where a message came from."""
SAID_COLUMNS = "key, value, header_names, header_values, hidden_for"
"""What it says, and under whose key it is hidden."""
MESSAGE_COLUMNS = f"{PLACE_COLUMNS}, {SAID_COLUMNS}"
"""The columns of a whole message, in `kehu.parked` as in `kehu.dead_letters`."""
_CUSTOMER = pattern(rb"[\w.:/@+-]{1,64}")
_Headers = tuple[bytes | None, ...]
_decode = msgpack.Decoder(tuple[bytes | None, bytes | None, _Headers]).decode


def subject(of: Parked | DeadLetter) -> str:
    """Under whose key a message is hidden."""
    key = of.message.key
    if key is None or not key.isascii() or not _CUSTOMER.fullmatch(key):
        return SYSTEM
    # What has a stream was read: its key is the customer it is about.
    unread = isinstance(of, DeadLetter) and not of.stream
    return SYSTEM if unread and subjects_of(of.message) - {key} else key.decode("ascii")


def subjects(batch: Batch) -> set[str]:
    """All customers under whose keys something of a batch is hidden, beside its events."""
    kept: list[Parked | DeadLetter] = [*batch.park, *batch.dead]
    return {subject(one) for one in kept} | {
        whose for one in batch.snapshots if (whose := snapshot_subject(one)) is not None
    }


def hidden(of: Parked | DeadLetter, keys: Keys) -> tuple[Message, str]:
    """A message as it is kept, and under whose key; of somebody who was forgotten nothing is left."""
    whose, message = subject(of), of.message
    key = keys[whose]
    headers = tuple((name, None) for name, _ in message.headers)
    shown = message.key if whose != SYSTEM else None
    if key is None:
        return replace(message, key=shown, value=None, headers=headers), whose
    values = tuple(value for _, value in message.headers)
    plain = msgpack.encode((None if shown is not None else message.key, message.value, values))
    return replace(message, key=shown, value=box(key, plain, _place(message)), headers=headers), whose


def shown(message: Message, whose: str | None, keys: Keys) -> Message:
    """A message as it came. Where its key was destroyed or is not known, what it says is missing. Raises NotOpened."""
    if whose is None or message.value is None:
        return message
    key = keys.get(whose)
    if key is None:
        return replace(message, value=None)
    own, value, values = _decode(opened(key, message.value, _place(message)))
    headers = tuple((name, said) for (name, _), said in zip(message.headers, values, strict=True))
    return replace(message, key=message.key if own is None else own, value=value, headers=headers)


def snapshot_subject(snapshot: Snapshot) -> str | None:
    """Under whose key a snapshot is hidden; None for one without personal data."""
    prefix = customer.stream_name("")
    return snapshot.stream.removeprefix(prefix) if snapshot.stream.startswith(prefix) else None


def hidden_snapshot(snapshot: Snapshot, keys: Keys) -> tuple[bytes, str | None] | None:
    """The state of a snapshot as it is kept, and under whose key; None when nothing may be kept."""
    whose = snapshot_subject(snapshot)
    if whose is None:
        return snapshot.state, None
    key = keys[whose]
    return None if key is None else (box(key, snapshot.state, _place_of(snapshot)), whose)


def opened_snapshots(snapshots: Mapping[str, Snapshot], whose: Mapping[str, str], keys: Keys) -> Mapping[str, Snapshot]:
    """Those that are hidden, by stream, as they were. Raises NotOpened; Conflict when a key was destroyed since."""
    found = {}
    for stream, customer_id in whose.items():
        key, one = keys[customer_id], snapshots[stream]
        if key is None:
            raise Conflict(f"{customer_id} was forgotten, with what was remembered of them, while it was loaded")
        found[stream] = replace(one, state=opened(key, one.state, _place_of(one)))
    return found


def _place(message: Message) -> bytes:
    partition = message.partition
    return f"message\0{partition.topic_id}\0{partition.number}\0{message.offset}".encode()


def _place_of(snapshot: Snapshot) -> bytes:
    return f"snapshot\0{snapshot.stream}\0{snapshot.version}\0{snapshot.kind}".encode()
