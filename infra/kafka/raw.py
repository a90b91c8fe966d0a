"""Messages as they lie on the broker, for what the client cannot read: for one odd header it gives up on a partition.

It reads names of headers as UTF-8. Here one that is not has its other bytes written out: `x-\\xff`. What fails its
checksum is damaged and read by nobody; `kehu dead-letters skip-unreadable` keeps its bytes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.codec import gzip_decode, lz4_decode, snappy_decode, zstd_decode
from aiokafka.errors import KafkaError, NotLeaderForPartitionError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.util import calc_crc32c, decode_varint
from aiokafka.structs import ConsumerRecord

from infra.errors import KehuError
from infra.kafka import security

HEADER = struct.Struct(">qiibIhiqqqhii")
"""First offset, length, epoch, magic, checksum, attributes, last offset, times, producer and its epoch, sequence, n."""
BEFORE_LENGTH, BEFORE_ATTRIBUTES = 12, 21
MAGIC = 2
CODECS = {1: gzip_decode, 2: snappy_decode, 3: lz4_decode, 4: zstd_decode}
LOG_APPEND_TIME, TRANSACTIONAL, CONTROL = 8, 16, 32
AT_ONCE = 4 * 1024 * 1024
"""Bytes that are asked for at once; the broker gives more where one batch is larger."""


class Damaged(KehuError):
    """The batch is not as its producer sent it. `kehu dead-letters skip-unreadable` gets past it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of messages with offsets from `first` on to before `following`."""

    data: bytes
    first: int
    following: int
    attributes: int
    producer: int

    def records(self, tp: TopicPartition) -> "list[ConsumerRecord[bytes, bytes]]":
        """Its messages; raises Damaged when they cannot be told apart."""
        _, _, _, magic, checksum, _, _, began, ended, *_, number = HEADER.unpack_from(self.data)
        if magic != MAGIC or calc_crc32c(self.data[BEFORE_ATTRIBUTES:]) != checksum:
            raise Damaged(f"{tp.topic}[{tp.partition}] at {self.first}: the checksum is wrong")
        body = self.data[HEADER.size :]
        try:
            if codec := self.attributes & 7:
                body = CODECS[codec](body)
            time = ended if self.attributes & LOG_APPEND_TIME else None
            return list(_records(tp, bytearray(body), number, self.first, began, time))
        except Exception as error:
            raise Damaged(f"{tp.topic}[{tp.partition}] at {self.first}: {type(error).__name__}: {error}") from error


async def read(bootstrap: str, tp: TopicPartition, offset: int) -> "list[ConsumerRecord[bytes, bytes]]":
    """Messages from an offset on, at least one; those of aborted transactions are left out.

    Raises Damaged when the first batch is, or has nothing for us, and KafkaError when the broker does not answer.
    """
    data, aborted = await _fetch(bootstrap, tp, offset)
    found: list[ConsumerRecord[bytes, bytes]] = []
    for batch in _batches(data):
        if batch.attributes & CONTROL:
            continue
        if batch.attributes & TRANSACTIONAL and batch.producer in aborted:
            break  # the client knows what to leave out
        try:
            found += [one for one in batch.records(tp) if one.offset >= offset]
        except Damaged:
            if not found:
                raise
            break
    if not found:
        raise Damaged(f"{tp.topic}[{tp.partition}] at {offset}: nothing can be read")
    return found


async def batch_at(bootstrap: str, tp: TopicPartition, offset: int) -> Batch | None:
    """The batch that holds this offset, readable or not; None when the broker has none."""
    data, _ = await _fetch(bootstrap, tp, offset)
    return next((batch for batch in _batches(data) if batch.following > offset), None)


async def _fetch(bootstrap: str, tp: TopicPartition, offset: int) -> tuple[bytes, set[int]]:
    """What the broker holds from the batch with this offset on, and the producers who took something of it back."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap, client_id="kehu-raw", **security.options())
    try:
        await client.bootstrap()
        await client.set_topics([tp.topic])
        leader = client.cluster.leader_for_partition(tp)
        if leader is None or leader < 0:
            raise NotLeaderForPartitionError(f"{tp.topic}[{tp.partition}] has no leader")
        asked = FetchRequest(1000, 1, AT_ONCE, 1, [(tp.topic, [(tp.partition, offset, AT_ONCE)])])
        ((_, ((_, error, _, *rest),)),) = (await client.send(leader, asked)).topics
        if error:
            raise for_code(error)(f"{tp.topic}[{tp.partition}] at {offset}")
        aborted = rest[2] if len(rest) > 4 else rest[-2]
        return bytes(rest[-1] or b""), {producer for producer, _ in aborted or ()}
    except (ValueError, TypeError, IndexError) as error:
        raise KafkaError(f"an answer that nobody expected: {error}") from error
    finally:
        await client.close()


def _batches(data: bytes) -> Iterator[Batch]:
    """The whole batches; the last may be cut off."""
    start = 0
    while start + HEADER.size <= len(data):
        first, length, _, _, _, attributes, last, _, _, producer, *_ = HEADER.unpack_from(data, start)
        end = start + BEFORE_LENGTH + length
        if length < 0 or end > len(data):
            return
        yield Batch(data[start:end], first, first + last + 1, attributes, producer)
        start = end


def _records(
    tp: TopicPartition, body: bytearray, number: int, first: int, began: int, time: int | None
) -> "Iterator[ConsumerRecord[bytes, bytes]]":
    at = 0
    for _ in range(number):
        length, at = decode_varint(body, at)
        end = at + length
        after, at = decode_varint(body, at + 1)
        offset, at = decode_varint(body, at)
        key, at = _bytes(body, at)
        value, at = _bytes(body, at)
        count, at = decode_varint(body, at)
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, at = _bytes(body, at)
            content, at = _bytes(body, at)
            headers.append(((name or b"").decode(errors="backslashreplace"), content))
        if at != end:
            raise ValueError(f"a record of {length} bytes ends elsewhere")
        stamp = began + after if time is None else time
        kind, sizes = int(time is not None), (len(key or b""), len(value or b""))
        yield ConsumerRecord(
            tp.topic, tp.partition, first + offset, stamp, kind, key, value, None, *sizes, tuple(headers)
        )


def _bytes(body: bytearray, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(body, at)
    if length < 0:
        return None, at
    if at + length > len(body):
        raise ValueError("a field is longer than its record")
    return bytes(body[at : at + length]), at + length
