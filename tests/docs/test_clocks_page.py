"""The tables of the page on clocks say what the data files say."""

from domain.clocks import CALENDARS, PRESETS, Preset
from domain.clocks.calendars import RULES
from domain.clocks.explanation import UNITS
from tests.support.project import ROOT

PAGE = ROOT / "docs" / "explanation" / "clocks.md"


def period(count: int, kind: str) -> str:
    unit = UNITS[kind]  # type: ignore[index]
    return f"{count} {unit if count > 1 else unit.removesuffix('s')}"


def preset_row(one: Preset) -> str:
    """A line of the table of presets."""
    time = period(one.resolve, one.kind)
    if one.by_severity:
        time = f"{'/'.join(str(count) for _, count in one.by_severity)} {UNITS[one.kind]}"
    if one.billing_cycles:
        time += f", or {one.billing_cycles} billing cycles"
    extensions = [
        f"{period(each.to, each.kind)} with {', '.join(f'`{need}`' for need in sorted(each.needs))}"
        for each in one.extensions
    ]
    cells = [
        f"`{one.name}` {one.version}",
        one.basis,
        time,
        period(one.ack, one.ack_kind) if one.ack else "",
        "; then ".join(extensions),
        ", ".join(f"`{reason}`" for reason in sorted(one.pauses)),
        ", ".join(f"{window.name} {period(window.count, window.kind)}" for window in one.windows),
        f"`{one.calendar}`",
    ]
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


def calendar_row(name: str) -> str:
    """A line of the table of calendars."""
    rule = RULES[name].latest
    monday = rule.week[0].replace(" ", ", ")
    known = sorted({day.year for day in CALENDARS[name].holidays})
    years = f"{known[0]} to {known[-1]}" if known else ""
    return f"| `{name}` {rule.version} | {rule.zone} | {monday} | {years} |".replace("|  |", "| |")


def test_every_preset_is_in_the_table_as_it_is() -> None:
    expected = [preset_row(one) for one in PRESETS]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line in expected] == expected, "\n".join(expected)


def test_every_calendar_is_in_the_table_as_it_is() -> None:
    expected = [calendar_row(name) for name in CALENDARS]
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line in expected] == expected, "\n".join(expected)
