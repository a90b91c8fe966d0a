"""Which fields of events are personal: they are marked where an event class declares them.

Personal is what says who somebody is, how to reach them, or what they or others wrote about them: names, addresses,
numbers of documents, free text. Codes, amounts, times and ids are not: figures are made of them, and they stay when a
customer is forgotten. Wherever events are stored, personal fields are hidden under a key of their customer.
"""

from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from msgspec import Meta as Says
from msgspec import structs

from domain.values import Event, Label, Text

E = TypeVar("E", bound=Event)

MARK = {"personal": True}
"""For `Says(extra=MARK)` around the type of a personal field."""
PersonalLabel = Annotated[Label, Says(extra=MARK)]
PersonalText = Annotated[Text, Says(extra=MARK)]

HIDDEN = "[hidden]"
"""What is read in the place of a personal field by those who do not ask for it, or have no key."""
ERASED = "[erased]"
"""What is read in the place of a personal field whose customer was forgotten."""


@cache
def fields(kind: type[Event]) -> tuple[str, ...]:
    """The names of the personal fields of an event class, in their order."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(one.name for one in structs.fields(kind) if _is_marked(hints[one.name]))


def said(event: Event) -> dict[str, Any]:
    """What an event says in its personal fields; without those that equal their default."""
    return {name: value for name, default in _defaults(type(event)) if (value := getattr(event, name)) != default}


def without(event: E) -> E:
    """The event without what its personal fields say: their default, or HIDDEN where there is none."""
    return structs.replace(event, **_nothing(type(event)))


def replaced(event: E, names: tuple[str, ...], word: str) -> E:
    """The event with a word in each of these fields; whoever reads it still sees which were said."""
    stands_for = _words(type(event), word)
    return structs.replace(event, **{name: stands_for[name] for name in names if name in stands_for})


@cache
def _defaults(kind: type[Event]) -> tuple[tuple[str, Any], ...]:
    marked = fields(kind)
    return tuple((one.name, one.default) for one in structs.fields(kind) if one.name in marked)


@cache
def _nothing(kind: type[Event]) -> dict[str, Any]:
    words, marked = _words(kind, HIDDEN), fields(kind)
    return {
        one.name: words[one.name] if one.required else one.default for one in structs.fields(kind) if one.name in marked
    }


@cache
def _words(kind: type[Event], word: str) -> dict[str, Any]:
    """What stands for each personal field: the word, or a tuple of it where there are several values."""
    hints = get_type_hints(kind)
    return {name: (word,) if _holds_several(hints[name]) else word for name in fields(kind)}


def _holds_several(hint: Any) -> bool:
    return get_origin(hint) is tuple or any(get_origin(one) is tuple for one in get_args(hint))


def _is_marked(hint: Any) -> bool:
    said = getattr(hint, "__metadata__", ()) if get_origin(hint) is Annotated else ()
    if any(isinstance(one, Says) and (one.extra or {}).get("personal") for one in said):
        return True
    return any(_is_marked(one) for one in get_args(hint) if one is not None)
