"""`python -m benchmarks GROUP`: measure a group of figures, or `all` of them.

Example: python -m benchmarks ingest --events 50000 --json figures.json
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import audit, encryption, ingest, latency, profile, query, rebuild, risk, scaling, subscribe
from benchmarks.figures import Figure, Figures, Settings, as_json, show

GROUPS: Mapping[str, Callable[[Settings], Figures]] = {
    "ingest": ingest.run,
    "latency": latency.run,
    "rebuild": rebuild.run,
    "profile": profile.run,
    "query": query.run,
    "scaling": scaling.run,
    "subscribe": subscribe.run,
    "audit": audit.run,
    "risk": risk.run,
    "encryption": encryption.run,
}
IN_ALL = ("ingest", "latency", "rebuild", "query", "subscribe", "audit", "profile")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the table, and write the JSON when a file is named."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Figures, their limits and the plain way")
    parser.add_argument("group", choices=[*GROUPS, "all"])
    parser.add_argument("--events", type=int, help="how many events; each group has a size of its own")
    parser.add_argument("--customers", type=int, help="how many the store of the group audit has")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long the latency is watched")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of which the median counts")
    parser.add_argument("--broker", choices=["embedded", "apache"], default="embedded")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args(arguments)
    console = Console()
    if not console.is_terminal:
        console = Console(width=130)
    figures: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory(prefix="kehu-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the embedded PostgreSQL of a root user runs as somebody else
        settings = Settings(Path(folder), given.events, given.seconds, given.rounds, given.broker, given.customers)
        for name in IN_ALL if given.group == "all" else [given.group]:
            found = GROUPS[name](settings)
            show(found, console)
            figures.update(found)
    if given.json:
        given.json.write_bytes(as_json(figures))


if __name__ == "__main__":
    main()
