"""The paper exchange as a server: Upbit's quotation endpoints over HTTP on 127.0.0.1.

Here are paths, request limits, faults and bytes. What an endpoint answers is `quotation.py`, where
prices come from is `markets.py`. Accounts, orders and the stream come beside it with the private
half. `/health` (outside /v1, no limits) says that it is up, which world it serves and who it is.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from trading_assets.clock import Clock, SystemClock
from trading_assets.errors import EnvironmentProblem, IntervalNotServed
from trading_assets.paper_exchange import quotation
from trading_assets.paper_exchange.faults import Fault, FaultKind, Faults
from trading_assets.paper_exchange.limits import ORIGIN_GROUP, Allowance, RequestLimits
from trading_assets.paper_exchange.markets import Markets, to_ms
from trading_assets.paper_exchange.recordings import RecordingEnded
from trading_assets.paper_exchange.sources import markets_of
from trading_assets.settings import Settings
from trading_assets.world import world_of

HOST = "127.0.0.1"
_JSON = "application/json;charset=UTF-8"
_MAINTENANCE = {
    "error": {
        "name": "market_offline",
        "message": "시스템 점검 중입니다. 점검이 완료된 후에 다시 시도해주세요.",
    }
}
_BROKEN = {"error": {"name": "internal_server_error", "message": "Internal Server Error"}}

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


class PaperExchange(Starlette):
    """The application. `faults` may be given more at any time; `requests` counts those to /v1."""

    def __init__(
        self, markets: Markets, clock: Clock, world: str, *, limited: bool, faults: Faults
    ) -> None:
        self.markets = markets
        self.clock = clock
        self.world = world
        self.limits = RequestLimits() if limited else None
        self.faults = faults
        self.requests = 0
        routes = [
            Route(path, self._endpoint(group, answer))
            for path, (group, answer) in _ENDPOINTS.items()
        ]
        super().__init__(
            routes=[*routes, Route("/health", self._health)],
            exception_handlers={404: _no_such_path},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starlette's, with the faults outside of it: they need the server's own `send`."""
        if scope["type"] == "http" and scope["path"].startswith("/v1/"):
            self.requests += 1
            fault = self.faults.take(scope["path"])
            if fault is not None:
                await self._fail(fault, scope, receive, send)
                return
        await super().__call__(scope, receive, send)

    def _endpoint(self, group: str, answer: Answer) -> Callable[[Request], Any]:
        async def respond(request: Request) -> Response:
            now_ms = to_ms(self.clock.now())
            allowed = self._allowance(request, group, now_ms)
            name = ORIGIN_GROUP if "origin" in request.headers else group
            response = self._answer(answer, request, now_ms, allowed)
            response.headers["Remaining-Req"] = f"group={name}; min=600; sec={allowed.remaining}"
            return response

        return respond

    def _allowance(self, request: Request, group: str, now_ms: int) -> Allowance:
        if self.limits is None:
            return Allowance(200, 9)
        address = request.client.host if request.client else "unknown"
        if "origin" in request.headers:
            group = ORIGIN_GROUP
        return self.limits.take(address, group, now_ms)

    def _answer(
        self, answer: Answer, request: Request, now_ms: int, allowed: Allowance
    ) -> Response:
        if allowed.status != 200:
            return _refusal(allowed)
        try:
            # Upbit wants `:` of a query encoded as %3A.
            if b":" in request.scope["query_string"]:
                raise quotation.invalid()
            self.markets.check_now(now_ms)
            return _json(answer(self.markets, _query(request), now_ms))
        except quotation.QuotationError as error:
            return _json(error.body, error.status)
        except IntervalNotServed as error:
            return _json({"error": {"name": 404, "message": str(error)}}, 404)
        except RecordingEnded as error:
            return _json({"error": {"name": 503, "message": str(error)}}, 503)

    async def _health(self, request: Request) -> Response:
        del request
        return _json(
            {"server": "trading-assets paper exchange", "world": self.world, "status": "up"}
        )

    async def _fail(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        answers = {
            FaultKind.ERROR_AFTER: lambda: _json(_BROKEN, 500),
            FaultKind.TOO_MANY: lambda: _refusal(Allowance(429, 0)),
            FaultKind.BLOCKED: lambda: _refusal(Allowance(418, 0, 60)),
            FaultKind.MAINTENANCE: lambda: _json(_MAINTENANCE, 403),
            FaultKind.BODY: lambda: Response(
                fault.body, media_type=_JSON, headers={"Remaining-Req": "group=x; min=600; sec=9"}
            ),
        }
        if fault.kind is FaultKind.HANG:
            await asyncio.sleep(fault.seconds)
            await super().__call__(scope, receive, send)
        elif fault.kind is FaultKind.RESET:
            await super().__call__(scope, receive, _nowhere)
            _reset(send)
        elif fault.kind is FaultKind.TRUNCATE:
            await _send_half(send)
        else:
            await answers[fault.kind]()(scope, receive, send)


def _query(request: Request) -> quotation.Query:
    """Parameters by name; a repeated one (pyupbit's list of markets) is joined by commas."""
    given = request.query_params
    return {**{name: ",".join(given.getlist(name)) for name in given}, **request.path_params}


async def _nowhere(message: Any) -> None:
    del message


def _reset(send: Send) -> None:
    """Reset the connection: RST instead of FIN, as a crashed peer does."""
    transport = send.__self__.transport  # type: ignore[attr-defined]  # uvicorn's request cycle
    linger_zero = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
    transport.abort()


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


async def _no_such_path(request: Request, error: Exception) -> Response:
    del request, error
    return _json({"error": {"name": 404, "message": "Not Found"}}, 404)


def create_app(
    markets: Markets,
    clock: Clock,
    *,
    world: str = "",
    limited: bool = True,
    faults: Faults | None = None,
) -> PaperExchange:
    """The exchange over `markets`. limited: whether request limits are enforced."""
    return PaperExchange(
        markets, clock, world, limited=limited, faults=faults if faults is not None else Faults()
    )


def serve(settings: Settings) -> None:
    """Serve the exchange of `settings` on 127.0.0.1 until it is stopped.

    Raises EnvironmentProblem when the mode has no paper exchange or the port is taken, and the
    errors of a recording that cannot be served.
    """
    world = world_of(settings)
    clock = SystemClock()
    markets = markets_of(settings, world, clock.now())
    _claim_port(settings.paper_exchange_port)
    app = create_app(markets, clock, world=world.name)
    uvicorn.run(
        app, host=HOST, port=settings.paper_exchange_port, log_level="warning", access_log=False
    )


def _claim_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            raise EnvironmentProblem(
                f"port {port} of {HOST} is in use: stop what listens there or set "
                "PAPER_EXCHANGE_PORT"
            ) from exc
