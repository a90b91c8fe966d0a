"""All projections: the one list that the projector and the command line read."""

from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.customers import CUSTOMERS
from projections.deadlines import RUNNING_DEADLINES
from projections.declare import Projection
from projections.outcomes import OUTCOMES
from projections.retention_risk import RETENTION_RISK
from projections.satisfaction import SATISFACTION
from projections.satisfaction_causes import SATISFACTION_CAUSES
from projections.service_queues import SERVICE_QUEUES

ALL: tuple[Projection, ...] = (
    SATISFACTION,
    SATISFACTION_CAUSES,
    RETENTION_RISK,
    SERVICE_QUEUES,
    CUSTOMER_TIMELINE,
    OUTCOMES,
    RUNNING_DEADLINES,
    CUSTOMERS,
)
