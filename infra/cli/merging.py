"""`kehu customers`: merge customers who are the same and undo it, list merges, and suggest whom to look at."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import uuid4

import orjson
import typer

from domain.customer.identity import MATCHING, NUMBER, STRONG, is_strong
from infra import bootstrap
from infra.cli.output import Csv, Json, Limit, Ndjson, print_json, print_rows, say
from infra.cli.publish import checked
from infra.cli.reading import WAIT, At, KnownAt, MinPosition, Wait, reading
from infra.cli.servers import OptionalKafka, Postgres, require_told_kafka
from infra.errors import KehuError
from infra.kafka.producer import send
from infra.postgres.questions import identity
from infra.postgres.questions.answer import Answer, Row
from infra.postgres.questions.profiles import KNOWN, known_of
from projections.customers import CUSTOMERS
from projections.customers.aliases import Group
from projections.customers.unified import Known, unified

SOURCE = "/kehu/customers"
"""Who publishes what is decided here."""

By = Annotated[str, typer.Option(help="Who decides that.")]
Reason = Annotated[str, typer.Option(help="Why.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be published; needs no broker.")]


class NotRegistered(KehuError):
    """This customer is not registered, as far as the read model shows. Check the id, or wait for its registration."""


class NotMergeable(KehuError):
    """These two cannot be merged as they stand. Do what the detail says first."""


class NotMerged(KehuError):
    """This customer is not merged into another, as far as the read model shows. See `kehu customers aliases`."""


class Declined(KehuError):
    """Nothing was published. Answer with y, or give --yes."""


def merge(
    absorbed: Annotated[str, typer.Argument(metavar="FROM", help="The customer who is absorbed.")],
    into: Annotated[str, typer.Argument(metavar="INTO", help="The survivor, under whom both are shown.")],
    reason: Reason,
    by: By,
    postgres: Postgres = "",
    kafka: OptionalKafka = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Show what would become one, and publish that FROM is the same as INTO. Nothing is rewritten; it can be undone.

    Refused when their strong ids differ: a customer number of the same issuer, or the hash of a national or tax id.

    Example: kehu customers merge c-100042 c-100023 --reason "two branches" --by "data desk" --yes
    """
    with reading(postgres, CUSTOMERS) as (answer, _):
        ours, theirs = (_registered(answer, one) for one in (absorbed, into))
        members = (*theirs.members, *(one for one in ours.members if one not in theirs.members))
        known = known_of(answer.about(members, KNOWN), members)
        if ours.survivor == theirs.survivor:
            raise NotMergeable(f"{absorbed} and {into} are one already; the survivor is {ours.survivor}")
        if ours.survivor != absorbed:
            raise NotMergeable(f"{absorbed} is merged into another; merge its survivor {ours.survivor}, or unmerge it")
        clashes = identity.conflicts(answer, members)
    group = Group(theirs.survivor, (theirs.survivor, *(one for one in members if one != theirs.survivor)))
    preview = [_previewed(name, field, known) for name, field in unified(group, known).items()]
    event = _event(
        "customer.merged", absorbed, {"into": into, "reason": reason, "by": by, **_strong_of(known, ours, theirs)}
    )
    if not as_json:
        print_rows(f"{absorbed} into {into}: as one", preview, people=_preview_for_people, wide=("shown", "not shown"))
    if clashes:
        if as_json:
            print_json(
                {"merged": list(group.members), "survivor": group.survivor, "fields": preview, "conflicts": clashes}
            )
        raise NotMergeable(f"different strong ids: {'; '.join(map(_clash, clashes))}. Correct the one that is wrong")
    _publish(
        event, f"Merge {absorbed} into {into}?", kafka, yes, dry_run, as_json, {"fields": preview, "conflicts": []}
    )


def unmerge(
    absorbed: Annotated[str, typer.Argument(metavar="FROM", help="The customer who was absorbed.")],
    reason: Reason,
    by: By,
    postgres: Postgres = "",
    kafka: OptionalKafka = "",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Publish that the merge of FROM was wrong: both are shown as if it had never been.

    Example: kehu customers unmerge c-100042 --reason "mother and daughter" --by "data desk" --yes
    """
    with reading(postgres, CUSTOMERS) as (answer, _):
        _, merges = identity.merges_around(answer, absorbed)
    found = [one["into_id"] for one in merges if one["customer_id"] == absorbed]
    if not found:
        raise NotMerged(absorbed)
    event = _event("customer.unmerged", absorbed, {"into": found[0], "reason": reason, "by": by})
    _publish(event, f"Undo the merge of {absorbed} into {found[0]}?", kafka, yes, dry_run, as_json, {})


def aliases(
    postgres: Postgres = "",
    into: Annotated[str | None, typer.Option(help="Only those merged into this customer.")] = None,
    by: Annotated[str | None, typer.Option(help="Only those that this person decided.")] = None,
    ended: Annotated[bool, typer.Option("--all", help="Also merges that were undone.")] = False,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Absorbed customers: into whom, since when, who decided it and why, and which survivor that leads to.

    Example: kehu customers aliases --into c-100023
    """
    with reading(postgres, CUSTOMERS, min_position=min_position, wait=wait, at=at, known_at=known_at) as (answer, _):
        print_rows(
            "Merged customers",
            identity.aliases(answer, limit, into=into, by=by, ended=ended),
            as_json,
            as_csv,
            as_ndjson,
            people=_alias_for_people,
            wide=("customer", "reason"),
            limit=limit,
            fresh=answer.fresh,
        )


def duplicates(
    postgres: Postgres = "",
    customer: Annotated[str | None, typer.Option(help="Only whom this customer may be the same as.")] = None,
    smallest: Annotated[
        float | None, typer.Option("--min-score", min=0, max=1, help="From this score on; the rules know one.")
    ] = None,
    limit: Limit = 50,
    min_position: MinPosition = 0,
    wait: Wait = WAIT,
    at: At = None,
    known_at: KnownAt = None,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """Pairs of customers who share an e-mail address, phone, device or strong id, the surest first. Nobody is merged.

    What is shared is told by its field; a value that many customers share is left out. Blocked by names strong ids that
    differ: these two are not the same, or one of their ids is wrong.

    Example: kehu customers duplicates --min-score 0.6
    """
    with reading(postgres, CUSTOMERS, min_position=min_position, wait=wait, at=at, known_at=known_at) as (answer, now):
        rule = MATCHING.at(now)
        print_rows(
            "Customers who may be the same",
            identity.duplicates(answer, rule, limit, smallest_score=smallest, customer_id=customer),
            as_json,
            as_csv,
            as_ndjson,
            people=_pair_for_people,
            wide=("shared", "blocked by"),
            limit=limit,
            fresh=answer.fresh,
        )
        if customer is None and not (as_json or as_csv or as_ndjson) and (many := identity.left_out(answer, rule)):
            say(f"{many} value(s) that more than {rule.most_sharing} customers share were left out.", "dim")


def _registered(answer: Answer, customer_id: str) -> Group:
    """All that are one with a registered customer."""
    if customer_id not in known_of(answer.about([customer_id], KNOWN), [customer_id]):
        raise NotRegistered(customer_id)
    return identity.merges_around(answer, customer_id)[0]


def _strong_of(known: Known, ours: Group, theirs: Group) -> dict[str, str]:
    """The strong ids of the survivors as the event says them: of the numbers one, of an issuer that both know."""
    said = {name: field["value"] for name, field in unified(theirs, _only(known, theirs)).items() if is_strong(name)}
    also = unified(ours, _only(known, ours))
    numbers = sorted((name for name in said if name.partition("@")[0] == NUMBER), key=lambda name: name not in also)
    found = {name: said[name] for name in STRONG[1:] if name in said}
    if numbers:
        _, _, issuer = numbers[0].partition("@")
        found |= {NUMBER: said[numbers[0]], **({"customer_number_issuer": issuer} if issuer else {})}
    return found


def _only(known: Known, group: Group) -> Known:
    return {one: known[one] for one in group.members if one in known}


def _previewed(name: str, field: Row, known: Known) -> Row:
    """What becomes of a field, and what each of them has."""
    values = {one: fields[name]["value"] for one, fields in known.items() if name in fields}
    same = all(value == field["value"] for value in values.values())
    verdict = "same" if same else "added up" if name == "products" else "conflict" if is_strong(name) else "differs"
    return {
        "field": name,
        "value": field["value"],
        "of": field["customer_id"],
        "verdict": verdict if len(values) > 1 else "only one",
        "values": values,
    }


def _clash(conflict: Mapping[str, Any]) -> str:
    told = ", ".join(f"{' and '.join(ids)} {value}" for value, ids in conflict["values"].items())
    return f"{conflict['field']} ({told})"


def _event(name: str, customer_id: str, data: Mapping[str, Any]) -> Row:
    return {
        "specversion": "1.0",
        "id": f"{name}-{uuid4()}",
        "source": SOURCE,
        "type": f"kehu.{name}.v1",
        "subject": customer_id,
        "time": bootstrap.now().isoformat(),
        "datacontenttype": "application/json",
        "data": dict(data),
    }


def _publish(
    event: Row, question: str, kafka: str, yes: bool, dry_run: bool, as_json: bool, about: Mapping[str, Any]
) -> None:
    """Publish the event as `kehu publish` does, when whoever is asked agrees."""
    message = checked(orjson.dumps(event))
    if not dry_run:
        require_told_kafka(kafka)
        if not yes and not typer.confirm(question, err=True):
            raise Declined
        asyncio.run(send(kafka, [message]))
    if as_json:
        print_json({**about, "event": event, "published": not dry_run})
    elif dry_run:
        print_json(event)
    else:
        say(f"Published as {event['id']}; `kehu trace {event['id']}` tells what became of it.")


def _preview_for_people(row: Row) -> Row:
    return {
        "field": row["field"].replace("_", " "),
        "shown": row["value"],
        "of": row["of"],
        "verdict": row["verdict"],
        "not shown": _not_shown(row) or None,
    }


def _not_shown(row: Row) -> str:
    values: Mapping[str, Any] = row["values"]
    hidden: Sequence[str] = [
        f"{value} ({one})" for one, value in values.items() if value != row["value"] and row["field"] != "products"
    ]
    return ", ".join(hidden)


def _alias_for_people(row: Row) -> Row:
    return {
        "customer": row["customer_id"],
        "into": row["into_id"],
        "survivor": row["survivor"],
        "since": row["since"],
        "by": row["merged_by"],
        "reason": row["reason"],
        "undone": row["ended_at"],
    }


def _pair_for_people(row: Row) -> Row:
    return {
        "one": row["one"],
        "other": row["other"],
        "score": f"{row['score']:.2f}",
        "shared": ", ".join(row["fields"]),
        "blocked by": ", ".join(row["conflicts"]) or None,
    }
