"""Boxes: bytes encrypted with AES-256-GCM, each bound to the place where it is kept."""

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from infra.errors import KehuError

NONCE = 12


class NotOpened(KehuError):
    """Something encrypted does not open under the key of its customer: it was changed, or moved from its place."""


def box(key: AESGCM, plain: bytes, place: bytes) -> bytes:
    """AES-256-GCM of bytes that opens only at its place: a nonce of 12 bytes, the ciphertext, a tag of 16 bytes."""
    nonce = os.urandom(NONCE)
    return nonce + key.encrypt(nonce, plain, place)


def opened(key: AESGCM, boxed: bytes, place: bytes) -> bytes:
    """What is in a box. Raises NotOpened."""
    try:
        return key.decrypt(boxed[:NONCE], boxed[NONCE:], place)
    except InvalidTag as error:
        raise NotOpened(place.replace(b"\0", b" ").decode(errors="replace")) from error
