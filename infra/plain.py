"""Values as programs read them: JSON, and cells of CSV. Times are RFC 3339, bytes are text or hexadecimal."""

from datetime import datetime
from typing import Any

import orjson


def json_of(value: object) -> bytes:
    """A JSON document on one line."""
    return orjson.dumps(value, default=_plain)


def csv_cell(value: Any) -> Any:
    """A value for a cell of CSV: what is no single value is JSON."""
    if isinstance(value, dict | list | tuple):
        return json_of(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return text_of(value) if isinstance(value, bytes) else value


def text_of(value: bytes | None) -> str | None:
    """Bytes of a message for people: as text where they are UTF-8, else in hexadecimal."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return "0x" + value.hex()


def _plain(value: object) -> str | None:
    return text_of(value) if isinstance(value, bytes) else str(value)
