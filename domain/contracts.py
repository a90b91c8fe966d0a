"""What a channel may send, as pydantic models that follow from the event classes, and the way from JSON to an event.

An event class says its fields and bounds once. Most JSON is read by msgspec straight from the bytes. What it refuses,
and ids that are not of ASCII, are looked at by the pydantic model, which decides: it knows every script, takes what
JSON may say in several ways, and tells what is wrong. JSON Schemas are made from it, too.
"""

from collections.abc import Callable, Iterator
from datetime import date, datetime
from functools import cache
from operator import attrgetter
from re import compile as regex
from types import GenericAlias, NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta as Says
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, create_model

from domain.values import Frozen, Id, Moment

E = TypeVar("E", bound=Frozen)

USUAL = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_.:/@+-"
"""Characters that most ids are made of; letters and digits of other scripts are admitted, too."""

REFUSED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for JSON that it does not read as the wanted type."""
_DAY = regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BOUNDS = ("ge", "le", "min_length", "max_length")


def read(kind: type[E], data: bytes) -> E | None:
    """The event that JSON says; None for one that must be parsed, and looked at by `convert`."""
    decode: Callable[[bytes], E] = _decoder(kind)
    try:
        event = decode(data)
    except REFUSED:
        return None
    return event if has_usual_ids(event) else None


def convert(kind: type[E], data: Any) -> E:
    """The event that JSON said, already parsed. Raises pydantic's ValidationError."""
    try:
        event = msgspec.convert(data, kind)
    except msgspec.ValidationError:
        pass
    else:
        if has_usual_ids(event):
            return event
    return _event(kind, model(kind).model_validate(data))


def has_usual_ids(event: Frozen) -> bool:
    """Whether all ids of an event keep to USUAL, which every contract admits."""
    for one in _ids(type(event))(event):  # noqa: SIM110 (a generator takes twice the time)
        if one is not None and one.strip(USUAL):  # what is left when all usual characters are taken from both ends
            return False
    return True


@cache
def model(kind: type[Frozen]) -> type[BaseModel]:
    """The contract of an event class: a frozen pydantic model with its fields, bounds and defaults."""
    hints = get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {}
    for one in msgspec.structs.fields(kind):
        default = ... if one.required else one.default
        fields[one.name] = (_annotation(hints[one.name]), default)
    return create_model(kind.__name__, __doc__=kind.__doc__, __config__=_CONFIG, **fields)


_CONFIG = ConfigDict(frozen=True, extra="forbid")
_PLAIN = (str, datetime, NoneType)


def _written(said: Any) -> Any:
    """Refuses a number for a time, also as text: pydantic guesses whether it means seconds or milliseconds."""
    if isinstance(said, str) and _DAY.match(said):
        return said
    raise ValueError("write it as text that begins with year, month and day: 2026-03-02")


_WRITTEN = BeforeValidator(_written)


@cache
def _ids(kind: type[Frozen]) -> Callable[[Any], tuple[str | None, ...]]:
    """What gives the ids of an event of this class."""
    hints = get_type_hints(kind, include_extras=True)
    names = [name for name, hint in hints.items() if Id in _parts(hint)]
    if not names:
        return lambda _event: ()
    get: Callable[[Any], Any] = attrgetter(*names)
    return get if len(names) > 1 else lambda event: (get(event),)


def _parts(hint: Any) -> Iterator[Any]:
    """A type, and those that it is made of."""
    yield hint
    if hint != Id:
        for one in get_args(hint):
            yield from _parts(one)


@cache
def _decoder(kind: type[Frozen]) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind).decode


def _annotation(hint: Any) -> Any:
    """A type of an event's field as pydantic knows it."""
    if hint == Moment:
        return Annotated[AwareDatetime, _WRITTEN]
    if hint is date:
        return Annotated[date, _WRITTEN]
    origin = get_origin(hint)
    if origin is Annotated:
        return Annotated[(_annotation(hint.__origin__), *map(_field, hint.__metadata__))]
    if origin in (Union, UnionType):
        return Union[tuple(_annotation(one) for one in get_args(hint))]  # noqa: UP007 (made at run time)
    if origin is tuple:
        return GenericAlias(tuple, (_annotation(get_args(hint)[0]), ...))
    if hint in (int, bool):
        return Annotated[hint, Field(strict=True)]
    if isinstance(hint, type) and issubclass(hint, Frozen):
        return model(hint)
    assert origin is Literal or hint in _PLAIN, f"no contract for {hint}"
    return hint


def _field(said: Says) -> Any:
    told = {name: bound for name in _BOUNDS if (bound := getattr(said, name)) is not None}
    if pattern := said.pattern or (said.extra or {}).get("pattern"):
        told["pattern"] = pattern.replace(r"\Z", "$")
    if said.description is not None:
        told["description"] = said.description
    return Field(**told)


def _event(kind: type[E], checked: BaseModel) -> E:
    """The event of a model that was checked. What was not said, or says the default, is that of the class."""
    defaults = {one.name: one.default for one in msgspec.structs.fields(kind)}
    told = {name: _value(kind, name, getattr(checked, name)) for name in checked.model_fields_set}
    return kind(**{name: value for name, value in told.items() if value != defaults[name]})


def _value(kind: type[Frozen], name: str, value: Any) -> Any:
    if not isinstance(value, BaseModel):
        return value
    hint = get_type_hints(kind)[name]
    inner = next(one for one in (hint, *get_args(hint)) if isinstance(one, type) and issubclass(one, Frozen))
    return _event(inner, value)
