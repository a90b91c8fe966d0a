"""`kehu erase`: forget a customer, if it may be."""

from contextlib import closing
from getpass import getuser
from pathlib import Path
from typing import Annotated, Any

import msgspec
import orjson
import typer

from domain.erasure import Erasable, Outcome, Restricted
from infra import bootstrap, signing
from infra.cli.output import Json, print_json, quiet, say
from infra.cli.servers import Postgres
from infra.erasing import BEFORE, Erasing, NotPurged, rules_of
from infra.errors import KehuError
from infra.settings import ErasureSettings, checked


class IsRestricted(KehuError):
    """The customer must be kept until a date. Ask again then; until then restrict what is done with the data."""

    exit_code = 5


class IsRefused(KehuError):
    """The customer cannot be forgotten now. Settle what the detail names, then ask again."""

    exit_code = 6


def erase(
    customer_id: Annotated[str, typer.Argument(metavar="CUSTOMER")],
    reason: Annotated[str, typer.Option(help="Why, such as the id of the request. It is kept: name no person.")],
    postgres: Postgres = "",
    by: Annotated[str, typer.Option(help="Who decides that; by default who is logged in.")] = "",
    only: Annotated[bool, typer.Option("--only", help="Only this id, and not those that are merged with it.")] = False,
    certificate: Annotated[
        Path | None, typer.Option(help="A file for the certificates, one a line, which `kehu-verify erasure` checks.")
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
    is open or the relationship lasts (exit code 6), and restricted until what law asks to be kept may go (exit code 5).
    Figures stay as they are. It cannot be undone; interrupted, the same command goes on.

    Example: kehu erase c-100042 --reason "request dr-204" --dry-run
    """
    now, signer = bootstrap.now(), signing.signer(key) if key else None
    rules = rules_of(checked(ErasureSettings).erasure_rules)
    with quiet(), closing(Erasing(postgres, bootstrap.now, signer)) as erasing:
        if not dry_run and (failed := erasing.fold(BEFORE)):
            raise NotPurged("; ".join(f"{name} {why}" for name, why in failed.items()))
        ids = (customer_id,) if only else erasing.ids_of(customer_id)
        outcome = erasing.outcome(ids, now, rules)
        if dry_run:
            found = [{"customer": one, **erasing.counted(one)} for one in ids]
            _told(outcome, found, as_json)
            return
        _require(outcome)
        done = [erasing.erase(one, reason, by or getuser(), now) for one in ids]
    if certificate is not None:
        certificate.write_bytes(b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in done))
    if as_json:
        print_json(done)
        return
    if signer is None:
        say("The certificate is not signed: give the key that seals the log with --key, or in KEHU_SEAL_KEY.", "yellow")
    for one in done:
        say(f"{one['customer']} is forgotten, as of position {one['position']} of the log", "green")
        for step, purged in one["purged"].items():
            say(f"  {step.replace('_', ' ')}: {_counts(purged)}")
        if clear := one["left"]["events_in_the_clear"]:
            say(f"  {clear} events of a former release hold personal data in the clear", "yellow")


def _counts(found: dict[str, Any]) -> str:
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in found.items() if name != "customer")


def _require(outcome: Outcome) -> None:
    if isinstance(outcome, Restricted):
        raise IsRestricted(f"until {outcome.until}: {outcome.basis}")
    if not isinstance(outcome, Erasable):
        raise IsRefused(outcome.reason)


def _told(outcome: Outcome, found: list[dict[str, Any]], as_json: bool) -> None:
    said = msgspec.to_builtins(outcome)
    kind = said.pop("type")
    if as_json:
        print_json([{"outcome": kind, **said, "customers": found}])
        return
    say(f"{kind}" + "".join(f", {name} {value}" for name, value in said.items()))
    for one in found:
        say(f"  {one['customer']}: {_counts(one)}")
