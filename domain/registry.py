"""Event names and versions as data: `complaint.opened`, 1 -> the class. Never a class path, so that classes may move.

Each aggregate module registers its events at its end. `published` events are the contract with the channels: their
CloudEvents type is `kehu.<name>.v<version>`. The others are derived by a decision and cannot be sent by anyone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from domain.errors import UnknownName
from domain.upcasts import UPCASTS
from domain.values import Event

TYPE_PREFIX = "kehu."


@dataclass(frozen=True)
class Registration:
    """One event class under its stored name. `version` is the newest; older ones are upcast when read."""

    name: str
    version: int
    event: type[Event]
    published: bool

    @cached_property
    def topic(self) -> str:
        """What the event store's `topic` column holds: `complaint.opened.v1`. No topic of Kafka: see the glossary."""
        return f"{self.name}.v{self.version}"

    @cached_property
    def type(self) -> str:
        """The CloudEvents type: `kehu.complaint.opened.v1`."""
        return TYPE_PREFIX + self.topic


_by_name: dict[str, Registration] = {}
_by_class: dict[type[Event], Registration] = {}


def register(name: str, event: type[Event], *, version: int = 1, published: bool = True) -> None:
    """Give `event` its stored name; a name or a class can be registered once only."""
    if name in _by_name or event in _by_class:
        raise ValueError(f"{name} or {event.__name__} is registered already: names and classes are one to one")
    _by_name[name] = _by_class[event] = Registration(name, version, event, published)


def of(event: Event) -> Registration:
    """The registration of an event's class."""
    found = _by_class.get(type(event))
    if found is None:
        raise UnknownName(type(event).__name__)
    return found


def named(name: str) -> Registration:
    """The registration under a stored name."""
    try:
        return _by_name[name]
    except KeyError:
        raise UnknownName(name) from None


def all_registrations() -> Iterator[Registration]:
    """Every registered event, by name."""
    yield from (_by_name[name] for name in sorted(_by_name))


def topics(names: Iterable[str]) -> list[str]:
    """Under which topics the events of these names are stored, in all their versions."""
    return [f"{name}.v{version}" for name in sorted(names) for version in range(1, named(name).version + 1)]


def split_topic(topic: str) -> tuple[str, int]:
    """`complaint.opened.v1` -> (`complaint.opened`, 1). Raises UnknownName for anything else."""
    name, _, version = topic.rpartition(".v")
    if not name or not version.isdigit():
        raise UnknownName(topic)
    return name, int(version)


def check() -> None:
    """Refuse to start with a version that has no chain of upcasters from 1, or an upcaster that nothing needs."""
    needed = {(r.name, v) for r in all_registrations() for v in range(1, r.version)}
    if missing := sorted(needed - UPCASTS.keys()):
        raise UnknownName(f"no upcaster for {missing}: add it to domain/upcasts.py")
    if unused := sorted(UPCASTS.keys() - needed):
        raise UnknownName(f"upcasters without a newer version: {unused}")
