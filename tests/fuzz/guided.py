"""The fuzzer that coverage guides: `python -m tests.fuzz.guided --inputs 1000000 --seed 1`, with atheris installed.

It begins with a good message of every type in both modes and with the inputs that were kept, and goes on with what led
to code that was not reached before. What must hold is what `tests.fuzz.decode` tries, and inputs that fail are kept in
the same way, also one that ends the process.
"""

import os
import sys
from argparse import ArgumentParser
from collections.abc import Iterable, Sequence
from inspect import getmembers, isfunction
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from domain import contracts, handling, upcasts
from domain.ports import Message, Partition
from infra.kafka import codec, envelopes, limits
from infra.kafka.topics import TOPICS
from tests.fuzz import decode

WATCHED = (codec, envelopes, limits, contracts, upcasts, handling)
"""Modules whose code is to be reached."""
PLACES = tuple(sorted(TOPICS.values()))
NO_KEY, NO_VALUE = 1, 2
LONGEST = 4096
WORD = 64
"""Bytes of the longest word that a dictionary may hold."""
REMEDY = """atheris is not installed. It comes as a wheel for Linux on x86-64:
  .venv/bin/python -m pip install --no-build-isolation --editable '.[fuzz]'
`make fuzz` needs nothing else."""


def to_bytes(message: Message) -> bytes:
    """A message as the fuzzer changes it: topic, what is absent, key, headers, a blank line, value."""
    absent = NO_KEY * (message.key is None) | NO_VALUE * (message.value is None)
    lines = [bytes((PLACES.index(message.partition.topic), absent)) + (message.key or b"")]
    for name, value in message.headers:
        lines.append(name.encode(errors="surrogateescape") + (b"" if value is None else b": " + value))
    return b"\n".join([*lines, b"", message.value or b""])


def to_message(said: bytes) -> Message:
    """The message that any bytes say."""
    head, _, value = said[2:].partition(b"\n\n")
    key, *lines = head.split(b"\n")
    place, absent = (*said[:2], 0, 0)[:2]
    return Message(
        Partition(PLACES[place % len(PLACES)], "t", 0),
        0,
        0,
        None if absent & NO_KEY else key,
        None if absent & NO_VALUE else value,
        tuple(_header(line) for line in lines),
    )


def _header(line: bytes) -> tuple[str, bytes | None]:
    name, colon, value = line.partition(b": ")
    return name.decode(errors="surrogateescape"), value if colon else None


def begin(folder: Path) -> None:
    """Write the first inputs into a folder."""
    for number, message in enumerate([*decode.good(), *map(decode.kept, sorted(decode.SEEDS.glob("*.json")))]):
        said = to_bytes(message)
        if len(said) <= LONGEST:
            (folder / f"seed-{number:03}").write_bytes(said)


def words() -> list[bytes]:
    """What is put into inputs as a whole: names, types, and what broke decoders before."""
    found = {*decode.CHUNKS, *decode.CONTENTS, *(name.encode(errors="surrogateescape") for name in decode.NAMES)}
    found |= {one.encode() for one in decode.ODD if isinstance(one, str)} | {one.encode() for one in codec.readable()}
    for message in decode.good():
        found |= set(decode.NAME.findall(message.value or b""))
    return sorted(one for one in found if 0 < len(one) <= WORD)


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)


def keep_ends(folder: Path) -> list[Path]:
    """Keep the inputs that ended the process: it crashed, hung or used up the memory."""
    ends = [file for kind in ("crash", "timeout", "oom") for file in sorted(folder.glob(f"{kind}-*"))]
    return [decode.keep(to_message(file.read_bytes()), f"the process ended: {file.name}") for file in ends]


def _fuzz(atheris: Any, corpus: Path, ends: Path, number: int, seed: int) -> None:
    """Try that many inputs, tell what became of them, and end the process."""
    for module in WATCHED:
        for _, function in getmembers(module, isfunction):
            if function.__module__ == module.__name__:
                atheris.instrument_func(function)
    dictionary = ends / "words"
    dictionary.write_text("".join(f'"{_escaped(word)}"\n' for word in words()))
    begun = len(list(corpus.iterdir()))
    tally, sound = decode.Tally(), decode.good()

    def one(said: bytes) -> None:
        tally.take(to_message(said))
        if tally.tries == number:
            tally.tell()
            print(f"seed {seed}: {begun} inputs to begin with, {len(list(corpus.iterdir()))} that reached new code")
            sys.stdout.flush()
            os._exit(bool(tally.failures))

    def damaged(said: bytes, longest: int, drawn: int) -> bytes:
        """Most changes know what a message is, and some begin with a good one: bytes alone seldom leave one to read."""
        random = Random(drawn)
        chance = random.random()
        if chance < 0.75:
            message = random.choice(sound) if chance < 0.25 else to_message(said)
            other = to_bytes(random.choice(decode.DAMAGES)(message, random))
            if len(other) <= longest:
                return other
        mutated: bytes = atheris.Mutate(said, longest)
        return mutated

    options = {"seed": seed, "max_len": LONGEST, "timeout": 10, "verbosity": 0, "dict": dictionary}
    told = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *told, f"-artifact_prefix={ends}/", str(corpus)], one, custom_mutator=damaged)
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    """The fuzzer from the command line: 1 when an input failed, 2 when atheris is not installed."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    try:
        import atheris
    except ImportError:
        print(REMEDY, file=sys.stderr)
        return 2
    with TemporaryDirectory() as folder:
        corpus, ends = Path(folder, "corpus"), Path(folder, "ends")
        corpus.mkdir()
        ends.mkdir()
        begin(corpus)
        # In a process of its own, since some inputs may end it.
        child = get_context("fork").Process(target=_fuzz, args=(atheris, corpus, ends, given.inputs, given.seed))
        child.start()
        child.join()
        kept: Iterable[Path] = keep_ends(ends)
        for file in kept:
            print(f"an input ended the process; kept as {file.name}")
    return int(bool(child.exitcode))


if __name__ == "__main__":
    sys.exit(main())
