"""One customer as a caller asks about them: all ids that are one, when the caller may see all of these.

Whether a customer may be seen is decided by the branch and the segment of the survivor as they are now, whatever moment
is asked about: what was merged into a customer of Leeds is Leeds's, and who moved to Leeds takes the past along. Of a
moment at which other ids were one than are now, each of them must be visible by its survivor of now.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.http.callers import Caller
from infra.http.problems import NotFound
from infra.http.store import Store
from infra.postgres.questions.answer import Answer
from infra.postgres.questions.customers import ABOUT_ONE
from infra.postgres.questions.identity import ever_linked, merges_around

_WHOSE = "SELECT customer_id, branch, segment FROM retention_risk WHERE customer_id = ANY(%(ids)s)"
"""Every customer of whom anything happened has a row there, registered or not."""
NOBODY: Mapping[str, Any] = {"branch": None, "segment": None}


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a caller asks about. For a moment that must be replayed, also what holds at present."""

    customer_id: str
    caller: Caller
    linked: Sequence[str] = ()
    """All ids that were ever one with this customer; none where the present is asked about."""
    hidden: frozenset[str] | None = None
    """Those of them that the caller may not see; None where the answer itself shows the present."""

    def check(self, answer: Answer) -> None:
        """Raises NotFound unless the caller may see all who are one in the answer."""
        if self.hidden is None:
            hidden, shown = hidden_from(answer, self.caller, [self.customer_id]), {self.customer_id}
        else:
            hidden, shown = self.hidden, {self.customer_id}
            if hidden:
                shown |= {*merges_around(answer, self.customer_id)[0].members}
        if hidden & shown:
            raise NotFound()


async def person(store: Store, caller: Caller, customer_id: str, *, past: bool) -> Person:
    """Whom a caller asks about, with what must be known of the present when the past is asked about."""
    if not past:
        return Person(customer_id, caller)

    def present(answer: Answer) -> Person:
        linked = ever_linked(answer, customer_id)
        return Person(customer_id, caller, linked, hidden_from(answer, caller, linked))

    return await store.ask(lambda conn: present(Answer(conn, *ABOUT_ONE)))


def hidden_from(answer: Answer, caller: Caller, ids: Iterable[str]) -> frozenset[str]:
    """Those of these customers whose survivors the caller may not see."""
    if caller.sees_all:
        return frozenset()
    survivors = {one: merges_around(answer, one)[0].survivor for one in ids}
    rows = answer.rows(_WHOSE, {"ids": list(survivors.values())})
    whose = {row["customer_id"]: row for row in rows}
    return frozenset(one for one, survivor in survivors.items() if not caller.sees(whose.get(survivor, NOBODY)))
