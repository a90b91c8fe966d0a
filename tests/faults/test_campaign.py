"""A short campaign and one wrong build on the embedded broker; `make faults` has all of it, on Apache Kafka."""

import ast

import pytest

from tests.faults import campaign, mutants


def test_a_short_campaign_finds_nothing_wrong() -> None:
    assert sum(campaign.run(4, 10, apache=False).values()) >= 10


def test_a_wrong_build_is_caught() -> None:
    assert mutants.run(1, ["positions with holes"], apache=False) == []


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.name)
def test_every_wrong_build_can_be_made(mutant: mutants.Mutant) -> None:
    ast.parse(mutant.changed())
