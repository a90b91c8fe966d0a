"""Builds that are wrong on purpose. The campaign must catch each: a rule that catches nothing is no rule.

`python -m tests.faults.mutants` makes a copy of the code for each, changes one place, and lets rounds of faults run on
it until the checker complains or nothing goes on any more.
"""

import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from infra.kafka.topics import DEAD_LETTERS, TOPICS
from tests.faults.campaign import Campaign, Servers, Stuck
from tests.support.ingesting import make_anew
from tests.support.processes import ROOT

PACKAGES = ("domain", "projections", "consumers", "infra", "examples")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One wrong build: `old` stands once in `file` and becomes `new`. `plan` is KEHU_FAIL of each worker.

    `also` goes, where two places guard against the same.
    """

    name: str
    file: str
    old: str
    new: str
    plan: tuple[str, ...] = ("",)
    rounds: int = 2
    also: str = ""
    rivals: bool = False
    """Whether the workers are of different groups, so that both believe the partitions to be theirs."""

    def build(self, folder: Path) -> Path:
        """A copy of the code with the change in it."""
        code = folder / self.name.replace(" ", "-")
        for package in PACKAGES:
            shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
        (code / self.file).write_text(self.changed())
        return code

    def changed(self) -> str:
        """Its file with the change in it. Raises LookupError when a place is not there, or is there twice."""
        text = (ROOT / self.file).read_text()
        for place in filter(None, (self.old, self.also)):
            if text.count(place) != 1:
                raise LookupError(f"{self.name}: {place.strip()!r} is {text.count(place)} times in {self.file}")
        text = text.replace(self.also, "") if self.also else text
        return text.replace(self.old, self.new)


STORE, INGEST, DECIDING = "infra/postgres/event_store.py", "consumers/ingest.py", "consumers/deciding.py"
SOURCE = "consumers/kafka_source.py"

MUTANTS = (
    Mutant(
        "position committed before the rows",
        STORE,
        '    reach("moved", cur.connection)\n',
        '    cur.execute("COMMIT")\n    cur.execute("BEGIN")\n    reach("moved", cur.connection)\n',
        ("remembered@4=kill",),
    ),
    Mutant("inbox not written", STORE, "    if batch.inbox:\n", "    if not batch.moves:\n"),
    Mutant(
        "no compare and swap",
        STORE,
        '" WHERE coalesce(wanted.expected, p.next_offset) = p.next_offset ORDER',
        '" ORDER',
        ("", ""),
        rivals=True,
    ),
    Mutant(
        "arrival told one message late",
        STORE,
        "entry.stream, place, entry.offset, entry.version))",
        "entry.stream, place, (entry.offset or 0) + 1, entry.version))",
    ),
    Mutant(
        "positions with holes",
        STORE,
        '"UPDATE kehu.log_head SET n = n + %s,',
        '"UPDATE kehu.log_head SET n = n + %s + (random() < 0.1)::int,',
    ),
    Mutant(
        "one message of a batch passed over",
        DECIDING,
        "ones[-1].message.offset + 1, outcomes)",
        "ones[-1].message.offset + 2, outcomes)",
    ),
    Mutant(
        "later messages overtake a parked one",
        DECIDING,
        "        elif waits:\n",
        "        elif False:\n",
    ),
    Mutant("other content taken for a repetition", DECIDING, "if known == one.content:", "if True:"),
    Mutant(
        "parked messages stay after they applied",
        DECIDING,
        "            self.batch.unpark.append(waiting.parked.seq)\n",
        "            pass\n",
    ),
    Mutant(
        "streams remembered after a batch that failed, and not checked",
        INGEST,
        "        self._streams.forget_all()  # also what a batch that failed has left in them\n",
        "",
        ("copying@3=cut,numbered@5=cut",),
        also="                self._streams.check(decided.doubtful)\n",
    ),
    Mutant(
        "unknown outcome taken for success",
        SOURCE,
        "                self._claim_again(ours, error)\n                return\n            reach",
        "                return\n            reach",
        ("copying@3=cut,remembered@5=cut",),
    ),
    Mutant(
        "reading on before the stored position",
        "consumers/assignment.py",
        "self.seek(tp, positions[partition])",
        "self.seek(tp, max(0, positions[partition] - 7))",
        ("answered@4=kill",),
    ),
    Mutant("dead letters swallowed", STORE, "    if batch.dead:\n", "    if not batch.moves:\n"),
    Mutant(
        "rows of a read model saved after its position",
        "infra/postgres/read_models.py",
        '                reach("saving", conn)\n',
        '                conn.execute("COMMIT")\n                conn.execute("BEGIN")\n'
        '                conn.execute("SELECT 1").fetchone()\n                reach("saving", conn)\n',
        ("saving@2=kill",),
    ),
    Mutant(
        "one event in two hundred not folded",
        "consumers/held_rows.py",
        "                if event.name in handles:\n",
        "                if event.name in handles and (event.position or 0) % 200:\n",
    ),
)

UNCHANGED = Mutant(
    "the code as it is", STORE, "if batch.inbox:", "if batch.inbox:", ("copying@3=cut", "answered@4=kill")
)
"""Passes, or the machine is too slow for the patience of a hunt, and every build would seem wrong."""


def hunt(mutant: Mutant, servers: Servers, seed: int) -> str | None:
    """What the campaign says of this mutant; None when it finds nothing."""
    servers.database = servers.postgres.create_database(mutant.name.replace(" ", "_"))
    make_anew(servers.kafka.bootstrap_servers, [*TOPICS.values(), DEAD_LETTERS])
    servers.kehu(ROOT, "setup").wait(60)
    campaign = Campaign(servers, seed, mutant.build(servers.folder), patience=12, rivals=mutant.rivals)
    for _ in range(mutant.rounds):
        try:
            if found := campaign.round(mutant.plan):
                return found[0]
        except Stuck as stuck:
            return str(stuck).splitlines()[0]
    return None


def run(seed: int, names: Sequence[str], *, apache: bool, say: Callable[[str], None] = print) -> list[str]:
    """Hunt mutants; returns the names of those that were not caught.

    Without names all are hunted, after the code as it is. Raises AssertionError when that does not pass.
    """
    folder = Path(mkdtemp(prefix="kehu-mutants-"))
    folder.chmod(0o755)
    survived = []
    with Servers.start(folder, apache=apache) as servers:
        if not names:
            wrong = hunt(UNCHANGED, servers, seed)
            if wrong is not None:
                raise AssertionError(f"{UNCHANGED.name} is caught, so it tells nothing of others: {wrong}")
            say(f"passes    {UNCHANGED.name}")
        for mutant in _chosen(names):
            caught = hunt(mutant, servers, seed)
            say(f"{'caught  ' if caught else 'SURVIVED'}  {mutant.name}{': ' + caught[:140] if caught else ''}")
            if caught is None:
                survived.append(mutant.name)
    return survived


def _chosen(names: Sequence[str]) -> Iterator[Mutant]:
    yield from (mutant for mutant in MUTANTS if not names or mutant.name in names)


def main() -> None:
    """The hunt from the command line; ends with 1 when a mutant survives."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="mutants by name; all by default")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broker", choices=["embedded", "apache"], default="apache")
    given = parser.parse_args()
    survived = run(given.seed, given.names, apache=given.broker == "apache")
    sys.exit(f"not caught: {', '.join(survived)}" if survived else 0)


if __name__ == "__main__":
    main()
