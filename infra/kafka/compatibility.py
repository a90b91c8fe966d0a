"""Whether a JSON Schema still accepts all that an older one accepted, as far as pydantic models can differ."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

# A keyword whose greater (or smaller) value accepts less.
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_FIXED = ("pattern", "format", "multipleOf", "uniqueItems")


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """What a channel that keeps to `old` would stumble over in `new`, one line each; empty when nothing."""
    return list(_compare(old, new, _Definitions(old), _Definitions(new), "data"))


class _Definitions:
    """The `$defs` of one document."""

    def __init__(self, document: Schema) -> None:
        self._known = document.get("$defs", {})

    def alternatives(self, schema: Schema) -> list[Schema]:
        """What a schema accepts, as alternatives without references; keywords beside a reference stay with it."""
        if "$ref" in schema:
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            return self.alternatives({**self._known[schema["$ref"].rpartition("/")[2]], **beside})
        several = schema.get("anyOf", schema.get("oneOf"))
        if several is None:
            return [schema]
        return [one for given in several for one in self.alternatives(given)]


def _compare(old: Schema, new: Schema, before: _Definitions, after: _Definitions, path: str) -> Iterator[str]:
    if old.get("default") != new.get("default"):
        # The default is what an absent field says.
        yield f"{path}: the default changed from {old.get('default')!r} to {new.get('default')!r}"
    accepted = after.alternatives(new)
    for one in before.alternatives(old):
        # An alternative is accepted when any of the new ones accepts it; else the nearest one tells why not.
        yield from min((list(_narrowed(one, other, before, after, path)) for other in accepted), key=len)


def _narrowed(old: Schema, new: Schema, before: _Definitions, after: _Definitions, path: str) -> Iterator[str]:
    if old.get("type") != new.get("type") and not _wider(old.get("type"), new.get("type")):
        yield f"{path}: the type changed from {old.get('type')} to {new.get('type')}"
        return
    yield from _fewer_values(old, new, path)
    yield from _narrower_bounds(old, new, path)
    yield from _fields(old, new, before, after, path)
    if "items" in new:
        yield from _compare(old.get("items", {}), new["items"], before, after, f"{path}[]")


def _wider(old: str | None, new: str | None) -> bool:
    return new is None or (old, new) == ("integer", "number")


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _fewer_values(old: Schema, new: Schema, path: str) -> Iterator[str]:
    accepted, known = _values(new), _values(old)
    if accepted is None:
        return
    if known is None:
        yield f"{path}: only {accepted} are accepted now"
    elif lost := [value for value in known if value not in accepted]:
        yield f"{path}: {lost} are no longer accepted"


def _narrower_bounds(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for keywords, sign in ((_LOWER, 1), (_UPPER, -1)):
        for keyword in keywords:
            if keyword in new and (keyword not in old or sign * new[keyword] > sign * old[keyword]):
                yield f"{path}: {keyword} is {new[keyword]} now, it was {old.get(keyword, 'unbounded')}"
    for keyword in _FIXED:
        if keyword in new and old.get(keyword) != new[keyword]:
            yield f"{path}: {keyword} is {new[keyword]} now, it was {old.get(keyword, 'free')}"


def _fields(old: Schema, new: Schema, before: _Definitions, after: _Definitions, path: str) -> Iterator[str]:
    known, accepted = old.get("properties", {}), new.get("properties", {})
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{path}.{name}: is required now"
    closed = new.get("additionalProperties") is False
    if closed and old.get("type") == "object" and old.get("additionalProperties") is not False:
        yield f"{path}: unknown fields are refused now"
    for name, one in known.items():
        if name in accepted:
            yield from _compare(one, accepted[name], before, after, f"{path}.{name}")
        elif closed:
            yield f"{path}.{name}: the field was removed"
