"""The worker as a Faust application: Faust keeps lifecycle, signals and supervision; the services do the work.

The ingest has a consumer of its own, since an agent works message by message (docs/adr/0004). So the application has no
agents, and Faust itself need not reach Kafka: a worker that starts before its broker waits for it.

Faust loads its parts when they are first named, which takes a quarter of a second. Nothing here names one before a
worker is built, since most commands build none.
"""

import logging
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import faust
from mode import Service
from mode.types import ServiceT

from infra import interpreter


def build_app(kafka: str, services: Callable[[], Iterable[ServiceT]]) -> "faust.App":
    """An application that runs the services that are made when it starts; nothing connects before."""

    class WithoutKafka(faust.App.BootStrategy):
        enable_kafka = False

    class App(faust.App):
        BootStrategy = WithoutKafka

    app = App(
        "kehu-worker",
        broker=f"kafka://{kafka.replace(',', ';kafka://')}",
        autodiscover=False,
        web_enabled=False,  # its monitor counts what agents do, and there are none
        worker_redirect_stdouts=False,
        datadir=Path(tempfile.gettempdir()) / "kehu-worker",  # without tables nothing is kept there
    )

    @app.service
    class Work(Service):
        """Starts the services with the application and stops them with it; when one crashes, the worker ends."""

        def on_init_dependencies(self) -> Iterable[ServiceT]:
            return services()

    return app


def run(app: "faust.App") -> None:
    """Run the application until SIGTERM or SIGINT; exits with a non-zero code when a service crashed."""
    interpreter.calm_garbage()
    interpreter.give_way_often()
    # The services say once that Kafka is away; its client would say so many times a second.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    worker = faust.Worker(app, quiet=True, loglevel="WARNING", override_logging=False)
    worker.spinner = None
    worker.execute_from_commandline()
