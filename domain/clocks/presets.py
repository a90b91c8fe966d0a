"""Statutory deadlines and service policies, as versioned data.

A changed rule is a new version with a later date; the old one stays, because cases keep the version they began with.
Where the source gives no number, or the number is a bank's own choice, `basis` says policy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from domain.clocks.calendars import CALENDARS
from domain.clocks.errors import PresetNotInForce, TimeOutOfRange, UnknownPreset

Kind = Literal["CD", "BD", "W", "M", "BH"]
"""How a period is counted: calendar days, business days, weeks, calendar months, business hours."""


@dataclass(frozen=True, slots=True)
class Extension:
    """A later deadline, counted from the original start, and what must be provided to get it."""

    to: int
    kind: Kind
    needs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Preset:
    """One version of a deadline rule.

    `resolve` periods of `kind` from the start; `ack` of `ack_kind` for the acknowledgement. `pauses` are the reasons
    that stop the clock, `restart_on` the facts that start it anew. `from_` says which moment the caller must give as
    the start. On a miss the case goes on under the preset `on_miss`. `calendar` names one of CALENDARS.
    """

    name: str
    version: int
    effective_from: date
    source: str
    kind: Kind
    resolve: int
    ack: int | None = None
    ack_kind: Kind = "BD"
    extensions: tuple[Extension, ...] = ()
    pauses: frozenset[str] = frozenset()
    restart_on: frozenset[str] = frozenset()
    from_: str = "receipt"
    calendar: str = "default"
    on_miss: str | None = None
    basis: Literal["law", "policy"] = "law"
    close_of_business: bool = False
    """The last day ends with business and not at midnight."""
    to_working_day: bool = False
    """A deadline on a weekend or holiday moves to the next working day."""
    by_severity: tuple[tuple[int, int], ...] = ()
    """`resolve` for each severity (1 is the most severe) that has its own."""
    note: str = ""

    def for_severity(self, severity: int) -> "Preset":
        """The same version with the target of this severity."""
        resolve = dict(self.by_severity).get(severity, self.resolve)
        return self if resolve == self.resolve else replace(self, resolve=resolve)


def _needs(*names: str) -> frozenset[str]:
    return frozenset(names)


PRESETS: tuple[Preset, ...] = (
    Preset(
        name="uk_disp_summary",
        version=1,
        effective_from=date(2016, 6, 30),
        source="https://handbook.fca.org.uk/handbook/disp1/disp1s5",
        kind="BD",
        resolve=3,
        calendar="uk",
        on_miss="uk_disp_standard",
        close_of_business=True,
        note="Resolved means accepted by the complainant, by close of business on the third business day.",
    ),
    Preset(
        name="uk_disp_standard",
        version=1,
        effective_from=date(2001, 12, 1),
        source="https://handbook.fca.org.uk/handbook/disp1/disp1s6",
        kind="W",
        resolve=8,
        ack=5,
        ack_kind="BD",
        calendar="uk",
        note="Final response or holding letter by the end of eight weeks. The rule says only that the acknowledgement "
        "must be prompt: five business days are policy.",
    ),
    Preset(
        name="uk_disp_psd",
        version=1,
        effective_from=date(2018, 1, 13),
        source="https://handbook.fca.org.uk/handbook/disp1/disp1s6",
        kind="BD",
        resolve=15,
        extensions=(Extension(35, "BD", _needs("exceptional_reason", "holding_response_sent")),),
        calendar="uk",
    ),
    Preset(
        name="us_cfpb",
        version=1,
        effective_from=date(2011, 7, 21),
        source="https://github.com/cfpb/complaint/commit/898374062e042dadb489b25d5bef4e9a597a9c37",
        kind="CD",
        resolve=15,
        extensions=(Extension(60, "CD", _needs("in_progress_response")),),
        from_="sent_to_company",
        calendar="us",
        note="The consumer then has 60 days to give feedback.",
    ),
    Preset(
        name="us_reg_e",
        version=1,
        effective_from=date(2011, 12, 30),
        source="https://www.marqeta.com/docs/developer-guides/disputes-regulation-e",
        kind="BD",
        resolve=10,
        extensions=(
            Extension(45, "CD", _needs("provisional_credit")),
            Extension(90, "CD", _needs("special_case")),
        ),
        calendar="us",
        note="12 CFR 1005.11.",
    ),
    Preset(
        name="us_reg_z",
        version=1,
        effective_from=date(2011, 12, 30),
        source="https://www.fdic.gov/consumers/assistance/protection/errorresolution.html",
        kind="CD",
        resolve=90,
        ack=30,
        ack_kind="CD",
        calendar="us",
        note="12 CFR 1026.13: two complete billing cycles when these end before the 90 days.",
    ),
    Preset(
        name="cn_2020",
        version=1,
        effective_from=date(2020, 3, 1),
        source="http://www.gov.cn/gongbao/content/2020/content_5512564.htm",
        kind="CD",
        resolve=15,
        extensions=(
            Extension(30, "CD", _needs("complex_flag")),
            Extension(60, "CD", _needs("superior_approval", "complainant_notice")),
        ),
        pauses=frozenset({"external_appraisal"}),
        restart_on=frozenset({"new_facts"}),
        calendar="cn",
        note="The complainant may ask for a review within 30 days of the decision. A pause needs a notice.",
    ),
    Preset(
        name="gdpr_dsr",
        version=1,
        effective_from=date(2018, 5, 25),
        source="https://cy.ico.org.uk/for-organisations/uk-gdpr-guidance-and-resources/individual-rights/right-of-access/"
        "what-should-we-consider-when-responding-to-a-request/",
        kind="M",
        resolve=1,
        extensions=(Extension(3, "M", _needs("notice_within_1M", "reason")),),
        pauses=frozenset({"identity", "clarification"}),
        calendar="uk",
        to_working_day=True,
        note="Art. 12(3). A pause for clarification is a rule of the United Kingdom. 28 days are safe in every month.",
    ),
    Preset(
        name="pipl_dsr",
        version=1,
        effective_from=date(2021, 11, 1),
        source="http://www.ahdhf.com/law/twsy/15105.html",
        kind="BD",
        resolve=15,
        calendar="cn",
        basis="policy",
        note="The law (art. 45 to 47) says only that the answer must be prompt.",
    ),
    Preset(
        name="service_default",
        version=1,
        effective_from=date(1970, 1, 1),
        source="bank's own target",
        kind="BH",
        resolve=40,
        ack=8,
        ack_kind="BH",
        pauses=frozenset({"waiting_customer", "waiting_evidence"}),
        basis="policy",
        by_severity=((1, 8), (2, 16), (3, 40), (4, 80)),
        note="Stops while the customer has the next word. A business day has eight hours.",
    ),
)


def preset(name: str, at: datetime, among: Sequence[Preset] = PRESETS) -> Preset:
    """The newest version of a preset in force at a time, by the date of its own calendar.

    Raises UnknownPreset, or PresetNotInForce when the time lies before its first version; TimeOutOfRange.
    """
    versions = _versions(name, among)
    try:
        in_force = [one for one in versions if one.effective_from <= CALENDARS[one.calendar].local_date(at)]
    except OverflowError as error:
        raise TimeOutOfRange(str(at)) from error
    if not in_force:
        first = min(one.effective_from for one in versions)
        raise PresetNotInForce(f"{name} at {at:%Y-%m-%d}, in force from {first}")
    return max(in_force, key=lambda one: one.version)


def pinned(name: str, version: int, among: Sequence[Preset] = PRESETS) -> Preset:
    """The version that a case has been given. Raises UnknownPreset."""
    versions = _versions(name, among)
    for one in versions:
        if one.version == version:
            return one
    raise UnknownPreset(f"{name} version {version}; known: {[one.version for one in versions]}")


def _versions(name: str, among: Sequence[Preset]) -> list[Preset]:
    versions = [one for one in among if one.name == name]
    if not versions:
        raise UnknownPreset(f"{name}; known: {', '.join(sorted({one.name for one in among}))}")
    return versions
