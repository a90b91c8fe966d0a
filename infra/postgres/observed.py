"""The event log of a worker that tells what it stored and what was refused."""

from domain.ports import Batch
from domain.values import Position
from infra.postgres.log import PostgresLog
from infra.telemetry import Telemetry


class ObservedLog(PostgresLog):
    """Each append is counted, the refused ones too."""

    def __init__(self, conninfo: str, telemetry: Telemetry) -> None:
        super().__init__(conninfo)
        self._telemetry = telemetry

    def append(self, batch: Batch) -> Position:
        with self._telemetry.appending(batch):
            return super().append(batch)
