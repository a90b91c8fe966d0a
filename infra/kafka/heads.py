"""The topic that heads of the tree are told to, for whoever reads it and keeps them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from domain import heads
from domain.heads import Head
from infra.errors import KehuError, ServerUnavailable
from infra.kafka import security
from infra.kafka.producer import publish
from infra.kafka.topics import extents

HEADS = "kehu.heads"
FOREVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
"""Settings of the topic: heads are small, and an old one is worth as much as a new one."""


class NotAHead(KehuError):
    """The topic kehu.heads has a message that is no head. Who may write there: see docs/howto/secure-kafka.md."""


@dataclass(frozen=True, slots=True)
class TopicAnchor:
    """Publishes to a topic of one partition."""

    bootstrap: str

    @property
    def name(self) -> str:
        """By its topic."""
        return f"topic:{HEADS}"

    def tell(self, told: Sequence[Head]) -> None:
        """Publish and wait for the acknowledgement. Raises ServerUnavailable."""
        asyncio.run(publish(self.bootstrap, [(HEADS, b"head", orjson.dumps(head.as_json()), []) for head in told]))


async def read(bootstrap: str) -> list[Head]:
    """The heads that the topic holds, as they were told. Raises ServerUnavailable, NotAHead."""
    ends = {tp: extent.following for tp, extent in (await extents(bootstrap, [HEADS])).items() if extent.messages}
    found: list[Head] = []
    if not ends:
        return found
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, **security.options(), enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        while ends:
            for messages in (await consumer.getmany(*ends, timeout_ms=200)).values():
                found += [heads.from_json(message.value) for message in messages]
            ends = {tp: end for tp, end in ends.items() if await consumer.position(tp) < end}
    except (KafkaError, OSError) as error:
        raise ServerUnavailable(f"Kafka at {bootstrap}: {error!r}") from error
    except (ValueError, TypeError) as error:
        raise NotAHead(str(error)) from error
    finally:
        await consumer.stop()
    return found
