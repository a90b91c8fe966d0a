"""How much a request may send: refused by what it says of its length, or when more comes than it said."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.http.problems import TooLarge, response


class Bodies:
    """An ASGI layer that lets bodies of so many bytes through."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer TooLarge, without reading it, for a body that says it is longer."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        told = f"at most {self._most} bytes"
        said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not said.isdigit() or int(said) > self._most:
            await response(TooLarge(told, {"Connection": "close"}))(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise HTTPException(413, told)
            return message

        await self._app(scope, counted, send)
