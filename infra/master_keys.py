"""Master keys: under them the data keys of customers are wrapped. The database never sees one.

A file, for development and for a secret that is mounted, or whose keys AWS KMS opens; variables of the environment; or
an adapter of the bank's own for another key management service: whatever keeps `MasterKeys`.
"""

import os
import sys
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.conninfo import conninfo_to_dict

from infra import aws_kms
from infra.appending import append
from infra.boxes import NotOpened, box, opened
from infra.errors import KehuError
from infra.settings import MasterKeySettings, checked

BYTES = 32


class NoMasterKey(KehuError):
    """No master key is configured, and personal data is never stored without one. Name the file of the bank's in
    KEHU_MASTER_KEY_FILE, or set KEHU_MASTER_KEY; for a new bank make one with `kehu keys make FILE`. Only beside a
    PostgreSQL on this machine one is made by itself.
    """

    exit_code = 2


class WrongMasterKey(KehuError):
    """A master key is missing or wrong: it is the base64 of 32 bytes. Put back the one under which personal data was
    encrypted, from its copy; no other opens it. Only for a new bank `kehu keys make FILE` makes one."""

    exit_code = 2


class KeyFileMissing(WrongMasterKey):
    """The file of the master keys is not there. Put it back from its copy, or mount it: what was encrypted under a lost
    key can be read with no other. Only for a new bank `kehu keys make FILE` makes one."""


class KeyFileNotWritten(KehuError):
    """The key file cannot be written, and no key was made or added. Make its folder, let this process write there and
    see that its disk has room, or name another file."""

    exit_code = 2


class MasterKeyMissing(KehuError):
    """Data keys are wrapped under a master key that is not configured. Add it to the key file, or to
    KEHU_FORMER_MASTER_KEYS, until `kehu keys rotate` has wrapped all of them anew."""

    exit_code = 2


class MasterKeys(Protocol):
    """What wraps data keys. An adapter for a key management service keeps this; it raises KehuError when it is away."""

    @property
    def current(self) -> str:
        """The id of the master key under which new data keys are wrapped."""

    def wrap(self, owner: str, key: bytes) -> bytes:
        """A data key of 32 bytes, wrapped under the current master key and bound to its owner."""

    def unwrap(self, master: str, owner: str, wrapped: bytes) -> bytes:
        """The data key that was wrapped under this master key. Raises MasterKeyMissing."""


class LocalMasterKeys:
    """Master keys that this process holds: AES-256-GCM, with the owner of the data key as associated data."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """The last one is the current one."""
        self._keys: Mapping[str, AESGCM] = {id_of(key): AESGCM(key) for key in keys}
        self._current = id_of(keys[-1])

    @property
    def current(self) -> str:
        return self._current

    def wrap(self, owner: str, key: bytes) -> bytes:
        return box(self._keys[self._current], key, _bound_to(owner))

    def unwrap(self, master: str, owner: str, wrapped: bytes) -> bytes:
        key = self._keys.get(master)
        if key is None:
            raise MasterKeyMissing(f"master key {master}")
        try:
            return opened(key, wrapped, _bound_to(owner))
        except NotOpened as error:
            raise WrongMasterKey(f"the wrapped key of {owner} was changed") from error


def id_of(key: bytes) -> str:
    """By which a master key is known: it tells nothing of the key."""
    return sha256(b"kehu master key\0" + key).hexdigest()[:12]


def configured(postgres: str) -> MasterKeys:
    """The master keys that the environment names; beside a PostgreSQL on this machine else a key for development.

    Raises NoMasterKey, WrongMasterKey.
    """
    said = checked(MasterKeySettings)
    if said.master_keys:
        return _adapter(said.master_keys)
    if said.master_key is not None:
        former = [_key(one) for one in said.former_master_keys.get_secret_value().split(",") if one.strip()]
        return LocalMasterKeys([*former, _key(said.master_key.get_secret_value())])
    if said.master_key_file is not None:
        return LocalMasterKeys(read_file(said.master_key_file))
    assert is_for_development()
    if not is_near(postgres):
        raise NoMasterKey
    path = development_file()
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if make_file(path):
            sys.stderr.write(
                f"kehu: NO MASTER KEY IS CONFIGURED. Personal data is encrypted under a key for development, made in"
                f" {path}; whoever loses it loses the data. Set KEHU_MASTER_KEY_FILE for anything real.\n"
            )
    return LocalMasterKeys(read_file(path))


def is_for_development() -> bool:
    """Whether the environment names no master key, so that the one for development is used."""
    said = checked(MasterKeySettings)
    return not (said.master_keys or said.master_key or said.master_key_file)


def development_file() -> Path:
    """Where the key for development is."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "kehu" / "development-master.key"


def is_near(postgres: str) -> bool:
    """Whether a connection string leads to this machine: by a socket, or by a loopback address.

    What it does not say libpq takes from the environment. Where a service leads to is in a file: that is not near.
    """
    told, env = conninfo_to_dict(postgres), os.environ
    if told.get("service") or env.get("PGSERVICE"):
        return False
    addresses = str(told.get("hostaddr") or env.get("PGHOSTADDR") or "").split(",")
    hosts = str(told.get("host") or env.get("PGHOST") or "").split(",")
    # With an address the name of the host is not looked up.
    return all(map(_is_near, addresses if all(addresses) else [*addresses, *hosts]))


def _is_near(host: str) -> bool:
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def make_file(path: Path, kms: str | None = None) -> bool:
    """Make a file with a new master key that only its owner can read; False when there is one.

    With `kms` it is encrypted under the key of that name in AWS KMS. Raises KmsRefused, KeyFileNotWritten.
    """
    line = _new_line(kms)
    # Written whole before it has its name, since two processes may want it at once.
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(f"{line}\n")
        os.link(beside, path)
    except FileExistsError:
        return False
    except OSError as error:
        raise KeyFileNotWritten(f"{path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            beside.unlink()
    return True


def add_to_file(path: Path) -> None:
    """Add a new master key, which is the current one from now on; guarded as the one before is.

    Raises WrongMasterKey where what is there is no key file, KmsRefused, and KeyFileNotWritten.
    """
    line = _new_line(aws_kms.name_of(_lines(path)[-1]))
    try:
        append(path, [line.encode()])
    except OSError as error:
        raise KeyFileNotWritten(f"{path}: {error.strerror}") from error


def read_file(path: Path) -> list[bytes]:
    """The master keys of a file, one in a line, the current one last. Raises WrongMasterKey and KmsRefused."""
    return [_key(line) for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError as error:
        raise KeyFileMissing(str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise WrongMasterKey(f"{path}: {error}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise WrongMasterKey(f"{path} holds none")
    return keys


def _new_line(kms: str | None) -> str:
    return new_key() if kms is None else aws_kms.made(kms, BYTES)


def new_key() -> str:
    """A new master key as it is written."""
    return b64encode(os.urandom(BYTES)).decode()


def _key(text: str) -> bytes:
    text = text.strip()
    try:
        guarded = aws_kms.name_of(text) is not None
        key = aws_kms.opened(text) if guarded else b64decode(text, validate=True)
    except (NotBase64, ValueError) as error:
        raise WrongMasterKey("it is not base64") from error
    if len(key) != BYTES:
        raise WrongMasterKey(f"it has {len(key)} bytes")
    return key


def _adapter(named: str) -> MasterKeys:
    module, _, name = named.partition(":")
    try:
        found: MasterKeys = getattr(import_module(module), name)()
    except (ImportError, AttributeError, ValueError) as error:
        raise WrongMasterKey(f"KEHU_MASTER_KEYS={named}: write it as module:function ({error})") from error
    return found


def _bound_to(owner: str) -> bytes:
    return b"kehu data key\0" + owner.encode()
