"""The worker's consumer: whole batches, and positions that Kafka does not know."""

from aiokafka import AIOKafkaConsumer

from infra.kafka import security
from infra.kafka.records import as_they_are


def make(bootstrap: str, group: str) -> AIOKafkaConsumer:
    """A consumer that is not started yet. Where it reads on it must be told: by itself it begins nowhere."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        **security.options(),
        group_id=group,
        enable_auto_commit=False,
        key_deserializer=as_they_are,
        auto_offset_reset="none",  # a position that is not there is an error, not a jump
        isolation_level="read_committed",  # what a channel took back was never said
        max_partition_fetch_bytes=4 * 1024 * 1024,
        session_timeout_ms=6000,
        heartbeat_interval_ms=1000,
        max_poll_interval_ms=60_000,
        fetch_max_wait_ms=1000,  # an empty partition answers at once when something comes, and is asked once a second
        metadata_max_age_ms=5000,  # a topic that is made anew, or gets more partitions, is noticed within this
    )
