"""All projections: the one list that the projector and the command line read."""

from projections.customer_timeline import CUSTOMER_TIMELINE
from projections.declare import Projection
from projections.satisfaction import SATISFACTION

ALL: tuple[Projection, ...] = (SATISFACTION, CUSTOMER_TIMELINE)
