"""The application: one of each part, the endpoints, and problems for every error."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from fastapi import FastAPI

from infra import bootstrap
from infra.http import openapi, problems
from infra.http.access import AccessLog
from infra.http.bodies import Bodies
from infra.http.hub import Hub
from infra.http.keys import DevelopmentKey, Keys, ProviderKeys
from infra.http.parts import Parts
from infra.http.publishing import Publisher
from infra.http.rates import Rates
from infra.http.routes import (
    audit,
    audit_replay,
    audit_returns,
    changes,
    events,
    health,
    operations,
    service,
    views,
    webhooks,
)
from infra.http.settings import HttpSettings, check_listens_safely
from infra.http.store import Store
from infra.http.tokens import DEVELOPMENT, Tokens
from infra.postgres.wake import Listener
from infra.settings import Accepted


def parts(
    settings: HttpSettings,
    postgres: str,
    kafka: str,
    accepted: Accepted,
    now: Callable[[], datetime] = bootstrap.now,
    keys: Keys | None = None,
) -> Parts:
    """What the endpoints work with. Raises OpenToAll, and NoDevelopmentKey."""
    check_listens_safely(settings)
    if keys is None and settings.issuer:
        keys = ProviderKeys(settings.issuer, settings.jwks_url, settings.keys_for.total_seconds())
    keys = keys or DevelopmentKey(settings.development_key)
    issuer = settings.issuer or DEVELOPMENT
    return Parts(
        settings=settings,
        now=now,
        limits=bootstrap.limits(accepted),
        keys=keys,
        tokens=Tokens(keys, issuer, settings.audience, settings.skew.total_seconds()),
        rates=Rates(settings.rate, settings.burst),
        store=Store(postgres, settings.connections, settings.exports, settings.export_seconds),
        access=AccessLog(postgres),
        publisher=Publisher(kafka, settings.publish_seconds),
        hub=Hub(postgres, Listener(postgres)),
    )


def application(of: Parts) -> FastAPI:
    """An application with these parts, which it closes when it ends."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await of.hub.close()
        await of.publisher.close()
        of.access.close()
        of.store.close()

    app = routed(lifespan=lifespan)
    app.state.parts = of
    app.add_middleware(Bodies, most=of.settings.body_bytes)
    return app


def routed(**given: object) -> FastAPI:
    """The endpoints and their document, without parts to answer with."""
    app = FastAPI(
        title="Kehu",
        version="1",
        description="Read models, receipts and publishing of a customer interaction platform.",
        docs_url=None,  # their pages load code from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        **given,  # type: ignore[arg-type]
    )
    for module in (health, views, changes, operations, service, webhooks, audit, audit_replay, audit_returns, events):
        # Not included but taken over: a request goes to its endpoint without a search in each router.
        app.router.routes.extend(module.router.routes)
    problems.handle(app)
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    return app
