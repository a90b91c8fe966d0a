"""Tells in a log that is sealed with which settings a process runs, when they are not those of the one before it."""

from datetime import datetime
from hashlib import sha256
from importlib.metadata import version

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from domain.administration import SettingsChanged
from domain.rules import own
from infra.postgres import acts
from infra.settings import Checked

SECONDS = 5
"""That the store may take to be reached: a process does not wait for this."""
OPTIONS = "-c statement_timeout=2s"
_TOLD = "SELECT sealed, settings FROM kehu.told_settings(%s)"


def tell_settings(postgres: str, process: str, settings: Checked, at: datetime) -> bool:
    """Keep the settings of a process that starts now; False when they are known, when nobody seals the log, or when the
    store cannot be asked.

    A store that is away or not set up, or a role that may not, is left to the process itself: it waits, or says so.
    The next one that starts tells them.
    """
    said = described(settings)
    try:
        with psycopg.connect(
            postgres, application_name="kehu-settings", connect_timeout=SECONDS, options=OPTIONS
        ) as conn:
            sealed, known = conn.execute(_TOLD, (process,)).fetchone() or (False, None)
            if not sealed or known == said:
                return False
            acts.record(conn, SettingsChanged(by="kehu", process=process, settings=said), at)
    except psycopg.Error:
        return False
    return True


def described(settings: Checked) -> dict[str, str]:
    """Settings as they are told: no password, the release, and digests of a bank's own rules."""
    told = {name: str(value) for name, value in settings.model_dump(mode="json").items() if value is not None}
    if "postgres" in told:
        told["postgres"] = _without_password(told["postgres"])
    folder = own.folder()
    for file in folder.iterdir() if folder else ():
        if file.name.endswith(".toml"):
            told[f"rules {file.name}"] = sha256(file.read_bytes()).hexdigest()
    return {**told, "release": version("kehu")}


SECRETS = ("password", "sslpassword")


def _without_password(conninfo: str) -> str:
    known = conninfo_to_dict(conninfo)
    return make_conninfo("", **{name: known[name] for name in sorted(known) if name not in SECRETS})
