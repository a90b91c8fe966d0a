"""By what a customer is known: strong ids, which only one has, and weak ones, which several may share.

A strong id names its issuer where that is not the bank itself: `customer_number@card-centre`. Two customers whose
strong ids of one name differ are not the same. Weak ids are compared in a normal form and only suggest that they are.
"""

from collections.abc import Mapping
from typing import Any
from unicodedata import normalize

from domain.rules import Rule, read

NUMBER = "customer_number"
STRONG = (NUMBER, "national_id_hash", "tax_id_hash")
WEAK = ("email", "phone", "device_ids")


class Matching(Rule, frozen=True):
    """How customers are suggested to be the same: what each shared id is worth, from 0 to less than 1."""

    strong: float
    email: float
    phone: float
    device: float
    smallest_score: float
    most_sharing: int
    """A value that more customers share says nothing of any two of them."""
    shortest_phone: int
    """Digits; with fewer it is an extension of somebody's switchboard."""


MATCHING = read("identity", Matching)["matching"]


def strong_ids(of: Any) -> dict[str, str]:
    """The strong ids that an event says, by name."""
    found = {name: value for name in STRONG[1:] if (value := getattr(of, name)) is not None}
    if of.customer_number is not None:
        issuer = of.customer_number_issuer
        found[NUMBER if issuer is None else f"{NUMBER}@{issuer}"] = of.customer_number
    return found


def is_strong(name: str) -> bool:
    """Whether this is the name of a strong id."""
    return name.partition("@")[0] in STRONG


def conflicting(some: Mapping[str, str], others: Mapping[str, str]) -> list[str]:
    """The names of strong ids that both have and that differ."""
    return sorted(name for name in some.keys() & others.keys() if some[name] != others[name])


def normal_form(name: str, value: str, rule: Matching) -> str | None:
    """What is compared of an id; None for one that says nothing.

    E-mail: Unicode NFKC, without regard to case; nothing that only some providers do with dots or tags. Phone: its
    digits, without the `00` or `+` before a country; a number written without its country is another one.
    """
    if name == "email":
        return normalize("NFKC", value).strip().casefold() or None
    if name == "phone":
        digits = "".join(str(int(one)) for one in value if one.isdecimal())
        digits = digits.removeprefix("00")
        return digits if len(digits) >= rule.shortest_phone else None
    return value.strip() or None
