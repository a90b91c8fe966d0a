"""The OpenAPI document, made from the endpoints. `python -m infra.http.openapi` writes it to docs/reference."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from infra.http import problems, rows
from infra.http.parameters import Parameters
from infra.http.problems import MEDIA, Problem
from infra.http.routes.audit import ACCESS_LOG, ACTS
from infra.http.routes.audit_returns import RETURNS_VIEW
from infra.http.routes.events import BATCH, JSON
from infra.http.routes.operations import DEAD_LETTERS, PARKED, PROJECTIONS
from infra.http.routes.views import CASES_VIEW, QUEUES_VIEW, RISK_VIEW, SATISFACTION_VIEW, TIMELINE_VIEW
from infra.http.routes.webhooks import LETTERS, WEBHOOKS
from infra.http.scopes import SCOPES
from infra.http.security import Needs
from infra.kafka.envelopes import STRUCTURED

FILE = Path("docs") / "reference" / "openapi.json"
VERSION = "3.1.0"
_REF = "#/components/schemas/{model}"
_TOKEN = (problems.Unauthenticated, problems.Forbidden, problems.TooMany, problems.Invalid)
_SERVER = (problems.Unforeseen, problems.Away)
_HEADERS: Mapping[str, Any] = {
    "Kehu-Position": {"description": "Every event up to this position is shown.", "schema": {"type": "integer"}},
    "Kehu-Recorded-At": {
        "description": "When the event at that position was stored.",
        "schema": {"type": "string", "format": "date-time"},
    },
    "Kehu-Lag-Seconds": {
        "description": "For how long the oldest event that is not shown has been stored.",
        "schema": {"type": "number"},
    },
    "Kehu-Next": {"description": "The cursor of the next page.", "schema": {"type": "string"}},
    "ETag": {"description": "A tag of the rows, for If-None-Match.", "schema": {"type": "string"}},
}
_OF_REPLAYS: Mapping[str, Any] = {
    "Kehu-As-Of": {"description": "What names this moment again.", "schema": {"type": "string"}},
    "Kehu-Digest": {"description": "Of all rows of the view at this moment.", "schema": {"type": "string"}},
}
_OF_FIGURES: Mapping[str, Any] = {
    "Kehu-As-Of": _OF_REPLAYS["Kehu-As-Of"],
    "Kehu-Digest": {"description": "SHA-256 of all figures as NDJSON.", "schema": {"type": "string"}},
}
_CLOUDEVENT = {
    "type": "object",
    "description": "A CloudEvent 1.0; docs/reference/schemas has the data of each type.",
    "required": ["specversion", "id", "source", "type", "subject", "time", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        **{name: {"type": "string", "minLength": 1, "maxLength": 256} for name in ("id", "source", "type", "subject")},
        "time": {"type": "string", "format": "date-time"},
        "data": {"type": "object"},
    },
}


@dataclass(frozen=True, slots=True)
class Told:
    """What an endpoint answers beside what its code says: its rows, and the problems that are its own."""

    row: type[BaseModel] | None = None
    exported: bool = True
    streamed: bool = False
    personal: bool = False
    changes: Mapping[int, Any] | None = None
    """Of what changes something: status -> what is answered, None for nothing."""
    problems: tuple[type[Problem], ...] = ()
    headers: Mapping[str, Any] = field(default_factory=dict)


_OF_VIEWS = (problems.Behind,)


def _changes(answers: Mapping[int, Mapping[str, Any] | None], *more: type[Problem]) -> Told:
    known: tuple[type[Problem], ...] = (problems.TooLarge, problems.BadRequest, problems.NotFound, *more)
    shapes = {
        status: answered and {"type": "object", "required": [*answered], "properties": answered}
        for status, answered in answers.items()
    }
    return Told(changes=shapes, problems=known)


_TEXT = {"type": "string"}
_EVENT = {"type": "object"}
_SECRET = {"name": _TEXT, "secret": {"type": "string", "description": "`whsec_…`, which is not shown again."}}
_PUBLISHED = {
    "id": {"type": "integer"},
    "published_as": {"type": ["string", "null"], "description": "The id of the event; null where nobody can tell."},
}
OPERATIONS: Mapping[tuple[str, str], Told] = {
    ("get", "/health/live"): Told(),
    ("get", "/health/ready"): Told(),
    ("get", "/v1/satisfaction"): Told(SATISFACTION_VIEW.fields, problems=_OF_VIEWS),
    ("get", "/v1/retention-risk"): Told(RISK_VIEW.fields, personal=True, problems=_OF_VIEWS),
    ("get", "/v1/queues"): Told(QUEUES_VIEW.fields, problems=_OF_VIEWS),
    ("get", "/v1/cases"): Told(CASES_VIEW.fields, personal=True, problems=_OF_VIEWS),
    ("get", "/v1/customers/{customer_id}"): Told(
        rows.CustomerRow, exported=False, personal=True, problems=(*_OF_VIEWS, problems.NotFound)
    ),
    ("get", "/v1/customers/{customer_id}/timeline"): Told(
        TIMELINE_VIEW.fields, personal=True, problems=(*_OF_VIEWS, problems.NotFound)
    ),
    ("get", "/v1/changes"): Told(streamed=True, personal=True, problems=(problems.TooMany,)),
    ("get", "/v1/projections"): Told(PROJECTIONS.fields),
    ("get", "/v1/dead-letters"): Told(DEAD_LETTERS.fields),
    ("get", "/v1/parked"): Told(PARKED.fields),
    ("get", "/v1/receipts"): Told(rows.Receipt, exported=False),
    ("post", "/v1/receipts"): Told(rows.Receipt, exported=False, problems=(problems.TooLarge, problems.BadRequest)),
    ("get", "/v1/access-log"): Told(ACCESS_LOG.fields, personal=True),
    ("get", "/v1/acts"): Told(ACTS.fields, personal=True),
    ("get", "/v1/audit/replay/{view}"): Told(
        rows.ReplayedRow, personal=True, problems=(problems.NotFound,), headers=_OF_REPLAYS
    ),
    ("get", "/v1/audit/returns"): Told(RETURNS_VIEW.fields),
    ("get", "/v1/audit/returns/{name}"): Told(
        rows.FigureRow, personal=True, problems=(problems.NotFound,), headers=_OF_FIGURES
    ),
    ("get", "/v1/audit/returns/{name}/cases"): Told(
        rows.ReturnedRow,
        personal=True,
        problems=(problems.NotFound,),
        headers={"Kehu-As-Of": _OF_REPLAYS["Kehu-As-Of"]},
    ),
    ("get", "/v1/audit/explain/risk/{customer_id}"): Told(
        rows.ExplainedRiskRow, exported=False, personal=True, problems=(problems.NotFound,)
    ),
    ("get", "/v1/audit/explain/case/{case_id}"): Told(
        rows.ExplainedCaseRow, exported=False, personal=True, problems=(problems.NotFound,)
    ),
    ("get", "/v1/webhooks"): Told(WEBHOOKS.fields),
    ("get", "/v1/webhook-letters"): Told(LETTERS.fields),
    ("post", "/v1/webhooks"): _changes({201: _SECRET}, problems.Conflict),
    ("patch", "/v1/webhooks/{name}"): _changes({204: None}),
    ("delete", "/v1/webhooks/{name}"): _changes({204: None}),
    ("post", "/v1/webhooks/{name}/pause"): _changes({204: None}),
    ("post", "/v1/webhooks/{name}/resume"): _changes({204: None}),
    ("post", "/v1/webhooks/{name}/secret"): _changes({200: _SECRET}),
    ("post", "/v1/webhooks/{name}/replay"): _changes({204: None}),
    ("post", "/v1/webhooks/{name}/retry"): _changes({200: {"letters": {"type": "integer"}}}),
    ("post", "/v1/dead-letters/{id}/replay"): _changes({202: _PUBLISHED}, problems.Conflict, problems.Refused),
    ("post", "/v1/dead-letters/{id}/repair"): _changes({200: {"event": _EVENT}, 202: _PUBLISHED}, problems.Refused),
    ("post", "/v1/parked/{seq}/release"): _changes({204: None}),
    ("post", "/v1/parked/retry"): _changes({200: {"streams": {"type": "array", "items": _TEXT}}}),
    ("post", "/v1/events"): Told(problems=(problems.TooLarge, problems.UnknownMediaType, problems.Refused)),
}


class NotDescribed(Exception):
    """An endpoint has no line in OPERATIONS: say there what it answers."""


def document(app: FastAPI) -> dict[str, Any]:
    """The document of an application."""
    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(
        title=app.title, version=app.version, openapi_version=VERSION, description=app.description, routes=app.routes
    )
    models: list[type[BaseModel]] = [rows.Fresh, *(told.row for told in OPERATIONS.values() if told.row)]
    _, described = models_json_schema([(one, "serialization") for one in dict.fromkeys(models)], ref_template=_REF)
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas |= described["$defs"] | {"Problem": _problem(), "CloudEvent": _CLOUDEVENT}
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for route in app.routes:
        if isinstance(route, APIRoute):
            for method in route.methods or ():
                operation = made["paths"][route.path_format][method.lower()]
                operation["parameters"] = [*operation.get("parameters", ()), *_parameters(route)]
    for path, method, needs in endpoints(app):
        if (method, path) not in OPERATIONS:
            raise NotDescribed(f"{method.upper()} {path}")
        _describe(made["paths"][path][method], method, path, OPERATIONS[method, path], needs)
    app.openapi_schema = made
    return made


def endpoints(app: FastAPI) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Path, method and the scopes of which a caller needs one; none where no token is asked for."""
    for route in app.routes:
        if not isinstance(route, APIRoute):
            continue
        needs = [one for one in _called(route) if isinstance(one, Needs)]
        for method in sorted(route.methods or ()):
            yield route.path_format, method.lower(), needs[0].scopes if needs else ()


def _called(route: APIRoute) -> list[object]:
    return [one.call for one in route.dependant.dependencies]


def _parameters(route: APIRoute) -> list[dict[str, Any]]:
    """The query parameters of an endpoint, from the model that reads them."""
    found = []
    for one in _called(route):
        if isinstance(one, Parameters):
            described = one.model.model_json_schema(ref_template=_REF)
            for name, schema in described["properties"].items():
                told = {key: value for key, value in schema.items() if key not in ("title", "description")}
                required = name in described.get("required", ())
                more = {"description": schema["description"]} if "description" in schema else {}
                found.append({"name": name, "in": "query", "required": required, "schema": told, **more})
    return found


def _describe(operation: dict[str, Any], method: str, path: str, told: Told, needs: tuple[str, ...]) -> None:
    found: dict[str, Any] = {}
    if told.row is not None:
        found["200"] = _answer(told)
        if method == "get":
            found["304"] = {"description": "The caller has these rows already."}
            operation.setdefault("parameters", []).append(_header("If-None-Match", "The ETag of an answer before."))
    elif told.changes is not None:
        for status, shape in told.changes.items():
            content = {} if shape is None else {"content": {JSON: {"schema": shape}}}
            found[str(status)] = {"description": "It is done, and recorded.", **content}
        operation["parameters"].append(_header("X-Purpose", "Why it is done; kept for auditors."))
    elif told.streamed:
        told_as = {
            "type": "object",
            "description": "One event of the stream; `data` is a CloudEvent in JSON, `id` where to go on.",
            "properties": {name: {"type": "string"} for name in ("event", "id", "data")},
        }
        found["200"] = {"description": "Changes as they come.", "content": {"text/event-stream": {"schema": told_as}}}
        operation["parameters"].append(_header("Last-Event-ID", "Instead of `after`: where to go on."))
    elif path.startswith("/health"):
        found["200"] = {"description": "Yes.", "content": {JSON: {"schema": {"type": "object"}}}}
    else:
        found["202"] = {"description": "Kafka has acknowledged all of them.", "content": {JSON: {"schema": _ACCEPTED}}}
        operation["requestBody"] = _EVENTS
    own: tuple[type[Problem], ...] = told.problems
    if told.personal or told.changes:
        own += (problems.PurposeMissing,)
    if told.personal:
        operation["parameters"].append(_header("X-Purpose", "Why personal data is read; kept for auditors."))
    if needs:
        own += _TOKEN
        operation["security"] = [{"token": [scope]} for scope in needs]
        operation["description"] += f"\n\nNeeds the scope {' or '.join(f'`{scope}`' for scope in needs)}."
    by_status: dict[int, list[type[Problem]]] = {}
    every: tuple[type[Problem], ...] = (*own, *_SERVER)
    for one in every:
        by_status.setdefault(one.status, []).append(one)
    for status in sorted(by_status):
        words = " ".join(dict.fromkeys(one.title() for one in by_status[status]))
        content = {MEDIA: {"schema": {"$ref": _REF.format(model="Problem")}}}
        found[str(status)] = {"description": words, "content": content}
    operation["responses"] = found


def _answer(told: Told) -> dict[str, Any]:
    assert told.row is not None
    row = {"$ref": _REF.format(model=told.row.__name__)}
    fresh = {"type": "object", "additionalProperties": {"$ref": _REF.format(model="Fresh")}}
    page = {
        "type": "object",
        "required": ["freshness", "rows", "next"],
        "properties": {
            "freshness": fresh,
            # With `fields` a row has only some of its own.
            "rows": {"type": "array", "items": {"anyOf": [row, {"type": "object"}]}},
            "next": {"type": ["string", "null"], "description": "The cursor of the next page."},
        },
    }
    content: dict[str, Any] = {JSON: {"schema": page}}
    if told.exported:
        content |= {"text/csv": {"schema": {"type": "string"}}, "application/x-ndjson": {"schema": {"type": "string"}}}
    return {
        "description": "The rows, and how fresh they are.",
        "headers": {**_HEADERS, **told.headers},
        "content": content,
    }


def _header(name: str, description: str) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "maxLength": 500},
    }


def _problem() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "RFC 9457: what is wrong, and what to do.",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"type": "string", "format": "uri"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "errors": {"type": "array", "items": {"type": "object"}},
        },
    }


_ACCEPTED = {
    "type": "object",
    "required": ["accepted", "events"],
    "properties": {
        "accepted": {"type": "integer"},
        "events": {
            "type": "array",
            "items": {"type": "object", "properties": {n: {"type": "string"} for n in ("source", "id", "receipt")}},
        },
    },
}
_EVENTS = {
    "required": True,
    "content": {
        STRUCTURED: {"schema": {"$ref": _REF.format(model="CloudEvent")}},
        BATCH: {"schema": {"type": "array", "minItems": 1, "items": {"$ref": _REF.format(model="CloudEvent")}}},
        JSON: {"schema": {"type": "object", "description": "The data; the attributes are in headers `ce-…`."}},
    },
}


def generate() -> bytes:
    """The file's content."""
    from infra.http.app import routed

    made = document(routed())
    made["info"]["x-scopes"] = dict(SCOPES)
    return orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def stale(root: Path) -> bool:
    """Whether the file in a checkout is not what the endpoints say."""
    path = root / FILE
    return not path.is_file() or path.read_bytes() != generate()


if __name__ == "__main__":
    (Path(__file__).parents[2] / FILE).write_bytes(generate())
