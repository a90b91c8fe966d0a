"""All projections: the one list that the projector and the command line read."""

from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.customers import CUSTOMERS
from projections.declare import Projection
from projections.retention_risk import RETENTION_RISK
from projections.satisfaction import SATISFACTION
from projections.service_queues import SERVICE_QUEUES

ALL: tuple[Projection, ...] = (SATISFACTION, RETENTION_RISK, SERVICE_QUEUES, CUSTOMER_TIMELINE, CUSTOMERS)
