"""`kehu rebuild`: a read model made again from the log beside the live one, compared with it, and switched to."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from consumers.projector import Projector
from domain.values import Position
from infra import bootstrap
from infra.cli.fillers import fill_builds
from infra.cli.output import Json, console, print_rows, quiet, say
from infra.cli.projections import Name, chosen
from infra.cli.servers import Postgres, connected
from infra.cli.who import By, Reason, who
from infra.errors import KehuError
from infra.failpoints import reach
from infra.postgres.builds import Build, Builds
from infra.postgres.compare import Compared, compare, snapshot
from infra.postgres.completeness import first_hole
from infra.postgres.log import PostgresLog
from infra.postgres.read_models import PostgresReadModels
from infra.postgres.risk_models import as_scored
from projections.declare import CannotFold, Projection

BATCH = 10_000
"""Events that are folded and saved together when a build goes on where it was."""
NEAR = 4000
"""Events that a candidate may lack when the live build is held for the comparison."""
FILL_FROM = 20_000
"""Events of the log from which on it is worth to start other processes that fill new builds."""
TRIES = 100


class WrongChoice(KehuError):
    """Give one of --switch, --rollback and --drop."""

    exit_code = 2


class Stopped(KehuError):
    """A projection stopped at an event that it cannot fold. Mend it and run the command again."""


class Incomplete(KehuError):
    """A build does not hold every event of the log once. Nothing was switched: `--drop` it and report the defect."""


class NothingToGoBackTo(KehuError):
    """There is no former build of this projection that this release can fold."""


class NeverAhead(KehuError):
    """The live build moves faster than the candidate is folded. Try again when less comes in; nothing was switched."""


def rebuild(
    name: Name,
    postgres: Postgres = "",
    switch: Annotated[bool, typer.Option("--switch", help="Let readers see the new build.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Let readers see the former build again.")] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Remove the builds that are not live.")] = False,
    processes: Annotated[int, typer.Option(min=0, help="Processes that fill builds; 0: one for each core.")] = 0,
    by: By = "",
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Build a read model from the whole log beside the live one, compare both, and switch when told so.

    The live one serves meanwhile, and workers keep it up. Without --switch nothing changes for readers; run the command
    again to catch up and compare again. It can be killed at any time and goes on where it was. --switch keeps the
    former build, caught up and shown again by --rollback.

    Example: kehu rebuild retention_risk --switch
    """
    if switch + rollback + drop > 1:
        raise WrongChoice
    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with (
        quiet(),
        closing(PostgresLog(postgres)) as log,
        closing(Builds(postgres)) as builds,
        Progress(*columns, console=console(stderr=True)) as progress,
    ):
        work = Rebuild(postgres, log, builds, progress, who(by), reason)
        if drop or rollback:
            done = [work.drop(one) if drop else work.back(one) for one in chosen(name)]
        else:
            done = work.build_all(chosen(name), switch, processes or os.cpu_count() or 1)
    print_rows("Builds", done, as_json, people=_for_people)
    if not as_json:
        _print_differences(done)


@dataclass(slots=True)
class Rebuild:
    """What the command does with one projection after the other."""

    postgres: str
    log: PostgresLog
    builds: Builds
    progress: Progress
    by: str
    reason: str | None = None

    def build_all(self, projections: Sequence[Projection], switch: bool, processes: int) -> list[dict[str, Any]]:
        """Build each beside its live one: those that are new are filled all together, and then all are caught up."""
        began = monotonic()
        candidates = {one.name: self._candidate(one) for one in projections}
        new = [candidate for candidate in candidates.values() if not candidate.position]
        if new:
            self._fill(new, processes)
        return [
            self.build(one, candidates[one.name], switch, began if candidates[one.name] in new else monotonic())
            for one in projections
        ]

    def _fill(self, new: Sequence[Build], processes: int) -> None:
        head = self.log.head()
        task = self.progress.add_task(", ".join(build.name for build in new), total=head)
        try:
            fill_builds(
                self.postgres,
                new,
                head,
                processes if head >= FILL_FROM else 1,
                lambda read: self.progress.advance(task, read),
            )
        except CannotFold as error:
            raise Stopped(str(error)) from error
        reach("indexed")
        self.builds.filled(new, head)

    def _candidate(self, projection: Projection) -> Build:
        """The build to go on with, or a new one."""
        self.builds.claim(projection.name)
        candidate = self.builds.of(projection.name).get("candidate")
        if candidate is not None:
            if candidate.position and candidate.version == projection.version and not candidate.error:
                return candidate
            self.builds.drop(candidate)
        return self.builds.begin(projection)

    def build(self, projection: Projection, candidate: Build, switch: bool, started: float) -> dict[str, Any]:
        """Fold on from where the candidate is; compare, and switch."""
        began = candidate.position
        with self._folding(projection, candidate) as fold:
            while self._live(projection) > fold.position() + NEAR:
                fold.to(self._live(projection))
            compared_at, tables = self._compare(projection, candidate, fold)
            fold.to(self.log.head())
            seconds = monotonic() - started
            self._prove(projection, candidate)
            if switch:
                self._switch(projection, candidate, fold)
            events = fold.position() - began
        return {
            "projection": projection.name,
            "version": projection.version,
            "build": candidate.build,
            "live": self._told(projection),
            "events": events,
            "seconds": round(seconds, 3),
            "events_per_second": round(events / seconds) if seconds else None,
            "compared_at": compared_at,
            "same_rows": None if compared_at is None else all(table.same for table in tables),
            "tables": [asdict(table) for table in tables],
        }

    def back(self, projection: Projection) -> dict[str, Any]:
        """Catch the former build up and let the views show it again."""
        self.builds.claim(projection.name)
        former = self.builds.of(projection.name).get("former")
        if former is None or former.version != projection.version:
            raise NothingToGoBackTo(f"{projection.name}, version {projection.version}")
        started = monotonic()
        with self._folding(projection, former) as fold:
            self._switch(projection, former, fold)
            events = fold.position() - former.position
        return self._only_told(projection, former, events, monotonic() - started)

    def drop(self, projection: Projection) -> dict[str, Any]:
        """Remove what is not live."""
        self.builds.claim(projection.name)
        known = self.builds.of(projection.name)
        for state in ("candidate", "former"):
            if state in known:
                self.builds.drop(known[state])
        return self._only_told(projection, known["live"], 0, 0.0)

    def _compare(
        self, projection: Projection, candidate: Build, fold: "_Folding"
    ) -> tuple[Position | None, list[Compared]]:
        """Both builds at the position of the live one, which is held only until the snapshot is there."""
        with ExitStack() as stack:
            with self.builds.held(projection.name) as live:
                if live is None or fold.position() > live.position:
                    return None, []
                fold.to(live.position)
                seen = stack.enter_context(snapshot(self.postgres))
            at = bootstrap.now()
            return live.position, compare(seen, as_scored(seen, projection, at), live, candidate, at)

    def _prove(self, projection: Projection, build: Build) -> None:
        with connected(self.postgres) as conn:
            if hole := first_hole(conn, projection, build):
                raise Incomplete(f"{projection.name}: {hole}")

    def _switch(self, projection: Projection, build: Build, fold: "_Folding") -> None:
        for _ in range(TRIES):
            fold.to(self.log.head())
            if self.builds.switch(projection, build, self.by, self.reason, bootstrap.now()):
                return
        raise NeverAhead(projection.name)

    @contextmanager
    def _folding(self, projection: Projection, build: Build) -> "Iterator[_Folding]":
        with closing(PostgresReadModels(self.postgres, [build])) as models:
            total = max(self.log.head(), build.position)
            task = self.progress.add_task(projection.name, total=total, completed=build.position)
            yield _Folding(self.log, models, projection, self.progress, task)

    def _live(self, projection: Projection) -> Position:
        live = self.builds.of(projection.name).get("live")
        return live.position if live else Position(0)

    def _told(self, projection: Projection) -> str:
        live = self.builds.of(projection.name)["live"]
        return f"v{live.version} build {live.build}"

    def _only_told(self, projection: Projection, build: Build, events: int, seconds: float) -> dict[str, Any]:
        return {
            "projection": projection.name,
            "version": build.version,
            "build": build.build,
            "live": self._told(projection),
            "events": events,
            "seconds": round(seconds, 3),
            "events_per_second": round(events / seconds) if seconds else None,
            "compared_at": None,
            "same_rows": None,
            "tables": [],
        }


@dataclass(frozen=True, slots=True)
class _Folding:
    """One build that is folded further."""

    log: PostgresLog
    models: PostgresReadModels
    projection: Projection
    progress: Progress
    task: TaskID

    def position(self) -> Position:
        return self.models.position(self.projection)

    def to(self, target: Position) -> None:
        """Fold up to a position of the log, and save. Raises Stopped when an event cannot be folded."""
        projector = Projector(self.log, self.models, [self.projection])
        while (position := self.position()) < target:
            projector.batch = min(BATCH, target - position)
            read = projector.run_once()
            if error := projector.stopped.get(self.projection.name):
                raise Stopped(f"{self.projection.name}: {error}")
            if not read:
                raise Stopped(f"{self.projection.name}: the log has no event after position {position}")
            self.progress.update(self.task, completed=position + read, total=max(target, self.log.head()))


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    same = {True: "equal", False: "differs", None: "not compared"}[row["same_rows"]]
    return {
        "projection": row["projection"],
        "build": f"v{row['version']} build {row['build']}",
        "events": f"{row['events']:,}",
        "seconds": f"{row['seconds']:.1f}",
        "events/s": None if row["events_per_second"] is None else f"{row['events_per_second']:,}",
        "rows": same,
        "compared at": row["compared_at"],
        "live": row["live"],
    }


def _print_differences(done: Sequence[dict[str, Any]]) -> None:
    differing = [table for row in done for table in row["tables"] if any(table["counts"].values())]
    if not differing:
        return
    counts = [
        {
            "table": table["table"],
            "live rows": table["rows"][0],
            "new rows": table["rows"][1],
            **table["counts"],
            "live digest": table["digests"][0],
            "new digest": table["digests"][1],
        }
        for table in differing
    ]
    print_rows("Differences: what only the live build has is missing", counts)
    examples = [
        {**{name: one[name] for name in ("table", "kind", "key")}, "live": one["before"], "new": one["after"]}
        for table in differing
        for one in table["examples"]
    ]
    print_rows("Examples", examples, wide=("key", "live", "new"))
    say("Look at them before you give --switch.")


class _Rate(ProgressColumn):
    """Events per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")
