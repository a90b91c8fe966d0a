"""Webhooks as operators manage them: what is checked before one is added or changed."""

from collections.abc import Sequence
from typing import Any

import psycopg

from infra.errors import KehuError
from infra.postgres import webhooks
from infra.postgres.changes import Token, live_builds
from infra.postgres.following import newest, standing
from infra.webhooks.addresses import check_url
from infra.webhooks.signing import key_of, new_secret
from projections.views import NAMED, View

LONGEST = 64
"""Characters of a name."""


class NoSuchView(KehuError):
    """There is no view of this name. `kehu views list` has all of them."""

    exit_code = 2


class NoSegments(KehuError):
    """Rows of this view have no segment. Leave the segments out."""

    exit_code = 2


class WrongName(KehuError):
    """This is no name of a webhook. Choose 1 to 64 letters, digits, points and hyphens."""

    exit_code = 2


class NotLive(KehuError):
    """The read model of this view is not live in this version. Run `kehu setup`, or begin with everything."""


def named(name: str) -> View:
    """The view of this name. Raises NoSuchView."""
    if name not in NAMED:
        raise NoSuchView(name)
    return NAMED[name]


def add(
    conn: "psycopg.Connection[Any]",
    name: str,
    url: str,
    view: View,
    segments: Sequence[str] | None = None,
    *,
    from_now: bool = False,
    secret: str | None = None,
) -> str:
    """Tell somebody from now on what is in a view, or only what changes in it; the secret that signs.

    Raises WrongName, WrongUrl, NoSegments, WrongSecret, NotLive and AlreadyThere.
    """
    if not (1 <= len(name) <= LONGEST and name.isascii() and all(c.isalnum() or c in ".-" for c in name)):
        raise WrongName(name[:100])
    check_url(url)
    _check_segments(view, segments)
    secret = secret or new_secret()
    key_of(secret)
    webhooks.add(conn, name, url, view.name, segments, secret, _now(conn, view) if from_now else None)
    return secret


def change(
    conn: "psycopg.Connection[Any]", name: str, url: str | None = None, segments: Sequence[str] | None = None
) -> None:
    """Tell it at another URL, or rows of other segments, which tells everything again; of all when there are none.

    None for what stays. Raises NoSuchWebhook, WrongUrl and NoSegments.
    """
    if url is not None:
        check_url(url)
    if segments:
        _check_segments(NAMED[webhooks.one(conn, name)["view"]], segments)
    webhooks.change(conn, name, url, segments)


def renew_secret(conn: "psycopg.Connection[Any]", name: str) -> str:
    """Another secret; for a day messages are signed with the former one, too. Raises NoSuchWebhook."""
    secret = new_secret()
    webhooks.renew_secret(conn, name, secret)
    return secret


def _check_segments(view: View, segments: Sequence[str] | None) -> None:
    if segments and "segment" not in view.columns:
        raise NoSegments(view.name)


def _now(conn: "psycopg.Connection[Any]", view: View) -> Token:
    live = standing(view, live_builds(conn))
    if live is None:
        raise NotLive(view.name)
    return newest(live)
