"""The clocks of a case: statutory and service, as they stand after each fact."""

from datetime import datetime
from typing import Any, Literal

from domain import clocks, registry
from domain.complaint.events import ComplaintClockSet, ComplaintResolved
from domain.complaint.refusals import RegimeNotInForce, UnknownRegime
from domain.complaint.state import OVER, Clock, Complaint, evolve
from domain.values import Event, Meta

SERVICE = "service_default"
"""The preset of the service clock. As a regime it says that no law sets a deadline: only the service clock runs."""


def preset_of(name: str, at: datetime) -> clocks.Preset:
    """The preset of a regime that was in force then. Raises RegimeNotInForce, UnknownRegime or TimeOutOfRange."""
    try:
        return clocks.preset(name, at)
    except clocks.PresetNotInForce as error:
        raise RegimeNotInForce(str(error)) from error
    except clocks.UnknownPreset as error:
        raise UnknownRegime(name) from error
    except OverflowError as error:
        raise clocks.TimeOutOfRange(str(at)) from error


def pinned_preset(clock: Clock) -> clocks.Preset:
    """The preset that a clock began with, whatever has come into force since."""
    return clocks.pinned(clock.preset, clock.version)


def clock_set(
    which: Literal["statutory", "service"],
    preset: clocks.Preset,
    start: datetime,
    state: Complaint,
    because: Any,
    extensions: int = 0,
) -> ComplaintClockSet:
    """The clock as it stands in `state`: stopped while a pause lasts that its preset lists."""
    if state.status == "waiting" and state.pauses[-1][2] in preset.pauses:
        due_at = None
    else:
        target = preset.for_severity(state.severity)
        due_at = clocks.due(target, start, extensions=extensions, pauses=state.pauses)
    return ComplaintClockSet(
        complaint_id=because.complaint_id,
        clock=which,
        preset=preset.name,
        preset_version=preset.version,
        starts_at=start,
        due_at=due_at,
        because=registry.of(because).name.removeprefix("complaint."),
    )


def moved_clocks(state: Complaint, data: Event, meta: Meta) -> tuple[ComplaintClockSet, ...]:
    """The clocks whose deadline a fact moves, stops or sets going again."""
    after = evolve(state, data, meta)
    if (after.pauses, after.extensions) == (state.pauses, state.extensions):
        return ()  # a deadline follows from its beginning, the pauses and the extensions
    moved = []
    if (clock := state.statutory) is not None:
        now = clock_set("statutory", pinned_preset(clock), clock.starts_at, after, data, after.extensions)
        moved += [now] if now.due_at != clock.due_at else []
    if (clock := state.service) is not None:
        now = clock_set("service", pinned_preset(clock), clock.starts_at, after, data)
        moved += [now] if now.due_at != clock.due_at else []
    return tuple(moved)


def missed_clock(state: Complaint, data: Event, meta: Meta) -> tuple[ComplaintClockSet, ...]:
    """The statutory clock under the preset that follows a missed one.

    A summary resolution (DISP 1.5) is missed when its time has passed, or when the customer did not accept it.
    """
    clock = state.statutory
    if clock is None or clock.due_at is None or state.status in OVER:
        return ()
    follows = pinned_preset(clock).on_miss
    accepted = not isinstance(data, ComplaintResolved) or data.accepted
    if follows is None or (meta.occurred_at <= clock.due_at and accepted):
        return ()
    return (clock_set("statutory", preset_of(follows, clock.starts_at), clock.starts_at, state, data),)
