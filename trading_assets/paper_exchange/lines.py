"""The line under HTTP and WebSocket: resets, ping frames, handshakes that are refused.

What ASGI hides and a faithful exchange needs. Works with uvicorn's protocols, which `server_config`
of `server.py` sets.
"""

import asyncio
import socket as sockets
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from starlette.responses import Response
from starlette.types import Scope, Send
from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_LINE = "paper_exchange.line"
_SENDER = "paper_exchange.sender"
_LINGER_ZERO = b"\x01\x00\x00\x00\x00\x00\x00\x00"


class NoticedPings(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol that remembers when a ping frame came."""

    heard_at = 0.0

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        scope = getattr(self, "scope", None)  # a wrong handshake has none
        if scope is not None:
            scope["state"][_LINE] = self

    def handle_ping(self) -> None:
        self.heard_at = self.loop.time()
        super().handle_ping()


def heard_at(socket: WebSocket) -> float:
    """When the last ping frame came, by the loop's time; 0 before the first."""
    line = socket.scope.get("state", {}).get(_LINE)
    return line.heard_at if isinstance(line, NoticedPings) else 0.0


def keep_sender(scope: Scope, send: Send) -> None:
    """Remember the server's own `send` of a stream, so that `cut` finds the line under it."""
    scope[_SENDER] = send


def cut(socket: WebSocket) -> None:
    """Drop a stream without a closing frame, as a lost network does."""
    reset(socket.scope[_SENDER])


def reset(send: Send) -> None:
    """Reset the connection: RST instead of FIN, as a crashed peer does. send: the server's own."""
    transport = send.__self__.transport  # type: ignore[attr-defined]  # of uvicorn's protocols
    raw = transport.get_extra_info("socket")
    if raw is not None and not transport.is_closing():
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, _LINGER_ZERO)
    transport.abort()


async def deny(socket: WebSocket, status: int) -> None:
    """Refuse the handshake with an HTTP status."""
    await socket.receive()
    await socket.send_denial_response(Response(status_code=status))


async def first_of(*parts: Coroutine[Any, Any, None]) -> None:
    """Run `parts` until the first one ends; the others are cancelled, an error is raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
    for task in done:
        task.result()
