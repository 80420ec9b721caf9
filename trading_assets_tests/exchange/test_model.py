"""Values of the exchange refuse nonsense by name, and their sums keep every digit."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, Inexact
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.exchange.amounts import cut_volume, exact_sum, plain
from trading_assets.exchange.model import (
    Balance,
    Fill,
    Level,
    Order,
    OrderBook,
    OrderRequest,
    OrderState,
    OrderType,
    Quote,
    Side,
    SmpType,
    TimeInForce,
)

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
D = Decimal


def limit_buy(**changes: Any) -> OrderRequest:
    request = OrderRequest(
        market="KRW-BTC",
        side=Side.BID,
        ord_type=OrderType.LIMIT,
        identifier="ta-1",
        volume=D("0.01"),
        price=D("100000000"),
    )
    return replace(request, **changes)


LEGAL: dict[tuple[str, str], tuple[bool, bool, set[str | None]]] = {
    # (type, side): (has price, has volume, times in force)
    ("limit", "bid"): (True, True, {None, "ioc", "fok", "post_only"}),
    ("limit", "ask"): (True, True, {None, "ioc", "fok", "post_only"}),
    ("price", "bid"): (True, False, {None}),
    ("market", "ask"): (False, True, {None}),
    ("best", "bid"): (True, False, {"ioc", "fok"}),
    ("best", "ask"): (False, True, {"ioc", "fok"}),
}


@pytest.mark.parametrize(
    ("kind", "side", "price", "volume", "time_in_force"),
    list(itertools.product(OrderType, Side, (True, False), (True, False), (None, *TimeInForce))),
)
def test_exactly_the_documented_combinations_of_an_order_are_accepted(
    kind: OrderType, side: Side, price: bool, volume: bool, time_in_force: TimeInForce | None
) -> None:
    has_price, has_volume, times = LEGAL.get((kind.value, side.value), (None, None, set()))
    legal = (price, volume) == (has_price, has_volume) and time_in_force in times

    def build() -> OrderRequest:
        return limit_buy(
            side=side,
            ord_type=kind,
            price=D(5000) if price else None,
            volume=D(1) if volume else None,
            time_in_force=time_in_force,
        )

    if legal:
        assert build().ord_type is kind
    else:
        with pytest.raises(ValueError, match=r"ord_type|time_in_force"):
            build()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"identifier": ""}, "identifier must be 1 to 64"),
        ({"identifier": "x" * 65}, "identifier must be 1 to 64"),
        ({"identifier": "a&b"}, "identifier must be 1 to 64"),
        ({"market": "krw-btc"}, "market must be like KRW-BTC"),
        ({"volume": D(0)}, "volume must be above 0"),
        ({"volume": D("0.000000009")}, "volume must be at least 0.00000001"),
        ({"volume": D("NaN")}, "volume must be finite"),
        ({"volume": 0.1}, "volume must be a Decimal"),
        ({"price": D(-1)}, "price must be above 0"),
        ({"price": D("Infinity")}, "price must be finite"),
        ({"price": D("0.000000001")}, "price must have at most 8 decimals"),
        (
            {"time_in_force": TimeInForce.POST_ONLY, "smp_type": SmpType.REDUCE},
            "post_only takes no smp_type",
        ),
    ],
)
def test_an_illegal_order_is_refused_with_the_rule_it_breaks(
    changes: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        limit_buy(**changes)


def test_post_only_goes_with_self_match_prevention_switched_off() -> None:
    request = limit_buy(time_in_force=TimeInForce.POST_ONLY, smp_type=SmpType.NONE)
    assert request.fields()["smp_type"] == "none"


def test_an_order_is_sent_as_plain_digits_in_a_fixed_order() -> None:
    request = limit_buy(price=D("1E+5"), volume=D("0.00001"), time_in_force=TimeInForce.IOC)
    assert list(request.fields().items()) == [
        ("market", "KRW-BTC"),
        ("side", "bid"),
        ("volume", "0.00001000"),
        ("price", "100000"),
        ("ord_type", "limit"),
        ("identifier", "ta-1"),
        ("time_in_force", "ioc"),
    ]


def test_a_volume_is_cut_at_eight_decimals_and_the_value_tells_what_is_sent() -> None:
    # 10,000 KRW at 30,000: 0.33333333... is cut, never rounded up (Upbit's own example).
    request = limit_buy(volume=D(10_000) / D(30_000))
    assert request.volume == D("0.33333333")
    assert request.fields()["volume"] == "0.33333333"


@given(st.decimals(min_value="0.00000001", max_value="1e15", allow_nan=False, places=12))
def test_cutting_a_volume_never_adds_and_loses_less_than_one_step(volume: Decimal) -> None:
    cut = cut_volume(volume)
    assert 0 <= volume - cut < D("0.00000001")
    assert "e" not in plain(cut).lower()


def test_a_balance_of_27_digits_keeps_its_last_digit_in_the_total() -> None:
    # 1386929.37231066771348207123 + 10329.670127489597585685, by hand to 20 decimals.
    krw = Balance("KRW", D("1386929.37231066771348207123"), D("10329.670127489597585685"), D(0))
    assert krw.total == D("1397259.04243815731106775623")


def test_a_sum_beyond_the_default_28_digits_is_not_rounded() -> None:
    large, small = D("123456789012345678901234567"), D("0.12345678")
    assert exact_sum([large, small]) == D("123456789012345678901234567.12345678")
    assert large + small != exact_sum([large, small])  # what plain addition would have given


def test_a_sum_that_cannot_be_exact_raises_rather_than_rounds() -> None:
    with pytest.raises(Inexact):
        exact_sum([D("1e70"), D("1e-40")])


def quote(**changes: Any) -> Quote:
    return replace(Quote("KRW-BTC", D(100), D(1), D(101), D(2), NOW, NOW), **changes)


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"bid": D(0)}, "bid must be above 0"),
        ({"bid": D(101)}, "bid must be below ask"),
        ({"ask_size": D(-1)}, "ask_size must not be negative"),
        ({"received_at": NOW.replace(tzinfo=None)}, "received_at needs a time zone"),
    ],
)
def test_an_impossible_quote_is_refused(changes: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        quote(**changes)


def test_a_quote_tells_transport_and_clock_difference_together() -> None:
    late = quote(received_at=NOW + timedelta(milliseconds=80))
    assert late.lag == timedelta(milliseconds=80)


def test_a_book_is_ordered_best_first_and_tells_its_quote() -> None:
    bids, asks = (Level(D(99), D(1)), Level(D(98), D(2))), (Level(D(101), D(3)),)
    book = OrderBook("KRW-BTC", bids, asks, NOW, NOW)
    assert (book.quote.bid, book.quote.bid_size) == (D(99), D(1))
    assert (book.quote.ask, book.quote.ask_size) == (D(101), D(3))
    with pytest.raises(ValueError, match="bids must be ordered best first"):
        replace(book, bids=bids[::-1])
    with pytest.raises(ValueError, match="asks must have a level"):
        replace(book, asks=())


def order(*fills: Fill, told: bool = True) -> Order:
    volume = exact_sum(fill.volume for fill in fills)
    return Order(
        market="KRW-BTC",
        uuid="u-1",
        side=Side.BID,
        ord_type=OrderType.LIMIT,
        state=OrderState.CANCEL,
        created_at=NOW,
        price=D(17_417_000),
        volume=D(1),
        remaining_volume=D(1) - volume,
        executed_volume=volume,
        reserved_fee=D(0),
        remaining_fee=D(0),
        paid_fee=D(0),
        locked=D(0),
        prevented_volume=D(0),
        prevented_locked=D(0),
        trades_count=len(fills),
        identifier="ta-1",
        time_in_force=TimeInForce.IOC,
        smp_type=SmpType.CANCEL_MAKER,
        fills=fills if told else None,
    )


def fill(number: int, price: str, volume: str, funds: str) -> Fill:
    return Fill(f"t-{number}", "KRW-BTC", Side.BID, D(price), D(volume), D(funds), NOW)


def test_the_average_price_comes_from_the_fills_and_never_from_the_limit() -> None:
    # 100 x 0.25 + 104 x 0.75 = 25 + 78 = 103 for one coin.
    filled = order(fill(1, "100", "0.25", "25"), fill(2, "104", "0.75", "78"))
    assert filled.executed_funds == D(103)
    assert filled.average_price == D(103)
    assert filled.has_traded
    assert filled.fills_are_complete


def test_an_order_that_traded_nothing_has_no_average_price() -> None:
    assert order().average_price is None
    assert not order().has_traded


def test_an_order_from_a_list_does_not_pretend_to_know_its_fills() -> None:
    untold = order(fill(1, "100", "1", "100"), told=False)
    assert not untold.fills_are_complete
    with pytest.raises(ValueError, match="does not tell the fills of order u-1"):
        _ = untold.average_price


def test_fills_that_lag_behind_the_executed_volume_are_not_complete() -> None:
    lagging = replace(order(fill(1, "100", "0.5", "50")), executed_volume=D(1))
    assert not lagging.fills_are_complete


@pytest.mark.parametrize("state", list(OrderState))
def test_only_done_and_cancel_are_terminal(state: OrderState) -> None:
    ended = replace(order(), state=state).is_terminal
    assert ended == (state.value in ("done", "cancel"))
