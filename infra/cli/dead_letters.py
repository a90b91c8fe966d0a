"""`kehu dead-letters`: messages that can never apply, with the rule that refused them."""

from typing import Annotated, Any

import typer

from domain.administration import DeadLettersReplayed
from infra.cli.messages import for_programs, print_message
from infra.cli.output import Csv, Json, Limit, Ndjson, print_json, print_rows, say
from infra.cli.servers import Kafka, Postgres, asked, connected, require_kafka
from infra.cli.times import Since
from infra.cli.who import By, Reason, tell, who
from infra.kafka.producer import publish
from infra.operating import letters
from infra.postgres import dead_letters
from infra.remedies import meaning

Rule = Annotated[str | None, typer.Option(help="Only those that this rule refused.")]
Topic = Annotated[str | None, typer.Option(help="Only those that came by this topic.")]
Source = Annotated[str | None, typer.Option(help="Only those that this source published.")]

AT_ONCE = 500


def list_dead_letters(
    postgres: Postgres = "",
    rule: Rule = None,
    topic: Topic = None,
    source: Source = None,
    since: Since = None,
    summary: Annotated[bool, typer.Option("--summary", help="Count them by rule and source.")] = False,
    limit: Limit = 50,
    as_json: Json = False,
    as_csv: Csv = False,
    as_ndjson: Ndjson = False,
) -> None:
    """The newest dead letters, or with --summary how many there are by rule and source.

    Example: kehu dead-letters list --rule bad-json --since 2026-03-01
    """
    chosen: dict[str, Any] = {"rule": rule, "topic": topic, "source": source, "since": since}
    how = (as_json, as_csv, as_ndjson)
    with connected(postgres) as conn:
        if summary:
            counts = dead_letters.count_dead_letters(conn, **chosen, limit=limit or None)
            print_rows("Dead letters by rule and source", counts, *how, wide=("source",), limit=limit)
            return
        found = dead_letters.list_dead_letters(conn, **chosen, limit=limit or None)
        title = "Dead letters, newest first"
        print_rows(title, found, *how, people=_for_people, wide=("detail",), limit=limit)


def _for_people(letter: dict[str, Any]) -> dict[str, Any]:
    first = {"id": letter["id"], "died": letter["died_at"], "topic": letter["topic"].removeprefix("kehu.")}
    return {**first, "rule": letter["rule"], "event": letter["event_id"], "detail": letter["detail"]}


def show_dead_letter(
    letter_id: Annotated[int, typer.Argument(metavar="ID")], postgres: Postgres = "", as_json: Json = False
) -> None:
    """One dead letter: where it came from, its headers and its body, why it died, and the remedy.

    Example: kehu dead-letters show 17
    """
    with connected(postgres) as conn:
        found = letters.letter_of(conn, letter_id)
    remedy = f"{meaning(found['rule'])} `kehu dead-letters replay {letter_id}` publishes it again as it is."
    if as_json:
        print_json(for_programs(found, remedy))
    else:
        print_message(f"Dead letter {letter_id}", for_programs(found, remedy))


def replay(
    ids: Annotated[list[int] | None, typer.Argument(help="Dead letters by id, also replayed ones.")] = None,
    postgres: Postgres = "",
    kafka: Kafka = "",
    rule: Rule = None,
    topic: Topic = None,
    source: Source = None,
    everything: Annotated[bool, typer.Option("--all", help="All that were not replayed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many, publish nothing.")] = False,
    by: By = "",
    reason: Reason = None,
) -> None:
    """Publish dead letters again: the same bytes, key and headers to their topic, for the worker to decide anew.

    A header `kehu-dead-letter` names the letter. One that still cannot apply dies again under a new id; one that was
    stored meanwhile counts as a duplicate. Chosen by --rule, --topic, --source or --all are only those that were never
    replayed.

    Example: kehu dead-letters replay --rule expired
    """
    chosen = bool(rule or topic or source)
    if bool(ids) + chosen + everything != 1:
        raise typer.BadParameter("say which: ids, or --rule, --topic, --source, or --all", param_hint="IDS")
    with connected(postgres) as conn:
        wanted = list(dict.fromkeys(ids or ()))
        if ids:
            known = {letter["id"] for letter in dead_letters.get_dead_letters(conn, wanted)}
            if missing := [one for one in wanted if one not in known]:
                raise letters.NoSuchLetter(", ".join(map(str, missing)))
        else:
            found = dead_letters.list_dead_letters(
                conn, rule=rule, topic=topic, source=source, replayed=False, limit=None
            )
            wanted = sorted(letter["id"] for letter in found)
        if dry_run:
            say(f"{len(wanted)} dead letters would be replayed")
            return
        require_kafka(kafka)
        replayed = 0
        for start in range(0, len(wanted), AT_ONCE):
            # Marked after each portion, so that what is published is known even when a later one fails.
            portion = letters.sendable(dead_letters.get_dead_letters(conn, wanted[start : start + AT_ONCE]))
            asked(kafka, publish(kafka, map(letters.as_it_came, portion)), 60)
            ids_of = tuple(letter["id"] for letter in portion)
            dead_letters.mark_replayed(conn, ids_of)
            if ids_of:
                tell(conn, DeadLettersReplayed(by=who(by), reason=reason, letters=ids_of))
            conn.commit()
            replayed += len(portion)
    say(f"{replayed} dead letters replayed")
    if left := len(wanted) - replayed:
        raise letters.left_out(left)
