"""What remains of an order when it ends (funds, fee, volume), worked out by hand."""

from decimal import Decimal

import pytest

from trading_assets.paper_exchange.account import BrokenBooks
from trading_assets.paper_exchange.refusals import Refusal
from trading_assets_tests.paper_exchange.trading_by_hand import NOW_MS, Hand

THIN = ([("29990", "100")], [("30000", "100")])


def test_a_market_bid_of_10000_at_30000_leaves_a_remainder_and_ends_as_cancel() -> None:
    hand = Hand()
    hand.book(*THIN)
    uuid = hand.place("bid", "price", price="10000")
    order = hand.order(uuid)
    # 10,000 / 30,000 = 0.3333..., cut at 8 decimals; x 30,000 = 9,999.9999; 0.0001 comes back.
    assert (order.state, str(order.executed_volume)) == ("cancel", "0.33333333")
    assert str(hand.account.trades(uuid)[0].funds) == "9999.9999"
    # fee 9,999.9999 x 0.0005 = 4.99999995; 10,000,000 - 9,999.9999 - 4.99999995.
    assert str(order.paid_fee) == "4.99999995"
    assert hand.krw() == ("9989995.00010005", "0")
    assert hand.btc() == ("0.33333333", "0")
    assert (order.locked, order.remaining_fee) == (0, 0)


def test_a_market_bid_that_fits_exactly_is_done() -> None:
    hand = Hand()
    hand.book(*THIN)
    order = hand.order(hand.place("bid", "price", price="15000"))
    # 15,000 / 30,000 = 0.5; fee 7.5.
    assert (order.state, str(order.executed_volume)) == ("done", "0.5")
    assert hand.krw() == ("9984992.5", "0")


def test_a_bid_locks_its_value_and_the_fee() -> None:
    hand = Hand()
    hand.book([("155770000", "1")], [("155774000", "1")])
    order = hand.order(hand.place("bid", "limit", price="155772000", volume="0.0001"))
    # The documented live order: 155,772,000 x 0.0001 = 15,577.2; x 0.0005 = 7.7886.
    assert (str(order.locked), str(order.reserved_fee)) == ("15584.9886", "7.7886")
    assert hand.krw() == ("9984415.0114", "15584.9886")


def test_an_ask_locks_coins_and_its_fee_is_taken_from_the_proceeds() -> None:
    hand = Hand(krw="1", coins="5.377594")
    hand.book([("1375", "10")], [("1376", "10")])
    order = hand.order(hand.place("ask", "market", volume="5.377594"))
    # The documented live order: 1,375 x 5.377594 = 7,394.19175; x 0.0005 = 3.697095875.
    assert (order.state, str(order.paid_fee), str(order.reserved_fee)) == (
        "done",
        "3.697095875",
        "0",
    )
    # 1 + 7,394.19175 - 3.697095875.
    assert hand.krw() == ("7391.494654125", "0")
    assert hand.btc() == ("0", "0")


def test_a_resting_ask_binds_its_volume_only() -> None:
    hand = Hand(coins="2")
    hand.book(*THIN)
    order = hand.order(hand.place("ask", "limit", price="31000", volume="0.5"))
    assert (str(order.locked), order.reserved_fee, order.state) == ("0.5", 0, "wait")
    assert hand.btc() == ("1.5", "0.5")


def test_spending_everything_needs_the_fee_on_top() -> None:
    hand = Hand(krw="10005")
    hand.book(*THIN)
    # 10,000 x 1.0005 = 10,005: all of it. One KRW more is refused.
    with pytest.raises(Refusal, match="insufficient_funds_bid"):
        hand.place("bid", "price", price="10001")
    assert hand.order(hand.place("bid", "price", price="10000")).executed_volume > 0


def test_more_coins_than_are_free_cannot_be_sold() -> None:
    hand = Hand(coins="1")
    hand.book(*THIN)
    hand.place("ask", "limit", price="31000", volume="0.6")
    with pytest.raises(Refusal, match="insufficient_funds_ask"):
        hand.place("ask", "market", volume="0.4000001")


def test_a_fill_below_the_limit_gives_back_the_difference_at_once() -> None:
    hand = Hand()
    hand.book([("29990", "1")], [("30000", "0.2"), ("30010", "5")])
    order = hand.order(hand.place("bid", "limit", price="30000", volume="1"))
    # 0.2 at 30,000 = 6,000, fee 3; 0.8 x 30,000 = 24,000 + 12 stay locked.
    assert (order.state, str(order.remaining_volume), str(order.locked)) == ("wait", "0.8", "24012")
    assert hand.krw() == ("9969985", "24012")
    better = Hand()
    better.book([("29000", "1")], [("29500", "1")])
    done = better.order(better.place("bid", "limit", price="30000", volume="1"))
    # Filled at 29,500: 29,500 + 14.75, although 30,015 were locked.
    assert (done.state, str(done.paid_fee), better.krw()) == (
        "done",
        "14.75",
        ("9970485.25", "0"),
    )


def test_the_average_buy_price_weighs_purchases_and_ignores_sales() -> None:
    hand = Hand()
    hand.book([("29990", "9")], [("30000", "9")])
    hand.place("bid", "limit", price="30000", volume="1")
    hand.book([("39990", "9")], [("40000", "9")])
    hand.place("bid", "limit", price="40000", volume="3")
    # (30,000 + 3 x 40,000) / 4 = 37,500; a sale changes nothing until all is sold.
    assert hand.account.balance("BTC").average_buy_price == 37_500
    hand.place("ask", "market", volume="1")
    assert hand.account.balance("BTC").average_buy_price == 37_500
    hand.place("ask", "market", volume="3")
    assert hand.account.balance("BTC").average_buy_price == 0


def test_a_change_that_would_break_the_books_is_not_written() -> None:
    hand = Hand(krw="100")
    with pytest.raises(BrokenBooks), hand.account.change() as change:
        change.deposit("KRW", Decimal(-101))
    assert hand.krw() == ("100", "0")


def test_a_cancel_gives_back_what_was_locked() -> None:
    hand = Hand()
    hand.book(*THIN)
    uuid = hand.place("bid", "limit", price="29000", volume="1")
    accepted = hand.desk.cancel(hand.order(uuid))
    # Accepted is not yet cancelled: the funds are still bound.
    assert (accepted.state, hand.krw()) == ("wait", ("9970985.5", "29014.5"))
    hand.desk.catch_up(NOW_MS)
    assert (hand.order(uuid).state, hand.krw()) == ("cancel", ("10000000", "0"))
    assert hand.kinds() == ["wait", "cancel"]
