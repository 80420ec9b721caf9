"""/control over a real socket: what is wrong with a request is said in a sentence."""

from typing import Any

import httpx
import pytest

from trading_assets.clock import SteppedClock
from trading_assets.paper_exchange.upstream import Upstream
from trading_assets_tests.conftest import MakeExchange, RunningExchange
from trading_assets_tests.paper_exchange.conftest import NOW

BTC = "KRW-BTC"
BOOK = {"market": BTC, "bids": [["29990", "1"]], "asks": [["30000", "1"]]}


@pytest.fixture
def running(make_exchange: MakeExchange) -> RunningExchange:
    return make_exchange(clock=SteppedClock(NOW))


@pytest.fixture
def paper(make_exchange: MakeExchange, running: RunningExchange) -> RunningExchange:
    """An exchange over the prices of `running`."""
    return make_exchange(clock=SteppedClock(NOW), markets=Upstream(running.url))


def post(exchange: RunningExchange, path: str, body: Any) -> tuple[int, str]:
    """The status and, unless all went well, the error."""
    return _said(httpx.post(f"{exchange.url}/control/{path}", json=body, timeout=30))


def unpin(exchange: RunningExchange, query: str) -> tuple[int, str]:
    return _said(httpx.delete(f"{exchange.url}/control/books{query}", timeout=30))


def _said(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, "" if answer.status_code == 204 else answer.json()["error"]


# --- markets ------------------------------------------------------------------------------------


UNKNOWN = "there is no market 'KRW-NONE'; there are KRW-BTC, KRW-ETH, KRW-XRP, KRW-SOL"


def test_an_unknown_market_is_named_with_the_known_ones(running: RunningExchange) -> None:
    flags = {"market": "KRW-NONE", "flags": ["warning"]}
    assert post(running, "flags", flags) == (400, UNKNOWN)
    assert post(running, "books", {**BOOK, "market": "KRW-NONE"}) == (400, UNKNOWN)
    assert unpin(running, "?market=KRW-NONE") == (400, UNKNOWN)
    assert unpin(running, "") == (400, "market is missing: DELETE /control/books?market=KRW-BTC")


def test_a_known_market_is_set_and_given_back(running: RunningExchange) -> None:
    assert post(running, "flags", {"market": BTC, "flags": []}) == (204, "")
    assert post(running, "books", BOOK) == (204, "")
    assert running.app.liquidity.pinned(BTC) is not None
    # Twice: what was never set, or is given back already, is as it should be.
    assert [unpin(running, f"?market={BTC}") for _ in range(2)] == [(204, "")] * 2
    assert running.app.liquidity.pinned(BTC) is None


@pytest.mark.parametrize("market", ["KRW-NONE", "KRW-BTC,KRW-ETH"])
def test_over_an_upstream_it_is_the_upstream_that_knows_markets(
    paper: RunningExchange, running: RunningExchange, market: str
) -> None:
    unknown = (
        f"{running.url} has no order book of {market!r}; its /v1/market/all lists the markets that "
        "there are"
    )
    assert post(paper, "books", {**BOOK, "market": market}) == (400, unknown)
    assert unpin(paper, f"?market={market}") == (400, unknown)
    assert post(paper, "books", BOOK) == (204, "")


def test_flags_of_an_upstream_are_its_own(paper: RunningExchange, running: RunningExchange) -> None:
    assert post(paper, "flags", {"market": BTC, "flags": ["warning"]}) == (
        400,
        f"the flags of 'KRW-BTC' are passed through from {running.url} and cannot be raised here",
    )


def test_a_book_is_given_back_also_when_the_upstream_is_gone(make_exchange: MakeExchange) -> None:
    paper = make_exchange(clock=SteppedClock(NOW), markets=Upstream("http://127.0.0.1:1"))
    status, error = post(paper, "books", BOOK)
    assert (status, error.startswith("the order book of KRW-BTC at http://127.0.0.1:1: ")) == (
        503,
        True,
    )
    paper.app.liquidity.pin(BTC, [("1", "1")], [("2", "1")], 0)
    assert unpin(paper, f"?market={BTC}") == (204, "")
