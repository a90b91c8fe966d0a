"""Ed25519 keys that heads are signed with: a private key in a file of the worker, a public one for whoever checks."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec.structs import replace

from domain.heads import Head
from infra.errors import KehuError


class NotAKey(KehuError):
    """The file holds no Ed25519 key in PEM. Make one with `kehu audit key`."""

    exit_code = 2


class KeyIsThere(KehuError):
    """The file exists, and a key that sealed heads must not be lost. Give another name."""

    exit_code = 2


class KeyNotWritten(KehuError):
    """The file of the key cannot be written. Make its folder, let this process write there and see that its disk has
    room, or name another file."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key."""

    key: Ed25519PublicKey

    @property
    def id(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the raw key."""
        raw = self.key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return sha256(raw).hexdigest()[:16]

    @property
    def pem(self) -> bytes:
        """For a file that may be given to anyone."""
        return self.key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def verifies(self, head: Head) -> bool:
        """Whether this key signed the head."""
        try:
            self.key.verify(head.signature, head.signed_bytes())
        except InvalidSignature:
            return False
        return head.key_id == self.id


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key."""

    key: Ed25519PrivateKey

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        return Verifier(self.key.public_key())

    def sign(self, head: Head) -> Head:
        """The head, signed in the name of this key."""
        named = replace(head, key_id=self.verifier.id)
        return replace(named, signature=self.signature(named.signed_bytes()))

    def signature(self, said: bytes) -> bytes:
        """The signature over bytes. Those of each kind of document begin with the name of the kind, so that none can be
        taken for another."""
        return self.key.sign(said)


def make(file: Path) -> Signer:
    """A new private key in a new file that only its owner can read. Raises KeyIsThere, KeyNotWritten."""
    signer = Signer(Ed25519PrivateKey.generate())
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem = signer.key.private_bytes(encoding, form, serialization.NoEncryption())
    try:
        file.touch(0o600, exist_ok=False)
        try:
            file.write_bytes(pem)
        except OSError:
            file.unlink()  # half a key is none, and its name would be taken
            raise
    except FileExistsError as error:
        raise KeyIsThere(str(file)) from error
    except OSError as error:
        raise KeyNotWritten(f"{file}: {error.strerror}") from error
    return signer


def give(of: Verifier, file: Path) -> None:
    """Write a public key to a file. Raises KeyNotWritten."""
    try:
        file.write_bytes(of.pem)
    except OSError as error:
        raise KeyNotWritten(f"{file}: {error.strerror}") from error


def signer(file: Path) -> Signer:
    """The private key of a file. Raises NotAKey."""
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise NotAKey(f"{file}: {error}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise NotAKey(str(file))
    return Signer(key)


def verifier(file: Path) -> Verifier:
    """The public key of a file, which may also hold the private one. Raises NotAKey."""
    try:
        return Verifier(_public(file.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise NotAKey(f"{file}: {error}") from error


def _public(pem: bytes) -> Ed25519PublicKey:
    key = (
        serialization.load_pem_public_key(pem)
        if b"PUBLIC" in pem
        else serialization.load_pem_private_key(pem, None).public_key()
    )
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("another kind of key")
    return key
