"""Dead letters, from their table to their topic: each at least once, in order, with what refused it as headers.

A crash between the acknowledgement and the mark publishes a letter twice; its header `kehu-dead-letter` tells.
"""

from collections.abc import Sequence
from datetime import timedelta
from time import monotonic

import structlog
from mode import Service

from consumers.one_thread import OneThread
from consumers.patience import Patience, Servers
from domain.errors import DomainError
from infra.errors import KehuError
from infra.kafka.producer import Outgoing, publish
from infra.kafka.topics import DEAD_LETTERS
from infra.postgres.dead_letters import DeadLetterOutbox, Letter

log = structlog.get_logger("kehu.dead-letters")

LARGEST = {"value": 900_000, "headers": 64_000, "key": 16_000}
"""Bytes of its parts that are published at most: brokers take 1 MiB by default. The table keeps all of them."""
AT_ONCE = 200
PURGE = 3600.0
"""Seconds between two looks for letters whose content may not be kept any longer."""


def outgoing(letter: Letter) -> Outgoing:
    """A letter as a message: key, value and headers as they are kept, and our headers, whose names begin with `kehu-`.

    `kehu-hidden-for` says under whose key the value is encrypted, with the values of the headers in it: a topic is no
    place from which somebody can be forgotten. `kehu dead-letters show` opens it.
    """
    ours = {
        "kehu-dead-letter": str(letter.id),
        "kehu-rule": letter.rule,
        "kehu-detail": letter.detail,
        "kehu-topic": letter.topic,
        "kehu-partition": str(letter.partition),
        "kehu-offset": str(letter.offset),
    }
    if letter.hidden_for is not None:
        ours["kehu-hidden-for"] = letter.hidden_for
    sizes = {
        "value": len(letter.value or b""),
        "headers": sum(len(name.encode()) + len(value or b"") for name, value in letter.headers),
        "key": len(letter.key or b""),
    }
    left_out = {part: size for part, size in sizes.items() if size > LARGEST[part]}
    ours |= {f"kehu-{part}-bytes": str(size) for part, size in left_out.items()}
    headers = [] if "headers" in left_out else list(letter.headers)
    headers += ((name, text.encode()) for name, text in ours.items())
    key, value = (None if "key" in left_out else letter.key), (None if "value" in left_out else letter.value)
    return DEAD_LETTERS, key, value, headers


class DeadLetterPublisher(Service):
    """Publishes what is in the outbox, every second; a broker or store that is away is waited for."""

    def __init__(
        self,
        outbox: DeadLetterOutbox,
        bootstrap: str,
        servers: Servers | None = None,
        unread_for: timedelta = timedelta(days=30),
    ) -> None:
        """`unread_for` is how long the content of a letter is kept that nobody could read."""
        super().__init__()
        self._unread_for = unread_for
        self._purged = float("-inf")
        self._outbox = outbox
        self._bootstrap = bootstrap
        self._servers = servers or Servers.of(bootstrap)
        self._patience = Patience(log, self._servers)
        self._thread = OneThread("kehu-dead-letters")

    async def on_stop(self) -> None:
        await self._thread.run(self._outbox.close)
        self._thread.shutdown()

    @Service.task
    async def _publish(self) -> None:
        letters: Sequence[Letter]
        while not self.should_stop:
            try:
                if monotonic() - self._purged > PURGE:
                    await self._thread.run(self._outbox.purge_unread, self._unread_for)
                    self._purged = monotonic()
                letters = await self._thread.run(self._outbox.pending, AT_ONCE)
                if letters:
                    await publish(self._bootstrap, map(outgoing, letters))
                    self._servers.broker.answered(self._patience)
                    await self._thread.run(self._outbox.done, letters)
                self._patience.succeeded(self._servers.store)
            except (DomainError, KehuError) as error:
                self._patience.failed("dead letters need the store and their topic", error)
                await self.sleep(self._patience.wait)
            else:
                if not letters:  # a page may be short because its letters are large
                    await self.sleep(1.0)
