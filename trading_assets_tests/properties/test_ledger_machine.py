"""Random operations on the ledger, legal and illegal, by live and stale holders.

The machine keeps a small exchange beside the ledger: what it took, what it filled. After every
step the sums of the books hold, an operation that raised has changed nothing, and no market ever
has two orders that may be alive.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy.engine import Engine

from trading_assets.database import metadata, read
from trading_assets.errors import LeaseLost, LedgerError
from trading_assets.exchange.amounts import EXACT, exact_sum
from trading_assets.exchange.model import Fill, Order, OrderState, Side
from trading_assets.rules.entry import Entry
from trading_assets.rules.exits import ExitPlan
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.trading import booking, books, halts, leases, ledger, records
from trading_assets.trading.books import Books, Outside
from trading_assets.trading.funnel import outcome_of
from trading_assets.trading.leases import Lease
from trading_assets.trading.records import Intent
from trading_assets.trading.states import IntentState, OrderReason, PositionState
from trading_assets_tests.trading.ledger_world import (
    EIGHT_SECONDS,
    NOW,
    ORIGIN,
    candidate,
    check_books,
    emptied,
    entry,
    fill,
    told,
)

MARKETS = ("KRW-BTC", "KRW-ETH")
START_KRW = Decimal(1_000_000)
markets = st.sampled_from(MARKETS)
LOST_AFTER = timedelta(seconds=60)


@dataclass
class OnExchange:
    """An order that the exchange took: its fills so far and whether it has ended."""

    intent: Intent
    fills: list[Fill] = field(default_factory=list)
    ended: bool = False

    @property
    def executed(self) -> Decimal:
        return exact_sum(f.volume for f in self.fills)

    @property
    def fee(self) -> Decimal:
        return EXACT.multiply(exact_sum(f.funds for f in self.fills), Decimal("0.0005"))

    def answer(self) -> Order:
        whole = self.executed == self.intent.volume
        state = OrderState.WAIT if not self.ended else OrderState.CANCEL
        if whole:
            state = OrderState.DONE
        return replace(told(self.intent, state, *self.fills), paid_fee=self.fee)


class LedgerMachine(RuleBasedStateMachine):
    """engine is set by the test."""

    engine: Engine

    def __init__(self) -> None:
        super().__init__()
        emptied(self.engine)
        self.now = NOW
        self.exchange: dict[str, OnExchange] = {}
        self.held: dict[str, Lease] = {}
        self.stale: list[Lease] = []
        self.signals = 0
        self.refused = 0

    # --- helpers ----------------------------------------------------------------------------

    def contents(self) -> dict[str, list[tuple[object, ...]]]:
        with read(self.engine) as connection:
            return {
                t.name: sorted((tuple(r) for r in connection.execute(sa.select(t))), key=repr)
                for t in metadata.sorted_tables
            }

    def attempt(self, operation: Callable[[], object]) -> None:
        """An operation that may be illegal; then it must have changed nothing."""
        before = self.contents()
        try:
            operation()
        except LedgerError:
            self.refused += 1
            assert self.contents() == before

    def intents(self, market: str) -> tuple[Intent, ...]:
        with read(self.engine) as connection:
            return tuple(
                o
                for p in records.all_positions(connection)
                for o in records.intents_of(connection, p.id)
                if o.market == market
            )

    def totals(self, market: str) -> Outside:
        """The account: what it had at first, moved by every fill that happened."""
        sign = {Side.BID: Decimal(-1), Side.ASK: Decimal(1)}
        quote = exact_sum(
            [
                START_KRW,
                *(EXACT.multiply(sign[f.side], f.funds) for o in self.orders() for f in o.fills),
                *(EXACT.minus(o.fee) for o in self.orders()),
            ]
        )
        base = exact_sum(
            EXACT.multiply(EXACT.minus(sign[f.side]), f.volume)
            for o in self.orders()
            for f in o.fills
            if o.intent.market == market
        )
        return Outside(quote, base)

    def orders(self) -> list[OnExchange]:
        return list(self.exchange.values())

    def outside(self, market: str) -> Outside:
        with read(self.engine) as connection:
            return books.outside(connection, market, self.totals(market))

    @initialize()
    def everyone_takes_a_lease(self) -> None:
        for market in MARKETS:
            self.take_lease(market, "a")

    # --- time and leases --------------------------------------------------------------------

    @rule(seconds=st.integers(min_value=0, max_value=90))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(market=markets, holder=st.sampled_from(["a", "b"]))
    def take_a_lease(self, market: str, holder: str) -> None:
        self.take_lease(market, holder)

    def take_lease(self, market: str, holder: str) -> None:
        lease = leases.take(self.engine, market, holder, now=self.now, duration=EIGHT_SECONDS)
        if lease is None:
            return
        if market in self.held:
            assert lease.token > self.held[market].token
            self.stale.append(self.held[market])
        self.held[market] = lease

    @precondition(lambda self: self.stale)
    @rule(data=st.data())
    def a_stale_holder_wakes_up(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(self.stale))
        before = self.contents()
        for order in self.intents(lease.subject):
            for change in (
                lambda name=order.identifier: booking.mark_sent(self.engine, lease, name, self.now),
                lambda o=order: booking.book(
                    self.engine, lease, told(o, OrderState.CANCEL), self.now
                ),
            ):
                with pytest.raises(LeaseLost):
                    change()
        with pytest.raises(LeaseLost):
            self.enter(lease, entry())
        assert self.contents() == before

    # --- the trade --------------------------------------------------------------------------

    def enter(self, lease: Lease, decision: Entry | Refusal) -> Intent | Refusal:
        def decide(_books: Books) -> Entry | Refusal:
            return decision

        return ledger.enter(
            self.engine,
            lease,
            candidate(self.signals, lease.subject),
            ORIGIN,
            decide,
            prefix="ta",
            now=self.now,
            bids={},
            outside=self.outside(lease.subject),
        )

    @rule(
        market=markets,
        volume=st.integers(min_value=1, max_value=30),
        luck=st.lists(st.booleans(), min_size=1, max_size=10),
    )
    def the_protocol_goes_on(self, market: str, volume: int, luck: list[bool]) -> None:
        """Steps that come next in a trade done right, so that whole trades happen too."""
        for arrives in luck:
            self.protocol_step(market, volume, arrives)

    def protocol_step(self, market: str, volume: int, arrives: bool) -> None:
        with read(self.engine) as connection:
            live = records.live_intents(connection, market)
            position = next(iter(records.live_positions(connection, market)), None)
        lease = self.held[market]
        if live:
            self.next_step_of(lease, live[0], arrives)
        elif position is None:
            self.signals += 1
            self.attempt(lambda: self.enter(lease, entry(str(volume))))
        elif position.state is PositionState.PLANNED:
            ledger.give_up(self.engine, lease, position.id, now=self.now, detail="no fill")
        else:
            reason = OrderReason.STOP_LOSS if arrives else OrderReason.TIME_LIMIT
            ledger.intend_exit(
                self.engine,
                lease,
                position.id,
                reason,
                prefix="ta",
                now=self.now,
                outside=self.outside(market),
            )

    def next_step_of(self, lease: Lease, order: Intent, arrives: bool) -> None:
        name, taken = order.identifier, self.exchange.get(order.identifier)
        if order.state is IntentState.INTENDED:
            self.send(lease, order, arrives)
        elif taken is not None:
            self.fill_some(taken, 50, "1000", ends=arrives)
            booking.book(self.engine, lease, taken.answer(), self.now)
        elif order.state is IntentState.SENT:
            booking.mark_unknown(self.engine, lease, name, now=self.now, detail="timeout")
        elif arrives:
            self.send(lease, order, arrives)
        else:
            self.now += LOST_AFTER
            # Refused while a fill of another market is not booked: the account moved unexplained.
            self.attempt(lambda: self.burn(lease, order))

    def burn(self, lease: Lease, order: Intent) -> None:
        booking.mark_burnt(
            self.engine,
            lease,
            order.identifier,
            now=self.now,
            lost_after=LOST_AFTER,
            outside=self.outside(order.market),
            detail="in no list",
        )

    @rule(market=markets, volume=st.integers(min_value=1, max_value=30), same=st.booleans())
    def a_candidate_is_bought(self, market: str, volume: int, same: bool) -> None:
        self.signals += not same
        lease = self.held[market]
        self.attempt(lambda: self.enter(lease, entry(str(volume))))

    @rule(market=markets)
    def a_candidate_is_refused(self, market: str) -> None:
        self.signals += 1
        self.attempt(lambda: self.enter(self.held[market], Refusal(FunnelCode.PRICE_OLD, "old")))

    @rule(market=markets, reason=st.sampled_from(OrderReason), data=st.data())
    def an_exit_is_wanted(self, market: str, reason: OrderReason, data: st.DataObject) -> None:
        with read(self.engine) as connection:
            every = [p for p in records.all_positions(connection) if p.market == market]
        if every:
            position = data.draw(st.sampled_from(every))
            self.attempt(
                lambda: ledger.intend_exit(
                    self.engine,
                    self.held[market],
                    position.id,
                    reason,
                    prefix="ta",
                    now=self.now,
                    outside=self.outside(market),
                )
            )

    @rule(
        market=markets,
        step=st.sampled_from(["arm", "give up", "dust"]),
        data=st.data(),
    )
    def a_position_moves_on(self, market: str, step: str, data: st.DataObject) -> None:
        with read(self.engine) as connection:
            every = [p for p in records.all_positions(connection) if p.market == market]
        if not every:
            return
        lease, position = self.held[market], data.draw(st.sampled_from(every))
        if step == "arm":
            plan = ExitPlan(Decimal(980), Decimal(1020), NOW)
            self.attempt(lambda: ledger.arm(self.engine, lease, position.id, plan, self.now))
        elif step == "give up":
            self.attempt(
                lambda: ledger.give_up(
                    self.engine, lease, position.id, now=self.now, detail="random"
                )
            )
        else:
            self.attempt(
                lambda: ledger.close_as_dust(
                    self.engine,
                    lease,
                    position.id,
                    OrderReason.TIME_LIMIT,
                    bid=Decimal(1000),
                    min_notional=Decimal(5000),
                    now=self.now,
                )
            )

    # --- the order --------------------------------------------------------------------------

    @rule(
        market=markets,
        step=st.sampled_from(["send", "send", "send", "unknown", "reject", "drop", "burn"]),
        arrives=st.booleans(),
        data=st.data(),
    )
    def an_order_moves_on(self, market: str, step: str, arrives: bool, data: st.DataObject) -> None:
        every = self.intents(market)
        if not every:
            return
        lease, order = self.held[market], data.draw(st.sampled_from(every))
        name = order.identifier
        if step == "send":
            self.attempt(lambda: self.send(lease, order, arrives))
        elif step == "unknown":
            self.attempt(
                lambda: booking.mark_unknown(self.engine, lease, name, now=self.now, detail="?")
            )
        elif step == "reject" and name not in self.exchange:
            self.attempt(
                lambda: booking.mark_rejected(
                    self.engine, lease, name, now=self.now, detail="by name"
                )
            )
        elif step == "drop":
            self.attempt(
                lambda: booking.mark_dropped(self.engine, lease, name, now=self.now, detail="")
            )
        elif step == "burn" and name not in self.exchange:
            # Whoever burns an order has looked: it is in no list of the exchange.
            self.attempt(lambda: self.burn(lease, order))

    def send(self, lease: Lease, order: Intent, arrives: bool) -> None:
        """By the protocol: write, then post. The exchange takes an identifier once."""
        sent = booking.mark_sent(self.engine, lease, order.identifier, self.now)
        if arrives and order.identifier not in self.exchange:
            self.exchange[order.identifier] = OnExchange(sent)

    @precondition(lambda self: any(not o.ended for o in self.exchange.values()))
    @rule(data=st.data(), units=st.integers(min_value=1, max_value=300), ends=st.booleans())
    def the_exchange_fills(self, data: st.DataObject, units: int, ends: bool) -> None:
        order = data.draw(st.sampled_from([o for o in self.orders() if not o.ended]))
        price = data.draw(st.sampled_from(["970.5", "1000", "1033"]))
        self.fill_some(order, units, price, ends=ends)

    def fill_some(self, order: OnExchange, units: int, price: str, *, ends: bool) -> None:
        """A fill of at most so many tenths of a coin; the order ends when told to or when full."""
        volume = min(order.intent.volume - order.executed, Decimal(units) / 10)
        if volume and not order.ended:
            name = f"{order.intent.identifier}-{len(order.fills)}"
            order.fills.append(fill(order.intent, name, str(volume), price))
        order.ended = ends or order.ended or order.executed == order.intent.volume

    @precondition(lambda self: self.exchange)
    @rule(data=st.data())
    def an_answer_is_booked(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.orders()))
        lease = self.held[order.intent.market]
        self.attempt(lambda: booking.book(self.engine, lease, order.answer(), self.now))

    # --- halts ------------------------------------------------------------------------------

    @rule(on=st.integers(min_value=0, max_value=5))
    def a_person_halts_or_resumes(self, on: int) -> None:
        if on == 1:
            halts.halt(self.engine, reason="by_hand", detail="", now=self.now)
        else:
            books.resume(self.engine, by="me", now=self.now, bids={})

    # --- what always holds ------------------------------------------------------------------

    @invariant()
    def the_books_add_up(self) -> None:
        with read(self.engine) as connection:
            check_books(connection)

    @invariant()
    def no_market_has_two_orders_that_may_be_alive(self) -> None:
        for market in MARKETS:
            alive = [o for o in self.orders() if o.intent.market == market and not o.ended]
            assert len(alive) <= 1

    @invariant()
    def an_order_that_the_exchange_has_is_never_given_up(self) -> None:
        with read(self.engine) as connection:
            for name in self.exchange:
                state = records.intent(connection, name).state
                assert state not in (
                    IntentState.INTENDED,
                    IntentState.DROPPED,
                    IntentState.REJECTED,
                    IntentState.BURNT,
                )

    @invariant()
    def every_candidate_ends_at_most_once_and_rightly(self) -> None:
        with read(self.engine) as connection:
            for p in records.all_positions(connection):
                outcome = outcome_of(connection, p.signal_id)
                code = None if outcome is None else outcome.code
                if p.state is PositionState.PLANNED:
                    assert code is None
                elif p.state is PositionState.VOID:
                    assert code not in (None, FunnelCode.TRADED)
                else:
                    assert code is FunnelCode.TRADED

    def teardown(self) -> None:
        """When everything is booked, the ledger explains the account to the last digit."""
        for order in self.orders():
            order.ended = True
        for market in MARKETS:
            self.now += timedelta(hours=1)
            lease = leases.take(self.engine, market, "last", now=self.now, duration=EIGHT_SECONDS)
            assert lease is not None
            for order in self.orders():
                if order.intent.market == market:
                    booking.book(self.engine, lease, order.answer(), self.now)
        with read(self.engine) as connection:
            check_books(connection)
            for market in MARKETS:
                rest = books.outside(connection, market, self.totals(market))
                assert rest == Outside(START_KRW, Decimal(0))


def test_the_ledger_holds_under_random_operations(ledger_engine: Engine) -> None:
    machine = type("Machine", (LedgerMachine,), {"engine": ledger_engine})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=25, stateful_step_count=40, deadline=None)
    )


@pytest.mark.deep
@pytest.mark.timeout(1800)  # 40,000 steps: five minutes of one idle core
def test_the_ledger_holds_under_many_random_operations(ledger_engine: Engine) -> None:
    machine = type("Machine", (LedgerMachine,), {"engine": ledger_engine})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=500, stateful_step_count=80, deadline=None)
    )


def test_the_machine_can_reach_a_closed_trade(ledger_engine: Engine) -> None:
    """Guards the machine itself: its rules do lead through a whole trade, not only to refusals."""
    machine = type("Machine", (LedgerMachine,), {"engine": ledger_engine})()
    machine.everyone_takes_a_lease()
    lease = machine.held["KRW-BTC"]
    machine.signals = 1
    bought = machine.enter(lease, entry("10"))
    machine.send(lease, bought, arrives=True)
    on_exchange = machine.exchange[bought.identifier]
    on_exchange.fills.append(fill(on_exchange.intent, "b", "10"))
    on_exchange.ended = True
    booking.book(machine.engine, lease, on_exchange.answer(), machine.now)
    sale = ledger.intend_exit(
        machine.engine,
        lease,
        bought.position_id,
        OrderReason.STOP_LOSS,
        prefix="ta",
        now=machine.now,
        outside=machine.outside("KRW-BTC"),
    )
    machine.send(lease, sale, arrives=True)
    sold = machine.exchange[sale.identifier]
    sold.fills.append(fill(sold.intent, "s", "10", "980"))
    sold.ended = True
    booked = booking.book(machine.engine, lease, sold.answer(), machine.now)
    assert booked.position.state is PositionState.CLOSED
    machine.the_books_add_up()
    machine.every_candidate_ends_at_most_once_and_rightly()
    machine.teardown()
