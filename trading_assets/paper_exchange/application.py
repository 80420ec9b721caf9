"""The paper exchange as an application: Upbit's REST endpoints and streams over one account.

Here are paths, request limits, faults and bytes. What a public endpoint answers is `quotation.py`,
a private one `private.py`, the streams are `streams.py`; where prices come from is `markets.py`
or, in paper mode, `upstream.py`. `/health` (outside /v1, no limits) says that it is up, which world
it serves and who it is; `/control` (`control.py`) is for tests and for a person. `server.py` starts
it.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from math import ceil
from typing import Any
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from trading_assets.clock import Clock, SteppedClock
from trading_assets.errors import (
    EnvironmentProblem,
    ExchangeUnavailable,
    IntervalNotServed,
    MarketNotFound,
)
from trading_assets.paper_exchange import control, private, quotation
from trading_assets.paper_exchange.account import Account
from trading_assets.paper_exchange.auth import (
    Gate,
    Keys,
    check_query,
    query_of_body,
    query_of_url,
)
from trading_assets.paper_exchange.desk import AS_USUAL, Desk, Handling
from trading_assets.paper_exchange.faults import Fault, FaultKind, Faults
from trading_assets.paper_exchange.limits import (
    GROUPS,
    ORIGIN_GROUP,
    POCKET,
    REQUESTS_PER_SECOND,
    Allowance,
    RequestLimits,
)
from trading_assets.paper_exchange.lines import keep_sender, reset
from trading_assets.paper_exchange.liquidity import Liquidity, LocalBooks
from trading_assets.paper_exchange.markets import Markets, to_ms
from trading_assets.paper_exchange.recordings import RecordingEnded
from trading_assets.paper_exchange.refusals import (
    Refusal,
    body_not_supported,
    broken,
    in_maintenance,
    unknown_market,
)
from trading_assets.paper_exchange.streams import (
    PRIVATE_PATH,
    PUBLIC_PATH,
    Observer,
    Streams,
    book_rows,
)
from trading_assets.paper_exchange.upstream import PASSED_ON, Upstream
from trading_assets.settings import CAUTIONS
from trading_assets.world import WORLD_HEADER

WARNING = "warning"
_JSON = "application/json;charset=UTF-8"
_FAULT = "paper_exchange.fault"
_BODY_LIMIT = 65_536
_LONGEST_BLOCK_SECONDS = 60  # of a 418 on order; those for too many requests grow

_log = logging.getLogger(__name__)

Answer = Callable[[Markets, quotation.Query, int], list[quotation.Json]]


def _minutes(markets: Markets, query: quotation.Query, now_ms: int) -> list[quotation.Json]:
    return quotation.minute_candles(markets, query["unit"], query, now_ms)


# Path: (limit group as the Remaining-Req header names it, what answers).
_ENDPOINTS: Mapping[str, tuple[str, Answer]] = {
    "/v1/market/all": ("market", quotation.market_all),
    "/v1/candles/minutes/{unit}": ("candles", _minutes),
    "/v1/candles/days": ("candles", quotation.day_candles),
    "/v1/ticker": ("ticker", quotation.tickers),
    "/v1/ticker/all": ("ticker", quotation.all_tickers),
    "/v1/orderbook": ("orderbook", quotation.orderbooks),
    "/v1/orderbook/instruments": ("orderbook", quotation.instruments),
    "/v1/trades/ticks": ("crix-trades", quotation.trade_ticks),
}


# What is computed off the event loop: a ticker looks back a year, and 200 markets that nobody has
# asked for yet take minutes, in which books and orders must go on.
_MARKETS_OF_TICKERS: Mapping[Answer, Callable[[Markets, quotation.Query], list[str]]] = {
    quotation.tickers: quotation.listed,
    quotation.all_tickers: quotation.of_quotes,
}


class PaperExchange(Starlette):
    """The application: one account over a price source of our own or over an upstream's prices.

    `faults` may be given more at any time; `requests` counts those to /v1; `step` and `advance`
    make a stepped clock's time go on; `observer` is told of orders that arrive and frames that
    leave.
    """

    def __init__(
        self,
        prices: Markets | Upstream,
        clock: Clock,
        world: str,
        *,
        limited: bool,
        faults: Faults,
        account: Account,
        keys: Keys,
        idle_seconds: float | None = None,
    ) -> None:
        self.upstream = prices if isinstance(prices, Upstream) else None
        self._markets = prices if isinstance(prices, Markets) else None
        self.clock = clock
        self.world = world
        self.limits = RequestLimits() if limited else None
        self.faults = faults
        self.account = account
        self.requests = 0
        self._gate = Gate(keys)
        self._tickers = asyncio.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        source = LocalBooks(prices) if isinstance(prices, Markets) else prices
        self.liquidity = Liquidity(source)
        self._flags: dict[str, frozenset[str]] = {}
        options = {} if idle_seconds is None else {"idle_seconds": idle_seconds}
        self.streams = Streams(
            markets=self._markets,
            account=account,
            liquidity=self.liquidity,
            gate=self._gate,
            faults=faults,
            limits=self.limits,
            now_ms=self.now_ms,
            catch_up=self._catch_up,
            **options,
        )
        self.desk = Desk(account, self.liquidity, self.streams.publish, self.now_ms())
        super().__init__(
            routes=[*self._routes(), *control.routes(self)],
            exception_handlers={404: _no_such_path, 405: _no_such_path},
            lifespan=_closing,
        )

    @property
    def markets(self) -> Markets:
        """The price source. Raises EnvironmentProblem over an upstream, which has none."""
        if self._markets is None:
            raise EnvironmentProblem("prices are passed through; there is no source to ask")
        return self._markets

    @property
    def observer(self) -> Observer | None:
        return self.streams.observer

    @observer.setter
    def observer(self, observer: Observer | None) -> None:
        self.streams.observer = observer

    def flag(self, market: str, *names: str) -> None:
        """Raise the flags of `market` in /v1/market/all: `warning`, PRICE_FLUCTUATIONS, ...

        They take the place of the ones before; none clears them. Raises ValueError for an unknown
        name, MarketNotFound, and EnvironmentProblem over an upstream: its flags are its own.
        """
        if self.upstream is not None:
            raise EnvironmentProblem(
                f"the flags of {market!r} are passed through from {self.upstream.url} "
                "and cannot be raised here"
            )
        self.markets.check_listed(market)
        known = {WARNING, *CAUTIONS}
        if not set(names) <= known:
            rule = f"flags must be among {', '.join(sorted(known))}"
            raise ValueError(f"{rule}, were {', '.join(sorted(names))}")
        self._flags = {**self._flags, market: frozenset(names)}

    # --- time -----------------------------------------------------------------------------------

    def now_ms(self) -> int:
        return to_ms(self.clock.now())

    def advance(self, by: timedelta) -> None:
        """Move a stepped clock and let everything that follows from it happen, as `step`."""
        if not isinstance(self.clock, SteppedClock):
            raise EnvironmentProblem("only an exchange with a stepped clock can be stepped")
        self.clock.advance(by)
        self.step()

    def step(self) -> None:
        """Match and queue stream messages up to the clock's present, before this returns.

        For the thread that steps the clock; never for the server's own.
        """
        if self._loop is None:
            asyncio.run(self.streams.step())  # nobody has asked anything yet
        else:
            asyncio.run_coroutine_threadsafe(self.streams.step(), self._loop).result()

    async def _catch_up(self) -> None:
        now_ms = self.now_ms()
        open_in = {order.terms.market for order in self.account.open_orders()}
        unpinned = [market for market in open_in if self.liquidity.pinned(market) is None]
        try:
            await self.liquidity.source.refresh(unpinned, now_ms)
        except (ExchangeUnavailable, MarketNotFound) as exc:
            # Without a book nothing is filled, but accounts are read and orders are cancelled.
            _log.warning("resting orders are not matched: %s", exc)
            self.desk.carry_out_cancels(now_ms)
            return
        if self._markets is not None:
            self._markets.check_now(now_ms)
        self.desk.catch_up(now_ms)

    async def close(self) -> None:
        """Let go of the account's file and of the upstream."""
        self.account.close()
        if self.upstream is not None:
            await self.upstream.close()

    # --- requests -------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starlette's, with the faults outside of it: they need the server's own `send`."""
        self._loop = asyncio.get_running_loop()
        if scope["type"] == "websocket":
            await self._stream(scope, receive, send)
            return
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            self.requests += 1
            if scope["method"] == "POST" and self.observer is not None:
                self.observer("order", scope["path"])
            fault = self.faults.take(scope["path"], scope["method"])
            if fault is not None:
                await self._fail(fault, scope, receive, send)
                return
        await super().__call__(scope, receive, self._naming_the_world(send))

    def _naming_the_world(self, send: Send) -> Send:
        """`send` that tells every answer's reader which world these prices are of."""

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start" and self.world:
                header = (WORLD_HEADER.lower().encode(), self.world.encode())
                message = {**message, "headers": [*message.get("headers", ()), header]}
            await send(message)

        return named

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        keep_sender(scope, send)
        if scope["path"] == PUBLIC_PATH and self.upstream is not None:
            await self.upstream.stream(scope, receive, send)
        elif scope["path"] in (PUBLIC_PATH, PRIVATE_PATH):
            await self.streams.serve(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def _routes(self) -> list[BaseRoute]:
        routes = [
            Route(endpoint.path, self._private(endpoint), methods=[endpoint.method])
            for endpoint in private.ENDPOINTS
        ]
        if self.upstream is None:
            routes += [
                Route(path, self._public(group, answer))
                for path, (group, answer) in _ENDPOINTS.items()
            ]
        else:
            routes += [
                Route(f"/v1/{start}{{rest:path}}", self.upstream.passed_through)
                for start in PASSED_ON
            ]
        return [*routes, Route("/health", self._health)]

    async def _health(self, request: Request) -> Response:
        del request
        return _json(
            {"server": "trading-assets paper exchange", "world": self.world, "status": "up"}
        )

    # --- public ---------------------------------------------------------------------------------

    def _public(self, group: str, answer: Answer) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            now_ms = self.now_ms()
            address = request.client.host if request.client else "unknown"
            name = ORIGIN_GROUP if "origin" in request.headers else group
            allowed = self._allowance(address, name, now_ms)
            response = await self._answer(answer, request, now_ms, allowed)
            return _with_remaining(response, name, allowed)

        return respond

    def _allowance(self, who: str, group: str, now_ms: int) -> Allowance:
        if self.limits is None:
            return Allowance(200, GROUPS.get(group, (REQUESTS_PER_SECOND, 1))[0] - 1)
        return self.limits.take(who, group, now_ms)

    async def _answer(
        self, answer: Answer, request: Request, now_ms: int, allowed: Allowance
    ) -> Response:
        if allowed.status != 200:
            return _refusal(allowed)
        began = self.faults.since(FaultKind.STALE, request.url.path, now_ms)
        prices_ms = now_ms if began is None else began
        try:
            # Upbit wants `:` of a query encoded as %3A.
            if b":" in request.scope["query_string"]:
                raise quotation.invalid()
            self.markets.check_now(now_ms)
            if answer is quotation.orderbooks:
                query = _query(request)
                return _json(book_rows(self.markets, self.liquidity, query, prices_ms))
            rows = await self._rows(answer, _query(request), prices_ms)
            return _json(self._flagged(rows) if answer is quotation.market_all else rows)
        except quotation.QuotationError as error:
            return _json(error.body, error.status)
        except IntervalNotServed as error:
            return _json({"error": {"name": 404, "message": str(error)}}, 404)
        except RecordingEnded as error:
            return _json({"error": {"name": 503, "message": str(error)}}, 503)

    async def _rows(
        self, answer: Answer, query: quotation.Query, prices_ms: int
    ) -> list[quotation.Json]:
        asked = _MARKETS_OF_TICKERS.get(answer)
        if asked is None:
            return answer(self.markets, query, prices_ms)
        # A thread a market, so that little is left to wait for when the server is stopped; and one
        # request at a time, because a second thread would only make both slower.
        async with self._tickers:
            return [
                await asyncio.to_thread(quotation.ticker, self.markets, market, prices_ms)
                for market in asked(self.markets, query)
            ]

    def _flagged(self, rows: list[quotation.Json]) -> list[quotation.Json]:
        for row in rows:
            raised = self._flags.get(row["market"])
            if raised and "market_event" in row:
                cautions = {name: name in raised for name in CAUTIONS}
                row["market_event"] = {"warning": WARNING in raised, "caution": cautions}
        return rows

    # --- private --------------------------------------------------------------------------------

    def _private(self, endpoint: private.Endpoint) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            now_ms = self.now_ms()
            allowed = Allowance(200, GROUPS[endpoint.group][0])
            try:
                call = await self._call(request, now_ms)
                allowed = self._allowance(POCKET, endpoint.group, now_ms)
                response = await self._private_answer(endpoint, call, allowed)
            except Refusal as refusal:
                response = _json(refusal.body, refusal.status)
            return _with_remaining(response, endpoint.group, allowed)

        return respond

    async def _private_answer(
        self, endpoint: private.Endpoint, call: private.Call, allowed: Allowance
    ) -> Response:
        if allowed.status != 200:
            return _refusal(allowed)
        try:
            await self._catch_up()
            status, value = await endpoint.answer(call)
        except MarketNotFound:
            market = call.one("market") or call.fields.get("market")
            raise unknown_market(str(market)) from None
        except ExchangeUnavailable:
            # The upstream's book is not to be had, so nothing was decided and nothing done.
            raise broken() from None
        except RecordingEnded as error:
            raise Refusal(503, "market_offline", str(error)) from None
        return _json(value, status)

    async def _call(self, request: Request, now_ms: int) -> private.Call:
        """The request, its token checked. Raises Refusal."""
        claims = self._gate.claims(request.headers.get("authorization"))
        body = await request.body()
        raw = request.scope["query_string"]
        fields: list[tuple[str, Any]] = []
        if request.method == "POST":
            fields = _fields(request, body)
            check_query(claims, query_of_body(fields))
        elif request.method == "DELETE" and body.strip() not in (b"", b"{}"):
            raise body_not_supported()
        else:
            check_query(claims, query_of_url(raw))
        pairs = [
            (name.removesuffix("[]"), value)
            for name, value in parse_qsl(raw.decode("ascii", errors="replace"))
        ]
        handling = _handling(request.scope.get(_FAULT))
        return private.Call(
            self.desk, now_ms, pairs, dict(fields), handling, str(claims["access_key"])
        )

    # --- faults ---------------------------------------------------------------------------------

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        answers = {
            FaultKind.ERROR_BEFORE: lambda: _json(broken().body, 500),
            FaultKind.TOO_MANY: lambda: _refusal(Allowance(429, 0)),
            FaultKind.BLOCKED: lambda: _refusal(
                Allowance(418, 0, min(ceil(fault.seconds), _LONGEST_BLOCK_SECONDS))
            ),
            FaultKind.MAINTENANCE: lambda: _json(in_maintenance().body, 403),
            FaultKind.REFUSE: lambda: _json(
                Refusal(fault.status, fault.name, "refused on order").body, fault.status
            ),
            FaultKind.BODY: lambda: Response(
                fault.body, media_type=_JSON, headers={"Remaining-Req": "group=x; min=600; sec=9"}
            ),
        }
        if fault.kind in answers:
            await answers[fault.kind]()(scope, receive, send)
        elif fault.kind is FaultKind.TRUNCATE:
            await _send_half(send)
        elif fault.kind is FaultKind.LOST:
            await _read_whole(receive)
            reset(send)
        elif fault.kind in (FaultKind.LATE, FaultKind.PARTIAL):
            await super().__call__({**scope, _FAULT: fault}, receive, send)
        else:
            await self._fail_afterwards(fault, scope, receive, send)

    async def _fail_afterwards(
        self, fault: Fault, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Do the work, and only then fail to say so."""
        kept: list[Any] = []

        async def keep(message: Any) -> None:
            kept.append(message)

        await super().__call__(scope, receive, keep)
        if fault.kind is FaultKind.RESET:
            reset(send)
        elif fault.kind is FaultKind.ERROR_AFTER:
            await _json(broken().body, 500)(scope, receive, send)
        else:
            await asyncio.sleep(fault.seconds)
            for message in kept:
                await send(message)


@asynccontextmanager
async def _closing(app: Starlette) -> AsyncIterator[None]:
    """Starlette's lifespan: open while it serves, then the account's file is let go."""
    assert isinstance(app, PaperExchange)
    yield
    await app.close()


def _handling(fault: Fault | None) -> Handling:
    if fault is None:
        return AS_USUAL
    wait_ms = int(fault.seconds * 1000)
    if fault.kind is FaultKind.LATE:
        return Handling(hidden_ms=wait_ms)
    return Handling(share=fault.share, held_ms=wait_ms)


def _fields(request: Request, body: bytes) -> list[tuple[str, Any]]:
    """The pairs of a POST's JSON body in its order, numbers as they were written."""
    wrong = Refusal(400, "bad_request", "잘못된 요청")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" or len(body) > _BODY_LIMIT:
        raise wrong
    try:
        found = json.loads(body, object_pairs_hook=_Pairs, parse_float=str, parse_int=str)
    except ValueError:
        raise wrong from None
    if not isinstance(found, _Pairs):
        raise wrong
    return found


class _Pairs(list[tuple[str, Any]]):
    """A JSON object in the order that it was written."""


def _query(request: Request) -> quotation.Query:
    """Parameters by name; a repeated one (pyupbit's list of markets) is joined by commas."""
    given = request.query_params
    return {**{name: ",".join(given.getlist(name)) for name in given}, **request.path_params}


async def _read_whole(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass


async def _send_half(send: Send) -> None:
    body = b'[{"market":"KRW-BTC","candle_date_time_utc":"2026-'
    headers = [(b"content-type", _JSON.encode()), (b"content-length", b"4096")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    send.__self__.transport.close()  # type: ignore[attr-defined]  # uvicorn's request cycle


def _json(value: Any, status: int = 200) -> Response:
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(body, status, media_type=_JSON)


def _refusal(allowed: Allowance) -> Response:
    if allowed.status == 429:
        return Response("Too many API requests.", 429, media_type="text/plain")
    message = f"Blocked for {allowed.blocked_seconds} seconds."
    return _json({"error": {"name": 418, "message": message}}, 418)


def _with_remaining(response: Response, group: str, allowed: Allowance) -> Response:
    """The response with the header that says what is left; `min` means nothing, as at Upbit."""
    limit, _ = GROUPS.get(group, (REQUESTS_PER_SECOND, 1))
    minute = 600 if group == ORIGIN_GROUP else limit * 60
    response.headers["Remaining-Req"] = f"group={group}; min={minute}; sec={allowed.remaining}"
    return response


async def _no_such_path(request: Request, error: Exception) -> Response:
    del request, error
    return _json({"error": {"name": 404, "message": "Not Found"}}, 404)
