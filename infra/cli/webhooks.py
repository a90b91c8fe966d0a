"""`kehu webhooks …`: who is told by HTTP what changed in a view."""

from typing import Annotated, Any

import typer

from domain.administration import WebhookChanged
from infra import bootstrap, settings
from infra.cli.output import Csv, Json, Limit, Ndjson, print_json, print_rows, say
from infra.cli.servers import Connection, Postgres, connected
from infra.cli.who import By, Reason, tell, who
from infra.kafka import faust_app
from infra.operating import webhooks as operating
from infra.postgres import webhooks
from infra.telling import tell_settings

Name = Annotated[str, typer.Argument(help="A name of `kehu webhooks list`.", show_default=False)]


def add(
    name: Annotated[str, typer.Argument(help="What to call it.", show_default=False)],
    url: Annotated[str, typer.Option(help="Where it is told; https.")],
    view: Annotated[str, typer.Option(help="A name of `kehu views list`.")],
    postgres: Postgres = "",
    segment: Annotated[list[str] | None, typer.Option(help="Only customers of this segment; may be repeated.")] = None,
    from_now: Annotated[bool, typer.Option("--from-now", help="Only what changes from now on.")] = False,
    secret: Annotated[str | None, typer.Option(help="`whsec_…` of its own; one is made if absent.")] = None,
    by: By = "",
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """Tell somebody what is in a view, and from then on what changes in it. Shows the secret that signs, once.

    Example: kehu webhooks add crm --url https://crm.example/kehu --view retention-risk --segment private
    """
    with connected(postgres) as conn:
        secret = operating.add(conn, name, url, operating.named(view), segment, from_now=from_now, secret=secret)
        _tell(conn, name, "added", by, reason)
    if as_json:
        print_json({"name": name, "secret": secret})
        return
    say(f"{name} is told as soon as `kehu webhooks deliver` runs. Its secret, which is not shown again:")
    typer.echo(secret)


def _tell(conn: Connection, name: str, change: str, by: str, reason: str | None) -> None:
    tell(conn, WebhookChanged(by=who(by), reason=reason, webhook=name, change=change))


def list_webhooks(
    postgres: Postgres = "",
    view: Annotated[str | None, typer.Option(help="Only those of this view.")] = None,
    failing: Annotated[bool, typer.Option("--failing", help="Only those that fail or rest.")] = False,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Who is told, how far, and what goes wrong.

    Example: kehu webhooks list --failing
    """
    with connected(postgres) as conn:
        rows = webhooks.listed(conn, None if view is None else operating.named(view).name, failing)
    print_rows("Webhooks", rows, as_json, as_csv, as_ndjson, people=_for_people, wide=("url", "error"))


def _for_people(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": row["name"],
        "view": row["view"] + (f" of {', '.join(row['segments'])}" if row["segments"] else ""),
        "url": row["url"],
        "state": row["state"],
        "delivered": row["delivered"],
        "dead": row["dead_letters"],
        "error": row["reason"] or row["error"],
    }


def change(
    name: Name,
    postgres: Postgres = "",
    url: Annotated[str | None, typer.Option(help="Where it is told from now on; https.")] = None,
    segment: Annotated[list[str] | None, typer.Option(help="Only customers of this segment; may be repeated.")] = None,
    all_segments: Annotated[bool, typer.Option("--all-segments", help="Customers of every segment.")] = False,
    by: By = "",
    reason: Reason = None,
) -> None:
    """Tell it somewhere else, or rows of other segments, which tells everything again.

    Example: kehu webhooks change crm --url https://crm.example/v2/kehu
    """
    if segment and all_segments:
        raise typer.BadParameter("give segments, or --all-segments", param_hint="--segment")
    if not (url or segment or all_segments):
        raise typer.BadParameter("say what is to be changed", param_hint="--url or --segment")
    with connected(postgres) as conn:
        operating.change(conn, name, url, [] if all_segments else segment)
        _tell(conn, name, "changed", by, reason)
    say(f"{name} is changed")


def pause(
    name: Name,
    postgres: Postgres = "",
    reason: Annotated[str, typer.Option(help="Why it rests.")] = "paused by hand",
    by: By = "",
) -> None:
    """Tell it nothing until it is resumed; then it hears of every row that changed meanwhile.

    Example: kehu webhooks pause crm --reason "maintenance until nine"
    """
    with connected(postgres) as conn:
        webhooks.pause(conn, name, reason)
        _tell(conn, name, "paused", by, reason)
    say(f"{name} rests")


def resume(name: Name, postgres: Postgres = "", by: By = "", reason: Reason = None) -> None:
    """Go on where it was, and at once: also with one that fails and would be tried again later.

    Example: kehu webhooks resume crm
    """
    with connected(postgres) as conn:
        webhooks.resume(conn, name)
        _tell(conn, name, "resumed", by, reason)
    say(f"{name} goes on")


def remove(name: Name, postgres: Postgres = "", by: By = "", reason: Reason = None) -> None:
    """Tell it nothing any more, and forget what it did not take.

    Example: kehu webhooks remove crm
    """
    with connected(postgres) as conn:
        webhooks.remove(conn, name)
        _tell(conn, name, "removed", by, reason)
    say(f"{name} is removed")


def replay(
    name: Name,
    postgres: Postgres = "",
    after_position: Annotated[
        int, typer.Option(min=0, help="Only rows whose last event has a later position; 0 for everything.")
    ] = 0,
    by: By = "",
    reason: Reason = None,
) -> None:
    """Tell rows again as they are now: when a receiver lost what it had.

    Example: kehu webhooks replay crm --after-position 120000
    """
    with connected(postgres) as conn:
        webhooks.replay(conn, name, after_position)
        _tell(conn, name, "replayed", by, reason)
    say(f"{name} is told again" + (f" what changed after position {after_position:,}" if after_position else ""))


def renew_secret(
    name: Name, postgres: Postgres = "", by: By = "", reason: Reason = None, as_json: Json = False
) -> None:
    """Make another secret; for 24 hours messages are signed with the former one, too.

    Example: kehu webhooks secret crm
    """
    with connected(postgres) as conn:
        secret = operating.renew_secret(conn, name)
        _tell(conn, name, "secret renewed", by, reason)
    if as_json:
        print_json({"name": name, "secret": secret})
        return
    say("The secret, which is not shown again; the former one signs, too, for 24 hours:")
    typer.echo(secret)


def letters(
    postgres: Postgres = "",
    name: Annotated[str | None, typer.Option("--webhook", help="Only those of this webhook.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """What webhooks did not take in all their tries.

    Example: kehu webhooks letters --webhook crm
    """
    with connected(postgres) as conn:
        rows = webhooks.letters(conn, name, limit)
    print_rows(
        "Dead letters of webhooks",
        rows,
        as_json,
        as_csv,
        as_ndjson,
        people=lambda row: {n: v for n, v in row.items() if n != "keys"},
        wide=("error",),
        limit=limit,
    )


def retry(
    name: Name,
    postgres: Postgres = "",
    letter: Annotated[int | None, typer.Option("--letter", help="Only this one; all of them if absent.")] = None,
    by: By = "",
    reason: Reason = None,
) -> None:
    """Send the rows of dead letters again, as they are now.

    Example: kehu webhooks retry crm
    """
    with connected(postgres) as conn:
        number = webhooks.retry(conn, name, letter)
        _tell(conn, name, "retried", by, reason)
    say(f"{number} dead letters of {name} are sent again")


def deliver(postgres: Postgres = "") -> None:
    """Tell the webhooks until SIGTERM; a second process stands by. KEHU_WEBHOOK_NETWORKS names allowed own networks.

    Example: kehu webhooks deliver --postgres "host=db dbname=kehu"
    """
    given = settings.checked(settings.WebhookSettings, postgres=postgres or None)
    tell_settings(given.postgres, "webhooks", given, bootstrap.now())
    faust_app.run(bootstrap.webhook_delivery(given))
