"""A worker process without the projector: from Kafka to the committed transaction. Writes a line per batch."""

import sys

from benchmarks.lines import Lines
from consumers.outcome import Outcomes
from infra import bootstrap, settings
from infra.kafka import faust_app
from infra.postgres.log import PostgresLog


def main(postgres: str, kafka: str, group: str) -> None:
    """Run until SIGTERM."""
    lines = Lines()

    def told(outcomes: Outcomes) -> None:
        if messages := outcomes.total():
            lines.write(messages)

    given = settings.read(postgres=postgres, kafka=kafka, group=group)
    faust_app.run(faust_app.build_app(kafka, lambda: (bootstrap.source(PostgresLog(postgres), given, told),)))


if __name__ == "__main__":
    main(*sys.argv[1:])
