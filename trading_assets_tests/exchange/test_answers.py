"""Upbit's documented answers read to the last digit; anything else is refused by field."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from trading_assets.errors import MalformedAnswer
from trading_assets.exchange.answers import (
    balances_of,
    exact_json,
    instruments_of,
    markets_of,
    order_book_frame,
    order_books_of,
    order_of,
    orders_of,
    rules_of,
    stream_frame,
)
from trading_assets.exchange.model import Order, OrderState, OrderType, Side

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
D = Decimal

ORDER: dict[str, Any] = {
    "market": "KRW-BTC",
    "uuid": "u-1",
    "side": "bid",
    "ord_type": "limit",
    "price": "155772000",
    "state": "wait",
    "created_at": "2025-08-09T16:52:49+09:00",
    "volume": "0.0001",
    "remaining_volume": "0.0001",
    "executed_volume": "0",
    "reserved_fee": "7.7886",
    "remaining_fee": "7.7886",
    "paid_fee": "0",
    "locked": "15584.9886",
    "prevented_volume": "0",
    "prevented_locked": "0",
    "trades_count": 0,
    "trades": [],
}
TRADE: dict[str, Any] = {
    "market": "KRW-BTC",
    "uuid": "t-1",
    "price": "155000000",
    "volume": "0.0001",
    "funds": "15500",
    "trend": "down",
    "created_at": "2025-08-09T16:52:49.597751+09:00",
    "side": "bid",
}
BOOK: dict[str, Any] = {
    "market": "KRW-BTC",
    "timestamp": 1787729042606,
    "total_ask_size": 2.5,
    "total_bid_size": 3,
    "orderbook_units": [
        {"ask_price": 109868000.0, "bid_price": 109847000, "ask_size": 9.101e-05, "bid_size": 0.5},
        {"ask_price": 109869000, "bid_price": 109846000, "ask_size": 1, "bid_size": 0.25},
    ],
    "level": 0,
}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def one_order(value: Any) -> Order:
    return order_of(body(value), "order u-1", with_fills=True)


# --- the documented samples -----------------------------------------------------------------


@pytest.fixture
def sample(shared_data: Path) -> Callable[[str], bytes]:
    """The documented answer of a REST sample, its numbers' text untouched."""

    def read(name: str) -> bytes:
        path = shared_data / "upbit_samples" / "rest" / f"{name}.json"
        return body(json.loads(path.read_text(encoding="utf-8"))["response"])

    return read


@pytest.mark.real_data
def test_the_documented_waiting_order_reads_exactly(sample: Callable[[str], bytes]) -> None:
    order = order_of(sample("order_get_limit_bid_wait"), "order", with_fills=True)
    assert order.state is OrderState.WAIT
    assert order.created_at == datetime(2025, 8, 9, 7, 52, 49, tzinfo=UTC)
    # 155,772,000 x 0.0001 = 15,577.2, x 0.0005 = 7.7886, together 15,584.9886.
    assert (order.locked, order.reserved_fee) == (D("15584.9886"), D("7.7886"))
    assert order.fills == ()
    assert order.identifier is None


@pytest.mark.real_data
def test_the_documented_market_sell_reads_exactly(sample: Callable[[str], bytes]) -> None:
    order = order_of(sample("order_get_market_ask_done"), "order", with_fills=True)
    assert (order.ord_type, order.side, order.price) == (OrderType.MARKET, Side.ASK, None)
    assert order.paid_fee == D("3.697095875")
    assert order.executed_funds == D("7394.19175")
    assert order.average_price == D(1375)
    assert order.fills_are_complete
    assert order.fills is not None
    assert order.fills[0].created_at == datetime(2025, 8, 9, 7, 44, 0, 597751, tzinfo=UTC)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "missing"),
    [("order_get_two_trades_old", "prevented_volume"), ("order_open_sgd_ask", "prevented_volume")],
)
def test_an_answer_of_years_ago_is_refused_by_the_field_that_it_lacks(
    sample: Callable[[str], bytes], name: str, missing: str
) -> None:
    found = json.loads(sample(name))
    with pytest.raises(MalformedAnswer, match=f"{missing} is missing"):
        one_order(found[0] if isinstance(found, list) else found)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name", ["order_create_201", "order_test_201", "order_cancel", "cancel_and_new"]
)
def test_the_documented_answers_to_a_new_and_a_cancelled_order_read(
    sample: Callable[[str], bytes], name: str
) -> None:
    order = order_of(sample(name), name)
    assert order.state is OrderState.WAIT
    assert order.reserved_fee == D(70_000)
    assert order.fills is None


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "states"),
    [("orders_open", ["wait"]), ("orders_closed", ["done"]), ("orders_by_uuids", ["wait", "done"])],
)
def test_the_documented_lists_of_orders_read(
    sample: Callable[[str], bytes], name: str, states: list[str]
) -> None:
    assert [order.state.value for order in orders_of(sample(name), name)] == states


@pytest.mark.real_data
def test_the_documented_accounts_chance_markets_and_tick_sizes_read(
    sample: Callable[[str], bytes],
) -> None:
    krw, btc = balances_of(sample("accounts"))
    assert (krw.currency, krw.balance, krw.total) == ("KRW", D(1_000_000), D(1_000_000))
    assert (btc.total, btc.average_buy_price) == (D(2), D(140_000_000))

    rules = rules_of(sample("orders_chance"), "KRW-BTC")
    assert (rules.bid_fee, rules.min_total_ask, rules.max_total) == (
        D("0.0005"),
        D(5000),
        D(1_000_000_000),
    )
    assert rules.is_active
    assert rules.base.balance == D("0.001")
    assert "price" in rules.bid_types
    assert "market" in rules.ask_types

    bitcoin, ether = markets_of(sample("market_all_details"))
    assert (bitcoin.code, bitcoin.warning, bitcoin.cautions) == ("KRW-BTC", False, frozenset())
    assert (ether.code, ether.warning) == ("KRW-ETH", True)

    found = instruments_of(sample("orderbook_instruments"), ["KRW-ETH", "KRW-BTC"])
    assert [(one.market, one.tick_size) for one in found] == [
        ("KRW-ETH", D(1000)),
        ("KRW-BTC", D(1000)),
    ]


@pytest.mark.real_data
def test_markets_without_details_are_refused_because_their_warnings_are_unknown(
    sample: Callable[[str], bytes],
) -> None:
    with pytest.raises(MalformedAnswer, match="market_event is missing"):
        markets_of(sample("market_all_plain"))


@pytest.mark.real_data
def test_27_digits_of_a_stream_survive(shared_data: Path) -> None:
    path = shared_data / "upbit_samples" / "ws" / "myasset.json"
    raw = json.loads(path.read_text(encoding="utf-8"))["raw"].encode()
    (krw,) = stream_frame(raw)["assets"]
    assert krw["balance"] == D("1386929.37231066771348207123")
    assert krw["locked"] == D("10329.670127489597585685")


@pytest.mark.real_data
def test_real_books_of_the_recorded_snapshot_read(shared_data: Path) -> None:
    path = shared_data / "upbit-orderbook-snapshot-2026-09-01-top10.json"
    books = exact_json(path.read_bytes(), "snapshot")["books"]
    for market, units in books.items():
        frame = {"code": market, "timestamp": 1787729042606, "orderbook_units": units}
        book = order_book_frame(frame, NOW)
        assert book.quote.bid == units[0]["bid_price"]
        assert len(book.bids) == len(book.asks) == 10


# --- exactness and refusal ------------------------------------------------------------------


def test_json_numbers_become_decimals_without_passing_through_a_float() -> None:
    found = exact_json(b'{"a": 0.1000000000000000055511151231257827, "b": 9.101e-05}', "x")
    assert found["a"] == D("0.1000000000000000055511151231257827")
    assert found["b"] == D("0.00009101")


@pytest.mark.parametrize("field", [k for k in ORDER if k not in ("price", "volume")])
def test_an_order_without_one_of_its_fields_is_refused_naming_it(field: str) -> None:
    with pytest.raises(MalformedAnswer, match=f"{field} is missing"):
        one_order({k: v for k, v in ORDER.items() if k != field})


@pytest.mark.parametrize("field", ["price", "volume"])
def test_a_limit_order_without_its_price_or_volume_is_refused(field: str) -> None:
    with pytest.raises(MalformedAnswer, match=field):
        one_order({k: v for k, v in ORDER.items() if k != field})
    with pytest.raises(MalformedAnswer, match=f"{field} = null"):
        one_order(ORDER | {field: None})


def test_a_market_buy_has_no_volume_and_a_market_sell_no_price() -> None:
    buy = {k: v for k, v in ORDER.items() if k not in ("volume", "remaining_volume")}
    found = one_order(buy | {"ord_type": "price", "price": "10000"})
    assert (found.price, found.volume, found.remaining_volume) == (D(10_000), None, None)
    sell = one_order(ORDER | {"ord_type": "market", "side": "ask", "price": None})
    assert sell.price is None


@pytest.mark.parametrize("field", [name for name in TRADE if name != "trend"])
def test_a_trade_without_one_of_its_fields_is_refused_naming_it(field: str) -> None:
    trade = {k: v for k, v in TRADE.items() if k != field}
    with pytest.raises(MalformedAnswer, match=f"trade 0: {field} is missing"):
        one_order(ORDER | {"trades": [trade]})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"paid_fee": None}, "paid_fee = null must be an amount"),
        ({"paid_fee": "NaN"}, 'paid_fee = "NaN" must be an amount'),
        ({"paid_fee": "1_000"}, "must be an amount"),
        ({"paid_fee": " 1"}, "must be an amount"),
        ({"paid_fee": "-1"}, "must not be negative"),
        ({"paid_fee": "1e999"}, "must lie within"),
        ({"paid_fee": "0." + "1" * 70}, "must lie within"),
        ({"paid_fee": True}, "must be an amount"),
        ({"paid_fee": {}}, "must be an amount"),
        ({"trades_count": "0"}, "must be a whole number"),
        ({"trades_count": -1}, "trades_count must not be negative"),
        ({"state": "prevented"}, "must be one of wait, watch, done, cancel"),
        ({"side": "BID"}, "must be one of bid, ask"),
        ({"ord_type": "stop"}, 'order u-1: ord_type = "stop" must be one of limit'),
        ({"created_at": "2025-08-09T16:52:49"}, "must be a time with a zone"),
        ({"created_at": "yesterday"}, "must be a time with a zone"),
        ({"market": "BTC"}, "market must be like KRW-BTC"),
        ({"uuid": ""}, "must be a text"),
        ({"smp_type": "maybe"}, "must be one of cancel_maker"),
        ({"trades": None}, "must be a list"),
        ({"trades": [TRADE, TRADE]}, "each trade must come once"),
    ],
)
def test_a_wrong_value_is_refused_with_its_field_value_and_rule(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(MalformedAnswer, match=said):
        one_order(ORDER | changes)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "must be JSON"),
        (b"<html>Bad Gateway</html>", "begin with '<html>"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": 1, "a": 2}', "appear twice"),
        (b"\xff\xfe", "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        (b'{"a": 1e99999999999999999999}', "must be JSON"),
    ],
)
def test_what_is_not_json_is_refused_showing_how_it_begins(raw: bytes, said: str) -> None:
    with pytest.raises(MalformedAnswer, match=said):
        exact_json(raw, "order")


def test_unknown_extra_fields_are_tolerated() -> None:
    assert one_order(ORDER | {"executed_funds": "0", "brand_new": [1]}).uuid == "u-1"


@pytest.mark.parametrize("field", [name for name in ORDER if name != "trades"])
def test_no_field_of_an_order_can_be_turned_into_a_value_of_another_kind(field: str) -> None:
    with pytest.raises(MalformedAnswer, match=field):
        one_order(ORDER | {field: ["x"]})


def test_books_come_in_the_order_they_were_asked_for_and_exact() -> None:
    other = BOOK | {"market": "KRW-ETH"}
    eth, btc = order_books_of(body([BOOK, other]), ["KRW-ETH", "KRW-BTC"], NOW)
    assert (eth.market, btc.market) == ("KRW-ETH", "KRW-BTC")
    assert btc.quote.ask_size == D("0.00009101")
    assert btc.exchange_time == datetime(2026, 8, 26, 7, 24, 2, 606000, tzinfo=UTC)
    assert btc.received_at == NOW


def test_a_book_that_was_asked_for_and_is_not_there_is_an_error() -> None:
    with pytest.raises(MalformedAnswer, match="KRW-ETH is missing"):
        order_books_of(body([BOOK]), ["KRW-BTC", "KRW-ETH"], NOW)


def test_a_side_filled_up_with_zeros_ends_where_its_prices_end() -> None:
    units = [
        BOOK["orderbook_units"][0],
        {"ask_price": 109869000, "ask_size": 1} | {"bid_price": 0, "bid_size": 0},
    ]
    (book,) = order_books_of(body([BOOK | {"orderbook_units": units}]), ["KRW-BTC"], NOW)
    assert (len(book.bids), len(book.asks)) == (1, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"orderbook_units": []}, "bids must have a level"),
        ({"orderbook_units": BOOK["orderbook_units"][::-1]}, "must be ordered best first"),
        ({"timestamp": 1787729042}, "must be milliseconds"),
        ({"timestamp": None}, "must be a whole number"),
        ({"orderbook_units": {}}, "must be a list"),
        (
            {"orderbook_units": [BOOK["orderbook_units"][0] | {"bid_price": 109868000}]},
            "bid must be below ask",
        ),
    ],
)
def test_an_impossible_book_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(MalformedAnswer, match=said):
        order_books_of(body([BOOK | changes]), ["KRW-BTC"], NOW)


def test_a_frame_that_asked_for_five_levels_is_about_the_market() -> None:
    frame = {k: v for k, v in BOOK.items() if k != "market"} | {"code": "KRW-BTC.5"}
    assert order_book_frame(stream_frame(body(frame)), NOW).market == "KRW-BTC"


def test_accounts_that_name_a_currency_twice_are_refused() -> None:
    row = {"currency": "KRW", "balance": "1", "locked": "0", "avg_buy_price": "0"}
    with pytest.raises(MalformedAnswer, match="each currency must come once"):
        balances_of(body([row, row]))
