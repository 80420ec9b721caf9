"""Real prices with play money: Upbit's public REST and streams passed through, nothing else.

Only the quotation paths are passed on, without the caller's headers, so neither a key nor an order
can ever leave this machine from here. The account meets the real order book. The upstream is
Upbit, in tests another paper exchange on this machine; any other host is refused.
"""

import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import httpx
import websockets
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from trading_assets.errors import EnvironmentProblem, ExchangeUnavailable, MarketNotFound
from trading_assets.paper_exchange.exact import exactly
from trading_assets.paper_exchange.lines import cut, deny, first_of
from trading_assets.paper_exchange.matching import DEPTH, Book, Level
from trading_assets.settings import LOOPBACK_HOSTS, UPBIT_URL

PASSED_ON = ("market/", "candles/", "ticker", "orderbook", "trades/")
_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
# Orders that rest need no fresher book; it also keeps us far below Upbit's 10 requests a second.
_BOOK_AGE_MS = 1_000
_KEPT_HEADERS = ("content-type", "remaining-req", "retry-after")


@dataclass(frozen=True, slots=True)
class _Known:
    book: Book
    asked_ms: int


class Upstream:
    """The public half of another exchange. url: scheme and host, as https://api.upbit.com.

    Raises EnvironmentProblem for a host that is neither Upbit's nor this machine.
    """

    def __init__(self, url: str = UPBIT_URL) -> None:
        if url != UPBIT_URL and urlsplit(url).hostname not in LOOPBACK_HOSTS:
            raise EnvironmentProblem(
                f"prices are passed through from {UPBIT_URL} only, was asked for {url}"
            )
        self.url = url
        self._client = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, follow_redirects=False)
        self._known: dict[str, _Known] = {}

    async def close(self) -> None:
        await self._client.aclose()

    # --- books ----------------------------------------------------------------------------------

    @property
    def markets(self) -> None:
        """Unknown until asked: a market without a book is refused by Upbit's own answer."""
        return

    async def refresh(self, markets: Collection[str], now_ms: int) -> None:
        wanted = [market for market in markets if not self._is_fresh(market, now_ms)]
        if not wanted:
            return
        about = f"the order book of {', '.join(wanted)}"
        try:
            answer = await self._client.get("/v1/orderbook", params={"markets": ",".join(wanted)})
        except httpx.HTTPError as exc:
            raise ExchangeUnavailable(f"{about} at {self.url}: {exc!r}") from exc
        if answer.status_code == 404:
            raise self._not_listed(wanted)
        if answer.status_code != 200:
            raise ExchangeUnavailable(f"{about}: {self.url} answered {answer.status_code}")
        for book in _books(answer.text, about):
            self._known[book.market] = _Known(book, now_ms)
        if missing := [market for market in wanted if market not in self._known]:
            raise self._not_listed(missing)

    def _not_listed(self, wanted: Collection[str]) -> MarketNotFound:
        return MarketNotFound(
            f"{self.url} has no order book of {' or '.join(map(repr, wanted))}; its /v1/market/all "
            "lists the markets that there are"
        )

    def _is_fresh(self, market: str, now_ms: int) -> bool:
        known = self._known.get(market)
        return known is not None and 0 <= now_ms - known.asked_ms < _BOOK_AGE_MS

    def book(self, market: str, now_ms: int) -> Book:
        """The book as it was last refreshed. Raises ExchangeUnavailable before that."""
        del now_ms
        if market not in self._known:
            raise ExchangeUnavailable(f"the order book of {market} is not known yet")
        return self._known[market].book

    def looks(
        self, market: str, after_ms: int, now_ms: int, bid: Decimal | None, ask: Decimal | None
    ) -> list[int]:
        """None: of real prices only the present is known."""
        del market, after_ms, now_ms, bid, ask
        return []

    # --- passing through ------------------------------------------------------------------------

    async def passed_through(self, request: Request) -> Response:
        """Upbit's own answer to a public GET."""
        target = request.url.path
        if request.url.query:
            target += f"?{request.url.query}"
        try:
            answer = await self._client.get(target, headers={"Accept": "application/json"})
        except httpx.HTTPError as exc:
            message = f"{self.url} did not answer: {exc!r}"
            body = json.dumps({"error": {"name": 503, "message": message}})
            return Response(body, 503, media_type="application/json")
        kept = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        return Response(answer.content, answer.status_code, headers=kept)

    async def stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Upbit's own public stream, frame by frame in both directions."""
        socket = WebSocket(scope, receive, send)
        target = self.url.replace("http", "ws", 1) + scope["path"]
        try:
            upstream = await websockets.connect(target, open_timeout=5)
        except (OSError, TimeoutError, websockets.WebSocketException):
            await deny(socket, 503)
            return
        async with upstream:
            await socket.accept()
            await first_of(_up(socket, upstream), _down(socket, upstream))


async def _up(socket: WebSocket, upstream: Any) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        text = message.get("text")
        await upstream.send(message["bytes"] if text is None else text)


async def _down(socket: WebSocket, upstream: Any) -> None:
    with suppress(websockets.ConnectionClosed):
        async for frame in upstream:
            if isinstance(frame, str):
                await socket.send_text(frame)
            else:
                await socket.send_bytes(frame)
    # A lost upstream is a lost stream: the client reconnects and asks what it missed.
    cut(socket)


@exactly
def _books(text: str, about: str) -> list[Book]:
    """The books of a GET /v1/orderbook answer, every digit kept. Raises ExchangeUnavailable."""
    try:
        rows = json.loads(text, parse_float=Decimal, parse_int=Decimal)
        return [_book(row) for row in rows]
    except (ValueError, KeyError, TypeError, IndexError) as exc:
        raise ExchangeUnavailable(f"{about}: the answer is no order book ({exc!r})") from exc


def _book(row: Any) -> Book:
    units = row["orderbook_units"][:DEPTH]
    bids, asks = (
        tuple(
            Level(unit[f"{side}_price"], unit[f"{side}_size"])
            for unit in units
            if unit[f"{side}_price"] > 0 and unit[f"{side}_size"] > 0
        )
        for side in ("bid", "ask")
    )
    if not bids or not asks:
        raise ValueError(f"{row['market']} has no levels on one side")
    time_ms = int(row["timestamp"])
    return Book(row["market"], time_ms, (time_ms, asks, bids), bids, asks)
