"""Sends a message to a webhook: signed, without following redirects, to allowed addresses only, and not for ever."""

import socket
from collections.abc import Mapping
from ipaddress import ip_address
from types import TracebackType
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from infra.errors import KehuError
from infra.webhooks.addresses import Forbidden, Networks, allowed

SECONDS = 15.0
"""That a try may take from the look-up of the name to the end of the answer."""
SHOWN = 300
"""Bytes of an answer that are told."""
CONNECTIONS = 100
BATCH = "application/cloudevents-batch+json; charset=UTF-8"


class NotTold(KehuError):
    """A webhook did not take a message. It is tried again."""

    def __init__(self, why: str, answered: str = "") -> None:
        """`answered`: what the receiver said, who may know the customer by name. It belongs in no log."""
        super().__init__(f"{why}: {answered}" if answered else why)
        self.why = why


class Gone(NotTold):
    """A webhook answered 410: whoever runs it does not want to be told any more. `kehu webhooks resume` tries again."""


class Guard(AbstractResolver):
    """Looks names up and hands out only addresses that are allowed."""

    def __init__(self, own: Networks, *, plain: bool) -> None:
        self._own, self._plain = own, plain
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises Forbidden when one of them may not be told."""
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            # One wrong address is enough: a name that has both is no name of an honest server.
            self.check(one["host"])
        return found

    def check(self, host: str) -> None:
        """Raises Forbidden for an address that is not allowed; a name is not looked at."""
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return
        if not allowed(address, self._own, plain=self._plain):
            raise Forbidden(f"{address} is no address where webhooks may go: see KEHU_WEBHOOK_NETWORKS")

    async def close(self) -> None:
        """Nothing is kept."""
        await self._resolver.close()


def _shown(said: bytes) -> str:
    """The beginning of an answer as text that a table can hold."""
    return " ".join(said.decode(errors="replace").replace("\0", "").split())


class Sender:
    """Posts messages; used in one event loop."""

    def __init__(self, own: Networks = (), seconds: float = SECONDS) -> None:
        self._guards = {plain: Guard(own, plain=plain) for plain in (False, True)}
        self._seconds = seconds
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> "Sender":
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Return when it was taken, that is answered with 2xx. Raises NotTold, and Gone."""
        parts = urlsplit(url)
        plain = parts.scheme == "http"
        try:
            # An address in the URL is not looked up, so nobody else would check it.
            self._guards[plain].check(parts.hostname or "")
            async with self._session(plain).post(
                url, data=body, headers={"Content-Type": BATCH, **headers}, allow_redirects=False
            ) as answer:
                said = await answer.content.read(SHOWN)
                status = answer.status
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            told = error.__cause__ if isinstance(error.__cause__, Forbidden) else error
            raise NotTold(str(told) or type(told).__name__) from error
        if status == 410:
            raise Gone(url)
        if not 200 <= status < 300:
            followed = "; redirects are not followed" if 300 <= status < 400 else ""
            raise NotTold(f"{status}{followed}", _shown(said))

    async def close(self) -> None:
        """End the connections."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    def _session(self, plain: bool) -> aiohttp.ClientSession:
        if plain not in self._sessions:
            self._sessions[plain] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=self._guards[plain], use_dns_cache=False, limit=CONNECTIONS),
                timeout=aiohttp.ClientTimeout(total=self._seconds),
                headers={"User-Agent": "kehu-webhooks"},
                auto_decompress=False,
                trust_env=False,
            )
        return self._sessions[plain]
