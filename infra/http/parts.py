"""What the endpoints work with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi import Request

from infra.http.access import AccessLog
from infra.http.hub import Hub
from infra.http.keys import Keys
from infra.http.publishing import Publisher
from infra.http.rates import Rates
from infra.http.settings import HttpSettings
from infra.http.store import Store
from infra.http.tokens import Tokens
from infra.kafka.limits import Limits


@dataclass(frozen=True, slots=True)
class Parts:
    """One of each for an application."""

    settings: HttpSettings
    now: Callable[[], datetime]
    limits: Limits
    keys: Keys
    tokens: Tokens
    rates: Rates
    store: Store
    access: AccessLog
    publisher: Publisher
    hub: Hub


def parts_of(request: Request) -> Parts:
    """Those of the application that answers."""
    parts: Parts = request.app.state.parts
    return parts
