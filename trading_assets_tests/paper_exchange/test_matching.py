"""What orders meet: levels, modes, resting orders, self-match prevention."""

from decimal import Decimal

import pytest

from trading_assets.paper_exchange.desk import Handling
from trading_assets.paper_exchange.refusals import Refusal
from trading_assets_tests.paper_exchange.trading_by_hand import MARKET, NOW_MS, Hand

BIDS = [("29900", "1"), ("29800", "2"), ("29700", "3")]
ASKS = [("30000", "1"), ("30100", "2"), ("30200", "3")]


@pytest.fixture
def hand() -> Hand:
    made = Hand(coins="10")
    made.book(BIDS, ASKS)
    return made


def fills(hand: Hand, uuid: str) -> list[tuple[str, str]]:
    return [(str(t.price), str(t.volume)) for t in hand.account.trades(uuid)]


def test_a_market_sale_walks_down_the_bids(hand: Hand) -> None:
    uuid = hand.place("ask", "market", volume="3.5")
    assert fills(hand, uuid) == [("29900", "1"), ("29800", "2"), ("29700", "0.5")]
    # Funds 29,900 + 59,600 + 14,850 = 104,350; fee 52.175.
    assert hand.krw() == ("10104297.825", "0")
    assert hand.kinds() == ["wait", "trade", "trade", "trade", "done"]


def test_a_market_purchase_spends_its_amount_over_the_asks(hand: Hand) -> None:
    uuid = hand.place("bid", "price", price="60100")
    # 30,000 for 1, the remaining 30,100 buy exactly 1 more.
    assert fills(hand, uuid) == [("30000", "1"), ("30100", "1")]
    assert hand.order(uuid).state == "done"


def test_a_market_order_beyond_the_shown_levels_is_refused(hand: Hand) -> None:
    with pytest.raises(Refusal, match="create_ask_error"):
        hand.place("ask", "market", volume="6.00000001")
    # The asks hold 30,000 + 60,200 + 90,600 = 180,800.
    with pytest.raises(Refusal, match="create_bid_error"):
        hand.place("bid", "price", price="180801")
    assert hand.order(hand.place("bid", "price", price="180800")).state == "done"


def test_what_was_taken_from_a_book_is_gone_until_the_book_changes(hand: Hand) -> None:
    first = hand.place("bid", "limit", price="30000", volume="0.6", time_in_force="ioc")
    second = hand.place("bid", "limit", price="30000", volume="0.6", time_in_force="ioc")
    assert fills(hand, first) == [("30000", "0.6")]
    assert fills(hand, second) == [("30000", "0.4")]
    hand.book(BIDS, ASKS)
    third = hand.place("bid", "limit", price="30000", volume="0.6", time_in_force="ioc")
    assert fills(hand, third) == [("30000", "0.6")]


def test_ioc_cancels_what_it_cannot_fill(hand: Hand) -> None:
    uuid = hand.place("bid", "limit", price="30100", volume="4", time_in_force="ioc")
    order = hand.order(uuid)
    assert fills(hand, uuid) == [("30000", "1"), ("30100", "2")]
    assert (order.state, str(order.remaining_volume), order.locked) == ("cancel", "1", 0)


def test_ioc_that_fits_is_done(hand: Hand) -> None:
    uuid = hand.place("bid", "limit", price="30100", volume="3", time_in_force="ioc")
    assert hand.order(uuid).state == "done"


def test_fok_fills_all_or_nothing(hand: Hand) -> None:
    nothing = hand.place("bid", "limit", price="30100", volume="3.00000001", time_in_force="fok")
    assert (hand.order(nothing).state, fills(hand, nothing)) == ("cancel", [])
    assert hand.krw() == ("10000000", "0")
    whole = hand.place("bid", "limit", price="30100", volume="3", time_in_force="fok")
    assert (hand.order(whole).state, len(fills(hand, whole))) == ("done", 2)


def test_best_takes_the_best_price_only(hand: Hand) -> None:
    sale = hand.place("ask", "best", volume="1.5", time_in_force="ioc")
    assert (fills(hand, sale), hand.order(sale).state) == ([("29900", "1")], "cancel")
    bought = hand.place("bid", "best", price="15000", time_in_force="fok")
    assert (fills(hand, bought), hand.order(bought).state) == ([("30000", "0.5")], "done")
    too_much = hand.place("bid", "best", price="15001", time_in_force="fok")
    assert (fills(hand, too_much), hand.order(too_much).state) == ([], "cancel")


def test_post_only_rests_or_is_cancelled_but_never_takes(hand: Hand) -> None:
    taking = hand.place("bid", "limit", price="30000", volume="1", time_in_force="post_only")
    assert (hand.order(taking).state, fills(hand, taking)) == ("cancel", [])
    resting = hand.place("bid", "limit", price="29990", volume="1", time_in_force="post_only")
    assert hand.order(resting).state == "wait"


def test_a_resting_order_is_filled_at_its_own_price_when_the_book_crosses_it(hand: Hand) -> None:
    uuid = hand.place("bid", "limit", price="29950", volume="2")
    hand.desk.catch_up(NOW_MS + 1000)
    assert hand.order(uuid).executed_volume == 0
    hand.book([("29800", "5")], [("29900", "0.5"), ("29950", "1"), ("29960", "9")], NOW_MS + 2000)
    hand.desk.catch_up(NOW_MS + 2000)
    order = hand.order(uuid)
    # 0.5 + 1 lie at or below 29,950; it made the price, so it trades at 29,950.
    assert (fills(hand, uuid), order.state) == ([("29950", "1.5")], "wait")
    assert hand.account.trades(uuid)[0].is_maker
    hand.desk.catch_up(NOW_MS + 2500)
    assert hand.order(uuid).executed_volume == Decimal("1.5")  # the same book gives no more
    hand.book([("29800", "5")], [("29900", "9")], NOW_MS + 3000)
    hand.desk.catch_up(NOW_MS + 3000)
    assert (fills(hand, uuid)[1], hand.order(uuid).state) == (("29950", "0.5"), "done")


def test_a_resting_sale_waits_for_the_bid(hand: Hand) -> None:
    uuid = hand.place("ask", "limit", price="29910", volume="1")
    hand.desk.catch_up(NOW_MS + 1000)
    assert hand.order(uuid).state == "wait"
    hand.book([("29910", "4")], [("30000", "1")], NOW_MS + 2000)
    hand.desk.catch_up(NOW_MS + 2000)
    assert (fills(hand, uuid), hand.order(uuid).state) == ([("29910", "1")], "done")


def test_the_better_price_and_then_the_older_order_is_served_first(hand: Hand) -> None:
    worse = hand.place("bid", "limit", price="29950", volume="1")
    older = hand.place("bid", "limit", price="29960", volume="1")
    newer = hand.place("bid", "limit", price="29960", volume="1")
    hand.book([("29000", "1")], [("29940", "1.5")], NOW_MS + 1000)
    hand.desk.catch_up(NOW_MS + 1000)
    executed = [str(hand.order(uuid).executed_volume) for uuid in (older, newer, worse)]
    assert executed == ["1", "0.5", "0"]


def test_a_cancel_that_was_accepted_first_wins_over_a_later_crossing(hand: Hand) -> None:
    uuid = hand.place("bid", "limit", price="29950", volume="1")
    hand.desk.cancel(hand.order(uuid))
    hand.book([("29000", "1")], [("29900", "5")], NOW_MS + 1000)
    hand.desk.catch_up(NOW_MS + 1000)
    assert (hand.order(uuid).state, fills(hand, uuid)) == ("cancel", [])


def test_an_ended_order_cannot_be_cancelled(hand: Hand) -> None:
    uuid = hand.place("ask", "market", volume="1")
    with pytest.raises(Refusal, match="order_not_found"):
        hand.desk.cancel(hand.order(uuid))


# --- self-match prevention ----------------------------------------------------------------------


def resting_bid(hand: Hand) -> str:
    return hand.place("bid", "limit", price="29950", volume="1")


def test_by_default_our_own_resting_order_is_cancelled(hand: Hand) -> None:
    maker = resting_bid(hand)
    taker = hand.place("ask", "limit", price="29900", volume="1")
    made = hand.order(maker)
    assert (made.state, str(made.prevented_volume), str(made.prevented_locked)) == (
        "cancel",
        "1",
        "29950",
    )
    # The taker goes on to the book's bid of 29,900.
    assert (fills(hand, taker), hand.order(taker).terms.smp_type) == (
        [("29900", "1")],
        "cancel_maker",
    )
    assert hand.kinds() == ["wait", "wait", "prevented", "cancel", "trade", "done"]


def test_cancel_taker_cancels_the_arriving_order(hand: Hand) -> None:
    maker = resting_bid(hand)
    taker = hand.place("ask", "limit", price="29900", volume="2", smp_type="cancel_taker")
    order = hand.order(taker)
    assert (hand.order(maker).state, order.state) == ("wait", "cancel")
    assert (str(order.prevented_volume), str(order.prevented_locked)) == ("2", "2")
    assert hand.btc() == ("10", "0")


def test_reduce_makes_both_smaller_without_a_trade(hand: Hand) -> None:
    maker = resting_bid(hand)
    taker = hand.place("ask", "limit", price="29940", volume="1.5", smp_type="reduce")
    made, order = hand.order(maker), hand.order(taker)
    assert (made.state, str(made.prevented_volume), made.locked) == ("cancel", "1", 0)
    assert (order.state, str(order.remaining_volume), str(order.locked)) == ("wait", "0.5", "0.5")
    assert (fills(hand, maker), fills(hand, taker)) == ([], [])


def test_none_lets_our_own_orders_trade_with_each_other(hand: Hand) -> None:
    maker = resting_bid(hand)
    taker = hand.place("ask", "limit", price="29950", volume="1", smp_type="none")
    assert (fills(hand, maker), fills(hand, taker)) == ([("29950", "1")], [("29950", "1")])
    # Both sides pay 29,950 x 0.0005 = 14.975; the coins and the price stay in the account.
    assert hand.krw() == ("9999970.05", "0")
    assert hand.btc() == ("10", "0")


# --- what a fault makes of an order --------------------------------------------------------------


def test_a_partial_fill_leaves_the_rest_waiting(hand: Hand) -> None:
    body = {"market": MARKET, "side": "bid", "ord_type": "limit", "price": "30000", "volume": "0.8"}
    handling = Handling(share=Decimal("0.25"), held_ms=5_000)
    uuid = hand.desk.place(body, NOW_MS, handling).uuid
    assert (fills(hand, uuid), hand.order(uuid).state) == ([("30000", "0.2")], "wait")
    hand.desk.catch_up(NOW_MS + 4_999)
    assert str(hand.order(uuid).executed_volume) == "0.2"
    hand.desk.catch_up(NOW_MS + 5_000)
    assert (str(hand.order(uuid).executed_volume), hand.order(uuid).state) == ("0.8", "done")


def test_a_market_order_filled_in_part_ends_as_cancel(hand: Hand) -> None:
    body = {"market": MARKET, "side": "ask", "ord_type": "market", "volume": "1"}
    uuid = hand.desk.place(body, NOW_MS, Handling(share=Decimal("0.3"))).uuid
    order = hand.order(uuid)
    assert (order.state, str(order.executed_volume), order.locked) == ("cancel", "0.3", 0)
    assert hand.btc() == ("9.7", "0")
