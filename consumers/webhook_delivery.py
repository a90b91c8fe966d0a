"""Tells webhooks what changed in the views: each in its order, one message at a time, and the mark follows the answer.

A process that is killed in between sends a page of changes again; whoever remembers the greatest `sequence` of each row
does everything once. One process tells a webhook at a time.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic

import orjson
import structlog
from mode import Service

from consumers.one_thread import OneThread
from consumers.patience import Patience, Servers
from consumers.resting import Resting
from domain.errors import DomainError
from infra.errors import KehuError
from infra.failpoints import reach
from infra.postgres import data_keys
from infra.postgres.changes import Feed, Live, Token, connection
from infra.postgres.following import behind, epoch_of, newest, standing, step
from infra.postgres.view_marks import Marks
from infra.postgres.webhooks import Moved, Webhook, Webhooks
from infra.view_events import notice, structured
from infra.webhooks.messages import Message, batches
from infra.webhooks.sending import Gone, NotTold, Sender
from infra.webhooks.signing import key_of, signed
from projections.views import NAMED, Update, seen

log = structlog.get_logger("kehu.webhooks")

AT_ONCE = 500
"""Rows that are read and marked together."""
PAGES = 20
"""Pages that are told before it is looked again what was changed by hand."""
COALESCE = 0.25
"""Seconds in which the changes of a row become one."""
LOOK = 2.0
"""Seconds between two looks for webhooks that were added, changed or removed, and for those that nobody tells."""
LONGEST = 3600.0
"""Seconds between two tries at most."""
TRIES = 20
"""Tries of one message, the last some nine hours after the first; then its rows are a dead letter."""
UNSAVED = timedelta(hours=1)
"""How far the mark of a webhook that is told nothing may stay behind."""


@dataclass(slots=True)
class _Claimed:
    """A webhook that this process tells, as it is saved, and what it has not taken yet of what was read."""

    webhook: Webhook
    at: Token | None
    """How far it was told. Where there was nothing to tell the mark stays behind, and a commit less."""
    not_before: float = 0.0
    pending: list[Message] = field(default_factory=list)
    then: Token | None = None
    """Where it is when all that is pending was taken; None when nothing was read."""
    told: int = 0
    keys: dict[str, bool] = field(default_factory=dict)
    telling: "asyncio.Task[None] | None" = None

    def has_work(self, live: Live) -> bool:
        """Whether there is something to tell, and it is time."""
        new = self.then is not None or self.webhook.again or self.at != newest(live)
        return new and self.telling is None and monotonic() >= self.not_before


class WebhookDelivery(Service):
    """Tells the webhooks that no other process tells; a store that is away is waited for.

    `wait(seconds)` blocks until the log moved, and not longer than so many seconds.
    """

    def __init__(
        self,
        postgres: str,
        sender: Sender,
        wait: Callable[[float], None],
        clock: Callable[[], datetime],
        servers: Servers,
        tries: int = TRIES,
    ) -> None:
        super().__init__()
        shared = connection(postgres)
        self._feed, self._marks = Feed(shared), Marks(shared)
        self._webhooks = Webhooks(shared, data_keys.of_webhooks(postgres))
        self._sender = sender
        self._clock = clock
        self._tries = tries
        self._resting = Resting(wait)
        self._servers = servers
        self._patience = Patience(log, servers)
        self._claimed: dict[str, _Claimed] = {}
        self._looked = float("-inf")
        self._thread = OneThread("kehu-webhooks")
        self._waiting = OneThread("kehu-webhooks-wait")

    async def on_stop(self) -> None:
        for claimed in list(self._claimed.values()):
            await _stop(claimed)
        await self._sender.close()

    @Service.task
    async def _deliver(self) -> None:
        try:
            while not self.should_stop:
                await self._turn()
        finally:
            # Here and not in on_stop, since a turn that still runs would connect again; and without waiting in between,
            # since what is cancelled may be cancelled once more.
            self._thread.submit(self._marks.close)
            self._thread.shutdown()
            self._waiting.shutdown()

    async def _turn(self) -> None:
        try:
            lag = await self.once()
            self._patience.succeeded(self._servers.store)
        except (DomainError, KehuError, OSError) as error:
            self._patience.failed("webhooks need the store", error)
            await self._let_go()
            await self.sleep(self._patience.wait)
        else:
            await self.sleep(COALESCE)
            if not any(one.telling or one.then for one in self._claimed.values()):
                await self._waiting.run(self._resting.rest, lag)

    async def once(self) -> bool:
        """See whom to tell, and begin to tell each what is new; whether read models lag behind the log."""
        if monotonic() - self._looked >= LOOK:
            await self._look()
        live = await self._thread.run(self._feed.live)
        for name, claimed in list(self._claimed.items()):
            if claimed.telling is not None and claimed.telling.done():
                finished, claimed.telling = claimed.telling, None
                try:
                    finished.result()
                except (DomainError, OSError):
                    raise
                except Moved:
                    del self._claimed[name]
                    self._looked = float("-inf")
                    continue
                except Exception as error:
                    # One that nobody foresaw must not hold up the others.
                    log.exception("a webhook is paused", webhook=name)
                    await self._thread.run(self._webhooks.pause, name, f"unforeseen: {type(error).__name__}")
                    del self._claimed[name]
                    continue
            stands = standing(NAMED[claimed.webhook.view], live)
            if stands is not None and claimed.has_work(stands) and not self.should_stop:
                claimed.telling = asyncio.ensure_future(self._tell(claimed, stands))
        return behind(live)

    async def _look(self) -> None:
        """Claim what nobody tells, and take over what was changed by hand: replayed, paused, removed, another URL."""
        found = {one.name: one for one in await self._thread.run(self._webhooks.active) if one.view in NAMED}
        for name in self._claimed.keys() - found.keys():
            await _stop(self._claimed.pop(name))
        for name, webhook in found.items():
            claimed = self._claimed.get(name)
            if claimed is None:
                if await self._thread.run(self._marks.claim, f"webhook {name}"):
                    self._claimed[name] = _Claimed(webhook, webhook.token)
            elif claimed.telling is not None:
                continue
            elif claimed.webhook.place != webhook.place:
                claimed = self._claimed[name] = _Claimed(webhook, webhook.token)
            else:
                claimed.webhook = webhook
            if claimed is not None:
                wait = 0.0 if webhook.next_at is None else (webhook.next_at - self._clock()).total_seconds()
                claimed.not_before = monotonic() + wait
        self._looked = monotonic()

    async def _let_go(self) -> None:
        """Whatever was half done: begin with what the store knows, and claim again."""
        for claimed in self._claimed.values():
            await _stop(claimed)
        self._claimed.clear()
        self._looked = float("-inf")
        await self._thread.run(self._marks.close)

    async def _tell(self, claimed: _Claimed, live: Live) -> None:
        """Send what is pending, and some pages of what comes next; a dead letter to be sent again comes first."""
        if claimed.webhook.again and claimed.then is None:
            await self._letter(claimed, live)
        for _ in range(PAGES):
            more = claimed.then is not None or await self._read(claimed, live)
            while claimed.pending:
                if not await self._sent(claimed, claimed.pending[0]):
                    return
                claimed.pending.pop(0)
            reach("told")
            await self._save(claimed)
            if not more:
                return

    async def _save(self, claimed: _Claimed) -> None:
        before, then = claimed.webhook.token, claimed.then
        assert then is not None
        if claimed.told or before is None or before.walk or then.walk or then.at - before.at > UNSAVED:
            claimed.webhook = await self._thread.run(
                self._webhooks.took, claimed.webhook, then, claimed.told, claimed.keys
            )
        claimed.at, claimed.then, claimed.told, claimed.keys = then, None, 0, {}

    async def _read(self, claimed: _Claimed, live: Live) -> bool:
        """Read what comes next; whether there is more after it."""
        webhook = claimed.webhook
        view = NAMED[webhook.view]
        found = await self._thread.run(step, self._feed, view, claimed.at, live, AT_ONCE)
        walking = claimed.at is None or claimed.at.walk is not None
        updates = [one for one in found.page.updates if not walking or one.position > webhook.after_position]
        told, claimed.keys = await self._chosen(webhook, updates)
        events = [(one.key, structured(view, found.epoch, one)) for one in told]
        if webhook.after_position == 0:
            if found.begins:
                events.insert(0, ("", notice(view, found.epoch, live.at, "restarted")))
            if found.ends:
                events.append(("", notice(view, found.epoch, live.at, "complete")))
        claimed.pending, claimed.then = batches(webhook.name, events), found.page.token
        return found.page.more

    async def _chosen(self, webhook: Webhook, updates: Sequence[Update]) -> tuple[list[Update], dict[str, bool]]:
        """Those that it is told. By segment: a row that it has and that is in none of them any more is gone for it."""
        if webhook.segments is None or not updates:
            return list(updates), {}
        known = await self._thread.run(self._webhooks.known, webhook.name, [one.key for one in updates])
        told: list[Update] = []
        keys: dict[str, bool] = {}
        for one in updates:
            there = one.row is not None and orjson.loads(one.row)["segment"] in webhook.segments
            if (told_of := seen(one, there, one.key in known)) is not None:
                told.append(told_of)
                keys[one.key] = there
        return told, keys

    async def _letter(self, claimed: _Claimed, live: Live) -> None:
        """Send the rows of its oldest dead letter again, as they are now; one that is not taken stays."""
        webhook = claimed.webhook
        letter = await self._thread.run(self._webhooks.again, webhook.name)
        if letter is None:
            claimed.webhook = replace(webhook, again=False)
            return
        view = NAMED[webhook.view]
        told, keys = await self._chosen(webhook, await self._thread.run(self._feed.rows, view, live, letter.keys))
        try:
            for message in batches(webhook.name, [(one.key, structured(view, epoch_of(live), one)) for one in told]):
                await self._send(webhook, message)
        except NotTold as error:
            log.warning("a dead letter was not taken", webhook=webhook.name, letter=letter.id, error=error.why)
            await self._thread.run(self._webhooks.not_taken, letter)
        else:
            await self._thread.run(self._webhooks.taken, letter, keys)

    async def _sent(self, claimed: _Claimed, message: Message) -> bool:
        """Whether to go on with what comes next: it was taken, or given up."""
        webhook = claimed.webhook
        try:
            await self._send(webhook, message)
        except Gone:
            log.warning("a webhook wants no more, and is paused", webhook=webhook.name)
            await self._thread.run(self._webhooks.pause, webhook.name, "it answered 410: gone")
            claimed.not_before = monotonic() + 2 * LOOK
        except NotTold as error:
            attempts = webhook.attempts + 1
            if attempts == 1:
                log.warning("a webhook does not take what it is told", webhook=webhook.name, error=error.why)
            if attempts >= self._tries:
                log.error("rows became a dead letter of a webhook", webhook=webhook.name, rows=len(message.keys))
                keys = [key for key in message.keys if key]
                await self._thread.run(self._webhooks.give_up, webhook, keys, error.detail, attempts)
                # Whether it has these rows is as it was: their dead letter decides on it.
                for key in keys:
                    claimed.keys.pop(key, None)
                claimed.webhook = replace(webhook, attempts=0)
                return True
            wait = backoff(attempts)
            await self._thread.run(self._webhooks.failed, webhook, attempts, error.detail, wait)
            claimed.webhook, claimed.not_before = replace(webhook, attempts=attempts), monotonic() + wait
        else:
            claimed.told += len(message.keys)
            claimed.webhook = replace(webhook, attempts=0)
            return True
        return False

    async def _send(self, webhook: Webhook, message: Message) -> None:
        keys = map(key_of, webhook.secrets)
        await self._sender.send(webhook.url, message.body, signed(message.id, self._clock(), message.body, keys))


async def _stop(claimed: _Claimed) -> None:
    if claimed.telling is not None:
        claimed.telling.cancel()
        await asyncio.gather(claimed.telling, return_exceptions=True)


def backoff(attempts: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds until the next try: 1, 2, 4 and so on up to an hour, and up to a fifth more, lest all come at once."""
    return min(2.0 ** (attempts - 1), LONGEST) * (1 + jitter() / 5)
