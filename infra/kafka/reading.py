"""Reads what topics hold now, and ends."""

from collections.abc import AsyncIterator, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka.errors import KafkaError

from infra.errors import ServerUnavailable
from infra.kafka import security
from infra.kafka.topics import extents

AT_ONCE = 10_000
"""Messages that are read together."""


async def held(bootstrap: str, *topics: str) -> "AsyncIterator[Sequence[ConsumerRecord[bytes, bytes]]]":
    """The messages that topics hold when they are asked, some at a time; in order within a partition.

    Raises ServerUnavailable.
    """
    ends = {tp: extent.following for tp, extent in (await extents(bootstrap, topics)).items() if extent.messages}
    if not ends:
        return
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **security.options(), enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        while ends:
            found = await consumer.getmany(*ends, timeout_ms=200, max_records=AT_ONCE)
            yield [message for messages in found.values() for message in messages]
            # The position and not the last offset: compaction leaves holes, also before the end.
            ends = {tp: end for tp, end in ends.items() if await consumer.position(tp) < end}
    except (KafkaError, OSError) as error:
        raise ServerUnavailable(f"Kafka at {bootstrap}: {error!r}") from error
    finally:
        await consumer.stop()
