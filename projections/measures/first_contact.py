"""The window of first-contact resolution (domain/rules/contacts.toml), which is one for all read models."""

from domain.rules import Rule, read


class FirstContactRule(Rule, frozen=True):
    """When a contact settled it."""

    days: int
    """The customer does not come back about the same for so long."""


FIRST_CONTACT = read("contacts", FirstContactRule)["first_contact"]
