"""The topic that heads of the tree are told to, for whoever reads it and keeps them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from domain import heads
from domain.heads import Head
from infra.errors import KehuError
from infra.kafka.producer import publish
from infra.kafka.reading import held

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
    try:
        return [heads.from_json(message.value or b"") async for some in held(bootstrap, HEADS) for message in some]
    except ValueError as error:
        raise NotAHead(str(error)) from error
