"""Signed heads of the tree: how many events it has, its root, when it was sealed, and who says so."""

from datetime import datetime
from typing import Any

import msgspec

from domain.values import Value


class Head(Value):
    """The tree over the events at positions 1 to `size`. `key_id` names the key of the signature."""

    size: int
    root: bytes
    sealed_at: datetime
    key_id: str
    signature: bytes = b""

    def signed_bytes(self) -> bytes:
        """What the signature is over: readable lines, in this order."""
        lines = ("kehu tree head v1", str(self.size), self.root.hex(), self.sealed_at.isoformat(), self.key_id)
        return "\n".join(lines).encode()

    def as_json(self) -> dict[str, Any]:
        """As it is told outside."""
        return {
            "size": self.size,
            "root": self.root.hex(),
            "sealed_at": self.sealed_at.isoformat(),
            "key_id": self.key_id,
            "signature": self.signature.hex(),
        }


def from_json(said: bytes) -> Head:
    """A head as it was told. Raises ValueError (msgspec.ValidationError) for anything else."""
    told = msgspec.json.decode(said, type=_Told)
    at = datetime.fromisoformat(told.sealed_at)
    return Head(told.size, bytes.fromhex(told.root), at, told.key_id, bytes.fromhex(told.signature))


class _Told(Value):
    size: int
    root: str
    sealed_at: str
    key_id: str
    signature: str
