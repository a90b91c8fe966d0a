"""The clocks of a case: statutory and service, as they stand after each fact."""

from datetime import datetime
from typing import Any

from domain import clocks, registry
from domain.complaint.events import (
    ComplaintClockSet,
    ComplaintDeadlineMissed,
    ComplaintOpened,
    ComplaintPolicyChanged,
    ComplaintResolved,
)
from domain.complaint.refusals import (
    ExtensionWouldBeLost,
    RegimeNotInForce,
    RegimeOfOtherCases,
    UnknownRegime,
    WrongClock,
)
from domain.complaint.state import OVER, Clock, Complaint, evolve
from domain.values import Event, Meta

BY_RULES = "service_default"
"""As a regime it says that no law sets a deadline; which service policy runs, the rules choose."""


def preset_of(name: str, at: datetime, which: clocks.Which | None = None) -> clocks.Preset:
    """The preset of this name that was in force then, of this clock.

    Raises RegimeNotInForce, UnknownRegime, TimeOutOfRange or WrongClock.
    """
    try:
        found = clocks.preset(name, at)
    except clocks.PresetNotInForce as error:
        raise RegimeNotInForce(str(error)) from error
    except clocks.UnknownPreset as error:
        raise UnknownRegime(name) from error
    except OverflowError as error:
        raise clocks.TimeOutOfRange(str(at)) from error
    if which is not None and found.clock != which:
        raise WrongClock(f"{name} is for the {found.clock} clock")
    return found


def require_for(case_type: str, regime: str, at: datetime) -> None:
    """Raises RegimeOfOtherCases when a statutory preset is not for cases of this type."""
    types = clocks.case_types(regime, at)
    if types and case_type not in types:
        raise RegimeOfOtherCases(f"{regime} is for {' or '.join(types)}, not for {case_type}")


def pinned_preset(clock: Clock) -> clocks.Preset:
    """The preset that a clock began with, whatever has come into force since."""
    return clocks.pinned(clock.preset, clock.version)


def opening_clocks(state: Complaint, data: ComplaintOpened, start: datetime) -> tuple[ComplaintClockSet, ...]:
    """The clocks of a new case: by law, unless its regime is a service policy, and by service policy.

    Raises RegimeOfOtherCases and what `preset_of` raises.
    """
    regime = preset_of(data.regime, start)
    require_for(data.case_type, data.regime, start)
    if regime.clock == "service" and data.regime != BY_RULES:
        return (clock_set("service", regime, start, state, data),)
    policy = clocks.service_policy(data.queue, data.case_type, data.severity, start)
    service = clock_set("service", preset_of(policy, start), start, state, data)
    if regime.clock == "service" or data.same_matter:
        return (service,)
    return (clock_set("statutory", regime, start, state, data), service)


def clock_set(
    which: clocks.Which,
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
        due_at = clocks.due(target, start, extensions=extensions, pauses=state.pauses, cycles_end=state.cycles_end_on)
    return ComplaintClockSet(
        complaint_id=because.complaint_id,
        clock=which,
        preset=preset.name,
        preset_version=preset.version,
        starts_at=start,
        due_at=due_at,
        because=registry.of(because).name.removeprefix("complaint."),
        missed=bool(state.missed) and (which, due_at) in state.missed,
        extensions=extensions,
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


def restarts(preset: clocks.Preset, clock: Clock, at: datetime) -> bool:
    """Whether new facts of this time start a clock anew: what was known when it began does not."""
    return "new_facts" in preset.restart_on and at > clock.starts_at


def restarted_clocks(state: Complaint, data: Event, meta: Meta) -> tuple[ComplaintClockSet, ...]:
    """The clocks that new facts on an open case start anew; no extension of the old time is one of the new."""
    after, at = evolve(state, data, meta), meta.occurred_at
    return tuple(
        clock_set(which, preset, at, after, data)
        for which, clock in _clocks(state)
        if clock is not None and restarts(preset := pinned_preset(clock), clock, at)
    )


def passed_deadlines(state: Complaint, data: Event, meta: Meta) -> tuple[Event, ...]:
    """What a fact on an open case shows to have been missed before it, and the clock that follows a missed one.

    A summary resolution (DISP 1.5) is missed when its time has passed, or when the customer did not accept it.
    """
    if state.status in OVER:
        return ()
    at, found = meta.occurred_at, list[Event]()
    for which, clock in _clocks(state):
        if clock is not None and clock.due_at is not None and clock.due_at < at:
            if (which, clock.due_at) not in state.missed:
                found.append(missed(which, clock, data))
            if which == "statutory":
                found += after_miss(state, clock, data, at)
        elif which == "statutory" and clock is not None and isinstance(data, ComplaintResolved) and not data.accepted:
            found += after_miss(state, clock, data, at)
    return tuple(found)


def after_miss(state: Complaint, clock: Clock, data: Event, at: datetime) -> list[Event]:
    """The statutory clock under the preset that follows a missed one, and whether that has passed as well."""
    follows = pinned_preset(clock).on_miss
    if follows is None or clock.due_at is None:
        return []
    now = clock_set("statutory", preset_of(follows, clock.starts_at), clock.starts_at, state, data)
    then = Clock(now.preset, now.preset_version, now.starts_at, now.due_at)
    if then.due_at is None or then.due_at >= at or now.missed:
        return [now]
    return [now, missed("statutory", then, data)]


def missed(which: clocks.Which, clock: Clock, because: Any) -> ComplaintDeadlineMissed:
    """That a deadline passed while the case was open."""
    assert clock.due_at is not None
    return ComplaintDeadlineMissed(
        complaint_id=because.complaint_id,
        clock=which,
        preset=clock.preset,
        preset_version=clock.version,
        due_at=clock.due_at,
    )


def changed_policy(state: Complaint, data: ComplaintPolicyChanged, meta: Meta) -> tuple[ComplaintClockSet, ...]:
    """The clocks that the newest versions of the presets, or others, set; beginning and pauses stay.

    A case that had no statutory clock gets one when a regime is named, from the beginning of its service clock. Raises
    ExtensionWouldBeLost, RegimeOfOtherCases and what `preset_of` raises.
    """
    after, changed = evolve(state, data, meta), []
    assert state.service is not None
    for which, clock in _clocks(state):
        named = data.regime if which == "statutory" else data.service_policy
        name = named or (clock.preset if clock is not None else None)
        if name is None:
            continue
        preset = preset_of(name, meta.occurred_at, which)
        if named is not None:
            require_for(state.case_type, name, meta.occurred_at)
        kept = state.extensions if which == "statutory" and clock is not None and clock.preset == name else 0
        if kept > len(preset.extensions):
            raise ExtensionWouldBeLost(f"{name} version {preset.version} has {len(preset.extensions)}, granted {kept}")
        now = clock_set(which, preset, (clock or state.service).starts_at, after, data, kept)
        if clock is None or (now.preset, now.preset_version, now.due_at) != (clock.preset, clock.version, clock.due_at):
            changed.append(now)
    return tuple(changed)


def _clocks(state: Complaint) -> tuple[tuple[clocks.Which, Clock | None], ...]:
    return ("statutory", state.statutory), ("service", state.service)
