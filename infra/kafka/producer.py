"""Publishes encoded messages: many at a time, each acknowledged by all replicas."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from infra.errors import KehuError, ServerUnavailable
from infra.kafka import security
from infra.kafka.envelopes import STRUCTURED

Headers = Sequence[tuple[str, bytes | None]]
Outgoing = tuple[str, bytes | None, bytes | None, Headers]
"""Topic, key, value, headers."""
Encoded = tuple[str, bytes | None, bytes | None]
"""Topic, key, value of a structured-mode message."""
AT_ONCE = 2000
HEADERS: Headers = [("content-type", STRUCTURED.encode())]


class NotPublished(KehuError):
    """The broker refused a message. Publish the rest again: an event that arrives twice counts once."""


async def publish(
    bootstrap: str,
    messages: Iterable[Outgoing] | AsyncIterable[Outgoing],
    progress: Callable[[int], None] = lambda _acknowledged: None,
    *,
    idempotent: bool = False,
    at_once: int = AT_ONCE,
) -> Counter[str]:
    """Send all messages in order per key; how many were acknowledged, by topic.

    `progress` is told how many are acknowledged. `idempotent` keeps retries from doubling messages on brokers that know
    producer ids; the embedded one does not, and the inbox makes a repeated message harmless. Raises NotPublished when
    a message is refused, ServerUnavailable when the broker does not answer.
    """
    counts: Counter[str] = Counter()
    out = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        **security.options(),
        enable_idempotence=idempotent,
        acks="all",
        linger_ms=5,
        max_batch_size=256 * 1024,
        max_request_size=4 * 1024 * 1024,
    )
    try:
        await out.start()
        async for chunk in _chunks(messages, at_once):
            sent = [await out.send(topic, value, key=key, headers=headers) for topic, key, value, headers in chunk]
            await asyncio.gather(*sent)
            counts.update(message[0] for message in chunk)
            progress(counts.total())
    except MessageSizeTooLargeError as error:
        raise NotPublished(f"{error}; acknowledged before: {counts.total()}") from error
    except (KafkaError, OSError) as error:
        told = await security.refusal(bootstrap) or error
        raise ServerUnavailable(f"Kafka at {bootstrap}: {told}; acknowledged before: {counts.total()}") from error
    finally:
        await out.stop()
    return counts


async def send(
    bootstrap: str, messages: Iterable[Encoded], progress: Callable[[int], None] = lambda _acknowledged: None
) -> Counter[str]:
    """Publish structured-mode messages; see `publish`."""
    return await publish(bootstrap, ((topic, key, value, HEADERS) for topic, key, value in messages), progress)


async def _chunks(
    messages: Iterable[Outgoing] | AsyncIterable[Outgoing], size: int
) -> AsyncIterator[Sequence[Outgoing]]:
    chunk: list[Outgoing] = []
    async for message in messages if isinstance(messages, AsyncIterable) else _each(messages):
        chunk.append(message)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


async def _each(messages: Iterable[Outgoing]) -> AsyncIterator[Outgoing]:
    for message in messages:
        yield message
