"""The HTTP server on one core, for a benchmark: `python -m benchmarks.served DATABASE PORT KEYFILE`."""

import os
import sys
from pathlib import Path

from infra.http import server
from infra.http.settings import HttpSettings
from infra.settings import Accepted

RATE = 1_000_000
"""No limit that is met here."""


def main(database: str, port: str, key: str) -> None:
    """Serve until SIGTERM."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    settings = HttpSettings(port=int(port), development_key=Path(key), rate=RATE, burst=RATE)
    server.run(settings, database, "127.0.0.1:1", Accepted())


if __name__ == "__main__":
    main(*sys.argv[1:])
