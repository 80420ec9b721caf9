"""The official SDK, unmodified and without retries, trades at the paper exchange over a socket."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import upbit
import websockets.sync.client
from upbit.types.list_subscriptions_response import ListSubscriptionsResponse

from trading_assets.clock import SteppedClock
from trading_assets.paper_exchange.auth import Keys
from trading_assets_tests.conftest import MakeExchange, RunningExchange
from trading_assets_tests.paper_exchange.conftest import NOW
from trading_assets_tests.paper_exchange.trading_by_hand import ACCESS, SECRET

BTC = "KRW-BTC"


@pytest.fixture
def running(make_exchange: MakeExchange) -> RunningExchange:
    exchange = make_exchange(clock=SteppedClock(NOW), keys=Keys({ACCESS: SECRET}, any_pair=False))
    exchange.set_book(BTC, [("29990", "100")], [("30000", "100")])
    return exchange


@pytest.fixture
def sdk(running: RunningExchange) -> Iterator[upbit.Upbit]:
    with upbit.Upbit(
        access_key=ACCESS,
        secret_key=SECRET,
        base_url=running.url,
        websocket_base_url=running.stream_url,
        max_retries=0,
        timeout=30,
    ) as client:
        yield client


def test_the_sdk_buys_and_sells(sdk: upbit.Upbit) -> None:
    chance = sdk.orders.retrieve_chance(market=BTC)
    assert (chance.bid_fee, chance.market.state) == ("0.0005", "active")
    bought = sdk.orders.create(
        market=BTC, side="bid", ord_type="price", price="15000", identifier="in"
    )
    assert (bought.state, bought.locked, bought.identifier) == ("wait", "15007.5", "in")
    found = sdk.orders.retrieve(identifier="in")
    assert found.trades is not None
    assert (found.state, found.trades[0].volume, found.paid_fee) == ("done", "0.5", "7.5")
    sold = sdk.orders.create(market=BTC, side="ask", ord_type="market", volume="0.5")
    assert sdk.orders.retrieve(uuid=sold.uuid).paid_fee == "7.4975"  # 14,995 x 0.0005
    balances = {a.currency: (a.balance, a.locked) for a in sdk.accounts.list()}
    # 10,000,000 - 15,007.5 + 14,995 - 7.4975.
    assert balances == {"KRW": ("9999980.0025", "0"), "BTC": ("0", "0")}


def test_the_sdk_tests_lists_and_cancels(sdk: upbit.Upbit) -> None:
    order = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "29000", "volume": "1"}
    tested = sdk.orders.test_create(**order)  # type: ignore[arg-type]
    with pytest.raises(upbit.NotFoundError):
        sdk.orders.retrieve(uuid=tested.uuid)
    uuids = [sdk.orders.create(**order).uuid for _ in range(3)]  # type: ignore[arg-type]
    assert [o.uuid for o in sdk.orders.list_open(states=["wait", "watch"])] == uuids[::-1]
    assert len(sdk.orders.list_by_uuids(uuids=[*uuids, "unknown"])) == 3
    assert sdk.orders.cancel(uuid=uuids[0]).state == "wait"
    assert sdk.orders.retrieve(uuid=uuids[0]).state == "cancel"
    replaced = sdk.orders.cancel_and_new(
        prev_order_uuid=uuids[1], new_ord_type="limit", new_price="28000", new_volume="remain_only"
    )
    assert replaced.uuid == uuids[1]
    assert sdk.orders.cancel_by_uuids(uuids=[uuids[2]]).success.count == 1
    assert sdk.orders.cancel_open(pairs=BTC).success.count == 1
    closed = sdk.orders.list_closed(states=["done", "cancel"], market=BTC)
    assert [o.state for o in closed] == ["cancel"] * 4


def test_the_sdk_gets_typed_errors_with_our_names(sdk: upbit.Upbit) -> None:
    order: dict[str, Any] = {"market": BTC, "side": "bid", "ord_type": "price"}
    sdk.orders.create(**order, price="10000", identifier="once")
    with pytest.raises(upbit.BadRequestError) as caught:
        sdk.orders.create(**order, price="10000", identifier="once")
    assert caught.value.name == "duplicated_identifier"
    with pytest.raises(upbit.BadRequestError) as caught:
        sdk.orders.create(**order, price="4999")
    assert caught.value.name == "under_min_total_bid"
    stranger = sdk.with_options(access_key="stranger")
    with pytest.raises(upbit.AuthenticationError) as refused:
        stranger.accounts.list()
    assert refused.value.name == "invalid_access_key"


def test_the_sdks_streams_understand_our_messages(
    running: RunningExchange, sdk: upbit.Upbit
) -> None:
    with sdk.ws_stream.orderbook([f"{BTC}.5"]) as stream:
        book = stream.recv()
        assert (book.type, book.code, book.stream_type) == ("orderbook", BTC, "SNAPSHOT")
        running.set_book(BTC, [("29000", "1")], [("29010", "1")])
        assert str(stream.recv().orderbook_units[0].bid_price) == "29000"
    with sdk.ws_stream.my_order([]) as stream:
        listed = stream.list_subscriptions()
        assert isinstance(listed, ListSubscriptionsResponse)
        assert listed.result[0].type == "myOrder"
        sdk.orders.create(market=BTC, side="bid", ord_type="price", price="14505")
        states = [stream.recv().state for _ in range(3)]
    assert states == ["wait", "trade", "done"]


def test_a_stream_says_nothing_to_a_stranger(running: RunningExchange) -> None:
    url = running.stream_url + "/websocket/v1/private"
    with websockets.sync.client.connect(url) as stream:
        assert json.loads(stream.recv(timeout=30)) == {
            "error": {"name": "INVALID_AUTH", "message": "인증 정보가 올바르지 않습니다."}
        }
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            stream.recv(timeout=30)
