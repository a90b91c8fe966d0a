"""Statutory and service clocks: working calendars, versioned presets, deadlines and why they are what they are."""

from domain.clocks.business_calendar import BusinessCalendar, Hours, Span
from domain.clocks.calendars import CALENDARS, calendar
from domain.clocks.deadlines import (
    Pause,
    ack_due,
    due,
    elapsed_fraction,
    gone_at,
    grant_extension,
    window_after_decision,
)
from domain.clocks.errors import ExtensionRefused, PresetNotInForce, TimeOutOfRange, UnknownPreset
from domain.clocks.explanation import Explanation, Stretch, explain_due
from domain.clocks.policies import case_types, service_policy
from domain.clocks.presets import PRESETS, Extension, Kind, Preset, Which, Window, pinned, preset

__all__ = [
    "CALENDARS",
    "PRESETS",
    "BusinessCalendar",
    "Explanation",
    "Extension",
    "ExtensionRefused",
    "Hours",
    "Kind",
    "Pause",
    "Preset",
    "PresetNotInForce",
    "Span",
    "Stretch",
    "TimeOutOfRange",
    "UnknownPreset",
    "Which",
    "Window",
    "ack_due",
    "calendar",
    "case_types",
    "due",
    "elapsed_fraction",
    "explain_due",
    "gone_at",
    "grant_extension",
    "pinned",
    "preset",
    "service_policy",
    "window_after_decision",
]
