"""A worker process without the projector: from Kafka to the committed transaction. Writes a line per batch.

With a key it seals the log as well, every second.
"""

import sys

from mode import Service

from benchmarks.lines import Lines
from consumers.outcome import Outcomes
from infra import bootstrap, settings
from infra.kafka import faust_app
from infra.postgres.log import PostgresLog


def main(postgres: str, kafka: str, group: str, seal_key: str | None = None) -> None:
    """Run until SIGTERM."""
    lines = Lines()

    def told(outcomes: Outcomes) -> None:
        if messages := outcomes.total():
            lines.write(messages)

    given = settings.read(postgres=postgres, kafka=kafka, group=group, seal_key=seal_key, seal_every="1")

    def services() -> tuple[Service, ...]:
        return bootstrap.source(PostgresLog(postgres), given, told), *bootstrap.sealing(given)

    faust_app.run(faust_app.build_app(kafka, services))


if __name__ == "__main__":
    main(*sys.argv[1:])
