"""Administration: what people did to the system itself. One stream for each area: `administration-{area}`.

No channel sends these: whoever does something in the database tells it in the same transaction, so that what was done
and that it was done are sealed together. What is done outside of it, as an export or a new line of a key file, is told
beside it, an export before it is made: one that fails was asked for all the same. `by` is who did it, a user of the
computer or the subject of a token.
"""

from datetime import date
from typing import Annotated, ClassVar, Literal, get_args

from msgspec import Meta as Says

from domain.registry import register
from domain.values import Count, Event, Fact, Id, Label, Meta, StreamName, Text, Value

SOURCE = "/kehu/administration"
"""Of the meta of these events."""


Area = Literal["messages", "projections", "models", "exports", "reads", "settings", "webhooks", "privacy"]
AREAS: tuple[Area, ...] = get_args(Area)
"""All areas."""


def stream_name(area: Area) -> StreamName:
    """The stream of one area."""
    return StreamName(f"administration-{area}")


def streams(area: Area | None = None) -> list[StreamName]:
    """The stream of an area, or those of all."""
    return [stream_name(one) for one in (AREAS if area is None else (area,))]


# --- events: their names and fields are what is stored. Change them only with a new version and an upcaster. ---


class Act(Event):
    """Somebody did something to the system. `by` is who says so; `user` is added by PostgreSQL: who was connected."""

    area: ClassVar[Area]
    by: Label
    user: Annotated[Label | None, Says(description="the user of PostgreSQL over whose connection it was told")] = None
    reason: Text | None = None


class DeadLettersReplayed(Act):
    """Dead letters were published again, as they came."""

    area: ClassVar[Area] = "messages"
    letters: tuple[int, ...]


class DeadLetterRepaired(Act):
    """The event of a dead letter was published under another id, with what was wrong mended."""

    area: ClassVar[Area] = "messages"
    letter: int
    repaired_as: Text


class BatchSkipped(Act):
    """A partition goes on behind a batch that nobody can read. `following` is the offset it goes on at."""

    area: ClassVar[Area] = "messages"
    topic: Label
    partition: Count
    first: int
    following: int


class ParkedReleased(Act):
    """Waiting messages became dead letters, since they must not wait any longer."""

    area: ClassVar[Area] = "messages"
    messages: tuple[int, ...]


class ProjectionSwitched(Act):
    """Readers see another build of a read model. `former_build` is None when there was none to be seen before."""

    area: ClassVar[Area] = "projections"
    projection: Label
    version: Count
    build: Count
    former_version: Count | None = None
    former_build: Count | None = None


class ProjectionPaused(Act):
    """A read model rests, or goes on."""

    area: ClassVar[Area] = "projections"
    projection: Label
    paused: bool


class ModelPromoted(Act):
    """Retention risk is scored by another model."""

    area: ClassVar[Area] = "models"
    model: Label
    former: Label


class LogExported(Act):
    """Events were given away with their proof. `stream`, `customer`, `first` and `last` say which; absent means all."""

    area: ClassVar[Area] = "exports"
    head: Annotated[int, Says(ge=0, description="events in the tree of the head that proves the export")]
    stream: Text | None = None
    customer: Id | None = None
    first: int | None = None
    last: int | None = None


class PersonShown(Act):
    """All that is held on a person was shown, under all ids that they are known by."""

    area: ClassVar[Area] = "exports"
    customer: Id
    known_as: tuple[Label, ...]


class ReadsRecorded(Act):
    """Personal data was read: the rows of the access log with these ids, and a digest of what they say."""

    area: ClassVar[Area] = "reads"
    first: int
    last: int
    reads: Annotated[int, Says(ge=0)]
    digest: Annotated[str, Says(min_length=64, max_length=64, description="SHA-256 over the rows, hexadecimal")]


class SettingsChanged(Act):
    """A process runs with other settings than the one before it. Passwords are left out."""

    area: ClassVar[Area] = "settings"
    process: Label
    settings: dict[str, str]


class WebhookChanged(Act):
    """A webhook was added, changed, paused, resumed, removed, replayed, or got another secret."""

    area: ClassVar[Area] = "webhooks"
    webhook: Label
    change: Label


class CustomerForgotten(Act):
    """A customer was forgotten. `erasure` is the position of customer.erased, with which the key was destroyed."""

    area: ClassVar[Area] = "privacy"
    customer: Id
    erasure: Annotated[int, Says(ge=1, description="position of customer.erased in the log")]


class ErasureRestricted(Act):
    """A customer who asked to be forgotten is kept until a date, on a legal basis."""

    area: ClassVar[Area] = "privacy"
    customer: Id
    until: date
    basis: Text


class ErasureRefused(Act):
    """A customer who asked to be forgotten cannot be now. `why` is what stands against it."""

    area: ClassVar[Area] = "privacy"
    customer: Id
    why: Text


class MasterKeyAdded(Act):
    """A new master key was added to the key file; `keys-rotated` tells when all data keys are wrapped under it."""

    area: ClassVar[Area] = "privacy"
    master: Label


class KeysRotated(Act):
    """No data key is wrapped under a former master key any more. `wrapped` is how many still were."""

    area: ClassVar[Area] = "privacy"
    master: Label
    wrapped: Count


# --- state and decisions: whoever does something may do it, and tells it ---


class Administration(Value):
    """How much was done in an area."""

    acts: int


def evolve(state: Administration | None, event: Event, meta: Meta) -> Administration:
    """The state after an event."""
    return Administration(1 if state is None else state.acts + 1)


def decide(state: Administration | None, fact: Fact) -> tuple[Event, ...]:
    """What was done was done."""
    return (fact.data,)


register("administration.dead-letters-replayed", DeadLettersReplayed, published=False)
register("administration.dead-letter-repaired", DeadLetterRepaired, published=False)
register("administration.batch-skipped", BatchSkipped, published=False)
register("administration.parked-released", ParkedReleased, published=False)
register("administration.projection-switched", ProjectionSwitched, published=False)
register("administration.projection-paused", ProjectionPaused, published=False)
register("administration.model-promoted", ModelPromoted, published=False)
register("administration.log-exported", LogExported, published=False)
register("administration.person-shown", PersonShown, published=False)
register("administration.reads-recorded", ReadsRecorded, published=False)
register("administration.settings-changed", SettingsChanged, published=False)
register("administration.webhook-changed", WebhookChanged, published=False)
register("administration.customer-forgotten", CustomerForgotten, published=False)
register("administration.erasure-restricted", ErasureRestricted, published=False)
register("administration.erasure-refused", ErasureRefused, published=False)
register("administration.master-key-added", MasterKeyAdded, published=False)
register("administration.keys-rotated", KeysRotated, published=False)
