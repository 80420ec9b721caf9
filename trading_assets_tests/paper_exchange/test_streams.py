"""The streams over a real socket: formats, snapshots, real time, errors, limits, the line."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import websockets
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from trading_assets.clock import SteppedClock
from trading_assets.paper_exchange.faults import Fault, FaultKind
from trading_assets_tests.conftest import MakeExchange, RunningExchange
from trading_assets_tests.paper_exchange import documented_private
from trading_assets_tests.paper_exchange.conftest import NOW
from trading_assets_tests.paper_exchange.trading_by_hand import Signed

BTC = "KRW-BTC"
PUBLIC, PRIVATE = "/websocket/v1", "/websocket/v1/private"
BOOK = ([("29990", "100"), ("29980", "7")], [("30000", "100")])


@pytest.fixture
def running(make_exchange: MakeExchange) -> RunningExchange:
    return make_exchange(clock=SteppedClock(NOW))


class Stream:
    """A connection that speaks JSON with every digit kept."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def say(self, *parts: dict[str, Any], ticket: str = "t") -> None:
        self.connection.send(json.dumps([{"ticket": ticket}, *parts]))

    def hear(self) -> Any:
        frame = self.connection.recv(timeout=30)
        assert isinstance(frame, bytes)  # Upbit's frames are binary
        return json.loads(frame, parse_float=Decimal)

    def error(self) -> str:
        name: str = self.hear()["error"]["name"]
        return name


@contextmanager
def stream(exchange: RunningExchange, path: str = PUBLIC) -> Iterator[Stream]:
    headers = Signed(exchange.url).headers() if path == PRIVATE else {}
    with connect(exchange.stream_url + path, additional_headers=headers) as connection:
        yield Stream(connection)


def wanted(kind: str, *codes: str, **flags: Any) -> dict[str, Any]:
    return {"type": kind, "codes": list(codes), **flags}


# --- prices -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "documented"),
    [("ticker", documented_private.TICKER_STREAM), ("trade", documented_private.TRADE_STREAM)],
)
def test_a_message_has_the_documented_keys_and_agrees_with_rest(
    running: RunningExchange, kind: str, documented: dict[str, Any]
) -> None:
    with stream(running) as public:
        public.say(wanted(kind, BTC))
        found = public.hear()
    assert set(found) == set(documented)
    assert (found["stream_type"], found["code"]) == ("SNAPSHOT", BTC)
    rest = Signed(running.url).raw("GET", f"/v1/ticker?markets={BTC}").json()[0]
    assert found["trade_price"] == rest["trade_price"]
    assert found["trade_timestamp"] == rest["trade_timestamp"]


def test_sold_and_bought_coins_of_the_day_add_up(running: RunningExchange) -> None:
    with stream(running) as public:
        public.say(wanted("ticker", BTC))
        found = public.hear()
        total = found["acc_ask_volume"] + found["acc_bid_volume"]
        assert abs(total - found["acc_trade_volume"]) < Decimal("0.001")
        running.app.advance(timedelta(minutes=7))
        found = public.hear()
    total = found["acc_ask_volume"] + found["acc_bid_volume"]
    assert abs(total - found["acc_trade_volume"]) < Decimal("0.001")


def test_a_book_comes_once_as_it_is_and_then_when_it_changes(running: RunningExchange) -> None:
    running.set_book(BTC, *BOOK)
    with stream(running) as public:
        public.say(wanted("orderbook", f"{BTC}.1"))
        first = public.hear()
        running.app.step()  # nothing has changed: nothing is said
        running.set_book(BTC, [("29000", "1.5")], [("29010", "2")])
        second = public.hear()
    assert first == {
        "type": "orderbook",
        "code": BTC,
        "timestamp": 1_795_428_425_000,
        "total_ask_size": 100,
        "total_bid_size": 107,
        "orderbook_units": [
            {"ask_price": 30000, "bid_price": 29990, "ask_size": 100, "bid_size": 100}
        ],
        "stream_type": "SNAPSHOT",
        "level": 0,
    }
    assert (second["stream_type"], second["orderbook_units"][0]["bid_price"]) == ("REALTIME", 29000)


def test_the_synthetic_book_is_the_one_of_rest(running: RunningExchange) -> None:
    with stream(running) as public:
        public.say(wanted("orderbook", BTC, level=10000))
        found = public.hear()
    rest = Signed(running.url).raw("GET", f"/v1/orderbook?markets={BTC}&level=10000").json()[0]
    assert len(found["orderbook_units"]) == 30
    for ours, theirs in zip(found["orderbook_units"], rest["orderbook_units"], strict=True):
        assert {name: float(value) for name, value in ours.items()} == theirs


def test_every_trade_of_a_step_is_told_once_and_in_order(running: RunningExchange) -> None:
    with stream(running) as public:
        public.say(wanted("trade", BTC, is_only_realtime=True))
        public.say({"method": "LIST_SUBSCRIPTIONS"})
        assert public.hear()["method"] == "LIST_SUBSCRIPTIONS"
        start_ms = running.app.now_ms()
        running.app.advance(timedelta(minutes=3))
        running.app.advance(timedelta(minutes=2))
        expected = running.markets.trades(BTC, start_ms + 1, running.app.now_ms() + 1)
        found = [public.hear() for _ in range(len(expected))]
    assert len(expected) > 10
    assert [one["sequential_id"] for one in found] == expected.sequential_id.tolist()
    assert {one["stream_type"] for one in found} == {"REALTIME"}


def test_only_a_snapshot_is_only_a_snapshot(running: RunningExchange) -> None:
    running.set_book(BTC, *BOOK)
    with stream(running) as public:
        public.say(wanted("orderbook", BTC, is_only_snapshot=True), wanted("ticker", "KRW-ETH"))
        assert [public.hear()["type"] for _ in range(2)] == ["orderbook", "ticker"]
        running.set_book(BTC, [("29000", "1")], [("29010", "1")])
        running.app.advance(timedelta(minutes=5))
        assert public.hear()["type"] == "ticker"


@pytest.mark.parametrize("wire", ["SIMPLE", "SIMPLE_LIST", "JSON_LIST"])
def test_formats(running: RunningExchange, wire: str) -> None:
    running.set_book(BTC, *BOOK)
    with stream(running) as public:
        public.say(wanted("orderbook", f"{BTC}.1"), {"format": wire})
        found = public.hear()
    if wire.endswith("LIST"):
        assert len(found) == 1
        found = found[0]
    if wire == "JSON_LIST":
        assert found["type"] == "orderbook"
        return
    assert found == {
        "ty": "orderbook",
        "cd": BTC,
        "tms": 1_795_428_425_000,
        "tas": 100,
        "tbs": 107,
        "obu": [{"ap": 30000, "bp": 29990, "as": 100, "bs": 100}],
        "st": "SNAPSHOT",
        "lv": 0,
    }


def test_subscriptions_are_listed_as_documented(running: RunningExchange) -> None:
    with stream(running) as public:
        public.say(wanted("ticker", BTC, "KRW-ETH"), wanted("orderbook", f"{BTC}.5"))
        for _ in range(3):
            public.hear()
        public.say({"method": "LIST_SUBSCRIPTIONS"}, ticket="mine")
        assert public.hear() == {
            "method": "LIST_SUBSCRIPTIONS",
            "result": [
                {"type": "ticker", "codes": [BTC, "KRW-ETH"]},
                {"type": "orderbook", "codes": [f"{BTC}.5"], "level": 0},
            ],
            "ticket": "mine",
        }


# --- the account --------------------------------------------------------------------------------


def test_an_order_is_told_from_acceptance_to_its_end(running: RunningExchange) -> None:
    running.set_book(BTC, *BOOK)
    client = Signed(running.url)
    with stream(running, PRIVATE) as private:
        private.say({"type": "myOrder"}, {"type": "myAsset"})
        private.say({"method": "LIST_SUBSCRIPTIONS"})
        assert private.hear()["result"] == [{"type": "myOrder"}, {"type": "myAsset"}]
        body = {"market": BTC, "side": "bid", "ord_type": "price", "price": "10000"}
        uuid = client.post("/v1/orders", {**body, "identifier": "mine"}).json()["uuid"]
        wait, trade, cancel, assets = (private.hear() for _ in range(4))
    assert set(wait) == set(trade) == set(documented_private.MY_ORDER)
    assert {one["uuid"] for one in (wait, trade, cancel)} == {uuid}
    assert (wait["state"], wait["price"], wait["volume"], wait["locked"]) == (
        "wait",
        10000,
        None,
        10005,
    )
    # Of a trade, price and volume are the fill's: 0.33333333 at 30,000.
    assert (trade["state"], trade["price"], trade["volume"]) == (
        "trade",
        30000,
        Decimal("0.33333333"),
    )
    assert (trade["trade_fee"], trade["is_maker"]) == (Decimal("4.99999995"), False)
    assert (cancel["state"], cancel["executed_funds"], cancel["trade_fee"]) == (
        "cancel",
        Decimal("9999.9999"),
        None,
    )
    assert cancel["identifier"] == "mine"
    assert assets["assets"] == [
        {"currency": "KRW", "balance": Decimal("9989995.00010005"), "locked": 0},
        {"currency": "BTC", "balance": Decimal("0.33333333"), "locked": 0},
    ]
    assert set(assets) == set(json.loads(documented_private.MY_ASSET_RAW))


def test_a_resting_fill_is_told_as_time_goes_on(running: RunningExchange) -> None:
    running.set_book(BTC, *BOOK)
    client = Signed(running.url)
    with stream(running, PRIVATE) as private:
        private.say({"type": "myOrder", "codes": [BTC]})
        private.say({"method": "LIST_SUBSCRIPTIONS"})
        private.hear()
        body = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "29990", "volume": "2"}
        client.post("/v1/orders", body)
        assert private.hear()["state"] == "wait"
        running.set_book(BTC, [("29000", "1")], [("29980", "5")])
        trade = private.hear()
        assert (trade["state"], trade["is_maker"], trade["price"]) == ("trade", True, 29990)
        assert private.hear()["state"] == "done"


def test_other_markets_orders_are_not_told(running: RunningExchange) -> None:
    running.set_book(BTC, *BOOK)
    client = Signed(running.url)
    with stream(running, PRIVATE) as private:
        private.say({"type": "myOrder", "codes": ["KRW-ETH"]}, {"type": "myAsset"})
        private.say({"method": "LIST_SUBSCRIPTIONS"})
        private.hear()
        body = {"market": BTC, "side": "bid", "ord_type": "limit", "price": "29000", "volume": "1"}
        client.post("/v1/orders", body)
        assert private.hear()["type"] == "myAsset"


# --- errors and limits --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("hello", "WRONG_FORMAT"),
        ("{}", "WRONG_FORMAT"),
        ('[{"type":"ticker","codes":["KRW-BTC"]}]', "NO_TICKET"),
        ('[{"ticket":"t"}]', "NO_TYPE"),
        ('[{"ticket":"t"},{"codes":["KRW-BTC"]}]', "NO_TYPE"),
        ('[{"ticket":"t"},{"type":"ticker"}]', "NO_CODES"),
        ('[{"ticket":"t"},{"type":"ticker","codes":[]}]', "NO_CODES"),
        ('[{"ticket":"t"},{"type":"ticker","codes":"KRW-BTC"}]', "WRONG_FORMAT"),
        ('[{"ticket":"t"},{"type":"ticker","codes":["krw-btc"]}]', "INVALID_PARAM"),
        ('[{"ticket":"t"},{"type":"ticker","codes":["KRW-NONE"]}]', "INVALID_PARAM"),
        ('[{"ticket":"t"},{"type":"orderbook","codes":["KRW-BTC.7"]}]', "INVALID_PARAM"),
        ('[{"ticket":"t"},{"type":"myOrder"}]', "INVALID_PARAM"),
        ('[{"ticket":"t"},{"type":"ticker","codes":["KRW-BTC"]},{"format":"X"}]', "INVALID_PARAM"),
        ('[{"ticket":"t"},{"method":"NONE"}]', "INVALID_PARAM"),
    ],
)
def test_a_wrong_message_is_answered_by_its_name(
    running: RunningExchange, message: str, name: str
) -> None:
    with stream(running) as public:
        public.connection.send(message)
        assert public.error() == name
        public.say(wanted("ticker", BTC))  # the connection stays open
        assert public.hear()["type"] == "ticker"


def test_assets_have_no_codes(running: RunningExchange) -> None:
    with stream(running, PRIVATE) as private:
        private.say({"type": "myAsset", "codes": []})
        assert private.error() == "WRONG_FORMAT"


def test_five_messages_a_second_are_enough(make_exchange: MakeExchange) -> None:
    exchange = make_exchange(clock=SteppedClock(NOW), limited=True)
    with stream(exchange) as public:
        for _ in range(5):
            public.say({"method": "LIST_SUBSCRIPTIONS"})
            assert public.hear()["result"] == []
        public.say({"method": "LIST_SUBSCRIPTIONS"})
        assert public.error() == "TOO_MANY_REQUEST"
        exchange.app.advance(timedelta(seconds=1))
        public.say({"method": "LIST_SUBSCRIPTIONS"})
        assert public.hear()["result"] == []


def test_five_connections_a_second_are_enough(make_exchange: MakeExchange) -> None:
    exchange = make_exchange(clock=SteppedClock(NOW), limited=True)
    for _ in range(5):
        with stream(exchange):
            pass
    with pytest.raises(websockets.InvalidStatus) as refused, stream(exchange):
        pass
    assert refused.value.response.status_code == 429
    exchange.app.advance(timedelta(seconds=1))
    with stream(exchange):
        pass


# --- the line -----------------------------------------------------------------------------------


def test_the_word_ping_is_answered_now_and_every_ten_seconds(running: RunningExchange) -> None:
    with stream(running) as public:
        public.connection.send("PING")
        assert public.hear() == {"status": "UP"}
        running.app.advance(timedelta(seconds=9.999))
        running.app.advance(timedelta(seconds=0.001))
        assert public.hear() == {"status": "UP"}


def test_an_idle_stream_is_closed(make_exchange: MakeExchange) -> None:
    exchange = make_exchange(clock=SteppedClock(NOW), idle_seconds=0.05)
    with stream(exchange) as public, pytest.raises(websockets.ConnectionClosedOK):
        public.hear()


def test_ping_frames_keep_a_silent_stream_open(make_exchange: MakeExchange) -> None:
    exchange = make_exchange(clock=SteppedClock(NOW), idle_seconds=2.0)
    with stream(exchange, PRIVATE) as private:
        for _ in range(25):
            assert private.connection.ping().wait(30)
            with pytest.raises(TimeoutError):  # 25 x 0.1 s: past the idle time of 2 s
                private.connection.recv(timeout=0.1)
        assert exchange.app.streams.open_count == 1


# --- faults of prices and streams ---------------------------------------------------------------


def test_a_silent_stream_stays_connected_and_says_nothing(running: RunningExchange) -> None:
    running.set_book(BTC, *BOOK)
    with stream(running) as public:
        public.say(wanted("orderbook", BTC))
        public.hear()
        running.faults.add(Fault(FaultKind.SILENT, seconds=60))
        running.app.step()
        running.set_book(BTC, [("28000", "1")], [("28010", "1")])
        running.app.advance(timedelta(seconds=30))
        running.set_book(BTC, [("27000", "1")], [("27010", "1")])
        running.app.advance(timedelta(seconds=31))
        # The first thing heard after the silence is the present, not what was missed.
        assert public.hear()["orderbook_units"][0]["bid_price"] == 27000


def test_stale_prices_stand_still_on_the_stream_and_by_rest(running: RunningExchange) -> None:
    client = Signed(running.url)
    before = client.raw("GET", f"/v1/ticker?markets={BTC}").json()
    with stream(running) as public:
        public.say(wanted("orderbook", f"{BTC}.1"))
        first = public.hear()
        running.faults.add(Fault(FaultKind.STALE, seconds=600))
        running.app.step()
        running.app.advance(timedelta(seconds=300))
        old = public.hear()
        assert old["timestamp"] == first["timestamp"]
        assert old["orderbook_units"] == first["orderbook_units"]
        assert client.raw("GET", f"/v1/ticker?markets={BTC}").json() == before
        running.app.advance(timedelta(seconds=301))
        assert public.hear()["timestamp"] > first["timestamp"] + 590_000
    assert client.raw("GET", f"/v1/ticker?markets={BTC}").json() != before


def test_dropped_streams_are_cut_and_refused_for_a_while(running: RunningExchange) -> None:
    with stream(running) as public:
        public.say(wanted("ticker", BTC))
        public.hear()
        running.faults.add(Fault(FaultKind.DROP, seconds=5))
        running.app.step()
        with pytest.raises(websockets.ConnectionClosedError):  # cut, not closed
            public.hear()
    with pytest.raises(websockets.InvalidStatus) as refused, stream(running):
        pass
    assert refused.value.response.status_code == 503
    running.app.advance(timedelta(seconds=6))
    with stream(running) as public:
        public.say(wanted("ticker", BTC))
        assert public.hear()["type"] == "ticker"


def test_an_observer_hears_frames_leave_and_orders_arrive(running: RunningExchange) -> None:
    heard: list[tuple[str, str]] = []
    running.app.observer = lambda what, about: heard.append((what, about))
    running.set_book(BTC, *BOOK)
    with stream(running) as public:
        public.say(wanted("orderbook", BTC))
        public.hear()
    body = {"market": BTC, "side": "bid", "ord_type": "price", "price": "10000"}
    Signed(running.url).post("/v1/orders", body)
    assert heard == [("frame", f"orderbook {BTC}"), ("order", "/v1/orders")]
