"""A reader of an event stream, as EventSource reads it, that keeps the rows of a view."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class EventSource:
    """Takes bytes in as they come; everything here but the unread rest survives a new connection."""

    rows: dict[str, tuple[int, Any]] = field(default_factory=dict)
    last_id: str | None = None
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stale: set[str] = field(default_factory=set)
    rest: bytes = b""

    def connected(self) -> None:
        """A new connection: half an event of the one before is forgotten."""
        self.rest = b""

    def take(self, part: bytes) -> None:
        """Some bytes of the stream."""
        *blocks, self.rest = (self.rest + part).split(b"\n\n")
        for block in blocks:
            self._block(dict(_fields(block)))

    def _block(self, fields: dict[str, str]) -> None:
        if "data" in fields:
            self._event(fields["event"], json.loads(fields["data"]))
        self.last_id = fields.get("id", self.last_id)

    def _event(self, kind: str, data: dict[str, Any]) -> None:
        self.told.append((kind, data))
        match kind:
            case "restarted":
                self.stale = set(self.rows)
            case "complete":
                for key in self.stale:
                    self.rows.pop(key, None)
                self.stale = set()
            case "changed":
                self.stale.discard(data["subject"])
                self.rows[data["subject"]] = int(data["position"]), data["data"]
            case "removed":
                self.stale.discard(data["subject"])
                self.rows.pop(data["subject"], None)
            case _:
                assert kind == "cut", kind


def _fields(block: bytes) -> Iterator[tuple[str, str]]:
    for line in block.decode().split("\n"):
        name, _, value = line.partition(":")
        if name:
            yield name, value.removeprefix(" ")
