"""Customer: who they are, what they allow, who looks after them, and with whom they are one.

Stream `customer-{customer_id}`. A package that is read in the order of the other aggregates: `events` (and the name of
the stream), `identity` (strong and weak ids), `state` (and `evolve`), `refusals`, `decisions` (and `decide`).
"""

from domain.customer.decisions import decide
from domain.customer.events import (
    CustomerClosed,
    CustomerConsentChanged,
    CustomerErased,
    CustomerManagerAssigned,
    CustomerMerged,
    CustomerProfileChanged,
    CustomerRegistered,
    CustomerRestricted,
    CustomerUnmerged,
    stream_name,
)
from domain.customer.refusals import (
    CustomerIsClosed,
    CustomerIsErased,
    CustomerIsMergedElsewhere,
    CustomerIsTheSurvivor,
    CustomerNotMergedYet,
    CustomerNotRegisteredYet,
    CustomerRegisteredDifferently,
    StrongIdsConflict,
)
from domain.customer.state import Customer, evolve, personal_names

__all__ = [
    "Customer",
    "CustomerClosed",
    "CustomerConsentChanged",
    "CustomerErased",
    "CustomerIsClosed",
    "CustomerIsErased",
    "CustomerIsMergedElsewhere",
    "CustomerIsTheSurvivor",
    "CustomerManagerAssigned",
    "CustomerMerged",
    "CustomerNotMergedYet",
    "CustomerNotRegisteredYet",
    "CustomerProfileChanged",
    "CustomerRegistered",
    "CustomerRegisteredDifferently",
    "CustomerRestricted",
    "CustomerUnmerged",
    "StrongIdsConflict",
    "decide",
    "evolve",
    "personal_names",
    "stream_name",
]
