"""Publishes encoded messages: many at a time, each acknowledged by all replicas."""

import asyncio
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from infra.errors import ServerUnavailable
from infra.kafka.codec import STRUCTURED

Encoded = tuple[str, bytes | None, bytes | None]
"""Topic, key, value of a structured-mode message."""
AT_ONCE = 2000
HEADERS = [("content-type", STRUCTURED.encode())]


async def send(bootstrap: str, messages: Sequence[Encoded], progress: Callable[[int], None]) -> None:
    """Send all messages in order per key; raises ServerUnavailable when the broker does not take one.

    `progress` is told how many are acknowledged.
    """
    try:
        # Not idempotent: the embedded broker knows no producer ids, and the inbox makes a repeated message harmless.
        async with AIOKafkaProducer(
            bootstrap_servers=bootstrap, enable_idempotence=False, acks="all", linger_ms=5
        ) as out:
            for start in range(0, len(messages), AT_ONCE):
                chunk = messages[start : start + AT_ONCE]
                sent = [await out.send(topic, value, key=key, headers=HEADERS) for topic, key, value in chunk]
                await asyncio.gather(*sent)
                progress(start + len(chunk))
    except (KafkaError, OSError) as error:
        raise ServerUnavailable(f"Kafka at {bootstrap}: {error}") from error
