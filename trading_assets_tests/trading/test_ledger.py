"""The ledger on SQLite and on PostgreSQL: positions open and close by fills, and only once."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import alerts, orders, positions, read, write
from trading_assets.errors import (
    IllegalStateChange,
    LeaseLost,
    LedgerError,
    LedgerMismatch,
)
from trading_assets.exchange.model import OrderState, OrderType, Side, TimeInForce
from trading_assets.rules.exits import ExitPlan
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.rules.limits import PastExit
from trading_assets.trading import booking, books, funnel, halts, leases, ledger, records
from trading_assets.trading.books import Books, Outside
from trading_assets.trading.leases import Lease
from trading_assets.trading.records import Position
from trading_assets.trading.states import IntentState, Leg, OrderReason, PositionState
from trading_assets_tests.trading.ledger_world import (
    EIGHT_SECONDS,
    MINUTE,
    NOW,
    ORIGIN,
    UNTOUCHED,
    as_wait,
    bought,
    candidate,
    check_books,
    enter,
    entered,
    entry,
    exit_of,
    fill,
    lease_of,
    looked_up,
    position_now,
    sold,
    told,
)

PLAN = ExitPlan(Decimal(980), Decimal(1020), NOW + timedelta(minutes=30))


def funnel_code(engine: Engine, signal_id: int = 1) -> FunnelCode | None:
    with read(engine) as connection:
        outcome = funnel.outcome_of(connection, signal_id)
    return None if outcome is None else outcome.code


# --- entries --------------------------------------------------------------------------------


def test_an_entry_is_written_before_it_is_sent(books_engine: Engine) -> None:
    intent = entered(books_engine, lease_of(books_engine))
    assert intent.state is IntentState.INTENDED
    assert (intent.side, intent.order_type) == (Side.BID, OrderType.LIMIT)
    assert intent.time_in_force is TimeInForce.IOC
    assert (intent.leg, intent.attempt, intent.sends) == (Leg.ENTRY, 1, 0)
    assert looked_up(books_engine, intent) == intent
    assert position_now(books_engine, intent.position_id).state is PositionState.PLANNED
    assert funnel_code(books_engine) is None


def test_a_refused_candidate_has_its_funnel_row_and_no_position(books_engine: Engine) -> None:
    refusal = Refusal(FunnelCode.ACCOUNT_TOO_SMALL, "5 % is too little", Decimal(107_160))
    assert enter(books_engine, lease_of(books_engine), refusal) == refusal
    with read(books_engine) as connection:
        outcome = funnel.outcome_of(connection, 1)
        assert records.all_positions(connection) == ()
    assert outcome is not None
    assert outcome.code is refusal.code
    assert outcome.needed_krw == 107_160


def test_a_candidate_is_decided_once_whoever_asks_again(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    refusal = Refusal(FunnelCode.PRICE_OLD, "6 s")
    enter(books_engine, lease, refusal)
    assert enter(books_engine, lease, entry()) == refusal
    first = enter(books_engine, lease, entry(), signal_id=2)
    assert enter(books_engine, lease, refusal, signal_id=2) == first


def test_the_decision_sees_the_books_as_they_are_when_it_is_written(books_engine: Engine) -> None:
    bought(books_engine, lease_of(books_engine, "KRW-ETH"), volume="20")
    seen: list[Books] = []

    def look(present: Books) -> Refusal:
        seen.append(present)
        return Refusal(FunnelCode.MAX_POSITIONS, "looked only")

    ledger.enter(
        books_engine,
        lease_of(books_engine),
        candidate(2),
        ORIGIN,
        look,
        prefix="ta",
        now=NOW,
        bids={"KRW-ETH": Decimal(1100)},
        outside=UNTOUCHED,
    )
    # 20 coins at 1,100; bought for 20,000 with a fee of 5.
    assert seen[0].exposure == 22_000
    assert seen[0].mark.pnl == 1_995
    assert seen[0].live_positions == 1
    assert not seen[0].position_open


def test_an_entry_under_way_counts_as_invested_and_its_cash_as_reserved(
    books_engine: Engine,
) -> None:
    entered(books_engine, lease_of(books_engine, "KRW-ETH"), signal_id=2)
    with read(books_engine) as connection:
        present = books.read_books(connection, "KRW-BTC", now=NOW, bids={})
    assert present.exposure == 10_000
    assert present.reserved == 10_000
    view = present.bot_view(not_enabled=None, missing=None, available=Decimal(15_000))
    assert view.available == 5_000


@pytest.mark.parametrize("second", ["same market", "halted", "other market's lease"])
def test_an_entry_that_breaks_a_rule_is_not_written_whatever_was_decided(
    books_engine: Engine, second: str
) -> None:
    lease = lease_of(books_engine)
    if second == "same market":
        entered(books_engine, lease)
        says = "already has a position or an order"
    elif second == "halted":
        halts.halt(books_engine, reason="by_hand", detail="away", now=NOW)
        says = "no entry in KRW-BTC while halted: by_hand: away"
    else:
        says = "a lease of KRW-BTC cannot enter KRW-ETH"
    with pytest.raises(LedgerError, match=says):
        ledger.enter(
            books_engine,
            lease,
            candidate(2, "KRW-ETH" if "other" in second else "KRW-BTC"),
            ORIGIN,
            lambda _books: entry(),
            prefix="ta",
            now=NOW,
            bids={},
            outside=UNTOUCHED,
        )
    assert funnel_code(books_engine, 2) is None
    with read(books_engine) as connection:
        assert records.position_of_signal(connection, 2) is None


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("dropped", FunnelCode.STOPPED),
        ("rejected", FunnelCode.REJECTED),
        ("not filled", FunnelCode.NOT_FILLED),
        ("burnt", FunnelCode.ORDER_LOST),
    ],
)
def test_an_entry_without_a_fill_leaves_a_void_position_and_its_reason(
    books_engine: Engine, ending: str, code: FunnelCode
) -> None:
    lease = lease_of(books_engine)
    intent = entered(books_engine, lease)
    name = intent.identifier
    with pytest.raises(LedgerError, match="is intended, not ended"):
        ledger.give_up(books_engine, lease, intent.position_id, now=NOW, detail="too early")
    if ending == "dropped":
        booking.mark_dropped(books_engine, lease, name, now=NOW, detail="terminated")
    else:
        booking.mark_sent(books_engine, lease, name, NOW)
    if ending == "rejected":
        booking.mark_rejected(books_engine, lease, name, now=NOW, detail="invalid_price_bid")
    elif ending == "not filled":
        booking.book(books_engine, lease, told(intent, OrderState.CANCEL), NOW)
    elif ending == "burnt":
        booking.mark_unknown(books_engine, lease, name, now=NOW, detail="timeout")
        booking.mark_burnt(
            books_engine,
            lease,
            name,
            now=NOW + MINUTE,
            lost_after=MINUTE,
            outside=UNTOUCHED,
            detail="in no list",
        )
    refusal = ledger.give_up(books_engine, lease, intent.position_id, now=NOW, detail=ending)
    assert refusal.code is code
    assert funnel_code(books_engine) is code
    assert position_now(books_engine, intent.position_id).state is PositionState.VOID
    with pytest.raises(IllegalStateChange, match="cannot go from void to void"):
        ledger.give_up(books_engine, lease, intent.position_id, now=NOW, detail="again")


# --- fills ----------------------------------------------------------------------------------


def test_the_first_fill_opens_the_position_and_ends_the_candidate(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    taken = booking.book(books_engine, lease, as_wait(intent), NOW)
    assert taken.intent.state is IntentState.OPEN
    assert taken.position.state is PositionState.PLANNED
    part = told(intent, OrderState.WAIT, fill(intent, "a", "4", "990"), fee="1.98")
    assert booking.book(books_engine, lease, part, NOW).position.state is PositionState.OPEN
    assert funnel_code(books_engine) is FunnelCode.TRADED


def test_average_price_is_funds_over_volume_and_the_fee_is_the_orders(
    books_engine: Engine,
) -> None:
    lease = lease_of(books_engine)
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    fills = (fill(intent, "a", "4", "990"), fill(intent, "b", "2.5", "1000"))
    booked = booking.book(
        books_engine, lease, told(intent, OrderState.CANCEL, *fills, fee="3.23"), NOW
    )
    # 4 x 990 + 2.5 x 1,000 = 3,960 + 2,500 = 6,460 KRW for 6.5 coins.
    assert booked.position.bought_funds == 6_460
    assert booked.position.held_volume == Decimal("6.5")
    assert booked.position.average_price == Decimal(6460) / Decimal("6.5")
    assert booked.position.fees == Decimal("3.23")
    # At a bid of 1,000: 6,500 - 6,460 - 3.23.
    assert booked.position.pnl(Decimal(1000)) == Decimal("36.77")
    assert booked.intent.state is IntentState.CLOSED


def test_the_same_answer_again_books_nothing_twice(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    one = fill(intent, "a", "4")
    part = told(intent, OrderState.WAIT, one, one, fee="2", executed="4")
    first = booking.book(books_engine, lease, part, NOW)
    assert [f.uuid for f in first.new_fills] == ["a"]
    again = booking.book(books_engine, lease, part, NOW)
    assert again.new_fills == ()
    assert again.position == first.position
    assert again.intent == first.intent


def test_an_order_stays_open_until_its_last_fill_is_told(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    lagging = told(intent, OrderState.DONE, fill(intent, "a", "4"), executed="10", fee="5")
    assert booking.book(books_engine, lease, lagging, NOW).intent.state is IntentState.OPEN
    whole = told(intent, OrderState.DONE, fill(intent, "a", "4"), fill(intent, "b", "6"), fee="5")
    booked = booking.book(books_engine, lease, whole, NOW)
    assert booked.intent.state is IntentState.CLOSED
    assert [f.uuid for f in booked.new_fills] == ["b"]
    assert booked.position.held_volume == 10


def test_an_older_answer_takes_nothing_back(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease)
    with read(books_engine) as connection:
        closed = records.intents_of(connection, position.id)[0]
    late = booking.book(books_engine, lease, as_wait(closed), NOW)
    assert late.intent == closed
    assert late.position == position


def test_a_position_closes_with_its_last_sale(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease)
    first = exit_of(books_engine, lease, position)
    assert (first.side, first.order_type, first.price) == (Side.ASK, OrderType.MARKET, None)
    assert first.volume == 10
    half = told(first, OrderState.CANCEL, fill(first, "s1", "4", "1020"), fee="2.04")
    assert booking.book(books_engine, lease, half, NOW).position.state is PositionState.OPEN
    second = exit_of(books_engine, lease, position, OrderReason.STOP_LOSS)
    assert second.attempt == 2
    assert second.volume == 6
    rest = told(second, OrderState.DONE, fill(second, "s2", "6", "980"), fee="2.94")
    closed = booking.book(books_engine, lease, rest, NOW + MINUTE).position
    assert closed.state is PositionState.CLOSED
    assert closed.closed_at == NOW + MINUTE
    # 4 x 1,020 + 6 x 980 - 10,000 - (5 + 2.04 + 2.94) = 9,960 - 10,000 - 9.98.
    assert closed.pnl(None) == Decimal("-49.98")
    assert closed.exit_reason is OrderReason.STOP_LOSS


def test_a_stop_stays_a_stop_when_the_rest_is_sold_for_another_reason(
    books_engine: Engine,
) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease)
    stop = exit_of(books_engine, lease, position, OrderReason.STOP_LOSS)
    half = told(stop, OrderState.CANCEL, fill(stop, "s1", "5", "980"))
    booking.book(books_engine, lease, half, NOW)
    assert sold(books_engine, lease, position).exit_reason is OrderReason.STOP_LOSS
    with read(books_engine) as connection:
        assert [e.was_stop for e in records.past_exits(connection, NOW - MINUTE)] == [True]


def test_past_exits_are_read_without_the_rest_of_their_positions(books_engine: Engine) -> None:
    """They are read with the write lock in hand; whole positions took four times as long."""
    lease = lease_of(books_engine)
    sold(books_engine, lease, bought(books_engine, lease), OrderReason.STOP_LOSS)
    sold(books_engine, lease, bought(books_engine, lease, signal_id=2), now=NOW + MINUTE)
    said: list[str] = []

    @sa.event.listens_for(books_engine, "before_cursor_execute")
    def hear(*call: object) -> None:
        said.append(str(call[2]))

    with read(books_engine) as connection:
        both = records.past_exits(connection, NOW)
        later = records.past_exits(connection, NOW + timedelta(microseconds=1))
    sa.event.remove(books_engine, "before_cursor_execute", hear)
    stop, other = PastExit("KRW-BTC", NOW, True), PastExit("KRW-BTC", NOW + MINUTE, False)
    assert (both, later) == ((stop, other), (other,))
    assert said
    assert not any("bought_volume" in statement for statement in said)


def test_while_an_exit_may_exist_it_is_the_only_one(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease)
    first = exit_of(books_engine, lease, position, OrderReason.TAKE_PROFIT)
    unknown = booking.mark_unknown(books_engine, lease, first.identifier, now=NOW, detail="timeout")
    again = ledger.intend_exit(
        books_engine, lease, position.id, OrderReason.STOP_LOSS, prefix="ta", now=NOW + MINUTE
    )
    assert again == unknown


def test_an_exit_waits_for_the_entry_to_end(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    part = told(intent, OrderState.WAIT, fill(intent, "a", "4"))
    position = booking.book(books_engine, lease, part, NOW).position
    with pytest.raises(LedgerError, match="is open"):
        exit_of(books_engine, lease, position)
    with pytest.raises(LedgerError, match="not ended"):
        ledger.arm(books_engine, lease, position.id, PLAN, NOW)


def test_nothing_is_sold_that_is_not_held(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    planned = position_now(books_engine, entered(books_engine, lease).position_id)
    with pytest.raises(LedgerError, match="is intended"):
        exit_of(books_engine, lease, planned)
    with pytest.raises(LedgerError, match="an exit needs a reason of its own"):
        exit_of(books_engine, lease, planned, OrderReason.ENTRY)


def test_a_part_of_what_is_held_may_be_sold_and_no_more(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease)

    def exit_with(volume: str) -> records.Intent:
        return ledger.intend_exit(
            books_engine,
            lease,
            position.id,
            OrderReason.STOP_LOSS,
            prefix="ta",
            now=NOW,
            volume=Decimal(volume),
        )

    with pytest.raises(LedgerError, match=r"holds 10, not 10\.00000001"):
        exit_with("10.00000001")
    assert exit_with("9.5").volume == Decimal("9.5")


def test_a_closed_position_has_nothing_to_sell(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    closed = sold(books_engine, lease, bought(books_engine, lease))
    with pytest.raises(LedgerError, match="there is nothing to sell"):
        exit_of(books_engine, lease, closed)


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ("more than ordered", "has 11 executed"),
        ("fills beyond the executed volume", "fills of 6"),
        ("another uuid", "has uuid"),
        ("another market", "has market KRW-BTC, the exchange says KRW-ETH"),
        ("another side", "has side bid, the exchange says ask"),
        ("a fill that changed", "is booked as"),
        ("a fill of the other side", "is a ask"),
        ("no identifier", "it is not ours"),
    ],
)
def test_an_answer_that_contradicts_the_books_changes_nothing(
    books_engine: Engine, lie: str, says: str
) -> None:
    lease = lease_of(books_engine)
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    four = fill(intent, "a", "4")
    true = told(intent, OrderState.WAIT, four, fee="2")
    booking.book(books_engine, lease, true, NOW)
    before = position_now(books_engine, intent.position_id)
    false = {
        "more than ordered": replace(true, executed_volume=Decimal(11)),
        "fills beyond the executed volume": replace(true, fills=(four, fill(intent, "b", "2"))),
        "another uuid": replace(true, uuid="other"),
        "another market": replace(true, market="KRW-ETH"),
        "another side": replace(true, side=Side.ASK),
        "a fill that changed": replace(true, fills=(fill(intent, "a", "4", "999"),)),
        "a fill of the other side": replace(true, fills=(replace(four, side=Side.ASK),)),
        "no identifier": replace(true, identifier=None),
    }[lie]
    with pytest.raises(LedgerMismatch, match=says):
        booking.book(books_engine, lease, false, NOW)
    assert position_now(books_engine, intent.position_id) == before


def test_a_closed_order_cannot_grow(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    four = fill(intent, "a", "4")
    booking.book(books_engine, lease, told(intent, OrderState.CANCEL, four), NOW)
    more = told(intent, OrderState.CANCEL, four, fill(intent, "b", "1"))
    with pytest.raises(LedgerMismatch, match="ended with 4 executed, the exchange says 5"):
        booking.book(books_engine, lease, more, NOW)


def test_a_fill_belongs_to_one_order(books_engine: Engine) -> None:
    bought(books_engine, lease_of(books_engine))
    lease = lease_of(books_engine, "KRW-ETH")
    intent = entered(books_engine, lease, signal_id=2)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    stolen = told(intent, OrderState.DONE, fill(intent, "buy-1", "10"))
    with pytest.raises(LedgerMismatch, match="is booked under"):
        booking.book(books_engine, lease, stolen, NOW)


# --- lost orders ----------------------------------------------------------------------------


def unknown_entry(engine: Engine, lease: leases.Lease) -> records.Intent:
    intent = entered(engine, lease)
    booking.mark_sent(engine, lease, intent.identifier, NOW)
    return booking.mark_unknown(engine, lease, intent.identifier, now=NOW, detail="timeout")


def test_an_unknown_order_may_be_sent_again_under_its_name(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    unknown = unknown_entry(books_engine, lease)
    again = booking.mark_sent(books_engine, lease, unknown.identifier, NOW + MINUTE)
    assert (again.state, again.sends) == (IntentState.UNKNOWN, 2)
    assert again.request == unknown.request
    still = booking.mark_unknown(
        books_engine, lease, unknown.identifier, now=NOW + 2 * MINUTE, detail="timeout"
    )
    # The last sending may be the one that was taken and is shown late: it is lost from then on.
    assert still.unknown_since == NOW + MINUTE


def test_a_refusal_of_a_resent_order_proves_nothing(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    unknown = unknown_entry(books_engine, lease)
    with pytest.raises(IllegalStateChange, match="cannot go from unknown to rejected"):
        booking.mark_rejected(
            books_engine,
            lease,
            unknown.identifier,
            now=NOW,
            detail="insufficient_funds_bid",
        )


@pytest.mark.parametrize(
    ("seconds", "quote", "says"),
    [
        (59, UNTOUCHED.quote, "counts as lost only after"),
        (60, UNTOUCHED.quote - Decimal("0.00000001"), "is not proven lost"),
    ],
)
def test_an_order_is_not_lost_too_early_nor_while_money_is_missing(
    books_engine: Engine, seconds: int, quote: Decimal, says: str
) -> None:
    lease = lease_of(books_engine)
    unknown = unknown_entry(books_engine, lease)
    with pytest.raises(LedgerError, match=says):
        booking.mark_burnt(
            books_engine,
            lease,
            unknown.identifier,
            now=NOW + timedelta(seconds=seconds),
            lost_after=MINUTE,
            outside=Outside(quote, UNTOUCHED.base),
            detail="",
        )
    assert looked_up(books_engine, unknown).state is IntentState.UNKNOWN


def test_trades_of_other_markets_do_not_hide_that_an_order_is_lost(books_engine: Engine) -> None:
    totals = Outside(Decimal(1_000_000), Decimal(0))
    lease = lease_of(books_engine)
    with read(books_engine) as connection:
        assert books.outside(connection, "KRW-BTC", totals) == UNTOUCHED
    unknown = unknown_entry(books_engine, lease)
    other = lease_of(books_engine, "KRW-ETH")
    sold(books_engine, other, bought(books_engine, other, signal_id=2))
    # ETH brought 10,200 - 10,000 - 5 - 5 = 190 KRW.
    with read(books_engine) as connection:
        now_outside = books.outside(connection, "KRW-BTC", Outside(Decimal(1_000_190), Decimal(0)))
    assert now_outside == UNTOUCHED
    burnt = booking.mark_burnt(
        books_engine,
        lease,
        unknown.identifier,
        now=NOW + MINUTE,
        lost_after=MINUTE,
        outside=now_outside,
        detail="in no list",
    )
    assert burnt.state is IntentState.BURNT


def test_a_lost_order_that_turns_up_after_all_is_booked(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    unknown = unknown_entry(books_engine, lease)
    booking.mark_burnt(
        books_engine,
        lease,
        unknown.identifier,
        now=NOW + MINUTE,
        lost_after=MINUTE,
        outside=UNTOUCHED,
        detail="in no list",
    )
    ledger.give_up(books_engine, lease, unknown.position_id, now=NOW, detail="lost")
    assert funnel_code(books_engine) is FunnelCode.ORDER_LOST
    late = told(unknown, OrderState.DONE, fill(unknown, "late", "10"))
    assert booking.book(books_engine, lease, late, NOW).position.state is PositionState.OPEN
    assert funnel_code(books_engine) is FunnelCode.TRADED


def test_a_late_fill_beside_a_new_position_is_for_a_person(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    first = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, first.identifier, NOW)
    booking.mark_rejected(books_engine, lease, first.identifier, now=NOW, detail="bad_request")
    ledger.give_up(books_engine, lease, first.position_id, now=NOW, detail="bad_request")
    bought(books_engine, lease, signal_id=2)
    late = told(first, OrderState.DONE, fill(first, "late", "10"))
    with pytest.raises(LedgerMismatch, match="was filled while"):
        booking.book(books_engine, lease, late, NOW)


# --- plan and dust --------------------------------------------------------------------------


def test_a_position_is_armed_once(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease)
    assert position.plan is None
    assert ledger.arm(books_engine, lease, position.id, PLAN, NOW).plan == PLAN
    assert ledger.arm(books_engine, lease, position.id, PLAN, NOW).plan == PLAN
    lower = replace(PLAN, stop_price=Decimal(900))
    with pytest.raises(LedgerError, match="is armed with"):
        ledger.arm(books_engine, lease, position.id, lower, NOW)
    assert position_now(books_engine, position.id).plan == PLAN


def dusted(engine: Engine, lease: Lease, position: str, reason: OrderReason) -> Position:
    """The position, closed as dust at a bid of 1,000 KRW."""
    least = Decimal(5000)
    return ledger.close_as_dust(
        engine, lease, position, reason, bid=Decimal(1000), min_notional=least, now=NOW
    )


def test_dust_that_was_left_at_the_stop_counts_as_a_stop(books_engine: Engine) -> None:
    """Nothing was sold of it, and the market rests, and the streak grows, as after any stop."""
    lease = lease_of(books_engine)
    position = bought(books_engine, lease, volume="4.9", fee="0")
    dusted(books_engine, lease, position.id, OrderReason.STOP_LOSS)
    with read(books_engine) as connection:
        assert records.past_exits(connection, NOW) == (PastExit("KRW-BTC", NOW, was_stop=True),)


def test_dust_after_a_partial_stop_stays_a_stop(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease, volume="8", fee="0")
    sale = exit_of(books_engine, lease, position, OrderReason.STOP_LOSS)
    part = fill(sale, "a part", "3.5", "980")
    booking.book(books_engine, lease, told(sale, OrderState.CANCEL, part), NOW)
    closed = dusted(books_engine, lease, position.id, OrderReason.TIME_LIMIT)
    assert closed.exit_reason is OrderReason.STOP_LOSS


def test_dust_is_told_to_a_person(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease, volume="4.9", fee="0")
    dusted(books_engine, lease, position.id, OrderReason.STOP_LOSS)
    with read(books_engine) as connection:
        (alert,) = connection.execute(sa.select(alerts)).all()
    assert (alert.kind, alert.severity) == ("dust_left", "warning")
    assert "KRW-BTC: 4.9 coins worth 4,900 KRW" in alert.message


def test_a_rest_that_cannot_be_sold_is_closed_as_dust(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease, volume="4.99999999", fee="2.5")
    with pytest.raises(LedgerError, match="only below 4000 is dust"):
        ledger.close_as_dust(
            books_engine,
            lease,
            position.id,
            OrderReason.STOP_LOSS,
            bid=Decimal(1000),
            min_notional=Decimal(4000),
            now=NOW,
        )
    closed = dusted(books_engine, lease, position.id, OrderReason.TAKE_PROFIT)
    assert closed.exit_reason is OrderReason.TAKE_PROFIT
    assert closed.state is PositionState.CLOSED
    assert closed.held_volume == 0
    assert closed.dust_volume == Decimal("4.99999999")
    # Dust counts as lost: 4,999.99999 + 2.5.
    assert closed.pnl(Decimal(1000)) == Decimal("-5002.49999")
    with read(books_engine) as connection:
        assert records.dust(connection) == {"KRW-BTC": Decimal("4.99999999")}
        assert records.holdings(connection) == {}


def test_the_account_must_hold_what_open_positions_hold(books_engine: Engine) -> None:
    bought(books_engine, lease_of(books_engine), volume="2.5")
    entered(books_engine, lease_of(books_engine, "KRW-ETH"), signal_id=2)
    with read(books_engine) as connection:
        assert records.holdings(connection) == {"KRW-BTC": Decimal("2.5")}
        assert records.markets_in_play(connection) == ("KRW-BTC", "KRW-ETH")


# --- leases in the ledger -------------------------------------------------------------------


def test_a_stale_holder_writes_nothing_but_may_look(books_engine: Engine) -> None:
    stale = lease_of(books_engine)
    intent = entered(books_engine, stale)
    later = NOW + EIGHT_SECONDS
    fresh = leases.take(books_engine, "KRW-BTC", "run-2", now=later, duration=EIGHT_SECONDS)
    assert fresh is not None
    name = intent.identifier
    order = told(intent, OrderState.CANCEL)
    for write_something in (
        lambda: booking.mark_sent(books_engine, stale, name, later),
        lambda: booking.mark_dropped(books_engine, stale, name, now=later, detail=""),
        lambda: booking.book(books_engine, stale, order, later),
        lambda: ledger.give_up(books_engine, stale, intent.position_id, now=later, detail=""),
        lambda: enter(books_engine, stale, signal_id=2),
    ):
        with pytest.raises(LeaseLost, match=r"belongs to run-2 \(token 2\), not to run-1"):
            write_something()
    assert looked_up(books_engine, intent) == intent
    assert booking.mark_sent(books_engine, fresh, name, later).sends == 1


def test_a_stale_and_a_new_holder_name_the_same_order(books_engine: Engine) -> None:
    stale = lease_of(books_engine)
    position = bought(books_engine, stale)
    first = ledger.intend_exit(
        books_engine, stale, position.id, OrderReason.STOP_LOSS, prefix="ta", now=NOW
    )
    fresh = leases.take(
        books_engine, "KRW-BTC", "run-2", now=NOW + EIGHT_SECONDS, duration=EIGHT_SECONDS
    )
    assert fresh is not None
    second = ledger.intend_exit(
        books_engine, fresh, position.id, OrderReason.TIME_LIMIT, prefix="ta", now=NOW + MINUTE
    )
    assert second == first


def test_a_lease_of_one_market_changes_no_other(books_engine: Engine) -> None:
    position = bought(books_engine, lease_of(books_engine))
    other = lease_of(books_engine, "KRW-ETH")
    with pytest.raises(LedgerError, match="a lease of KRW-ETH cannot change position"):
        exit_of(books_engine, other, position)
    with read(books_engine) as connection:
        name = records.intents_of(connection, position.id)[0].identifier
    with pytest.raises(LedgerError, match="a lease of KRW-ETH cannot change order"):
        booking.mark_sent(books_engine, other, name, NOW)


def test_every_step_of_an_order_is_told(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    unknown = unknown_entry(books_engine, lease)
    booking.book(books_engine, lease, told(unknown, OrderState.CANCEL), NOW)
    with read(books_engine) as connection:
        events = records.events_of(connection, unknown.identifier)
    assert [(e.from_state, e.to_state, e.detail) for e in events] == [
        (None, IntentState.INTENDED, "entry"),
        (IntentState.INTENDED, IntentState.SENT, "sent"),
        (IntentState.SENT, IntentState.UNKNOWN, "timeout"),
        (IntentState.UNKNOWN, IntentState.CLOSED, "cancel, 0 executed"),
    ]
    assert {(e.holder, e.token) for e in events} == {("run-1", 1)}


def test_what_is_not_in_the_ledger_is_said_so(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    with pytest.raises(LedgerError, match="no order ta-none"):
        booking.mark_sent(books_engine, lease, "ta-none", NOW)
    with pytest.raises(LedgerError, match="no position none"):
        ledger.arm(books_engine, lease, "none", PLAN, NOW)


@pytest.mark.parametrize(
    ("table", "other"),
    [
        (positions, {"id": "other", "signal_id": 99}),
        (orders, {"identifier": "other", "attempt": 99}),
    ],
)
def test_the_database_itself_refuses_a_second_live_order_or_position(
    books_engine: Engine, table: sa.Table, other: dict[str, object]
) -> None:
    entered(books_engine, lease_of(books_engine))
    with read(books_engine) as connection:
        row = connection.execute(sa.select(table)).one()
    insert = table.insert().values({**row._mapping, **other})

    def insert_it() -> None:
        with write(books_engine) as connection:
            connection.execute(insert)

    with pytest.raises(sa.exc.IntegrityError, match=r"(?i)unique"):
        insert_it()
    with read(books_engine) as connection:
        check_books(connection)


def test_the_database_lets_a_market_have_many_that_are_no_longer_live(
    books_engine: Engine,
) -> None:
    entered(books_engine, lease_of(books_engine))
    with write(books_engine) as connection:
        row = connection.execute(sa.select(positions)).one()
        connection.execute(
            positions.insert(),
            [
                {**row._mapping, "id": f"closed-{i}", "signal_id": 90 + i, "state": "closed"}
                for i in range(2)
            ],
        )
