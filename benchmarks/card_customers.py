"""The card customers of public data as stored events, decided in memory."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import orjson

from domain import handling, registry
from domain.ports import Message, Partition
from domain.values import Position, Recorded
from examples import card_churn, common
from infra.kafka import codec
from infra.kafka.topics import topic_of
from infra.training.labels import Label
from infra.training.train import Example
from projections.retention_risk.measures import numbers
from projections.retention_risk.observed import features_at
from projections.retention_risk.windows import second_of


def recorded_of(file: Path) -> Iterator[tuple[Label, list[Recorded]]]:
    """The label of each customer, and the events: read, validated, decided, recorded when they happened."""
    position = 0
    for row in common.rows(file):
        states: dict[str, object] = {}
        stored: list[Recorded] = []
        for event in card_churn.events(row, common.Report()):
            topic = topic_of(event["type"].removeprefix("kehu."))
            message = Message(Partition(topic, "t", 0), 0, 0, event["subject"].encode(), orjson.dumps(event))
            fact = codec.decode(message, card_churn.AS_OF)
            stream = handling.stream_of(fact)
            states[stream], made = handling.handle(states.get(stream), fact)
            for one in made:
                position += 1
                at = fact.meta.occurred_at
                stored.append(
                    Recorded(stream, 1, one, fact.meta, registry.of(one).name, Position(position), recorded_at=at)
                )
        said = card_churn.label_of(row)
        yield Label(said["customer_id"], int(said["label"]), datetime.fromisoformat(said["as_of"])), stored


def examples_of(histories: Iterable[tuple[Label, list[Recorded]]]) -> list[Example]:
    """Each customer with the features that are folded from the events."""
    return [
        Example(label, numbers(features_at(events, label.as_of), second_of(label.as_of))) for label, events in histories
    ]
