"""The contract with the channels as files: a JSON Schema for each type, an AsyncAPI 3 document, and a table for people.

`write` makes them in `docs/reference`, `stale` names those that differ from the models, and `broken` names what a
channel that keeps to the released files would stumble over. Run as a module it writes the files.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from inspect import getdoc
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from domain import handling, registry
from domain.administration import Act, stream_name
from domain.contracts import model
from infra.errors import KehuError
from infra.kafka import codec, envelopes
from infra.kafka.compatibility import Schema, breaking_changes
from infra.kafka.topics import TOPICS, topic_of

REFERENCE = Path("docs/reference")
SCHEMAS = Path("schemas")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class ContractBroken(KehuError):
    """A released event type no longer accepts what it accepted. Register a new version with an upcaster instead."""


def schema(registration: registry.Registration) -> Schema:
    """The JSON Schema of one type's data."""
    made = model(registration.event).model_json_schema(schema_generator=_Untitled)
    described = {"description": _sentence(registration), "title": registration.type}
    return {"$schema": DIALECT, "$id": f"urn:{registration.type.replace('.', ':', 1)}", **described, **_without(made)}


def generate() -> dict[Path, str]:
    """Every generated file: path under the reference folder -> text. The same models give the same text."""
    published = list(codec.types().values())
    schemas = {r.type: schema(r) for r in published}
    files = {SCHEMAS / f"{kind}.json": _text(one) for kind, one in schemas.items()}
    files[Path("asyncapi.json")] = _text(_asyncapi(published))
    files[Path("events.md")] = _table()
    return files


def write(root: Path = REFERENCE) -> list[Path]:
    """Write the files that are stale and return their paths. Raises ContractBroken and then writes nothing."""
    if changes := broken(root):
        raise ContractBroken("; ".join(changes))
    files, changed = generate(), stale(root)
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(files[path], encoding="utf-8")
    return changed


def stale(root: Path = REFERENCE) -> list[Path]:
    """The files that are missing or differ from the models. Schemas of older versions stay as they were released."""
    return [path for path, text in generate().items() if not _says(root / path, text)]


def broken(root: Path = REFERENCE) -> list[str]:
    """What the models no longer accept of the released schemas; empty when every released version can still be sent."""
    changes = []
    for path in sorted((root / SCHEMAS).glob("*.json")):
        kind = path.name.removesuffix(".json")
        if kind in codec.types():
            old = json.loads(path.read_text(encoding="utf-8"))
            changes += [f"{kind}: {change}" for change in breaking_changes(old, schema(codec.types()[kind]))]
        elif kind not in codec.readable():
            changes.append(f"{kind}: the type was removed")
    return changes


def _asyncapi(published: Iterable[registry.Registration]) -> Schema:
    """Kehu as an AsyncAPI application that receives: a channel per topic, a message per type and mode."""
    channels: Schema = {}
    messages: Schema = {}
    schemas: Schema = {"CustomerId": _CUSTOMER_ID}
    for topic in TOPICS.values():
        channels[topic] = {
            "address": topic,
            "description": "The key is the customer id, so one customer's events keep their order within the topic. "
            "There is no order between topics.",
            "messages": {},
            "bindings": {"kafka": {"topic": topic, "bindingVersion": "0.5.0"}},
        }
    for r in published:
        data = model(r.event).model_json_schema(schema_generator=_Untitled, ref_template="#/components/schemas/{model}")
        schemas.update({name: _without(one) for name, one in data.pop("$defs", {}).items()})
        schemas[r.type] = _without(data)
        for mode, message in (("structured", _structured(r)), ("binary", _binary(r))):
            name = f"{r.type}.{mode}"
            messages[name] = message
            channels[topic_of(r.name)]["messages"][name] = {"$ref": f"#/components/messages/{name}"}
    operations = {
        f"receive.{topic}": {
            "action": "receive",
            "channel": {"$ref": f"#/channels/{topic}"},
            "summary": f"Record what channels publish on {topic}.",
        }
        for topic in channels
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Kehu",
            "version": "1.0.0",
            "description": "Customer interactions as CloudEvents 1.0 over Kafka, in structured or binary mode. "
            "(source, id) is the identity of an event: to publish it again is safe.",
        },
        "defaultContentType": codec.JSON,
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "variables": {"bootstrap": {"description": "host:port of a bootstrap server"}},
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": dict(sorted(schemas.items()))},
    }


_STRING = {"type": "string", "minLength": 1, "maxLength": 256}
_CUSTOMER_ID = {
    "type": "string",
    "minLength": 1,
    "maxLength": 64,
    "pattern": r"^[\w.:/@+-]+$",
    "description": "the customer id",
}
_ATTRIBUTES: Schema = {
    "specversion": {"const": "1.0"},
    "id": {**_STRING, "description": "with source the identity of the event"},
    "source": {**_STRING, "format": "uri-reference", "description": "the channel or system that publishes"},
    "subject": {"$ref": "#/components/schemas/CustomerId"},
    "time": {"type": "string", "format": "date-time", "description": "when it happened, with zone"},
    "correlationid": {**_STRING, "description": "of the process that the event belongs to"},
    "causationid": {**_STRING, "description": "of the event that caused this one"},
    "traceparent": {**_STRING, "description": "W3C trace context, carried on"},
}
_REQUIRED = ["specversion", "id", "source", "type", "subject", "time"]


def _structured(r: registry.Registration) -> Schema:
    properties = {
        **_ATTRIBUTES,
        "type": {"const": r.type},
        "datacontenttype": {"const": codec.JSON},
        "data": {"$ref": f"#/components/schemas/{r.type}"},
    }
    return {
        **_message(r, "structured", envelopes.STRUCTURED),
        "headers": {"type": "object", "properties": {"content-type": {"const": envelopes.STRUCTURED}}},
        "payload": {"type": "object", "properties": properties, "required": [*_REQUIRED, "data"]},
    }


def _binary(r: registry.Registration) -> Schema:
    attributes = {f"ce_{name}": one for name, one in {**_ATTRIBUTES, "type": {"const": r.type}}.items()}
    headers = {"content-type": {"const": codec.JSON}, **attributes}
    return {
        **_message(r, "binary", codec.JSON),
        "headers": {"type": "object", "properties": headers, "required": [f"ce_{name}" for name in _REQUIRED]},
        "payload": {"$ref": f"#/components/schemas/{r.type}"},
    }


def _message(r: registry.Registration, mode: str, content_type: str) -> Schema:
    return {
        "name": r.type,
        "title": f"{r.type}, {mode} mode",
        "summary": _sentence(r),
        "contentType": content_type,
        "bindings": {"kafka": {"key": {"$ref": "#/components/schemas/CustomerId"}, "bindingVersion": "0.5.0"}},
    }


def _table() -> str:
    assert handling.AGGREGATES
    everything = list(registry.all_registrations())
    lines = [
        "# Events",
        "",
        "This page is generated from the models by `python -m infra.kafka.contracts`. The fields of each type are in",
        "`schemas/`, all channels and messages in `asyncapi.json`.",
        "",
        "## What channels publish",
        "",
        "| type | topic | meaning | older versions that are still read |",
        "|---|---|---|---|",
    ]
    for r in everything:
        if r.published:
            older = ", ".join(f"v{version}" for version in range(1, r.version)) or "none"
            lines.append(f"| [`{r.type}`](schemas/{r.type}.json) | `{topic_of(r.name)}` | {_sentence(r)} | {older} |")
    lines += [
        "",
        "## What follows from them",
        "",
        "These are recorded by decisions and cannot be published.",
        "",
        "| name | version | meaning |",
        "|---|---|---|",
    ]
    acts = [(r, r.event.area) for r in everything if issubclass(r.event, Act)]
    derived = [r for r in everything if not r.published and not issubclass(r.event, Act)]
    lines += [f"| `{r.name}` | {r.version} | {_sentence(r)} |" for r in derived]
    lines += [
        "",
        "## What is done to the system",
        "",
        "Whoever does it tells it in the same transaction, with who it was and why; see `kehu audit acts`.",
        "",
        "| name | version | stream | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{r.name}` | {r.version} | `{stream_name(area)}` | {_sentence(r)} |" for r, area in acts]
    return "\n".join(lines) + "\n"


class _Untitled(GenerateJsonSchema):
    """Without a title on every field: it only repeats the field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _sentence(r: registry.Registration) -> str:
    return " ".join((getdoc(r.event) or "").split())


def _without(made: Mapping[str, Any]) -> Schema:
    """A class's schema without its class name; the docstring loses its line breaks."""
    kept = {key: value for key, value in made.items() if key not in ("title", "description")}
    said = made.get("description")
    return {"description": " ".join(said.split()), **kept} if said else kept


def _text(document: Schema) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _says(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    try:
        sys.stdout.writelines(f"{REFERENCE / path}\n" for path in write())
    except ContractBroken as error:
        sys.exit(f"kehu: {error}")
