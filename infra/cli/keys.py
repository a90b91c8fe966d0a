"""`kehu keys`: master keys, and the data keys of customers that are wrapped under them."""

from pathlib import Path
from typing import Annotated

import typer

from domain.administration import KeysRotated, MasterKeyAdded
from infra import master_keys
from infra.cli.output import Json, print_rows, say
from infra.cli.progress import counting
from infra.cli.servers import Postgres, connected
from infra.cli.who import By, Reason, tell, who
from infra.errors import KehuError
from infra.postgres import key_rotation, webhooks
from infra.settings import MasterKeySettings, checked


class NotMade(KehuError):
    """There is a file of this name already, and it may hold the only key to somebody's data. Name another one."""


class NothingToAddTo(KehuError):
    """A new master key is added to a key file only. Without one, set KEHU_MASTER_KEY to a new key and
    KEHU_FORMER_MASTER_KEYS to the one before, for all workers, and run this again without --new."""

    exit_code = 2


def make(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file that does not exist.")],
    kms: Annotated[
        str | None, typer.Option(metavar="KEY", help="Encrypt it under this key of AWS KMS: an ARN, id or alias/name.")
    ] = None,
) -> None:
    """Make a master key in a file that only its owner can read.

    Keep a copy of it where the backups of the database are not: without it personal data is lost, and with both
    everything can be read. With --kms the file opens only where AWS KMS allows it.

    Example: kehu keys make /etc/kehu/master.key --kms alias/kehu
    """
    if not master_keys.make_file(file, kms):
        raise NotMade(str(file))
    say(f"a master key was made in {file}: set KEHU_MASTER_KEY_FILE={file}")


def status(postgres: Postgres = "", as_json: Json = False) -> None:
    """How many data keys are wrapped under which master key, and how many were destroyed.

    Example: kehu keys status
    """
    master = master_keys.configured(postgres)
    with connected(postgres) as conn:
        print_rows("Data keys", key_rotation.counted(conn, master.current), as_json)


def rotate(
    postgres: Postgres = "",
    new: Annotated[bool, typer.Option("--new", help="First add a new master key to the key file.")] = False,
    by: By = "",
    reason: Reason = None,
) -> None:
    """Wrap every data key under the current master key. No event is written again; workers go on meanwhile. Secrets of
    webhooks that a former release kept in the clear are encrypted.

    It can be ended and run again. Afterwards nothing is wrapped under a former master key, and it may be destroyed:
    then copies of the database from before, its backups among them, no longer open what was erased since.
    That it was done is told in the log, as an act; so is a new master key, by its id.

    Example: kehu keys rotate --new
    """
    file = None
    if new:
        file = checked(MasterKeySettings).master_key_file
        if file is None:
            raise NothingToAddTo
        master_keys.read_file(file)  # what is no key file, or does not open, is not added to
    with connected(postgres) as conn:
        if file is not None:
            master_keys.add_to_file(file)
            added = master_keys.id_of(master_keys.read_file(file)[-1])
            tell(conn, MasterKeyAdded(by=who(by), reason=reason, master=added))
            conn.commit()  # the key is in the file, whatever becomes of the rest
        master = master_keys.configured(postgres)
        webhooks.hide(conn)
        with counting("data keys", key_rotation.older(conn, master.current)) as told:
            wrapped = key_rotation.rotate(conn, master, told)
        tell(conn, KeysRotated(by=who(by), reason=reason, master=master.current, wrapped=wrapped))
    say(f"{wrapped} data keys are wrapped under master key {master.current} now; former ones are not needed any more")
