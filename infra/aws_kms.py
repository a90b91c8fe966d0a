"""Master keys that AWS KMS guards: the key file holds them encrypted under a key that never leaves KMS.

KMS is asked once when a process starts, and not for each customer. Region, endpoint and credentials are those of the
environment, as boto3 has them.
"""

from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from functools import cache
from typing import Any

from infra.errors import KehuError

PREFIX = "kms:"
"""How a line of a key file begins whose key is opened by KMS; then the name of the KMS key, a colon, and base64."""
CONTEXT = {"use": "kehu master key"}
"""KMS opens what was made for this use only, and says so in its log."""


class NoKms(KehuError):
    """Keys that AWS KMS guards need boto3. Run `pip install 'kehu[kms]'`."""

    exit_code = 2


class KmsRefused(KehuError):
    """AWS KMS does not answer, or not with the key. Look at credentials, region and the name of the KMS key; who makes
    keys may need kms:GenerateDataKeyWithoutPlaintext, and every process that opens them kms:Decrypt."""

    exit_code = 4


def made(name: str, size: int) -> str:
    """A line for a new key of so many bytes, under the KMS key of this name; it was never seen outside of KMS."""
    asked = {"KeyId": name, "NumberOfBytes": size, "EncryptionContext": CONTEXT}
    answer = _ask("generate_data_key_without_plaintext", asked)
    return f"{PREFIX}{name}:{b64encode(answer['CiphertextBlob']).decode()}"


def name_of(line: str) -> str | None:
    """The KMS key that guards the key in a line; None where the line holds the key itself."""
    return line.removeprefix(PREFIX).rpartition(":")[0] if line.startswith(PREFIX) else None


@cache
def opened(line: str) -> bytes:
    """The key that a line holds, which this process asks for once. Raises KmsRefused."""
    name, _, text = line.removeprefix(PREFIX).rpartition(":")
    try:
        sealed = b64decode(text, validate=True)
    except (NotBase64, ValueError) as error:
        raise KmsRefused(f"a line of the key file under {name or 'no key'} is not base64") from error
    found: bytes = _ask("decrypt", {"KeyId": name, "CiphertextBlob": sealed, "EncryptionContext": CONTEXT})["Plaintext"]
    return found


def _ask(operation: str, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ModuleNotFoundError as error:
        raise NoKms(str(error)) from error
    try:
        answer: dict[str, Any] = getattr(boto3.client("kms"), operation)(**asked)
    except (BotoCoreError, ClientError) as error:
        raise KmsRefused(f"{asked['KeyId']}: {error}") from error
    return answer
