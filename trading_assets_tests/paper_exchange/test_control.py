"""/control over a real socket: what is wrong with a request is said in a sentence."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from trading_assets.clock import SteppedClock
from trading_assets.paper_exchange.server import create_app
from trading_assets.paper_exchange.synthetic import SyntheticMarkets
from trading_assets.paper_exchange.upstream import Upstream
from trading_assets_tests.conftest import ExchangeServer, MakeExchange, RunningExchange
from trading_assets_tests.paper_exchange.conftest import NOW
from trading_assets_tests.paper_exchange.trading_by_hand import Signed

BTC = "KRW-BTC"
BOOK = {"market": BTC, "bids": [["29990", "1"]], "asks": [["30000", "1"]]}


@pytest.fixture
def running(make_exchange: MakeExchange) -> RunningExchange:
    return make_exchange(clock=SteppedClock(NOW))


@pytest.fixture(scope="module")
def untouched(synthetic_markets: SyntheticMarkets) -> Iterator[RunningExchange]:
    """One exchange for all requests that must change nothing."""
    clock = SteppedClock(NOW)
    server = ExchangeServer(create_app(synthetic_markets, clock, limited=False))
    yield server.start()
    server.stop()


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


# --- bodies -------------------------------------------------------------------------------------

RANGE = "must be from -1000000000000000 to 1000000000000000 with at most 30 decimals"
POSTS = ("faults", "books", "deposits", "flags", "steps")


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", 'the body must be JSON, was ""'),
        (b"late,seconds=5", 'the body must be JSON, was "late,seconds=5"'),
        (b'{"seconds": 5', 'the body must be JSON, was "{\\"seconds\\": 5"'),
        (b"\xff\xfe\xff", "the body must be JSON, was "),
        (b'{"market": "\\ud800"}', "the body must be JSON, was "),
        (b'{"seconds": 1e99999999999999999999}', "the body must be JSON, was "),
        (b'{"seconds": ' + b"9" * 5000 + b"}", "the body must be JSON, was "),
        (b"[" * 100_000, "the body must be JSON, was "),
        (b"[5]", "the body must be a JSON object, was [5]"),
        (b"null", "the body must be a JSON object, was null"),
        (b'"late"', 'the body must be a JSON object, was "late"'),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_what_is_no_json_object_is_refused(
    untouched: RunningExchange, path: str, body: bytes, error: str
) -> None:
    url = f"{untouched.url}/control/{path}"
    answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}, timeout=30)
    status, said = _said(answer)
    assert (status, said[: len(error)]) == (400, error)
    assert len(said) < 150


@pytest.mark.parametrize("sent_as", ["text/plain", ""])
def test_another_content_type_is_named(untouched: RunningExchange, sent_as: str) -> None:
    url = f"{untouched.url}/control/steps"
    answer = httpx.post(url, content=b"{}", headers={"Content-Type": sent_as}, timeout=30)
    error = f"send JSON as content type application/json, was {sent_as!r}"
    assert _said(answer) == (415, error)


def test_the_content_type_may_have_a_character_set(running: RunningExchange) -> None:
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    url = f"{running.url}/control/steps"
    answer = httpx.post(url, content=b'{"seconds": 1}', headers=headers, timeout=30)
    assert answer.status_code == 204


FAULT_PARTS = "path, times, seconds, body, share, status, name, method"
COINS = {"currency": "BTC", "amount": "1"}


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("deposits", {}, "currency is missing: the body has currency, amount"),
        ("deposits", {"currency": "BTC"}, "amount is missing: the body has currency, amount"),
        (
            "deposits",
            {**COINS, "to": 1},
            '"to" is unknown: the body has currency, amount',
        ),
        (
            "deposits",
            {"currency": "DOGE", "amount": "1"},
            "currency must be one of KRW, BTC, ETH, XRP, SOL, was 'DOGE'",
        ),
        ("deposits", {"currency": 5, "amount": "1"}, "currency must be text, was 5"),
        ("deposits", {"currency": "", "amount": "1"}, 'currency must be text, was ""'),
        ("deposits", {"currency": "BTC", "amount": "much"}, 'amount must be a number, was "much"'),
        ("deposits", {"currency": "BTC", "amount": ""}, 'amount must be a number, was ""'),
        ("deposits", {"currency": "BTC", "amount": "NaN"}, 'amount must be a number, was "NaN"'),
        ("deposits", {"currency": "BTC", "amount": "-inf"}, 'amount must be a number, was "-inf"'),
        ("deposits", {"currency": "BTC", "amount": None}, "amount must be a number, was null"),
        ("deposits", {"currency": "BTC", "amount": True}, "amount must be a number, was true"),
        ("deposits", {"currency": "BTC", "amount": [1]}, "amount must be a number, was [1]"),
        (
            "deposits",
            {"currency": "KRW", "amount": 10**15 + 1},
            f"amount {RANGE}, was 1000000000000001",
        ),
        ("deposits", {"currency": "KRW", "amount": "1e-31"}, f'amount {RANGE}, was "1e-31"'),
        ("deposits", {"currency": "KRW", "amount": "1e999999"}, f'amount {RANGE}, was "1e999999"'),
        (
            "deposits",
            {"currency": "KRW", "amount": "-10000000.01"},
            "amount must not take out more than the 10000000 KRW that no order binds, was "
            "-10000000.01",
        ),
        (
            "deposits",
            {"currency": "BTC", "amount": -1},
            "amount must not take out more than the 0 BTC that no order binds, was -1",
        ),
        ("books", {"market": BTC, "bids": []}, "asks is missing: the body has market, bids, asks"),
        ("books", {**BOOK, "market": None}, "market must be text, was null"),
        ("books", {**BOOK, "bids": "high"}, 'bids must be a list of [price, size], was "high"'),
        ("books", {**BOOK, "bids": ["high"]}, 'each of bids must be [price, size], was "high"'),
        ("books", {**BOOK, "asks": [[1]]}, "each of asks must be [price, size], was [1]"),
        ("books", {**BOOK, "asks": [["x", 1]]}, 'a price of asks must be a number, was "x"'),
        ("books", {**BOOK, "asks": [[1, "NaN"]]}, 'a size of asks must be a number, was "NaN"'),
        ("books", {**BOOK, "bids": [[1, 1e30]]}, f"a size of bids {RANGE}, was 1E+30"),
        ("books", {**BOOK, "bids": []}, "bids must be 1 to 30 prices, best first, were none"),
        (
            "books",
            {**BOOK, "bids": [["1", "1"], ["2", "1"]]},
            "bids must be 1 to 30 prices, best first, were 1, 2",
        ),
        (
            "books",
            {**BOOK, "asks": [["30000", "0"]]},
            "asks must have prices and sizes above 0, were 0 at 30000",
        ),
        ("flags", {"market": BTC}, "flags is missing: the body has market, flags"),
        ("flags", {"market": 1, "flags": []}, "market must be text, was 1"),
        ("flags", {"market": BTC, "flags": "warning"}, 'flags must be a list, was "warning"'),
        ("flags", {"market": BTC, "flags": [True]}, "each of flags must be text, was true"),
        ("steps", {}, "seconds is missing: the body has seconds"),
        ("steps", {"seconds": "soon"}, 'seconds must be a number, was "soon"'),
        ("steps", {"seconds": False}, "seconds must be a number, was false"),
        ("steps", {"seconds": -1}, "seconds must be from 0 to 31622400, was -1"),
        ("steps", {"seconds": 1e300}, "seconds must be from 0 to 31622400, was 1E+300"),
        ("faults", {"kind": ["late"]}, "must be one of "),
        ("faults", {"seconds": 5}, "kind is missing: a fault must be one of error_after, "),
        ("faults", {"kind": "late", "speed": 5}, f"must be one of {FAULT_PARTS}, was 'speed'"),
        ("faults", {"kind": "late", "seconds": "soon"}, "seconds must be a number, was 'soon'"),
        ("faults", {"kind": "late", "seconds": None}, "seconds must be text or a number, was None"),
        ("faults", {"kind": "late", "seconds": True}, "seconds must be text or a number, was True"),
        ("faults", {"kind": "late", "times": 1.5}, "times must be a whole number, was '1.5'"),
        (
            "faults",
            {"kind": "body", "body": {"a": 1}},
            "body must be text or a number, was {'a': 1}",
        ),
        ("faults", {"kind": "refuse", "status": 99}, "status must be from 400 to 599, was 99"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_wrong_body_is_told_its_value_and_its_rule(
    untouched: RunningExchange, path: str, body: Any, error: str
) -> None:
    status, said = post(untouched, path, body)
    assert status == 400
    assert error in said
    assert "Decimal" not in said
    assert untouched.faults.names() == []
    assert [str(held.balance) for held in untouched.account.balances()] == ["10000000"]
    assert untouched.app.clock.now() == NOW


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    ("path", "before"),
    [("deposits", '"currency": "BTC", "amount"'), ("steps", '"seconds"')],
)
def test_a_number_that_json_does_not_have_is_refused(
    untouched: RunningExchange, path: str, before: str, written: str
) -> None:
    url = f"{untouched.url}/control/{path}"
    headers = {"Content-Type": "application/json"}
    body = f"{{{before}: {written}}}"
    answer = httpx.post(url, content=body, headers=headers, timeout=30)
    name = before.split('"')[-2]
    assert _said(answer) == (400, f"{name} must be a number, was {written}")


def test_the_extremes_are_taken(running: RunningExchange) -> None:
    for amount in (10**15, "0." + "0" * 29 + "1", 0.1, -(10**15)):
        assert post(running, "deposits", {"currency": "KRW", "amount": amount}) == (204, "")
    held = running.account.balance("KRW").balance
    assert str(held) == "10000000.1" + "0" * 28 + "1"
    assert post(running, "deposits", {"currency": "KRW", "amount": f"-{held}"}) == (204, "")
    assert running.account.balance("KRW").balance == 0
    assert post(running, "steps", {"seconds": 0}) == (204, "")


def test_only_what_no_order_binds_is_taken_out(running: RunningExchange) -> None:
    assert post(running, "books", BOOK) == (204, "")
    assert post(running, "deposits", {"currency": "BTC", "amount": 2}) == (204, "")
    order = {"market": BTC, "side": "ask", "ord_type": "limit", "price": "40000", "volume": "1.5"}
    assert Signed(running.url).post("/v1/orders", order).status_code == 201
    assert post(running, "deposits", {"currency": "BTC", "amount": "-0.6"}) == (
        400,
        "amount must not take out more than the 0.5 BTC that no order binds, was -0.6",
    )
    assert post(running, "deposits", {"currency": "BTC", "amount": "-0.5"}) == (204, "")


def test_over_an_upstream_a_coin_is_one_that_it_trades(
    paper: RunningExchange, running: RunningExchange
) -> None:
    assert post(paper, "deposits", {"currency": "ETH", "amount": 1}) == (204, "")
    assert post(paper, "deposits", {"currency": "DOGE", "amount": 1}) == (
        400,
        f"{running.url} has no order book of 'KRW-DOGE'; its /v1/market/all lists the markets that "
        "there are",
    )
