"""What a clock refuses."""

from domain.errors import DomainError, Refused


class UnknownPreset(DomainError):
    """No preset has this name and version. Use one of those listed here, or add it to `domain/rules/presets.toml`."""


class PresetNotInForce(UnknownPreset):
    """The preset was not in force yet at that time. Name a regime that was, or correct the time."""


class ExtensionRefused(Refused):
    """The deadline cannot be extended. Publish the extension again with everything that the preset asks for."""


class TimeOutOfRange(Refused):
    """The deadline lies outside the years 1 to 9999. Correct the time that the channel sent."""
