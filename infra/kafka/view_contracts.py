"""The contract with subscribers as files: a JSON Schema of the rows of each view, made from its declaration.

Run as a module it writes them to docs/reference/views; a test fails when they are stale.
"""

import json
import sys
from pathlib import Path
from typing import Any

from infra.kafka.contracts import DIALECT, REFERENCE
from projections.views import VIEWS, View

VIEW_SCHEMAS = REFERENCE / "views"
Schema = dict[str, Any]
TYPES: dict[str, Schema] = {
    "text": {"type": "string"},
    "date": {"type": "string", "format": "date"},
    "timestamptz": {"type": "string", "format": "date-time"},
    "boolean": {"type": "boolean"},
    "smallint": {"type": "integer"},
    "integer": {"type": "integer"},
    "bigint": {"type": "integer"},
    "double": {"type": "number"},
    "real": {"type": "number"},
    "numeric": {"type": "number"},
    "jsonb": {},
}
"""First word of a PostgreSQL type -> how `row_to_json` writes its values."""


def schema(view: View) -> Schema:
    """The JSON Schema of a view's rows: every column is there, those beside the key may be null."""
    key = {name: _type(kind) for name, kind in view.table.key.items()}
    columns = {name: _nullable(_type(kind)) for name, kind in view.columns.items()}
    return {
        "$schema": DIALECT,
        "$id": f"urn:{view.topic.replace('.', ':', 1)}:v{view.projection.version}",
        "title": view.topic,
        "description": view.meaning,
        "type": "object",
        "properties": {**key, **columns},
        "required": [*key, *columns],
        "additionalProperties": False,
    }


def _type(kind: str) -> Schema:
    return dict(TYPES[kind.split()[0].partition("(")[0]])


def _nullable(kind: Schema) -> Schema:
    return {**kind, "type": [kind["type"], "null"]} if kind else kind


def generate() -> dict[str, str]:
    """File name -> text, of each view."""
    return {f"{view.topic}.json": json.dumps(schema(view), indent=2) + "\n" for view in VIEWS}


def write(folder: Path = VIEW_SCHEMAS) -> list[Path]:
    """Write the files that are stale, remove those of views that there are no more; the paths of those that changed."""
    wanted, changed = generate(), stale(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in changed:
        (folder / name).write_text(wanted[name], "utf-8") if name in wanted else (folder / name).unlink()
    return [folder / name for name in changed]


def stale(folder: Path = VIEW_SCHEMAS) -> list[str]:
    """The names of files that are missing, differ from the declarations, or belong to no view."""
    wanted = generate()
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


if __name__ == "__main__":
    sys.stdout.writelines(f"{path}\n" for path in write())
