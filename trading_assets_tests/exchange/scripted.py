"""A small exchange of scripted answers over a real socket, which checks every JWT as Upbit does.

Requests are recorded whole; what is answered, or done to the connection, is the test's business.
"""

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import jwt

ACCESS_KEY = "test-access-key-3b7f"
SECRET_KEY = "test-secret-key-91c2-which-must-never-appear-anywhere-0042"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: str  # as sent, still encoded
    headers: tuple[tuple[str, str], ...]  # names in lower case, each as often as it came
    body: bytes

    def header(self, name: str) -> str | None:
        """The one value of a header. Fails when it came twice: Upbit merges doubled ones."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def parameters(self) -> str:
        """What the query hash is made of: the decoded query, or the body's pairs in order."""
        if self.body:
            return "&".join(f"{key}={value}" for key, value in json.loads(self.body).items())
        return unquote(self.query)

    @property
    def claims(self) -> dict[str, Any]:
        """The verified claims of the token. Fails for a wrong signature or a wrong hash."""
        kind, token = (self.header("authorization") or "").split()
        assert kind == "Bearer"
        claims: dict[str, Any] = jwt.decode(token, SECRET_KEY, algorithms=["HS256", "HS512"])
        if self.parameters:
            assert claims["query_hash_alg"] == "SHA512"
            assert claims["query_hash"] == hashlib.sha512(self.parameters.encode()).hexdigest()
        else:
            assert "query_hash" not in claims
        return claims


@dataclass(frozen=True, slots=True)
class Reply:
    """What comes back. hang: nothing. reset: a TCP reset. cut: so many bytes of the body only.

    drip: the body byte by byte, as long as `wait` (the test's own step between them) returns True.
    """

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = (("Remaining-Req", "group=default; min=1800; sec=29"),)
    hang: bool = False
    reset: bool = False
    cut: int | None = None
    drip: Callable[[], bool] | None = None


def told(value: Any, status: int = 200, **kwargs: Any) -> Reply:
    return Reply(status, json.dumps(value).encode(), **kwargs)


def refused(status: int, name: str | int, message: str = "no", **kwargs: Any) -> Reply:
    return told({"error": {"name": name, "message": message}}, status, **kwargs)


Respond = Callable[[Request], Reply]


@dataclass
class Scripted:
    """The running exchange: its address and everything it was sent."""

    url: str
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def sent(self, method: str, path: str) -> list[Request]:
        return [r for r in self.requests if (r.method, r.path) == (method, path)]


def in_turn(*replies: Reply) -> Respond:
    """Each reply once; the last one for ever."""
    waiting = list(replies)
    return lambda _: waiting.pop(0) if len(waiting) > 1 else waiting[0]


@contextmanager
def exchange(respond: Respond) -> Iterator[Scripted]:
    """Answer with `respond` until the block ends. One thread per connection, keep-alive."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Scripted(f"http://127.0.0.1:{listener.getsockname()[1]}")
    done = threading.Event()
    open_sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # the test is over
            server.connections += 1
            open_sockets.append(connection)
            thread = threading.Thread(target=_talk, args=(connection, respond, server, done))
            threads.append(thread)
            thread.start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    try:
        yield server
    finally:
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        acceptor.join(timeout=10)
        for connection in open_sockets:
            _end(connection)
        for thread in threads:
            thread.join(timeout=10)


def _talk(
    connection: socket.socket, respond: Respond, server: Scripted, done: threading.Event
) -> None:
    reader = connection.makefile("rb")
    try:
        while (request := _read(reader)) is not None:
            server.requests.append(request)
            if not _answer(connection, respond(request), done):
                return
    except (OSError, ValueError):
        return  # the client, or the end of the test, closed the connection
    finally:
        reader.close()
        _end(connection)


def _read(reader: Any) -> Request | None:
    first = reader.readline()
    if not first:
        return None
    method, target, _ = first.decode().split()
    headers: list[tuple[str, str]] = []
    while (line := reader.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode().partition(":")
        headers.append((name.strip().lower(), value.strip()))
    length = int(dict(headers).get("content-length", "0"))
    url = urlsplit(target)
    return Request(method, url.path, url.query, tuple(headers), reader.read(length))


def _answer(connection: socket.socket, reply: Reply, done: threading.Event) -> bool:
    """Send it; whether the connection goes on."""
    if reply.hang:
        done.wait(timeout=60)
        return False
    if reply.reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return False
    head = [f"HTTP/1.1 {reply.status} X", f"Content-Length: {len(reply.body)}"]
    head += [f"{name}: {value}" for name, value in reply.headers]
    connection.sendall("\r\n".join([*head, "", ""]).encode())
    if reply.drip is None:
        connection.sendall(reply.body[: reply.cut])
        return reply.cut is None
    for n in range(len(reply.body)):
        if not reply.drip():
            return False
        connection.sendall(reply.body[n : n + 1])
    return True


def _end(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # already gone
    finally:
        connection.close()


# --- bodies ---------------------------------------------------------------------------------


def order_body(request: Request | None = None, **changes: Any) -> dict[str, Any]:
    """A good order object; of what `request` ordered, when it is given."""
    order: dict[str, Any] = {
        "market": "KRW-BTC",
        "uuid": "5d303952-8be9-41e6-915b-121a90026248",
        "side": "bid",
        "ord_type": "limit",
        "price": "155772000",
        "state": "wait",
        "created_at": "2026-11-20T12:00:00+09:00",
        "volume": "0.0001",
        "remaining_volume": "0.0001",
        "executed_volume": "0",
        "reserved_fee": "7.7886",
        "remaining_fee": "7.7886",
        "paid_fee": "0",
        "locked": "15584.9886",
        "prevented_volume": "0",
        "prevented_locked": "0",
        "trades_count": 0,
    }
    if request is not None:
        asked = json.loads(request.body)
        order |= {k: asked[k] for k in ("market", "side", "ord_type", "identifier")}
    return order | changes


def book_body(markets: Sequence[str], *, bid: int = 100_000, time: int) -> list[dict[str, Any]]:
    return [
        {
            "market": market,
            "timestamp": time,
            "total_ask_size": 1.0,
            "total_bid_size": 1.0,
            "orderbook_units": [
                {"ask_price": bid + 100, "bid_price": bid, "ask_size": 1.0, "bid_size": 0.5}
            ],
            "level": 0,
        }
        for market in markets
    ]
