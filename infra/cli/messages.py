"""What dead letters and parked messages share: their bytes for people, and the remedy of the rule that held them."""

from contextlib import suppress
from typing import Any

import orjson
from rich.table import Table
from rich.text import Text

from infra.cli.output import cell, console
from infra.plain import text_of

BYTES_SHOWN = 4000


def for_programs(message: dict[str, Any], remedy: str) -> dict[str, Any]:
    """A message with its bytes as text, or as hexadecimal where they are not UTF-8, and the remedy."""
    headers = [{"name": name, "value": text_of(value)} for name, value in message["headers"]]
    texts = {"key": text_of(message["key"]), "value": text_of(message["value"]), "headers": headers}
    return {**message, "remedy": remedy, **texts}


def print_message(title: str, message: dict[str, Any]) -> None:
    """One message for people: what is known of it, its headers, the remedy, and at the end its body."""
    headers = "\n".join(f"{one['name']}: {one['value']}" for one in message["headers"])
    told = {**{name: value for name, value in message.items() if name != "value"}, "headers": headers or None}
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in told.items():
        table.add_row(Text(name.replace("_", " "), style="dim"), Text(cell(value)))
    out = console()
    out.print()
    out.print(Text(title, style="bold"))
    out.print(table)
    out.print(Text("value", style="dim"))
    out.print(Text(_body(message["value"])), soft_wrap=True)


def _body(value: str | None) -> str:
    if value is None:
        return "–"
    with suppress(orjson.JSONDecodeError):
        value = orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2).decode()
    cut = len(value) - BYTES_SHOWN
    return value if cut <= 0 else f"{value[:BYTES_SHOWN]}\n… {cut} more characters; --json shows all"
