"""`kehu serve` and `kehu token`: the read models and publishing over HTTP."""

import sys
from typing import Annotated

import typer

from infra import bootstrap
from infra.cli.servers import Kafka, Postgres
from infra.errors import KehuError
from infra.http.scopes import EVENTS, EVERYTHING, SCOPES, VIEWS
from infra.http.settings import HttpSettings
from infra.settings import accepted, checked
from infra.telling import tell_settings

HOUR = 3600


class NoSuchScope(KehuError):
    """There is no such scope."""

    exit_code = 2


class ProviderGivesTokens(KehuError):
    """Tokens come from the OpenID provider that KEHU_HTTP_ISSUER names; a server with one takes no others."""

    exit_code = 2


def serve(
    postgres: Postgres = "",
    kafka: Kafka = "",
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. Default: 8080.")] = None,
) -> None:
    """Answer over HTTP until SIGTERM: read models, receipts, publishing. The document is at /openapi.json.

    Without an OpenID provider (KEHU_HTTP_ISSUER) it listens on this machine only, and takes the tokens of `kehu token`.

    Example: kehu serve --port 8080
    """
    # Here, since no other command should wait until a web server is imported.
    from infra.http import server

    settings = checked(HttpSettings, host=host, port=port)
    tell_settings(postgres, "serve", settings, bootstrap.now())
    server.run(settings, postgres, kafka, accepted())


def token(
    scope: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCOPES)}; repeatable.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="May publish as this source; repeatable; * for all.")] = None,
    branch: Annotated[list[str] | None, typer.Option(help="Sees only this branch; repeatable.")] = None,
    segment: Annotated[list[str] | None, typer.Option(help="Sees only this segment; repeatable.")] = None,
    hours: Annotated[float, typer.Option(min=0.001, max=24, help="For how long it counts.")] = 8,
    subject: Annotated[str, typer.Option(help="Whom it speaks for.")] = "developer",
) -> None:
    """Print a development token, for a server on this machine that has no OpenID provider.

    Example: kehu token --scope views:read --branch Leeds
    """
    from infra.http.keys import DevelopmentKey
    from infra.http.tokens import development_token

    settings = checked(HttpSettings)
    if settings.issuer:
        raise ProviderGivesTokens(settings.issuer)
    scopes = scope or [VIEWS, EVENTS]
    if unknown := [one for one in scopes if one not in SCOPES]:
        raise NoSuchScope(f"{', '.join(unknown)}: use {', '.join(SCOPES)}")
    made = development_token(
        DevelopmentKey(settings.development_key),
        settings.audience,
        int(hours * HOUR),
        scopes,
        source or [EVERYTHING],
        branch or [EVERYTHING],
        segment or [EVERYTHING],
        subject,
    )
    sys.stdout.write(f"{made}\n")
