"""`kehu rules`: the rules that are in force here, of the release and of the bank."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any

import typer

from domain.clocks import PRESETS, calendars, policies
from domain.returns import RETURNS
from domain.rules import Rule
from domain.rules.own import FIRST_OWN, SUBJECTS
from infra import bootstrap
from infra.cli.output import Csv, Json, Limit, Ndjson, print_rows
from projections.outcomes.rules import CODES, COSTS

AT_ONCE = ("codes", "costs")
"""Of which the newest version counts, whatever its date."""


def rules(
    subject: Annotated[str | None, typer.Option(help=f"Only {', '.join(SUBJECTS)}.")] = None,
    name: Annotated[str | None, typer.Option(help="Only the versions of this rule.")] = None,
    own: Annotated[bool | None, typer.Option("--own/--released", help="Only the bank's own, or the release's.")] = None,
    limit: Limit = 0,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """The rules that a bank may add to: each version, from when it applies, its source, and whether it does today.

    They are read as a worker reads them, and what is wrong with one is told. Needs no server.

    Example: kehu rules --own
    """
    if subject not in (None, *SUBJECTS):
        raise typer.BadParameter(f"use {', '.join(SUBJECTS)}", param_hint=f"--subject {subject}")
    wanted: Mapping[str, Any] = {"subject": subject, "name": name, "own": own}
    rows = [
        row
        for row in _rows(bootstrap.now().date())
        if all(value in (None, row[column]) for column, value in wanted.items())
    ][: limit or None]
    print_rows("Rules", rows, as_json, as_csv, as_ndjson, people=_for_people, wide=("source",), limit=limit)


def _rows(today: date) -> Iterator[dict[str, Any]]:
    """By subject and name, the versions of each by date."""
    presets: dict[str, list[Rule]] = {}
    for preset in PRESETS:
        presets.setdefault(preset.name, []).append(preset)
    found: Mapping[str, Mapping[str, list[Rule]]] = {
        "presets": presets,
        "calendars": {name: list(versions) for name, versions in calendars.RULES.items()},
        "codes": {name: list(versions) for name, versions in CODES.items()},
        "service_policies": {"service_policies": list(policies.RULES)},
        "costs": {"service": list(COSTS)},
        "returns": {name: list(versions) for name, versions in RETURNS.items()},
    }
    for subject, names in found.items():
        for name, versions in names.items():
            begun = [one for one in versions if one.effective_from <= today or subject in AT_ONCE]
            for one in versions:
                yield {
                    "subject": subject,
                    "name": name,
                    "version": one.version,
                    "own": one.version >= FIRST_OWN,
                    "effective_from": one.effective_from,
                    "applies": one is begun[-1] if begun else False,
                    "source": one.source,
                    "note": one.note,
                }


def _for_people(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: row[name] for name in ("subject", "name", "version", "own")},
        "from": row["effective_from"],
        "applies": row["applies"],
        "source": row["source"],
    }
