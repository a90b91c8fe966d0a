"""The partitions that the group gives to this process: which are claimed, and where each of them is read on.

Nothing is waited for here: it is what the source knows, and what it tells its consumer. Partitions stay paused until
they are claimed, since only the event store knows their positions.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition

from domain.ports import Message, Partition
from infra.errors import KehuError
from infra.figures import Reading
from infra.kafka.records import Record


class TopicMissing(KehuError):
    """A topic does not exist. Run `kehu setup`."""


class Assignment:
    """What one consumer was given. `TopicPartition` is the consumer's word for a partition, ours knows the topic id."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self.consumer = consumer
        self._partitions: dict[TopicPartition, Partition] = {}
        self._standing: dict[Partition, int] = {}
        """Partitions that cannot be read, and where they stand until somebody moves their position."""
        self._claims = self._rebalances = 0
        self.claimed = True
        """Whether nothing was given since that is not claimed yet."""
        self.read_on: dict[TopicPartition, int] = {}
        """The next offset of each partition that is ours and read. Whoever loses them puts another dict in its place,
        so that a batch that was fetched before can tell."""

    def give(self, given: Collection[TopicPartition]) -> None:
        """The group gives these partitions: they are to be claimed."""
        self.consumer.pause(*given)  # at once: partitions are live already
        self.claimed = False
        self._rebalances += 1

    def lose(self) -> None:
        """Nothing is ours; what was fetched ahead is dropped."""
        self.read_on = {}

    def unclaim(self) -> None:
        """Only the store knows the positions: read nothing until they are claimed again."""
        self.consumer.pause(*self.consumer.assignment())
        self.read_on = {}
        self.claimed = False

    def wanted(self, ids: Mapping[str, str | None]) -> Mapping[TopicPartition, Partition]:
        """What is to be claimed, by the ids of the topics. Raises TopicMissing."""
        wanted = {}
        for tp in self.consumer.assignment():
            topic_id = ids.get(tp.topic)
            if topic_id is None:
                raise TopicMissing(tp.topic)
            wanted[tp] = Partition(tp.topic, topic_id, tp.partition)
        return wanted

    def is_still(self, wanted: Mapping[TopicPartition, Partition]) -> bool:
        """Whether this is what the group gives us, and not something else by now."""
        return bool(wanted.keys() == self.consumer.assignment())

    def claim(self, wanted: Mapping[TopicPartition, Partition], positions: Mapping[Partition, int]) -> None:
        """They are claimed: read on at these positions."""
        for tp, partition in wanted.items():
            self._partitions[tp] = partition
            if self._standing.get(partition) != positions[partition]:
                self._standing.pop(partition, None)
                self.seek(tp, positions[partition])
        self.claimed = True
        self._claims += 1

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read on there."""
        self.consumer.seek(tp, offset)
        self.read_on[tp] = offset
        self.consumer.resume(tp)

    def go_back(self, positions: Mapping[Partition, int]) -> None:
        """Read on from what is stored; what was fetched ahead is dropped."""
        tps, self.read_on = list(self.read_on), {}
        for tp in tps:
            self.seek(tp, positions[self._partitions[tp]])

    def ahead(self, polled: Mapping[TopicPartition, Sequence[Record]]) -> Mapping[Partition, Sequence[Message]]:
        """What was polled, as messages; without what is no longer ours. It is read on behind them."""
        batch: dict[Partition, Sequence[Message]] = {}
        for tp, records in polled.items():
            following = self.read_on.get(tp)
            if following is None:
                continue
            partition = self._partitions[tp]
            messages = [_message(partition, r) for r in records if r.offset >= following]
            if messages:
                batch[partition] = messages
                self.read_on[tp] = messages[-1].offset + 1
        return batch

    def stand_still(self, tp: TopicPartition, offset: int) -> None:
        """Nobody can read on there; the others go on."""
        self._standing[self._partitions[tp]] = offset
        self.consumer.pause(tp)
        self.read_on.pop(tp, None)

    def standing(self) -> Mapping[Partition, int]:
        """Where those of our partitions stand that stand still."""
        return {p: self._standing[p] for p in self._mine().values() if p in self._standing}

    def is_made_anew(self, ids: Mapping[str, str | None]) -> bool:
        """Whether one of our topics is another by now."""
        return any(partition.topic_id != ids.get(tp.topic) for tp, partition in self._mine().items())

    def stored(self, positions: Mapping[Partition, int]) -> Mapping[TopicPartition, int]:
        """The stored position of each partition that is read, in the consumer's words."""
        return {tp: positions[self._partitions[tp]] for tp in self.read_on}

    def look(self) -> Reading:
        """How it stands, for those who watch."""
        assigned = self.consumer.assignment()
        standing = sum(self._partitions.get(tp) in self._standing for tp in assigned)
        left: Counter[str] = Counter()
        for tp, offset in self.read_on.items():
            if tp in assigned:  # one without a known end counts as read
                left[tp.topic] += max(0, (self.consumer.highwater(tp) or 0) - offset)
        return Reading(len(assigned), len(self.read_on), standing, left, self._claims, self._rebalances)

    def _mine(self) -> Mapping[TopicPartition, Partition]:
        assigned = self.consumer.assignment()
        return {tp: partition for tp, partition in self._partitions.items() if tp in assigned}


def _message(partition: Partition, record: Record) -> Message:
    return Message(
        partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        tuple(record.headers),
    )
