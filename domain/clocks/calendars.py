"""The named calendars, as data: England, the United States (federal), mainland China, and one without holidays.

Hours are 09:00 to 17:00 on weekdays in the local zone [policy, not law]. Holidays are known for the years in
`HOLIDAY_YEARS`; outside them only weekends are skipped, so an explanation of a deadline says so.
"""

from collections.abc import Mapping
from datetime import date, time

from domain.clocks.business_calendar import BusinessCalendar, Hours

HOLIDAY_YEARS = range(2024, 2029)

ENGLAND: Mapping[int, str] = {
    2024: "01-01 03-29 04-01 05-06 05-27 08-26 12-25 12-26",
    2025: "01-01 04-18 04-21 05-05 05-26 08-25 12-25 12-26",
    2026: "01-01 04-03 04-06 05-04 05-25 08-31 12-25 12-26 12-28",
    2027: "01-01 03-26 03-29 05-03 05-31 08-30 12-25 12-26 12-27 12-28",
    2028: "01-01 01-03 04-14 04-17 05-01 05-29 08-28 12-25 12-26",
}
"""Bank holidays in England and Wales with their substitute days: https://www.gov.uk/bank-holidays ; years not
published there yet follow the usual dates. An extra holiday by proclamation must be added."""

US_FEDERAL: Mapping[int, str] = {
    2024: "01-01 01-15 02-19 05-27 06-19 07-04 09-02 10-14 11-11 11-28 12-25",
    2025: "01-01 01-20 02-17 05-26 06-19 07-04 09-01 10-13 11-11 11-27 12-25",
    2026: "01-01 01-19 02-16 05-25 06-19 07-03 07-04 09-07 10-12 11-11 11-26 12-25",
    2027: "01-01 01-18 02-15 05-31 06-18 06-19 07-04 07-05 09-06 10-11 11-11 11-25 12-24 12-25 12-31",
    2028: "01-01 01-17 02-21 05-29 06-19 07-04 09-04 10-09 11-10 11-11 11-23 12-25",
}
"""Federal holidays, 5 U.S.C. 6103, on their date and on the weekday on which they are observed:
https://www.opm.gov/policy-data-oversight/pay-leave/federal-holidays/ . A bank that opens on the Friday before
a holiday on Saturday gives that date hours in `half_days`."""

CHINA: Mapping[int, str] = {
    2024: (
        "01-01 02-10 02-11 02-12 02-13 02-14 02-15 02-16 04-04 04-05 05-01 05-02 05-03 06-10 09-16 09-17 "
        "10-01 10-02 10-03 10-04 10-07"
    ),
    2025: (
        "01-01 01-28 01-29 01-30 01-31 02-03 02-04 04-04 05-01 05-02 05-05 05-31 06-02 10-01 10-02 10-03 "
        "10-06 10-07 10-08"
    ),
    2026: (
        "01-01 01-02 02-16 02-17 02-18 02-19 02-20 02-23 04-05 04-06 05-01 05-02 05-04 05-05 06-19 09-25 "
        "10-01 10-02 10-03 10-05 10-06 10-07"
    ),
    2027: (
        "01-01 02-05 02-06 02-07 02-08 02-09 02-10 04-05 05-01 05-02 05-03 05-04 06-09 09-15 10-01 10-02 "
        "10-03 10-04 10-05"
    ),
    2028: "01-01 01-03 01-25 01-26 01-27 01-28 04-04 05-01 05-02 05-28 05-29 10-01 10-02 10-03 10-04",
}
"""Public holidays of mainland China with the days off that the State Council moves next to them. Make-up working days
at weekends are not counted as business days; give them hours in `half_days` where a bank counts them. 2024 to 2026 as
announced each November at https://www.gov.cn ; 2027 and 2028 only the statutory days, because the moved days are not
announced yet."""


def _dates(table: Mapping[int, str]) -> frozenset[date]:
    return frozenset(date.fromisoformat(f"{year}-{day}") for year, days in table.items() for day in days.split())


WEEKDAYS: tuple[tuple[Hours, ...], ...] = ((Hours(time(9), time(17)),),) * 5 + ((),) * 2

CALENDARS: Mapping[str, BusinessCalendar] = {
    calendar.name: calendar
    for calendar in (
        BusinessCalendar("uk", "Europe/London", WEEKDAYS, _dates(ENGLAND)),
        BusinessCalendar("us", "America/New_York", WEEKDAYS, _dates(US_FEDERAL)),
        BusinessCalendar("cn", "Asia/Shanghai", WEEKDAYS, _dates(CHINA)),
        BusinessCalendar("default", "UTC", WEEKDAYS),
    )
}
"""By name. A calendar of a bank's own is an argument of `due`."""
