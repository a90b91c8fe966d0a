"""A worker process without the projector: from Kafka to the committed transaction. Writes a line per batch."""

import sys

from mode import Worker

from benchmarks.lines import Lines
from consumers.outcome import Outcomes
from infra import bootstrap
from infra.postgres.log import PostgresLog


def main(postgres: str, kafka: str, group: str) -> None:
    """Run until SIGTERM."""
    lines = Lines()

    def told(outcomes: Outcomes, _seconds: float) -> None:
        if messages := outcomes.total():
            lines.write(messages)

    source = bootstrap.source(PostgresLog(postgres), kafka, group, told)
    Worker(source, loglevel="WARNING", override_logging=False).execute_from_commandline()


if __name__ == "__main__":
    main(*sys.argv[1:])
