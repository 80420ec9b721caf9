"""Money and coins are conserved to the last digit, whatever is ordered in whatever order."""

from decimal import Decimal, localcontext
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trading_assets.exchange.model import OrderState
from trading_assets.paper_exchange.refusals import Refusal
from trading_assets_tests.paper_exchange.trading_by_hand import MARKET, NOW_MS, Hand

START_KRW, START_BTC = "50000000", "700.12345678"
prices = st.integers(2_980, 3_020).map(lambda tens: str(tens * 10))
volumes = st.integers(15_000_000, 1_500_000_000).map(
    lambda units: format(Decimal(units) / 10**8, "f")
)
amounts = st.integers(490_000, 40_000_000).map(
    lambda hundredths: format(Decimal(hundredths) / 100, "f")
)
sides = st.sampled_from(["bid", "ask"])
modes = st.sampled_from(["ioc", "fok"])
smp = st.sampled_from(["cancel_maker", "cancel_taker", "reduce", "none"])


def fields(**parts: Any) -> st.SearchStrategy[dict[str, str]]:
    return st.fixed_dictionaries(
        {name: part if isinstance(part, st.SearchStrategy) else st.just(part)
         for name, part in parts.items()}
    )  # fmt: skip


limit = fields(side=sides, ord_type="limit", price=prices, volume=volumes, smp_type=smp)
orders = st.one_of(
    limit,
    limit,
    fields(side=sides, ord_type="limit", price=prices, volume=volumes, time_in_force=modes),
    fields(side=sides, ord_type="limit", price=prices, volume=volumes, time_in_force="post_only"),
    fields(side="bid", ord_type="price", price=amounts, smp_type=smp),
    fields(side="ask", ord_type="market", volume=volumes, smp_type=smp),
    fields(side="bid", ord_type="best", price=amounts, time_in_force=modes, smp_type=smp),
    fields(side="ask", ord_type="best", volume=volumes, time_in_force=modes, smp_type=smp),
)
# A book: its middle, and sizes outwards on both sides.
sizes = st.lists(volumes, min_size=1, max_size=4)
books = st.tuples(st.integers(2_985, 3_015), sizes, sizes)
steps = st.lists(
    st.one_of(
        orders.map(lambda body: ("order", body)),
        orders.map(lambda body: ("order", body)),
        books.map(lambda book: ("book", book)),
        st.integers(0, 30).map(lambda which: ("cancel", which)),
        st.just(("second", None)),
    ),
    min_size=8,
    max_size=40,
)


def set_book(hand: Hand, book: tuple[int, list[str], list[str]], now_ms: int) -> None:
    middle, bid_sizes, ask_sizes = book
    bids = [(str((middle - i) * 10), size) for i, size in enumerate(bid_sizes)]
    asks = [(str((middle + 1 + i) * 10), size) for i, size in enumerate(ask_sizes)]
    hand.book(bids, asks, now_ms)


def play(hand: Hand, actions: list[tuple[str, Any]]) -> None:
    now_ms = NOW_MS
    set_book(hand, (3_000, ["5", "50"], ["5", "50"]), now_ms)
    for kind, what in actions:
        if kind == "order":
            try:
                hand.desk.place({"market": MARKET, **what}, now_ms)
            except Refusal:
                continue
        elif kind == "book":
            set_book(hand, what, now_ms)
        elif kind == "second":
            now_ms += 1000
            hand.desk.catch_up(now_ms)
        else:
            waiting = [o for o in hand.account.open_orders() if not o.cancel_asked]
            if waiting:
                hand.desk.cancel(waiting[what % len(waiting)])


@settings(max_examples=150)
@given(steps)
def test_nothing_is_made_or_lost_by_any_orders(actions: list[tuple[str, Any]]) -> None:
    hand = Hand(krw=START_KRW, coins=START_BTC)
    play(hand, actions)
    with localcontext(prec=100):
        krw, btc = Decimal(START_KRW), Decimal(START_BTC)
        for order in hand.account.orders(list(OrderState)):
            for trade in hand.account.trades(order.uuid):
                assert trade.funds == trade.price * trade.volume
                assert trade.fee == trade.funds * Decimal("0.0005")
                sign = 1 if trade.side == "bid" else -1
                krw -= sign * trade.funds + trade.fee
                btc += sign * trade.volume
        held_krw, held_btc = hand.account.balance("KRW"), hand.account.balance("BTC")
        assert held_krw.balance + held_krw.locked == krw
        assert held_btc.balance + held_btc.locked == btc
        assert min(held_krw.balance, held_krw.locked, held_btc.balance, held_btc.locked) >= 0


@settings(max_examples=100)
@given(steps)
def test_orders_agree_with_their_trades_and_ended_ones_bind_nothing(
    actions: list[tuple[str, Any]],
) -> None:
    hand = Hand(krw=START_KRW, coins=START_BTC)
    play(hand, actions)
    with localcontext(prec=100):
        for order in hand.account.orders(list(OrderState)):
            trades = hand.account.trades(order.uuid)
            assert order.trades_count == len(trades)
            assert order.executed_volume == sum(t.volume for t in trades)
            assert order.paid_fee == sum(t.fee for t in trades)
            if order.terms.volume is not None:
                assert order.remaining_volume is not None
                parts = order.executed_volume + order.remaining_volume + order.prevented_volume
                assert parts == order.terms.volume
            if not order.is_open:
                assert not order.locked
                assert not order.remaining_fee
            if order.terms.limit is not None:
                sign = 1 if order.terms.side == "bid" else -1
                assert all(sign * t.price <= sign * order.terms.limit for t in trades)


@settings(max_examples=50)
@given(steps)
def test_cancelling_all_orders_frees_all_that_is_locked(actions: list[tuple[str, Any]]) -> None:
    hand = Hand(krw=START_KRW, coins=START_BTC)
    play(hand, actions)
    for order in hand.account.open_orders():
        hand.desk.cancel(order)
    hand.desk.catch_up(NOW_MS + 10**6)
    assert hand.account.open_orders() == ()
    assert [held.locked for held in hand.account.balances()] == [0, 0]
