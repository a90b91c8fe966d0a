"""Days and seconds as read models count them."""

from datetime import UTC, date, datetime


def day_of(moment: datetime) -> date:
    """The day (UTC) that a moment counts in."""
    return moment.astimezone(UTC).date()


def seconds_between(start: datetime, end: datetime) -> int:
    """Whole seconds from start to end; 0 when the channels' clocks disagree."""
    return max(0, int((end - start).total_seconds()))
