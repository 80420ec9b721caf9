"""Paper mode: another exchange's prices passed through, play money kept here.

The upstream is a second paper exchange on this machine; it must never see a key or an order.
"""

import json
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest
import upbit
import websockets
from websockets.sync.client import connect

from trading_assets.clock import SteppedClock
from trading_assets.errors import EnvironmentProblem
from trading_assets.paper_exchange.faults import Fault, FaultKind
from trading_assets.paper_exchange.upstream import Upstream
from trading_assets_tests.conftest import MakeExchange, RunningExchange
from trading_assets_tests.paper_exchange.conftest import NOW
from trading_assets_tests.paper_exchange.trading_by_hand import ACCESS, SECRET, Signed

BTC = "KRW-BTC"


@pytest.fixture
def upstream(make_exchange: MakeExchange) -> RunningExchange:
    exchange = make_exchange(clock=SteppedClock(NOW))
    exchange.set_book(BTC, [("29990", "0.12345678")], [("30000", "100")])
    return exchange


@pytest.fixture
def paper(make_exchange: MakeExchange, upstream: RunningExchange) -> RunningExchange:
    return make_exchange(clock=SteppedClock(NOW), markets=Upstream(upstream.url))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/market/all?is_details=true",
        "/v1/candles/minutes/60?market=KRW-BTC&count=3&to=2026-11-23T10%3A00%3A00Z",
        "/v1/candles/days?market=KRW-ETH",
        "/v1/ticker?markets=KRW-BTC,KRW-ETH",
        "/v1/ticker/all?quote_currencies=KRW",
        "/v1/orderbook?markets=KRW-BTC",
        "/v1/orderbook/instruments?markets=KRW-BTC",
        "/v1/trades/ticks?market=KRW-BTC&count=3",
        "/v1/candles/minutes/60?market=KRW-NONE",
        "/v1/candles/minutes/60",
    ],
)
def test_public_answers_are_the_upstreams_own(
    paper: RunningExchange, upstream: RunningExchange, path: str
) -> None:
    ours, theirs = (httpx.get(where.url + path, timeout=30) for where in (paper, upstream))
    assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content)
    assert ours.headers["Remaining-Req"] == theirs.headers["Remaining-Req"]


def test_orders_meet_the_upstreams_book_and_stay_here(
    paper: RunningExchange, upstream: RunningExchange
) -> None:
    with upbit.Upbit(
        access_key=ACCESS, secret_key=SECRET, base_url=paper.url, max_retries=0, timeout=30
    ) as sdk:
        bought = sdk.orders.create(market=BTC, side="bid", ord_type="price", price="30000")
        assert sdk.orders.retrieve(uuid=bought.uuid).executed_volume == "1"
        sold = sdk.orders.create(
            market=BTC,
            side="ask",
            ord_type="limit",
            price="29990",
            volume="1",
            time_in_force="ioc",
        )
        # The upstream's bid of 0.12345678 is all there is, to the last digit.
        assert sdk.orders.retrieve(uuid=sold.uuid).executed_volume == "0.12345678"
        with pytest.raises(upbit.BadRequestError, match="notfoundmarket"):
            sdk.orders.create(market="KRW-NONE", side="bid", ord_type="price", price="30000")
    assert paper.account.balance("BTC").balance == Decimal("0.87654322")
    assert upstream.account.orders([]) == upstream.account.open_orders() == ()
    assert [str(held.balance) for held in upstream.account.balances()] == ["10000000"]


def test_a_resting_order_is_filled_when_the_upstreams_book_crosses_it(
    paper: RunningExchange, upstream: RunningExchange
) -> None:
    client = Signed(paper.url)
    body = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "29500", "volume": "1"}
    uuid = client.post("/v1/orders", body).json()["uuid"]
    paper.app.advance(timedelta(seconds=2))
    assert client.get("/v1/order", [("uuid", uuid)]).json()["state"] == "wait"
    upstream.set_book(BTC, [("29000", "1")], [("29400", "5")])
    paper.app.advance(timedelta(seconds=2))
    found = client.get("/v1/order", [("uuid", uuid)]).json()
    assert (found["state"], found["trades"][0]["price"]) == ("done", "29500")


def test_an_upstream_that_fails_makes_no_order_and_uses_no_identifier(
    paper: RunningExchange, upstream: RunningExchange
) -> None:
    client = Signed(paper.url)
    body = {"market": BTC, "side": "bid", "ord_type": "price", "price": "30000"}
    upstream.faults.add(Fault(FaultKind.ERROR_BEFORE))
    answer = client.post("/v1/orders", {**body, "identifier": "x"})
    assert (answer.status_code, answer.json()["error"]["name"]) == (500, "internal_server_error")
    assert client.get("/v1/order", [("identifier", "x")]).status_code == 404
    assert client.post("/v1/orders", {**body, "identifier": "x"}).status_code == 201


def test_without_the_upstream_orders_rest_and_can_be_cancelled(
    paper: RunningExchange, upstream: RunningExchange
) -> None:
    client = Signed(paper.url)
    body = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "29500", "volume": "1"}
    uuid = client.post("/v1/orders", body).json()["uuid"]
    upstream.faults.add(Fault(FaultKind.TOO_MANY, times=None))
    paper.app.advance(timedelta(seconds=2))
    assert client.get("/v1/accounts").json()[0]["locked"] == "29514.75"
    assert client.delete("/v1/order", [("uuid", uuid)]).status_code == 200
    assert client.get("/v1/order", [("uuid", uuid)]).json()["state"] == "cancel"


def test_an_upstream_that_is_gone_is_said_so(make_exchange: MakeExchange) -> None:
    paper = make_exchange(clock=SteppedClock(NOW), markets=Upstream("http://127.0.0.1:1"))
    answer = httpx.get(paper.url + f"/v1/ticker?markets={BTC}", timeout=30)
    assert answer.status_code == 503
    assert "did not answer" in answer.json()["error"]["message"]
    assert Signed(paper.url).get("/v1/accounts").status_code == 200
    with (
        pytest.raises(websockets.InvalidStatus) as refused,
        connect(paper.stream_url + "/websocket/v1"),
    ):
        pass
    assert refused.value.response.status_code == 503


def test_the_public_stream_is_the_upstreams_own(
    paper: RunningExchange, upstream: RunningExchange
) -> None:
    with connect(paper.stream_url + "/websocket/v1") as stream:
        stream.send(json.dumps([{"ticket": "t"}, {"type": "orderbook", "codes": [f"{BTC}.1"]}]))
        first = json.loads(stream.recv(timeout=30))
        upstream.set_book(BTC, [("29000", "1")], [("29010", "1")])
        second = json.loads(stream.recv(timeout=30))
        assert [one["orderbook_units"][0]["bid_price"] for one in (first, second)] == [29990, 29000]
        upstream.faults.add(Fault(FaultKind.DROP, seconds=0))
        upstream.app.step()
        with pytest.raises(websockets.ConnectionClosedError):
            stream.recv(timeout=30)


def test_the_private_stream_is_our_own(paper: RunningExchange) -> None:
    client = Signed(paper.url)
    with connect(
        paper.stream_url + "/websocket/v1/private", additional_headers=client.headers()
    ) as stream:
        stream.send(json.dumps([{"ticket": "t"}, {"type": "myOrder", "codes": [BTC]}]))
        stream.send(json.dumps([{"ticket": "t"}, {"method": "LIST_SUBSCRIPTIONS"}]))
        assert json.loads(stream.recv(timeout=30))["method"] == "LIST_SUBSCRIPTIONS"
        body = {"market": BTC, "side": "bid", "ord_type": "price", "price": "30000"}
        client.post("/v1/orders", body)
        states = [json.loads(stream.recv(timeout=30))["state"] for _ in range(3)]
    assert states == ["wait", "trade", "done"]


@pytest.mark.parametrize("path", ["/v1/deposits", "/v1/withdraws", "/v1/status/wallet"])
def test_only_quotation_is_passed_on(
    paper: RunningExchange, upstream: RunningExchange, path: str
) -> None:
    before = upstream.app.requests
    assert Signed(paper.url).get(path).status_code == 404
    assert upstream.app.requests == before


def test_a_key_is_told_of_by_us_and_never_shown_to_the_upstream(
    paper: RunningExchange, upstream: RunningExchange
) -> None:
    before = upstream.app.requests
    (key,) = Signed(paper.url).get("/v1/api_keys").json()
    assert key["access_key"] == ACCESS
    assert upstream.app.requests == before


@pytest.mark.parametrize(
    "url", ["https://example.com", "https://api.upbit.com.example.com", "http://api.upbit.com"]
)
def test_no_other_host_is_an_upstream(url: str) -> None:
    with pytest.raises(EnvironmentProblem, match=r"passed through from https://api.upbit.com only"):
        Upstream(url)
