"""A tiny HTTP server that answers exactly the bytes a test wants, over a real socket."""

import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

NOW = datetime(2026, 3, 2, 12, 3, 20, tzinfo=UTC)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes over the socket. cut: bytes of the body that are sent (None: all).

    drip: seconds before each single byte of the body. chunked: sent in chunks of 1000 bytes.
    """

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("Remaining-Req", "group=candles; min=600; sec=9"),)
    cut: int | None = None
    reset: bool = False
    silent: bool = False
    drip: float | None = None
    chunked: bool = False


Respond = Callable[[str, dict[str, str]], Answer]


@dataclass
class Hostile:
    """The running server: `url`, the paths with query that it was asked for, its connections."""

    url: str
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    connections: int = 0


def json_answer(value: Any, **kwargs: Any) -> Answer:
    return Answer(json.dumps(value).encode(), **kwargs)


def candle_rows(
    slots: Sequence[int], market: str = "KRW-BTC", unit: int = 5, end: datetime = NOW
) -> list[Row]:
    """Good rows, newest first, `slots` intervals before the last closed candle of `end`."""
    step = timedelta(minutes=unit)
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    newest = midnight + (end - midnight) // step * step - step
    return [_row(market, newest - slot * step, unit) for slot in slots]


def _row(market: str, start: datetime, unit: int) -> Row:
    number = int(start.timestamp()) // 60 // unit
    close = 1000 + number % 17
    return {
        "market": market,
        "candle_date_time_utc": f"{start:%Y-%m-%dT%H:%M:%S}",
        "candle_date_time_kst": f"{start + timedelta(hours=9):%Y-%m-%dT%H:%M:%S}",
        "opening_price": 1005,
        "high_price": 1020.0,
        "low_price": 990,
        "trade_price": close,
        "timestamp": int(start.timestamp()) * 1000 + 4711,
        "candle_acc_trade_price": 1234.5 * close,
        "candle_acc_trade_volume": 1.5 + number % 5,
        "unit": unit,
    }


def markets_answer(*codes: str) -> Answer:
    return json_answer([{"market": c, "korean_name": c, "english_name": c} for c in codes])


@contextmanager
def serving(respond: Respond) -> Iterator[Hostile]:
    """Serve `respond` until the block ends. One thread per connection, keep-alive."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = Hostile(f"http://127.0.0.1:{listener.getsockname()[1]}")
    done = threading.Event()
    connections: list[socket.socket] = []

    def accept() -> None:
        while not done.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            server.connections += 1
            threading.Thread(target=_talk, args=(connection, respond, server, done)).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield server
    finally:
        done.set()
        # A blocked accept() wakes only for a connection or a shutdown.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            _close(connection)
        thread.join(timeout=10)


def _close(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # already gone
    finally:
        connection.close()


def _talk(
    connection: socket.socket, respond: Respond, server: Hostile, done: threading.Event
) -> None:
    reader = connection.makefile("rb")
    try:
        while request := reader.readline():
            while reader.readline() not in (b"\r\n", b""):
                pass
            target = urlsplit(request.split()[1].decode())
            query = {k: v[0] for k, v in parse_qs(target.query).items()}
            server.asked.append((target.path, query))
            if not _send(connection, respond(target.path, query), done):
                return
    except (OSError, ValueError):
        return  # the client or the test closed the connection
    finally:
        reader.close()
        _close(connection)


def _send(connection: socket.socket, answer: Answer, done: threading.Event) -> bool:
    """Send it; whether the connection goes on."""
    if answer.silent:
        done.wait(timeout=60)
        return False
    if answer.reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        return False
    size = "Transfer-Encoding: chunked" if answer.chunked else f"Content-Length: {len(answer.body)}"
    head = [f"HTTP/1.1 {answer.status} X", size]
    head += [f"{name}: {value}" for name, value in answer.headers]
    body = _in_chunks(answer.body) if answer.chunked else answer.body
    start = "\r\n".join([*head, "", ""]).encode()
    if answer.drip is not None:
        connection.sendall(start)
        for byte in body:
            if done.wait(answer.drip):
                return False
            connection.sendall(bytes([byte]))
        return True
    connection.sendall(start + body[: answer.cut])
    return answer.cut is None


def _in_chunks(body: bytes) -> bytes:
    parts = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [*parts, b""])


def gzipped(body: bytes) -> bytes:
    return gzip.compress(body)
