"""Publishes events for channels without Kafka. What was answered with 202 lies on all replicas."""

import asyncio
from collections.abc import Sequence

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, UnknownError

from infra.http.problems import Away, Refused
from infra.kafka import security
from infra.kafka.producer import Outgoing
from infra.publishing import Checked

log = structlog.get_logger()
LINGER_MS = 2


class Publisher:
    """One producer, made when it is first needed, and anew after a start that failed."""

    def __init__(self, kafka: str, seconds: float) -> None:
        self._kafka = kafka
        self._seconds = seconds
        self._lock = asyncio.Lock()
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, events: Sequence[Checked]) -> None:
        """Return when the broker has acknowledged all of them; see `send`."""
        await self.send([(one.topic, one.key, one.value, one.headers) for one in events])

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Return when the broker has acknowledged all of them. Raises Away when it has not: each may be there or not,
        and it does no harm to send it again.
        """
        try:
            async with asyncio.timeout(self._seconds):
                producer = await self._started()
                sent = [
                    await producer.send(topic, value, key=key, headers=list(headers))
                    for topic, key, value, headers in messages
                ]
                await asyncio.gather(*sent)
        except MessageSizeTooLargeError as error:
            raise Refused(errors=[{"rule": "too-large", "detail": "larger than the topic takes"}]) from error
        except (KafkaError, OSError, TimeoutError) as error:
            if isinstance(error, KafkaError) and not error.retriable:
                await self.close()  # a producer that lost its place in the sequence never finds it again
            log.warning("kafka did not acknowledge", error=f"{type(error).__name__}: {error}")
            raise Away("Kafka has not acknowledged: send the same events again") from error

    async def _started(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                try:
                    self._producer = await self._start(idempotent=True)
                except UnknownError:
                    # The embedded broker gives no producer ids. A retry may double a message there, and the inbox
                    # counts it once.
                    self._producer = await self._start(idempotent=False)
            return self._producer

    async def _start(self, *, idempotent: bool) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka,
            **security.options(),
            enable_idempotence=idempotent,
            acks="all",
            linger_ms=LINGER_MS,
            max_request_size=4 * 1024 * 1024,
            request_timeout_ms=max(1000, int(self._seconds * 1000)),
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def close(self) -> None:
        """Send what is in work, and disconnect."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()
