"""`/control`: what a test or a person may do to the exchange from outside its process.

Faults, books set by hand, deposits, flags of markets, steps of a stepped clock. Outside /v1,
without limits and without a key: the server listens on this machine only and its money is play
money. A JSON content type is required, so that no web page can post here unasked.
"""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trading_assets.errors import EnvironmentProblem, ExchangeUnavailable, MarketNotFound
from trading_assets.paper_exchange.account import BrokenBooks
from trading_assets.paper_exchange.faults import fault_of

if TYPE_CHECKING:
    from trading_assets.paper_exchange.application import PaperExchange

Json = dict[str, Any]
_REFUSALS = (
    ValueError,
    TypeError,
    InvalidOperation,
    BrokenBooks,
    EnvironmentProblem,
    MarketNotFound,
)


def routes(exchange: "PaperExchange") -> list[Route]:
    """The control paths of `exchange`."""

    async def show(request: Request) -> Response:
        del request
        return JSONResponse({"faults": exchange.faults.names(), "now": exchange.now_ms()})

    async def check_listed(market: str) -> None:
        await exchange.liquidity.source.refresh([market], exchange.now_ms())

    async def add_fault(values: Json) -> None:
        exchange.faults.add(fault_of(values))

    async def clear_faults(request: Request) -> Response:
        del request
        exchange.faults.clear()
        return Response(status_code=204)

    async def pin_book(values: Json) -> None:
        await check_listed(str(values["market"]))
        exchange.liquidity.pin(
            str(values["market"]), values["bids"], values["asks"], exchange.now_ms()
        )

    async def unpin_book(request: Request) -> None:
        if "market" not in request.query_params:
            raise ValueError("market is missing: DELETE /control/books?market=KRW-BTC")
        market = request.query_params["market"]
        if exchange.liquidity.pinned(market) is None:
            await check_listed(market)
        exchange.liquidity.unpin(market)

    async def deposit(values: Json) -> None:
        with exchange.account.change() as change:
            change.deposit(str(values["currency"]), Decimal(str(values["amount"])))

    async def flag(values: Json) -> None:
        exchange.flag(str(values["market"]), *map(str, values["flags"]))

    async def advance(values: Json) -> None:
        # `advance` waits for the loop that is running this very request.
        by = timedelta(seconds=float(values["seconds"]))
        await run_in_threadpool(exchange.advance, by)

    return [
        Route("/control", show),
        Route("/control/faults", _posted(add_fault), methods=["POST"]),
        Route("/control/faults", clear_faults, methods=["DELETE"]),
        Route("/control/books", _posted(pin_book), methods=["POST"]),
        Route("/control/books", _answered(unpin_book), methods=["DELETE"]),
        Route("/control/deposits", _posted(deposit), methods=["POST"]),
        Route("/control/flags", _posted(flag), methods=["POST"]),
        Route("/control/steps", _posted(advance), methods=["POST"]),
    ]


def _posted(act: Callable[[Json], Awaitable[None]]) -> Callable[[Request], Awaitable[Response]]:
    async def read_and_act(request: Request) -> None:
        values = json.loads(await request.body())
        if not isinstance(values, dict):
            raise TypeError("must be an object")
        await act(values)

    answered = _answered(read_and_act)

    async def respond(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return JSONResponse({"error": "send JSON as application/json"}, 415)
        return await answered(request)

    return respond


def _answered(
    act: Callable[[Request], Awaitable[None]],
) -> Callable[[Request], Awaitable[Response]]:
    """`act` as an endpoint: 204, or the sentence of what it raises."""

    async def respond(request: Request) -> Response:
        try:
            await act(request)
        except KeyError as exc:
            return JSONResponse({"error": f"{exc.args[0]} is missing"}, 400)
        except _REFUSALS as exc:
            return JSONResponse({"error": str(exc)}, 400)
        except ExchangeUnavailable as exc:
            return JSONResponse({"error": str(exc)}, 503)
        return Response(status_code=204)

    return respond
