"""`/control`: what a test or a person may do to the exchange from outside its process.

Faults, books set by hand, deposits, flags of markets, steps of a stepped clock. Outside /v1,
without limits and without a key: the server listens on this machine only and its money is play
money. A JSON content type is required, so that no web page can post here unasked. What a body may
say is `control_values.py`.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trading_assets.errors import EnvironmentProblem, ExchangeUnavailable, MarketNotFound
from trading_assets.paper_exchange.control_values import (
    Json,
    amount,
    check_names,
    levels,
    object_of,
    step_seconds,
    text,
    texts,
)
from trading_assets.paper_exchange.exact import plain
from trading_assets.paper_exchange.faults import fault_of

if TYPE_CHECKING:
    from trading_assets.paper_exchange.application import PaperExchange


def routes(exchange: "PaperExchange") -> list[Route]:
    """The control paths of `exchange`."""

    async def show(request: Request) -> Response:
        del request
        return JSONResponse({"faults": exchange.faults.names(), "now": exchange.now_ms()})

    async def check_listed(market: str) -> None:
        await exchange.liquidity.source.refresh([market], exchange.now_ms())

    async def check_currency(currency: str) -> None:
        held = exchange.account.balance(currency)
        if currency == "KRW" or held.balance or held.locked:
            return
        markets = exchange.liquidity.source.markets
        if markets is None:
            await check_listed(f"KRW-{currency}")
            return
        known = ["KRW", *(market.partition("-")[2] for market in markets)]
        if currency not in known:
            raise ValueError(f"currency must be one of {', '.join(known)}, was {currency!r}")

    async def add_fault(values: Json) -> None:
        exchange.faults.add(fault_of(values))

    async def clear_faults(request: Request) -> Response:
        del request
        exchange.faults.clear()
        return Response(status_code=204)

    async def pin_book(values: Json) -> None:
        check_names(values, "market", "bids", "asks")
        market = text(values, "market")
        bids, asks = levels(values, "bids"), levels(values, "asks")
        await check_listed(market)
        exchange.liquidity.pin(market, bids, asks, exchange.now_ms())

    async def unpin_book(request: Request) -> None:
        if "market" not in request.query_params:
            raise ValueError("market is missing: DELETE /control/books?market=KRW-BTC")
        market = request.query_params["market"]
        if exchange.liquidity.pinned(market) is None:
            await check_listed(market)
        exchange.liquidity.unpin(market)

    async def deposit(values: Json) -> None:
        check_names(values, "currency", "amount")
        currency, by = text(values, "currency"), amount(values, "amount")
        await check_currency(currency)
        with exchange.account.change() as change:
            free = exchange.account.balance(currency).balance
            if by < free.copy_negate():
                raise ValueError(
                    f"amount must not take out more than the {plain(free)} {currency} that no "
                    f"order binds, was {plain(by)}"
                )
            change.deposit(currency, by)

    async def flag(values: Json) -> None:
        check_names(values, "market", "flags")
        exchange.flag(text(values, "market"), *texts(values, "flags"))

    async def advance(values: Json) -> None:
        check_names(values, "seconds")
        by = timedelta(seconds=step_seconds(values, "seconds"))
        # `advance` waits for the loop that is running this very request.
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
        await act(object_of(await request.body()))

    answered = _answered(read_and_act)

    async def respond(request: Request) -> Response:
        sent_as = request.headers.get("content-type", "")
        if sent_as.partition(";")[0].strip().lower() != "application/json":
            error = f"send JSON as content type application/json, was {sent_as!r}"
            return JSONResponse({"error": error}, 415)
        return await answered(request)

    return respond


def _answered(
    act: Callable[[Request], Awaitable[None]],
) -> Callable[[Request], Awaitable[Response]]:
    """`act` as an endpoint: 204, or the sentence of what it raises."""

    async def respond(request: Request) -> Response:
        try:
            await act(request)
        except (ValueError, TypeError, EnvironmentProblem, MarketNotFound) as exc:
            return JSONResponse({"error": str(exc)}, 400)
        except ExchangeUnavailable as exc:
            return JSONResponse({"error": str(exc)}, 503)
        return Response(status_code=204)

    return respond
