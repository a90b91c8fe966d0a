"""Publishes views: what changed in a read model goes to its compacted topic, and the mark follows the acknowledgement.

A publisher that is killed in between publishes a page of changes again, each with the sequence that it had; a row that
changed meanwhile comes as it is then. One process publishes a view at a time.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from time import monotonic, time

import structlog
from mode import Service

from consumers.one_thread import OneThread
from consumers.patience import Patience, Servers
from consumers.resting import Resting
from domain.errors import DomainError
from infra.errors import KehuError
from infra.failpoints import reach
from infra.kafka.topics import Topics
from infra.kafka.views import VIEW_TOPICS, ViewProducer, encoded, held_keys
from infra.postgres.changes import Feed, Live, Page, Token, connection
from infra.postgres.following import behind, newest, standing
from infra.postgres.view_marks import Mark, Marks
from projections.views import VIEWS, Update, View

log = structlog.get_logger("kehu.views")

AT_ONCE = 5000
"""Rows that are read, published and marked together."""
PAGES = 10
"""Pages of one view that are published before it is another one's turn."""
COALESCE = 0.25
"""Seconds in which the changes of a row become one message, and a busy worker has its time for what comes first."""
UNSAVED = timedelta(hours=1)
"""How far the mark of a view that does not change may stay behind."""
LOOK = 10.0
"""Seconds between two looks whether the topics are still the same, and whether a view has become free."""


class TopicMissing(KehuError):
    """The broker does not have the topic of a view. Run `kehu setup`, which makes it; then everything is published."""


@dataclass(slots=True)
class _Claimed:
    """A view that this process publishes: how far it is, and the mark that is saved.

    Where nothing changed the mark stays behind: what it says is still true, and a commit less.
    """

    view: View
    mark: Mark
    token: Token | None


class ViewPublisher(Service):
    """Publishes the views that no other process publishes; a broker or store that is away is waited for.

    `wait(seconds)` blocks until the log moved, and not longer than so many seconds. `published` hears of each view how
    many messages were acknowledged.
    """

    def __init__(
        self,
        postgres: str,
        kafka: str,
        wait: Callable[[float], None],
        published: Callable[[str, int], None] = lambda _view, _messages: None,
        servers: Servers | None = None,
    ) -> None:
        super().__init__()
        shared = connection(postgres)
        self._feed, self._marks = Feed(shared), Marks(shared)
        self._kafka = kafka
        self._admin, self._producer = Topics(kafka), ViewProducer(kafka)
        self._resting = Resting(wait)
        self._published = published
        self._servers = servers or Servers.of(kafka)
        self._patience = Patience(log, self._servers)
        self._claimed: dict[str, _Claimed] = {}
        self._topic_ids: Mapping[str, str | None] = {}
        self._looked = float("-inf")
        self._thread = OneThread("kehu-views")

    async def on_stop(self) -> None:
        await self._producer.close()
        await self._thread.run(self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        self._marks.close()
        self._admin.close()

    @Service.task
    async def _publish(self) -> None:
        while not self.should_stop:
            try:
                lag, more = await self.once()
                self._patience.succeeded(self._servers.store, self._servers.broker)
            except (DomainError, KehuError, OSError) as error:
                self._patience.failed("views need the store and their topics", error)
                # Whatever was half done: begin with what the store knows, and claim again.
                self._claimed.clear()
                self._looked = float("-inf")
                await self._thread.run(self._marks.close)
                await self.sleep(self._patience.wait)
            else:
                if not more:
                    await self.sleep(COALESCE)
                    await self._thread.run(self._resting.rest, lag)

    async def once(self) -> tuple[bool, bool]:
        """Publish the next changes of each view; whether read models lag behind the log, and whether there is more."""
        if monotonic() - self._looked >= LOOK:
            await self._look()
        live = await self._thread.run(self._feed.live)
        more = False
        for claimed in self._claimed.values():
            # Another version has other rows: they are published when `kehu rebuild --switch` has made this one live.
            stands = standing(claimed.view, live)
            if stands is not None:
                more |= await self._advance(claimed, stands)
        return behind(live), more

    async def _look(self) -> None:
        """See to the topics, to the views that nobody publishes, and to what may be forgotten."""
        self._topic_ids = await asyncio.to_thread(self._admin.ids, VIEW_TOPICS)
        if missing := sorted(name for name, known in self._topic_ids.items() if known is None):
            raise TopicMissing(", ".join(missing))
        live = await self._thread.run(self._feed.live)
        for view in VIEWS:
            if view.name not in self._claimed and await self._thread.run(self._marks.claim, view.name):
                mark = await self._thread.run(self._marks.read, view.name)
                self._claimed[view.name] = _Claimed(view, mark, mark.token)
            stands = standing(view, live)
            if view.name in self._claimed and stands is not None:
                await self._thread.run(self._feed.forget, view, stands)
        self._looked = monotonic()

    async def _advance(self, claimed: _Claimed, live: Live) -> bool:
        """Publish some changes of a view; whether there are more."""
        view = claimed.view
        topic_id = self._topic_ids[view.topic]
        assert topic_id is not None
        token = claimed.token if claimed.mark.topic_id == topic_id else None
        if token is None or not self._feed.follows(token, live):
            token = await self._begin(claimed, topic_id, token, live)
        if token == newest(live):
            return False
        return await self._pages(claimed, token, live)

    async def _pages(self, claimed: _Claimed, token: Token, live: Live) -> bool:
        """Publish some pages, each while the next one is read; whether there are more."""
        reading = self._page(claimed.view, token, live)
        try:
            for left in reversed(range(PAGES)):
                page = await reading
                if page.more and left:
                    reading = self._page(claimed.view, page.token, live)
                if page.updates:
                    await self._send(claimed.view, claimed.mark.epoch, page.updates)
                    reach("published")
                before, claimed.token = claimed.mark.token, page.token
                if page.updates or before is None or before.walk or page.token.at - before.at > UNSAVED:
                    await self._save(claimed, replace(claimed.mark, token=page.token))
                if not page.more:
                    return False
            return True
        finally:
            reading.cancel()

    def _page(self, view: View, token: Token, live: Live) -> "asyncio.Future[Page]":
        return asyncio.ensure_future(self._thread.run(self._feed.page, view, token, live, AT_ONCE))

    async def _send(self, view: View, epoch: int, updates: Sequence[Update]) -> None:
        await self._producer.send(view.topic, encoded(view, epoch, updates))
        self._published(view.name, len(updates))

    async def _begin(self, claimed: _Claimed, topic_id: str, token: Token | None, live: Live) -> Token:
        """Begin with a comparison, or with everything: then what the topic has and the view has not is taken back."""
        # Also when the mark was lost, or is that of a backup, the epochs before were smaller: they are seconds.
        view, epoch = claimed.view, max(claimed.mark.epoch + 1, int(time()))
        token = await self._thread.run(self._feed.start, view, token, live)
        assert token.walk is not None
        whole = token.walk.former is None
        if whole:
            # Before anything is sent with it: if this process ends now, what comes then has a greater epoch.
            await self._save(claimed, Mark(topic_id, epoch, None))
            async for keys in held_keys(self._kafka, view.topic):
                await self._thread.run(self._feed.note, keys)
            missing = await self._thread.run(self._feed.missing, view, live, AT_ONCE)
            while updates := await self._thread.run(next, missing, None):
                await self._send(view, epoch, updates)
        await self._save(claimed, Mark(topic_id, epoch, token))
        return token

    async def _save(self, claimed: _Claimed, mark: Mark) -> None:
        if mark != claimed.mark:
            await self._thread.run(self._marks.save, claimed.view.name, claimed.mark, mark)
            claimed.mark, claimed.token = mark, mark.token
