"""`kehu erase`: forget a customer, if it may be."""

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import typer

from domain.erasure import Erasable, Outcome, Refused, Restricted, Retentions
from infra import bootstrap, signing
from infra.appending import append
from infra.cli.output import Json, print_json, quiet, say
from infra.cli.servers import Postgres
from infra.cli.who import By, who
from infra.erasing import BEFORE, Erasing, NotCertified, NotPurged, rules_of
from infra.errors import KehuError
from infra.postgres.querying import Row
from infra.settings import ErasureSettings, checked

Told = list[tuple[Outcome, list[Row]]]
"""What became of requests, and of each id what there is to tell."""


class IsRestricted(KehuError):
    """The customer must be kept until a date; that is kept. `kehu erase --due` forgets them then; until then restrict
    what is done with the data."""

    exit_code = 5


class IsRefused(KehuError):
    """The customer cannot be forgotten now. Settle what the detail names, then ask again."""

    exit_code = 6


class WhoseErasure(KehuError):
    """It is not clear whom to forget. Name a customer and a --reason, or say --due."""

    exit_code = 2


class NotKept(KehuError):
    """The file of --certificate cannot be written. Name another one and run the same command again: what is done is not
    done again, and its certificate is told as often as you ask."""

    exit_code = 2


def erase(
    customer_id: Annotated[str | None, typer.Argument(metavar="CUSTOMER", show_default=False)] = None,
    reason: Annotated[
        str | None, typer.Option(help="Why, such as the id of the request. It is kept: name no person.")
    ] = None,
    postgres: Postgres = "",
    by: By = "",
    only: Annotated[bool, typer.Option("--only", help="Only this id, and not those that are merged with it.")] = False,
    due: Annotated[
        bool,
        typer.Option(
            "--due", help="All who had to be kept until a date that has come, and all whose erasure was interrupted."
        ),
    ] = False,
    certificate: Annotated[
        Path | None,
        typer.Option(help="A file to which certificates are added, one a line, which `kehu-verify erasure` checks."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(envvar="KEHU_SEAL_KEY", help="The key that seals the log: with it certificates are signed."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, change nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Forget a customer: destroy the key to their personal data, and purge it where it was kept readable.

    All ids that are merged with CUSTOMER are one person, and forgotten together. It is refused while a case of theirs
    is open or the relationship lasts (exit code 6), and restricted until what law asks to be kept may go (exit code 5):
    that is kept, and carried out by --due when the date has come. Figures stay as they are. It cannot be undone;
    interrupted, the same command goes on and asks no more, and when it is done gives the same certificate again.

    Example: kehu erase c-100042 --reason "request dr-204" --dry-run
    """
    if due == (customer_id is not None) or (reason is None) != due:
        raise WhoseErasure
    now, signer = bootstrap.now(), signing.signer(key) if key else None
    rules = rules_of(checked(ErasureSettings).erasure_rules)
    told: Told = []
    uncertified: list[NotCertified] = []
    if certificate is not None and not dry_run:
        _keep(certificate)
    with quiet(), closing(Erasing(postgres, bootstrap.now, signer)) as erasing:
        if not dry_run and (failed := erasing.fold(BEFORE)):
            raise NotPurged("; ".join(f"{name} {why}" for name, why in failed.items()))
        asked: list[Row] = erasing.due(now) if due else [{"customer_id": customer_id, "reason": reason}]
        seen: set[str] = set()
        for one in asked:
            if one["customer_id"] not in seen:
                # What was interrupted may have been asked for with --only.
                alone = only or (due and erasing.has_begun(one["customer_id"]))
                ids: tuple[str, ...] = (one["customer_id"],) if alone else erasing.ids_of(one["customer_id"])
                seen.update(ids)
                if dry_run:
                    told += _would_be(erasing, ids, now, rules)
                else:
                    told += _one(erasing, ids, one["reason"], who(by), now, rules, certificate, uncertified)
    done = [row for outcome, rows in told for row in rows if isinstance(outcome, Erasable)]
    if dry_run:
        _would(told, as_json)
        return
    if as_json and (due or done):
        print_json([row for _, rows in told for row in rows])
    else:
        _did(done, signed=signer is not None)
    if due and not (told or uncertified) and not as_json:
        say("Nobody is due.")
    if uncertified:
        raise NotCertified("; ".join(error.detail for error in uncertified))
    _require(told)


def _keep(certificate: Path, *said: Row) -> None:
    """Add certificates to a file, which may be new. Raises NotKept."""
    try:
        append(certificate, map(orjson.dumps, said))
    except OSError as error:
        raise NotKept(str(error)) from error


def _would_be(erasing: Erasing, ids: Sequence[str], now: datetime, rules: Retentions | None) -> Told:
    """What would become of the request of one person, and what there is to purge of each id."""
    begun = all(map(erasing.has_begun, ids))
    outcome = Erasable() if begun else erasing.outcome(ids, now, rules)
    return [(outcome, [{"customer": one, **erasing.counted(one)} for one in ids])]


def _one(
    erasing: Erasing,
    ids: Sequence[str],
    reason: str,
    by: str,
    now: datetime,
    rules: Retentions | None,
    certificate: Path | None,
    uncertified: list[NotCertified],
) -> Told:
    """What becomes of the request of one person, and what there is to tell of each id.

    Whose certificate cannot be made keeps nobody else from being forgotten: that is added to `uncertified`.
    """

    def erased(which: Sequence[str]) -> Told:
        done = []
        for one in which:
            try:
                done.append(erasing.erase(one, reason, by, now))
            except NotCertified as error:
                uncertified.append(error)
                continue
            if certificate is not None:
                _keep(certificate, done[-1])
        return [(Erasable(), done)] if done else []

    # What was begun cannot be undone: it is ended, whatever came since. Only for the rest it is asked.
    begun = [one for one in ids if erasing.has_begun(one)]
    told = erased(begun)
    if not (rest := [one for one in ids if one not in begun]):
        return told
    outcome = erasing.outcome(ids, now, rules)
    if isinstance(outcome, Erasable):
        return told + erased(rest)
    if isinstance(outcome, Restricted):
        erasing.restrict(rest, outcome, reason, by, now)
    else:
        erasing.refuse(rest, outcome.reason, reason, by, now)
    return [*told, (outcome, [{"customer": one, **_plain(outcome)} for one in rest])]


def _did(done: Sequence[Row], *, signed: bool) -> None:
    if done and not signed:
        say("The certificate is not signed: give the key that seals the log with --key, or in KEHU_SEAL_KEY.", "yellow")
    for one in done:
        say(f"{one['customer']} is forgotten, as of position {one['position']} of the log", "green")
        for step, purged in one["purged"].items():
            say(f"  {step.replace('_', ' ')}: {_counts(purged)}")
        if clear := one["left"]["events_in_the_clear"]:
            say(f"  {clear} events of a former release hold personal data in the clear", "yellow")


def _counts(found: dict[str, Any]) -> str:
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in found.items() if name != "customer")


def _require(told: Told) -> None:
    """Raises IsRefused, IsRestricted when somebody is not forgotten."""
    for kind in (Refused, Restricted):
        for outcome, rows in told:
            if isinstance(outcome, kind):
                who = "" if len(told) == 1 else f"{rows[0]['customer']}: "
                if isinstance(outcome, Restricted):
                    raise IsRestricted(f"{who}until {outcome.until}: {outcome.basis}")
                raise IsRefused(f"{who}{outcome.reason}")


def _plain(outcome: Outcome) -> Row:
    said = msgspec.to_builtins(outcome)
    return {"outcome": said.pop("type"), **said}


def _would(told: Told, as_json: bool) -> None:
    if as_json:
        print_json([{**_plain(outcome), "customers": rows} for outcome, rows in told])
        return
    for outcome, rows in told:
        said = _plain(outcome)
        say(f"{said.pop('outcome')}" + "".join(f", {name} {value}" for name, value in said.items()))
        for one in rows:
            say(f"  {one['customer']}: {_counts(one)}")
