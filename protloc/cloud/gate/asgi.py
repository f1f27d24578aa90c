"""Requests and answers of the gate as ASGI has them: https://asgi.readthedocs.io/en/latest/specs/www.html"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from protloc.cloud.gate.claims import Refused, Sent

Response = tuple[int, dict[str, str], bytes]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_DISCARDED_BYTES = 8 << 20


def request_of(scope: Any) -> Sent:
    raw = scope.get("raw_path") or quote(scope["path"]).encode()
    headers = [(name.decode("latin-1").lower(), _text(value)) for name, value in scope["headers"]]
    return Sent(
        scope["method"], raw.decode("latin-1"), scope.get("query_string", b"").decode("latin-1"), headers
    )


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class Body:
    """The body of a request, as far as it was read."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False

    async def _part(self) -> bytes:
        message = await self._receive()
        self._ended = message["type"] != "http.request" or not message.get("more_body")
        if message["type"] != "http.request":
            raise Refused("IncompleteBody", "The request body terminated unexpectedly", 400)
        part: bytes = message.get("body", b"")
        return part

    async def whole(self, limit: int | None) -> bytes:
        parts, size = [], 0
        while not self._ended:
            parts.append(await self._part())
            size += len(parts[-1])
            if limit is not None and size > limit:
                raise Refused("RequestEntityTooLarge", f"expected at most {limit} bytes", 413)
        return b"".join(parts)

    async def discard(self) -> None:
        """Read on for a while: a client that still sends would not see the answer."""
        size = 0
        with contextlib.suppress(Refused):
            while not self._ended and size < MAX_DISCARDED_BYTES:
                size += len(await self._part())


def replayed(body: bytes, receive: Receive) -> Receive:
    """Hand the engine the body that was read already, then the messages that follow."""
    bodies = [body]

    async def following() -> dict[str, Any]:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        return await receive()

    return following


def without_cors(send: Send) -> Send:
    async def sent(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [
                (name, value)
                for name, value in message.get("headers", [])
                if not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": headers}
        await send(message)

    return sent


async def answer(send: Send, sent: Sent, response: Response) -> None:
    status, headers, body = response
    own_headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
    listed = [(name.lower().encode(), value.encode()) for name, value in own_headers.items()]
    listed.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": b"" if sent.method == "HEAD" else body})
