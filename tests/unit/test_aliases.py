"""Who is one with whom: chains, circles, and merges that were undone."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from domain.customer import CustomerMerged, CustomerRegistered, CustomerUnmerged
from domain.values import Event
from projections.customers import ALIASES, CUSTOMERS
from projections.customers.aliases import Group, Merge, group_of, survivors
from tests.support.rows import MemoryRows, decided_of, fold, recorded

IDS = "abcdef"


def test_who_is_not_merged_is_alone() -> None:
    assert group_of("a", []) == Group("a", ("a",))
    assert group_of("a", [Merge("b", "c", 1)]) == Group("a", ("a",))
    assert not group_of("a", []).merged


def test_chains_lead_to_the_last_survivor() -> None:
    chain = [Merge("a", "b", 1), Merge("b", "c", 2), Merge("d", "a", 3)]
    for one in "abcd":
        assert group_of(one, chain) == Group("c", ("c", "a", "b", "d"))


def test_the_merge_that_closes_a_circle_does_not_count() -> None:
    circle = [Merge("a", "b", 1), Merge("b", "c", 2), Merge("c", "a", 3)]
    assert group_of("a", circle) == Group("c", ("c", "a", "b"))
    assert survivors([Merge("a", "a", 1)]) == {"a": "a"}
    # Without the first of the three, the last closes no circle.
    assert group_of("a", circle[1:]) == Group("a", ("a", "b", "c"))


def some_merges(order: Sequence[tuple[str, str]]) -> list[Merge]:
    """Each alias once."""
    chosen = dict(order)
    return [Merge(alias, into, position) for position, (alias, into) in enumerate(chosen.items(), 1) if alias != into]


MERGES = st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(IDS)), max_size=8).map(some_merges)


@given(MERGES, st.randoms())
def test_a_group_is_what_hangs_together_whatever_the_order(merges: list[Merge], random: object) -> None:
    shuffled = list(merges)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert survivors(shuffled) == survivors(merges)
    for one in IDS:
        together, before = {one}, set[str]()
        while together != before:  # the slow way
            before = set(together)
            together |= {x for m in merges for x in m[:2] if together & set(m[:2])}
        group = group_of(one, merges)
        assert set(group.members) == together
        assert group.survivor == group.members[0]
        assert all(group_of(other, merges) == group for other in together)


@given(MERGES)
def test_a_survivor_is_merged_into_nobody_unless_that_closes_a_circle(merges: list[Merge]) -> None:
    into = {merge.alias: merge for merge in merges}
    for one, survivor in survivors(merges).items():
        steps, at = [one], one
        while at in into and into[at].into not in steps:
            at = into[at].into
            steps.append(at)
        if at not in into:
            assert survivor == at
        else:
            circle = steps[steps.index(into[at].into) :]
            assert survivor == max(circle, key=lambda id: into[id].position)


def merged_by(rows: MemoryRows) -> list[Merge]:
    """The merges that hold."""
    return [Merge(r["customer_id"], r["into_id"], r["merged_at"]) for r in rows.whole(ALIASES) if r["active"]]


STORY = st.lists(st.tuples(st.booleans(), st.sampled_from(IDS), st.sampled_from(IDS)), max_size=25)


@given(STORY)
def test_undone_merges_leave_nothing_behind(story: list[tuple[bool, str, str]]) -> None:
    """Whatever was merged and unmerged: the answers are those of a history without the merges that were undone."""
    facts: list[tuple[str, Event]] = [(one, CustomerRegistered()) for one in IDS]
    for undo, alias, into in story:
        said: Event = (
            CustomerUnmerged(into=into, reason="r", by="b") if undo else CustomerMerged(into=into, reason="r", by="b")
        )
        facts.append((alias, said))
    events = decided_of(facts)
    undone, last = set[int](), dict[str, int]()
    for number, (_, event) in enumerate(events):
        if isinstance(event, CustomerMerged):
            last[events[number][0]] = number
        elif isinstance(event, CustomerUnmerged):
            undone |= {number, last[events[number][0]]}
    never = [one for number, one in enumerate(events) if number not in undone]
    with_all, without = (merged_by(fold_of(one)) for one in (events, never))
    assert [group_of(one, with_all) for one in IDS] == [group_of(one, without) for one in IDS]


def fold_of(events: Sequence[tuple[str, Event]]) -> MemoryRows:
    """The rows of events of several customers, in this order."""
    whole = [recorded(event, customer=customer, after=n)[0] for n, (customer, event) in enumerate(events)]
    return fold(CUSTOMERS, whole)
