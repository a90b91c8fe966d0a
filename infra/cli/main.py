"""`kehu`: set up the servers, run the worker, publish events, and show what became of them."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

import psycopg
import typer

from domain.errors import DomainError
from domain.ports import Unavailable
from infra.cli import (
    actions,
    audit,
    audit_acts,
    audit_explain,
    audit_read,
    audit_replay,
    audit_verify,
    case,
    customer,
    customers,
    dead_letters,
    deadlines,
    doctor,
    erase,
    events,
    keys,
    merging,
    outcomes,
    parked,
    projections,
    publish,
    queues,
    rebuild,
    reconciliation,
    repair,
    retention_risk,
    returns,
    risk,
    risk_history,
    risk_train,
    roles,
    root_causes,
    rules,
    run,
    satisfaction,
    serve,
    skip,
    subject_access,
    trace,
    verify,
    views,
    webhooks,
)
from infra.cli.servers import AnyKafka, AnyPostgres
from infra.cli.version import Version
from infra.errors import KehuError

TRACEBACK = "KEHU_TRACEBACK"
"""An environment variable: when it is set, an error that nobody foresaw shows where it came from."""

AWAY = "Check --postgres, and that the server runs and has the database; `kehu setup` makes the schema."

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode="markdown"
)
show = typer.Typer(no_args_is_help=True, help="What is stored.")
event_commands = typer.Typer(no_args_is_help=True, help="The contract with the channels.")
dead_letter_commands = typer.Typer(
    no_args_is_help=True, help="Messages that can never apply, with the rule that refused them."
)
projection_commands = typer.Typer(no_args_is_help=True, help="The read models: how they stand, rest and go on.")
view_commands = typer.Typer(no_args_is_help=True, help="Read models on compacted topics.")
webhook_commands = typer.Typer(no_args_is_help=True, help="Who is told by HTTP what changed in a read model.")
action_commands = typer.Typer(no_args_is_help=True, help="What the bank does about causes of complaints.")
risk_commands = typer.Typer(no_args_is_help=True, help="Models of retention risk: train, compare, promote.")
customer_commands = typer.Typer(no_args_is_help=True, help="Who is one with whom: merges, and whom to look at.")
audit_commands = typer.Typer(
    no_args_is_help=True, help="Proofs that nobody changed the log, and what it said at any moment."
)
parked_commands = typer.Typer(no_args_is_help=True, help="Messages that cannot apply yet.")
key_commands = typer.Typer(no_args_is_help=True, help="The keys under which personal data is encrypted.")


@app.callback(help=__doc__)
def given_before(postgres: AnyPostgres = "", kafka: AnyKafka = "", version: Version = False) -> None:
    """Options that every command knows may also stand before it; `infra.cli.servers` finds them there."""


app.command()(run.setup)
app.command()(roles.roles)
app.command()(run.worker)
app.command()(publish.publish)
app.command()(serve.serve)
app.command()(serve.token)
app.add_typer(show, name="show")
show.command()(reconciliation.reconciliation)
show.command()(satisfaction.satisfaction)
show.command("satisfaction-change")(satisfaction.satisfaction_change)
show.command("answers")(satisfaction.list_answers)
show.command("causes")(satisfaction.causes)
show.command()(retention_risk.retention_risk)
show.command()(queues.queues)
show.command()(queues.cases)
show.command()(case.case)
show.command()(deadlines.deadlines)
show.command()(queues.staffing)
show.command()(customer.customer)
show.command()(outcomes.complaint_rate)
show.command()(root_causes.root_causes)
show.command()(outcomes.effect)
show.command()(actions.action)
show.command()(risk_history.risk_history)
app.add_typer(risk_commands, name="risk")
risk_commands.command()(risk_train.train)
risk_commands.command()(risk.models)
risk_commands.command()(risk.add)
risk_commands.command()(risk.compare)
risk_commands.command()(risk.promote)
show.command()(customers.customers)
app.command()(trace.trace)
app.add_typer(dead_letter_commands, name="dead-letters")
dead_letter_commands.command("list")(dead_letters.list_dead_letters)
dead_letter_commands.command("show")(dead_letters.show_dead_letter)
dead_letter_commands.command()(dead_letters.replay)
dead_letter_commands.command()(skip.skip_unreadable)
dead_letter_commands.command()(repair.repair)
app.add_typer(parked_commands, name="parked")
parked_commands.command("list")(parked.list_parked)
parked_commands.command("show")(parked.show_parked)
parked_commands.command("retry")(parked.retry_parked)
parked_commands.command("release")(parked.release_parked)
app.add_typer(projection_commands, name="projections")
projection_commands.command()(projections.status)
projection_commands.command()(projections.pause)
projection_commands.command()(projections.resume)
projection_commands.command()(projections.retry)
projection_commands.command()(projections.check)
app.command()(rebuild.rebuild)
app.add_typer(view_commands, name="views")
view_commands.command("list")(views.list_views)
view_commands.command()(views.publish)
view_commands.command()(views.republish)
app.add_typer(webhook_commands, name="webhooks")
webhook_commands.command()(webhooks.add)
webhook_commands.command("list")(webhooks.list_webhooks)
webhook_commands.command()(webhooks.change)
webhook_commands.command()(webhooks.pause)
webhook_commands.command()(webhooks.resume)
webhook_commands.command()(webhooks.remove)
webhook_commands.command()(webhooks.replay)
webhook_commands.command("secret")(webhooks.renew_secret)
webhook_commands.command()(webhooks.letters)
webhook_commands.command()(webhooks.retry)
webhook_commands.command()(webhooks.deliver)
app.add_typer(action_commands, name="actions")
action_commands.command("open")(actions.open_action)
action_commands.command("close")(actions.close_action)
action_commands.command("list")(actions.list_actions)
app.add_typer(customer_commands, name="customers")
customer_commands.command()(merging.merge)
customer_commands.command()(merging.unmerge)
customer_commands.command()(merging.aliases)
customer_commands.command()(merging.duplicates)
app.add_typer(audit_commands, name="audit")
audit_commands.command()(audit.key)
audit_commands.command()(audit.seal)
audit_commands.command()(audit.heads)
audit_commands.command()(audit.prove)
audit_commands.command()(audit.consistency)
audit_commands.command()(audit_verify.verify)
audit_commands.command()(audit_read.stream)
audit_commands.command()(audit_read.export)
audit_commands.command("acts")(audit_acts.list_acts)
audit_commands.command("return")(returns.regulatory_return)
app.add_typer(key_commands, name="keys")
key_commands.command("make")(keys.make)
key_commands.command("status")(keys.status)
key_commands.command("rotate")(keys.rotate)
audit_commands.command()(audit_replay.replay)
audit_commands.add_typer(audit_explain.explain, name="explain")
app.add_typer(event_commands, name="events")
event_commands.command()(events.catalog)
app.command()(erase.erase)
app.command("subject-access")(subject_access.subject_access)
app.command()(doctor.doctor)
app.command()(rules.rules)
app.command()(verify.verify)
app.command()(run.demo)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error is one line with its remedy and a non-zero exit code."""
    try:
        code = app(None if arguments is None else list(arguments), prog_name="kehu", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read us has enough.
        _print_no_more()
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            _not_foreseen(error)
        _print_no_more()
        where = error.filename or "what is printed"
        _fail(f"{where} cannot be written: {error.strerror}. Make room, or write elsewhere, and run it again.", 1)
    except Unavailable as error:
        _fail(f"{error} {AWAY}", 3)
    except (KehuError, DomainError) as error:
        _fail(str(error), getattr(error, "exit_code", 1))
    except typer.TyperException as error:
        # Asked for nothing, a group of commands shows its help and has no message.
        context = getattr(error, "ctx", None)
        told = error.format_message().removesuffix(".")
        _fail(f"{told}. See `{context.command_path if context else 'kehu'} --help`." if told else "", error.exit_code)
    except psycopg.errors.UndefinedTable as error:
        _fail(f"PostgreSQL: {error.diag.message_primary}. The schema is missing: run `kehu setup`.", 3)
    except psycopg.errors.InsufficientPrivilege as error:
        told = f"PostgreSQL: {error.diag.message_primary}. The user of --postgres has no right to that"
        _fail(f"{told}: `kehu roles` shows which role has.", 3)
    except psycopg.OperationalError as error:
        _fail(f"PostgreSQL does not answer: {_first_line(error)}. {AWAY}", 3)
    except psycopg.Error as error:
        _fail(f"PostgreSQL: {_first_line(error)}. Run `kehu doctor`.", 3)
    except Exception as error:
        _not_foreseen(error)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _print_no_more() -> None:
    """What is still buffered must not fail again when the process ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _not_foreseen(error: Exception) -> NoReturn:
    if os.environ.get(TRACEBACK):
        traceback.print_exc()
    _fail(f"{type(error).__name__}: {error}. This was not foreseen: set {TRACEBACK}=1 to see where it comes from.", 70)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _fail(message: str, code: int) -> NoReturn:
    if message:
        sys.stderr.write(f"kehu: {' '.join(message.split())}\n")
    sys.exit(code)
