"""The topics, and what the broker knows of them."""

from collections.abc import Sequence

from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from infra.errors import ServerUnavailable

TOPICS = {
    "customer": "kehu.customers",
    "contact": "kehu.contacts",
    "complaint": "kehu.complaints",
    "survey": "kehu.surveys",
    "transaction": "kehu.transactions",
}
"""First word of an event's name -> topic. The key of every message is the customer id."""


def topic_of(name: str) -> str:
    """The topic of a registered event name: `complaint.opened` -> `kehu.complaints`."""
    return TOPICS[name.partition(".")[0]]


class Topics:
    """Administration over one connection, made when needed. Blocking: run it in a thread beside heartbeats."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._admin: KafkaAdminClient | None = None

    def create(self, names: Sequence[str], *, partitions: int = 4, replication: int = 1) -> list[str]:
        """Make the topics that are missing, and return their names."""
        missing = [name for name, known in self.ids(names).items() if known is None]
        try:
            if missing:
                self._client().create_topics([NewTopic(name, partitions, replication) for name in missing])
        except TopicAlreadyExistsError:
            return []  # another process was faster
        except (KafkaError, OSError) as error:
            raise ServerUnavailable(f"Kafka at {self._bootstrap}: {error}") from error
        return missing

    def ids(self, names: Sequence[str]) -> dict[str, str | None]:
        """The id of each topic, None for one that does not exist. A topic that is made anew has another id."""
        try:
            described = self._client().describe_topics(list(names))
        except (KafkaError, OSError) as error:
            self.close()
            raise ServerUnavailable(f"Kafka at {self._bootstrap}: {error}") from error
        found = {d.get("name", d.get("topic")): d for d in described}
        return {
            name: found[name]["topic_id"] if name in found and not found[name].get("error_code") else None
            for name in names
        }

    def close(self) -> None:
        """Close the connection."""
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def _client(self) -> KafkaAdminClient:
        if self._admin is None:
            self._admin = KafkaAdminClient(bootstrap_servers=self._bootstrap, client_id="kehu-admin")
        return self._admin
