"""A long-run fuzzer of the decoding: `python -m tests.fuzz.decode --inputs 2000000 --seed 1`.

Good messages of every type are damaged in their bytes, their structure and their headers. Each input must be read or be
refused by a rule, within a second. What does neither is kept in tests/data/fuzz, where a test tries it for ever.
"""

import json
import sys
from argparse import ArgumentParser
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from random import Random
from re import compile as pattern
from time import perf_counter, process_time
from typing import Any

import orjson
from msgspec.structs import replace

from domain.ports import Message, Partition
from domain.values import Fact
from infra import bootstrap
from infra.errors import Unreadable
from infra.kafka import codec, envelopes
from infra.kafka.topics import TOPICS, topic_of
from tests.support.golden import PUBLISHED

SEEDS = Path(__file__).parents[1] / "data" / "fuzz"
NOW = datetime(2026, 3, 2, tzinfo=UTC)
SLOW = 1.0
"""Seconds of processor time that no input may take."""
ALIKE = 20
"""Inputs at most that are kept of those that failed alike."""

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63), 2**64 - 1, 0.1, -0.0, 1e308, 5e-324),
    *(
        "",
        " ",
        "0",
        "null",
        "\0",
        "\ud7ff",
        "\U0010ffff",
        "é" * 300,
        "a" * 70_000,
        "2026-02-30",
        "9999-12-31T23:59:60Z",
    ),
    *("2026-03-01T00:00:00+23:59", "0001-01-01T00:00:00Z", "kehu.survey.invited.v99", "-P1D", "../../"),
    *("2026-03-01T10:00:00+01:00:30", "2026-03-01T10:00:00.1234567Z", "2026-W09-7T10Z", "1772359200", 1772359200),
    *(
        "kehu.contact.ended.v1",
        "application/json;charset=utf-8",
        "क्ष",
        "e\u0301",
        "ａ",
        "٣",
        1.0,
        -1e-9,
        float("nan"),
        float("-inf"),
    ),
    *([], {}, [[]], {"": ""}, [None] * 50, {"a": {"b": {"c": {}}}}),
)
CHUNKS = (
    *(
        b"\\u0000",
        b"\\ud800",
        b"\\",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\xff",
        b"\xc3\x28",
        b"\xef\xbb\xbf",
        b"\0",
    ),
    *(
        b"1e999",
        b"-",
        b"NaN",
        b"Infinity",
        b"0" * 50,
        b"9" * 5000,
        b"[" * 2000,
        b'{"a":' * 600,
        b"//",
        b"/**/",
        b"null",
    ),
)
NAME = pattern(rb'"(\w+)":')
NAMES = (
    *("content-type", "ce_specversion", "ce_type", "ce_id", "ce_source", "ce_subject", "ce_time", "ce_dataschema"),
    *("ce_datacontenttype", "ce_correlationid", "ce_causationid", "ce_traceparent", "ce_", "CE_id", "x", "", "\udcff"),
)
CONTENTS = (
    *(b"", b"1.0", b"\xff", b"application/json", b"application/cloudevents+json; charset=utf-8", b"text/plain"),
    *(
        b"application/cloudevents-batch+json",
        b"APPLICATION/JSON",
        b"c-100023",
        b"2026-03-01T10:00:00Z",
        b"\0",
        b"x" * 20_000,
    ),
)


def good() -> list[Message]:
    """One message of every type that may be published, in both modes."""
    made = []
    for golden in PUBLISHED:
        place = Partition(topic_of(golden.topic), "t", 0)
        plain = Message(place, 0, 0, golden.event["subject"].encode(), orjson.dumps(golden.event))
        fact = codec.decode(plain, NOW)
        for mode in (codec.structured, codec.binary):
            key, value, headers = mode(fact)
            made.append(Message(place, 0, 0, key, value, tuple(headers)))
    return made


def inputs(random: Random) -> Iterator[Message]:
    """Damaged messages, without end."""
    sound = good()
    while True:
        message = random.choice(sound)
        for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
            message = random.choice(DAMAGES)(message, random)
        yield message


def _bytes(message: Message, random: Random) -> Message:
    """Bits turned over, pieces cut out, doubled or put in."""
    value = bytearray(message.value or b"")
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(value))
        end = min(len(value), at + random.choice((0, 1, 1, 2, 8, 40)))
        match random.randrange(4):
            case 0 if at < len(value):
                value[at] ^= 1 << random.randrange(8)
            case 1:
                del value[at:end]
            case 2:
                value[at:at] = value[at:end] * random.randint(1, 5)
            case _:
                value[at:at] = random.choice(CHUNKS)
    return replace(message, value=bytes(value))


def _structure(message: Message, random: Random) -> Message:
    """A value somewhere in the JSON replaced, removed, or added under another name."""
    try:
        parsed = json.loads(message.value or b"")
    except (ValueError, RecursionError):
        return _bytes(message, random)
    holder = parsed
    while isinstance(holder, dict) and holder:
        name = random.choice(list(holder))
        if isinstance(holder[name], dict) and random.random() < 0.7:
            holder = holder[name]
            continue
        match random.randrange(4):
            case 0:
                del holder[name]
            case 1:
                holder[random.choice((name.upper(), name + "_", "data_base64", "", "unheard_of"))] = holder[name]
            case _:
                holder[name] = random.choice(ODD)
        break
    return replace(message, value=json.dumps(parsed, ensure_ascii=random.random() < 0.5).encode(errors="surrogatepass"))


def _twice(message: Message, random: Random) -> Message:
    """A name that stands in an object already, put before or after the others, perhaps with a letter escaped."""
    value = message.value or b""
    names = NAME.findall(value)
    if not names:
        return _bytes(message, random)
    name, said = random.choice(names), value
    if random.random() < 0.3:
        name = b"\\u%04x" % name[0] + name[1:]
    member = b'"%b":%b' % (name, json.dumps(random.choice(ODD)).encode())
    opened = [at for at, byte in enumerate(value) if byte == 123]
    if opened and random.random() < 0.5:
        at = random.choice(opened) + 1
        said = value[:at] + member + b"," + value[at:]
    elif b"}" in value:
        at = random.choice([at for at, byte in enumerate(value) if byte == 125])
        said = value[:at] + b"," + member + value[at:]
    return replace(message, value=said)


def _headers(message: Message, random: Random) -> Message:
    """Headers changed, removed, doubled or added."""
    headers = list(message.headers)
    match random.randrange(4):
        case 0 if headers:
            headers.pop(random.randrange(len(headers)))
        case 1 if headers:
            at = random.randrange(len(headers))
            headers[at] = (headers[at][0], random.choice(CONTENTS))
        case 2 if headers:
            headers.append(random.choice(headers))
        case _:
            headers += [(random.choice(NAMES), random.choice(CONTENTS))] * random.choice((1, 1, 2, 80))
    return replace(message, headers=tuple(headers))


def _place(message: Message, random: Random) -> Message:
    """Another topic, key or customer, or no value."""
    match random.randrange(4):
        case 0:
            return replace(message, partition=replace(message.partition, topic=random.choice(list(TOPICS.values()))))
        case 1:
            return replace(message, key=random.choice((None, b"", b"\xff", b"c-100024", b"x" * 100_000)))
        case 2 if message.key and message.value:
            key = random.choice([one for one in ODD if isinstance(one, str)]).encode(errors="surrogatepass")
            headers = tuple((name, key if name == "ce_subject" else said) for name, said in message.headers)
            return replace(message, key=key, value=message.value.replace(message.key, key), headers=headers)
        case _:
            return replace(message, value=random.choice((None, b"", random.randbytes(random.randint(1, 200)))))


Damage = Callable[[Message, Random], Message]
DAMAGES: tuple[Damage, ...] = (_bytes, _bytes, _structure, _structure, _structure, _twice, _headers, _place)
_decode = bootstrap.decoder(lambda: NOW)


def tried(message: Message) -> str:
    """The rule that refused a message, or `read`; raises AssertionError for what is neither."""
    try:
        fact = _decode(message).fact
    except Unreadable as error:
        return _checked(error)
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}") from error
    assert isinstance(fact, Fact)
    assert _closely(message) == fact, "looked at closely it says something else"
    headers = dict(message.headers)
    is_structured = (headers.get("content-type") or b"").strip().lower().startswith(envelopes.STRUCTURED.encode())
    if (kind := headers.get("ce_type")) is not None and not is_structured:
        assert _other_mode(message, kind, fact) == fact, "in structured mode it says something else"
    for mode in (codec.structured, codec.binary):
        key, value, told = mode(fact)
        again = codec.decode(replace(message, key=key, value=value, headers=tuple(told)), NOW)
        assert again == fact, f"published again in {mode.__name__} mode, it says something else"
        assert codec.content(again) == codec.content(fact), (
            f"published again in {mode.__name__} mode, it is no duplicate"
        )
    return "read"


def _other_mode(message: Message, kind: bytes, fact: Fact) -> Fact | str:
    """What a binary message says when its value is the data of a structured one. No other text is parsed on the way."""
    key, value, headers = codec.structured(fact)
    said = {**orjson.loads(value), "type": kind.decode(), "data": orjson.Fragment(message.value or b"")}
    try:
        return codec.decode(replace(message, key=key, value=orjson.dumps(said), headers=tuple(headers)), NOW)
    except Unreadable as error:
        return error.rule


def _closely(message: Message) -> Fact | str:
    """The same message read without the short way of `infra.kafka.envelopes`."""
    try:
        return codec.decode_closely(message, NOW)
    except Unreadable as error:
        return error.rule


def _checked(refused: Unreadable) -> str:
    """Whether a refusal says enough, and not too much."""
    assert refused.rule, "no rule"
    assert refused.detail, f"{refused.rule} without a detail"
    assert len(refused.detail) <= 1000, f"{refused.rule}: {len(refused.detail)} characters of detail"
    return refused.rule


def keep(message: Message, why: str) -> Path:
    """Write an input down, for the test that tries it again."""
    told = {
        "why": why,
        "topic": message.partition.topic,
        "key": _text(message.key),
        "value": _text(message.value),
        "headers": [[name.encode(errors="surrogateescape").hex(), _text(value)] for name, value in message.headers],
    }
    file = SEEDS / f"{sha256(orjson.dumps(told)).hexdigest()[:16]}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))
    return file


def kept(file: Path) -> Message:
    """An input that was written down."""
    told = orjson.loads(file.read_bytes())
    headers = tuple(
        (bytes.fromhex(name).decode(errors="surrogateescape"), b64decode(value)) for name, value in told["headers"]
    )
    key, value = (None if told[name] is None else b64decode(told[name]) for name in ("key", "value"))
    return Message(Partition(told["topic"], "t", 0), 0, 0, key, value, headers)


def _text(value: bytes | None) -> str | None:
    return None if value is None else b64encode(value).decode()


class Tally:
    """How many inputs came to which rule, and what became of those that failed."""

    def __init__(self, say: Callable[[str], None] = print) -> None:
        self.rules: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.kept: list[Path] = []
        self.tries = 0
        self._say = say
        self._started = perf_counter()

    def take(self, message: Message) -> None:
        """Try one input. One that fails is counted and kept; of those that fail alike, the first few."""
        self.tries += 1
        before = process_time()
        try:
            rule = tried(message)
            took = process_time() - before
            assert took < SLOW, f"took {took:.1f} s"
            self.rules[rule] += 1
        except AssertionError as error:
            why = str(error).partition("\n")[0][:300]
            self.failures[why] += 1
            if self.failures[why] <= ALIKE:
                self.kept.append(keep(message, why))
                self._say(f"input {self.tries}: {why}; kept as {self.kept[-1].name}")
        if self.tries % 500_000 == 0:
            self._say(f"{self.tries:>9} inputs, {self.tries / (perf_counter() - self._started):.0f} a second")

    def tell(self) -> None:
        """Say what became of all inputs."""
        for told, n in (*self.rules.most_common(), *self.failures.most_common()):
            self._say(f"{n:>9}  {told}")
        self._say(f"{self.tries} inputs, {self.failures.total()} failed")


def run(number: int, seed: int, say: Callable[[str], None] = print) -> Tally:
    """Try that many damaged messages."""
    tally = Tally(say)
    for message in islice(inputs(Random(seed)), number):
        tally.take(message)
    return tally


def main() -> None:
    """The fuzzer from the command line; exits with 1 when an input failed."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    tally = run(given.inputs, given.seed)
    print(f"seed {given.seed}:")
    tally.tell()
    sys.exit(bool(tally.failures))


if __name__ == "__main__":
    main()
