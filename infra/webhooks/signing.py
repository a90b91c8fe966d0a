"""Signatures of webhooks, as the Standard Webhooks specification 1.0 says (standardwebhooks.com).

What is signed is `id.timestamp.body`, with HMAC-SHA256 under the bytes that the secret holds in base64.
"""

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime

from infra.errors import KehuError

PREFIX = "whsec_"
BYTES = 32
"""Of a new secret; the specification wants 24 to 64."""


class WrongSecret(KehuError):
    """This is no secret of a webhook. Write `whsec_` and 24 to 64 bytes in base64, or let one be made."""

    exit_code = 2


def new_secret() -> str:
    """A secret that nobody knows yet."""
    return PREFIX + base64.b64encode(secrets.token_bytes(BYTES)).decode()


def key_of(secret: str) -> bytes:
    """The bytes of a secret. Raises WrongSecret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise WrongSecret() from error
    if not secret.startswith(PREFIX) or not 24 <= len(key) <= 64:
        raise WrongSecret()
    return key


def signed(message_id: str, at: datetime, body: bytes, keys: Iterable[bytes]) -> Mapping[str, str]:
    """The headers of a message: its id, when it was sent, and a signature by each of the keys.

    A message that is sent again keeps its id and has the time of that try, so that who receives it can refuse old ones.
    """
    stamp = str(int(at.timestamp()))
    content = f"{message_id}.{stamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }
