"""One message per event name and version, as it was first published. Files are added, never edited."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

FOLDER = Path(__file__).parents[1] / "data" / "events"


@dataclass(frozen=True, slots=True)
class Golden:
    """A file of tests/data/events: `complaint.opened.v1` and the CloudEvent in it (only `data` for derived events)."""

    topic: str
    event: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """The event's own fields."""
        data: dict[str, Any] = self.event["data"]
        return data

    @property
    def key(self) -> bytes:
        """The Kafka key of the message: its subject."""
        return str(self.event["subject"]).encode()


ALL = [Golden(path.name.removesuffix(".json"), orjson.loads(path.read_bytes())) for path in sorted(FOLDER.glob("*"))]
PUBLISHED = [one for one in ALL if "type" in one.event]
