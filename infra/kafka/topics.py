"""The topics, and what the broker knows of them."""

import asyncio
import socket
from asyncio import timeout, to_thread
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError as FetchError
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

from infra.errors import KehuError, ServerUnavailable
from infra.kafka import security

TOPICS = {
    "customer": "kehu.customers",
    "contact": "kehu.contacts",
    "complaint": "kehu.complaints",
    "survey": "kehu.surveys",
    "transaction": "kehu.transactions",
    "action": "kehu.actions",
}
"""First word of an event's name -> topic. The key of every message is the customer id."""

DEAD_LETTERS = "kehu.dead-letters"
PATIENCE = 10.0
"""Seconds in which the broker must answer."""

REFUSALS = (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    PolicyViolationError,
    TopicAuthorizationFailedError,
)


class TopicRefused(KehuError):
    """The broker did not make a topic. Ask for no more replicas than it has brokers, and check what it allows."""


@dataclass(frozen=True, slots=True)
class Extent:
    """What a partition holds: the offset of its first message and the offset that the next one will get."""

    first: int
    following: int

    @property
    def messages(self) -> int:
        """How many messages, where none was compacted away and no transaction left its markers."""
        return self.following - self.first


def topic_of(name: str) -> str:
    """The topic of a registered event name: `complaint.opened` -> `kehu.complaints`."""
    return TOPICS[name.partition(".")[0]]


class Topics:
    """Administration over one connection, made when needed. Blocking: run it in a thread beside heartbeats."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin: KafkaAdminClient | None = None

    def create(
        self,
        names: Sequence[str],
        *,
        partitions: int = 4,
        replication: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Make the topics that are missing, with these settings, and return their names."""
        missing = [name for name, known in self.ids(names).items() if known is None]
        made = []
        for name in missing:
            try:
                self._client().create_topics([NewTopic(name, partitions, replication, topic_configs=settings)])
                # Made is not known yet: on Apache Kafka the brokers hear of it a moment later.
                self._client().wait_for_topics([name], timeout_ms=PATIENCE * 1000)
            except TopicAlreadyExistsError:
                continue  # another process was faster
            except REFUSALS as error:
                raise TopicRefused(f"{name}: {error}") from error
            except (KafkaError, OSError) as error:
                raise ServerUnavailable(f"Kafka at {self._bootstrap}: {error}") from error
            made.append(name)
        return made

    def ids(self, names: Sequence[str]) -> dict[str, str | None]:
        """The id of each topic, None for one that does not exist. A topic that is made anew has another id."""
        found = self._describe(names)
        return {name: found[name]["topic_id"] if name in found else None for name in names}

    def partitions(self, names: Sequence[str]) -> list[TopicPartition]:
        """The partitions of those topics that exist."""
        found = self._describe(names)
        return sorted(TopicPartition(name, p["partition_index"]) for name, d in found.items() for p in d["partitions"])

    def settings(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """The settings of each topic as the broker tells them, by name; one that it does not tell is absent.

        Raises ServerUnavailable.
        """
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        try:
            _check_reachable(self._bootstrap)
            told = self._client().describe_configs(asked, config_filter="all").get("topic", {})
        except (KafkaError, OSError) as error:
            raise ServerUnavailable(f"Kafka at {self._bootstrap}: {error}") from error
        return {name: {key: one["value"] for key, one in told.get(name, {}).items()} for name in names}

    def close(self) -> None:
        """Close the connection."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _describe(self, names: Sequence[str]) -> dict[str, Any]:
        try:
            # Asked first: the client itself would try again for long, and leave its sockets open when it gives up.
            _check_reachable(self._bootstrap)
            if security.options() and (told := asyncio.run(security.refusal(self._bootstrap))):
                raise ConnectionError(told)
            described = self._client().describe_topics(list(names))
        except (KafkaError, OSError) as error:
            self.close()
            raise ServerUnavailable(f"Kafka at {self._bootstrap}: {error}") from error
        return {d["name"]: d for d in described if not d["error_code"]}

    def _client(self) -> KafkaAdminClient:
        if self._admin is None:
            self._admin = KafkaAdminClient(
                bootstrap_servers=self._bootstrap,
                **security.options(),
                client_id="kehu-admin",
                request_timeout_ms=int(PATIENCE * 1000),
                bootstrap_timeout_ms=int(PATIENCE * 1000),
            )
        return self._admin


def _check_reachable(bootstrap: str) -> None:
    """Raises OSError when none of the servers accepts a connection."""
    errors = []
    for server in bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
        except (OSError, ValueError) as error:
            errors.append(f"{server}: {error}")
        else:
            return
    raise ConnectionError("; ".join(errors))


async def extents(bootstrap: str, topics: Sequence[str]) -> Mapping[TopicPartition, Extent]:
    """What the topics' partitions hold; a topic that does not exist has none. Raises ServerUnavailable.

    Read from fetches and not by asking for the latest offset, which the embedded broker answers wrongly.
    """
    admin = Topics(bootstrap)
    tps = await to_thread(admin.partitions, topics)
    await to_thread(admin.close)
    if not tps:
        return {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        **security.options(),
        enable_auto_commit=False,
        max_partition_fetch_bytes=1,
        fetch_max_wait_ms=10,  # of a topic that holds nothing the end is known at once
    )
    try:
        await consumer.start()
        async with timeout(PATIENCE):
            consumer.assign(tps)
            first = await consumer.beginning_offsets(tps)
            for tp in tps:
                consumer.seek(tp, first[tp])
            following: dict[TopicPartition, int] = {}
            while len(following) < len(tps):
                await consumer.getmany(timeout_ms=50)
                following = {tp: end for tp in tps if (end := consumer.highwater(tp)) is not None}
                consumer.pause(*following)
            return {tp: Extent(first[tp], following[tp]) for tp in tps}
    except (FetchError, OSError) as error:
        told = await security.refusal(bootstrap) or error
        raise ServerUnavailable(f"Kafka at {bootstrap}: {told}") from error
    finally:
        await consumer.stop()
