"""Who was forgotten, and when: told to whoever asks about them, whatever moment they ask about.

What was forgotten is a fact of the present. A replay of an earlier moment folds the events that were, so without this
the score of somebody who was erased would come back from the log.
"""

from collections.abc import Sequence

from infra.errors import KehuError
from infra.postgres.questions.answer import Answer, Row

_ERASURES = """SELECT e.customer_id, s.recorded_at AS erased_at, e.position FROM kehu.erasures e
    JOIN kehu.stored_events s ON s.notification_id = e.position
    WHERE e.customer_id = ANY(%(ids)s) ORDER BY e.position"""
LIVING = """NOT EXISTS (SELECT FROM kehu.erasures e
    WHERE e.customer_id = retention_risk.customer_id AND e.position IS NOT NULL)"""
"""Of a row of the read model of risks: its customer was not forgotten since."""


class WasErased(KehuError):
    """This customer was forgotten, and nobody is told a score of them any more, as of an earlier moment neither. The
    events that are kept name nobody: `kehu show customer` lists them, `kehu audit prove` proves the erasure."""


def erasures_of(answer: Answer, ids: Sequence[str]) -> list[Row]:
    """Those of these customers who were forgotten, each with when, and the position of `customer.erased`."""
    return answer.rows(_ERASURES, {"ids": list(ids)})


def told_of(erased: Row) -> str:
    """An erasure in words."""
    return f"{erased['customer_id']} was erased on {erased['erased_at']:%Y-%m-%d}, position {erased['position']}"


def require_living(answer: Answer, customer_id: str) -> None:
    """Raises WasErased when the customer was forgotten."""
    if erased := erasures_of(answer, [customer_id]):
        raise WasErased(told_of(erased[0]))
