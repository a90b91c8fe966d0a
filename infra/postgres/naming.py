"""Whom a message that nobody could read names: their id as a whole, in its key, its value or its headers.

It is text more often than not, but of no form that is known. Where it is doubtful whether an id is meant, it is: what
cannot be read by anybody is of less use than somebody is harmed who asked to be forgotten.
"""

import re
from collections.abc import Callable
from typing import Final

from domain.ports import Message

# A colon and a slash may be in an id, but come before and after one too: customer:c-1, /customers/c-1/cases.
_BEFORE, _AFTER = rb"(?<![\w.@+-])", rb"(?![\w@+-]|\.\w)"
_ESCAPED = re.compile(rb"\\(?:u00([0-7][0-9A-Fa-f])|(.))", re.DOTALL)
_BLANK = b"bfnrt"
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SUBJECT = re.compile(rb"""["']subject["']\s*:\s*"((?:[^"\\]|\\.)*)\"""")

Names = Callable[[Message], bool]


def naming(customer_id: str) -> Names:
    """Whether a message names a customer. An id of digits only counts where it is quoted, follows `subject` or a name
    with `customer`, or is a whole key or header.
    """
    said: Final = customer_id.encode()
    if said.isdigit():
        told = rb"(?i:subject|customer\w*)[\"'\s]*[:=>]\s*" + said + _AFTER
        found = re.compile(rb"([\"'])%b\1|%b" % (said, told))
    else:
        found = re.compile(_BEFORE + re.escape(said) + _AFTER)
    # Binary formats write the length of a text before it: as it is, or doubled.
    sized = tuple(bytes([n]) + said for n in (len(said), 2 * len(said)))

    def names(message: Message) -> bool:
        if said in (message.key, *(value for _, value in message.headers)):
            return True
        return any(in_part(part) for part in (message.key, message.value, *(value for _, value in message.headers)))

    def in_part(part: bytes | None) -> bool:
        if part is None:
            return False
        if found.search(part) or (b"\\" in part and found.search(_unescaped(part))):
            return True
        return any(one in part for one in sized) and _is_binary(part)

    return names


def subjects_of(message: Message) -> set[bytes]:
    """Whom a message says that it is about, as far as that is seen without reading it."""
    told = {value for name, value in message.headers if name == "ce_subject" and value is not None}
    return told | {_unescaped(said) for said in _SUBJECT.findall(message.value or b"")}


def _unescaped(text: bytes) -> bytes:
    r"""Without the escapes of JSON: \u0063 is a letter, \n a blank."""
    return _ESCAPED.sub(_plain, text) if b"\\" in text else text


def _plain(escaped: re.Match[bytes]) -> bytes:
    code, other = escaped.groups()
    if code is not None:
        return bytes([int(code, 16)])
    return b" " if other in _BLANK else bytes(other)


def _is_binary(part: bytes) -> bool:
    if _CONTROL.search(part):
        return True
    try:
        part.decode()
    except UnicodeDecodeError:
        return True
    return False
