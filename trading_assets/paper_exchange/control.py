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

from trading_assets.errors import EnvironmentProblem
from trading_assets.paper_exchange.account import BrokenBooks
from trading_assets.paper_exchange.faults import fault_of

if TYPE_CHECKING:
    from trading_assets.paper_exchange.application import PaperExchange

Json = dict[str, Any]


def routes(exchange: "PaperExchange") -> list[Route]:
    """The control paths of `exchange`."""

    async def show(request: Request) -> Response:
        del request
        return JSONResponse({"faults": exchange.faults.names(), "now": exchange.now_ms()})

    async def add_fault(values: Json) -> None:
        exchange.faults.add(fault_of(values))

    async def clear_faults(request: Request) -> Response:
        del request
        exchange.faults.clear()
        return Response(status_code=204)

    async def pin_book(values: Json) -> None:
        exchange.liquidity.pin(
            str(values["market"]), values["bids"], values["asks"], exchange.now_ms()
        )

    async def unpin_book(request: Request) -> Response:
        exchange.liquidity.unpin(request.query_params.get("market", ""))
        return Response(status_code=204)

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
        Route("/control/books", unpin_book, methods=["DELETE"]),
        Route("/control/deposits", _posted(deposit), methods=["POST"]),
        Route("/control/flags", _posted(flag), methods=["POST"]),
        Route("/control/steps", _posted(advance), methods=["POST"]),
    ]


def _posted(act: Callable[[Json], Awaitable[None]]) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0] != "application/json":
            return JSONResponse({"error": "send JSON as application/json"}, 415)
        try:
            values = json.loads(await request.body())
            if not isinstance(values, dict):
                raise TypeError("must be an object")
            await act(values)
        except KeyError as exc:
            return JSONResponse({"error": f"{exc.args[0]} is missing"}, 400)
        except (ValueError, TypeError, InvalidOperation, BrokenBooks, EnvironmentProblem) as exc:
            return JSONResponse({"error": str(exc)}, 400)
        return Response(status_code=204)

    return respond
