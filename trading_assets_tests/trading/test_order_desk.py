"""The safe order protocol, step by step, on a stepped clock."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import alerts, read
from trading_assets.errors import (
    CredentialsRefused,
    DuplicatedIdentifier,
    ExchangeMaintenance,
    ExchangeTimeout,
    ExchangeUnavailable,
    InsufficientFunds,
    IpBlocked,
    LeaseLost,
    LedgerMismatch,
    OrderOutcomeUnknown,
    OrderRejected,
)
from trading_assets.trading import booking, halts, leases
from trading_assets.trading.floor import Floor
from trading_assets.trading.leases import Lease
from trading_assets.trading.order_desk import OrderDesk
from trading_assets.trading.records import Intent
from trading_assets.trading.states import IntentState, Leg
from trading_assets_tests.trading.fake_exchange import FakeExchange, fake_floor, stepped
from trading_assets_tests.trading.ledger_world import (
    EIGHT_SECONDS,
    NOW,
    bought,
    entered,
    exit_of,
    lease_of,
    looked_up,
)

TIMEOUT = OrderOutcomeUnknown("no answer within 5 s")
MINUTE = timedelta(seconds=60)


@pytest.fixture
def exchange() -> FakeExchange:
    return FakeExchange(stepped())


@pytest.fixture
def lease(books_engine: Engine) -> Lease:
    return lease_of(books_engine)


@pytest.fixture
def order(books_engine: Engine, lease: Lease) -> Intent:
    """An entry of 10 coins at 1,000 KRW that is to be sent."""
    return entered(books_engine, lease)


@pytest.fixture
def desk(books_engine: Engine, exchange: FakeExchange, lease: Lease) -> OrderDesk:
    return OrderDesk(fake_floor(books_engine, exchange), lease, check=lambda: None)


def alert_kinds(engine: Engine) -> list[str]:
    with read(engine) as connection:
        return list(connection.execute(sa.select(alerts.c.kind)).scalars())


def test_an_accepted_order_is_posted_once_and_booked(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    ended = desk.settle(order.identifier)
    assert ended.state is IntentState.CLOSED
    assert ended.executed_volume == 10
    assert [p.identifier for p in exchange.posts] == [order.identifier]


def test_the_intent_is_marked_sent_before_the_post(
    desk: OrderDesk, exchange: FakeExchange, order: Intent, books_engine: Engine
) -> None:
    seen: list[IntentState] = []
    place = exchange.place

    def watched(request: object) -> object:
        seen.append(looked_up(books_engine, order).state)
        return place(request)  # type: ignore[arg-type]

    exchange.place = watched  # type: ignore[assignment,method-assign]
    desk.settle(order.identifier)
    assert seen == [IntentState.SENT]


def test_an_order_that_exists_after_a_timeout_is_found_and_not_sent_again(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    exchange.outcomes = [(True, TIMEOUT)]
    assert desk.settle(order.identifier).state is IntentState.CLOSED
    assert len(exchange.posts) == 1


def test_an_order_that_does_not_exist_is_sent_again_at_once_under_the_same_name(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    exchange.outcomes = [(False, TIMEOUT)]
    assert desk.settle(order.identifier).state is IntentState.CLOSED
    assert [p.identifier for p in exchange.posts] == [order.identifier] * 2
    assert exchange.clock.now() == NOW


def test_a_duplicated_identifier_is_looked_up_until_it_shows(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    """Accepted, answer lost, and shown only after 20 s: one order, two posts, no burning."""
    exchange.outcomes = [(True, TIMEOUT)]
    exchange.visible_after = timedelta(seconds=20)
    ended = desk.settle(order.identifier)
    assert ended.state is IntentState.CLOSED
    assert len(exchange.made) == 1
    assert len(exchange.posts) == 2
    assert exchange.clock.now() - NOW >= timedelta(seconds=20)


def test_a_used_up_identifier_without_an_order_is_burnt_after_a_minute_not_before(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    exchange.outcomes = [(False, TIMEOUT), (False, DuplicatedIdentifier("duplicated"))]
    ended = desk.settle(order.identifier)
    assert ended.state is IntentState.BURNT
    # UNKNOWN from the first moment on; polls are at most 5 s apart.
    assert MINUTE <= exchange.clock.now() - NOW <= MINUTE + timedelta(seconds=5)
    assert len(exchange.posts) == 2


def test_an_order_stays_unknown_while_the_account_differs(
    desk: OrderDesk, exchange: FakeExchange, order: Intent, books_engine: Engine
) -> None:
    """10,000 KRW are gone without a trace of the order: only their return proves it lost."""
    exchange.outcomes = [(False, TIMEOUT), (False, DuplicatedIdentifier("duplicated"))]
    exchange.totals["KRW"] -= 10_000
    back = NOW + timedelta(minutes=5)
    sleep = exchange.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        if exchange.clock.now() >= back:
            exchange.totals["KRW"] = Decimal(1_000_000)

    exchange.clock.sleep = slept  # type: ignore[method-assign]
    assert desk.settle(order.identifier).state is IntentState.BURNT
    assert exchange.clock.now() >= back
    assert "order_stuck" in alert_kinds(books_engine)


@pytest.mark.parametrize("leg", [Leg.ENTRY, Leg.EXIT])
def test_an_order_that_waits_unseen_is_not_lost_while_it_binds_what_it_would_trade(
    desk: OrderDesk, exchange: FakeExchange, books_engine: Engine, lease: Lease, leg: Leg
) -> None:
    """Taken, its answer lost, in no list for two and a half minutes and not traded: balance and
    locked come to what they were before it."""
    if leg is Leg.ENTRY:
        intent = entered(books_engine, lease)
    else:
        intent = exit_of(books_engine, lease, bought(books_engine, lease, fee="0"))
        exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}
    exchange.rests = True
    exchange.outcomes = [(True, TIMEOUT)]
    exchange.visible_after = timedelta(seconds=150)
    ended = desk.settle(intent.identifier)
    assert ended.state is IntentState.CLOSED
    assert ended.executed_volume == 0
    assert len(exchange.made) == 1
    assert "order_stuck" not in alert_kinds(books_engine)


@pytest.mark.parametrize(
    ("minutes", "moved", "each_minute", "told"),
    [
        (2, "KRW", 0, False),
        (5, "KRW", 0, True),
        # Others go on trading: what is not booked is never the same sum for three minutes.
        (5, "KRW", 1, False),
        # Another market's order cannot have moved this one's coin.
        (2, "BTC", 0, True),
    ],
)
def test_money_that_another_markets_order_may_have_moved_is_told_only_when_it_stays(
    desk: OrderDesk,
    exchange: FakeExchange,
    order: Intent,
    *,
    books_engine: Engine,
    minutes: int,
    moved: str,
    each_minute: int,
    told: bool,
) -> None:
    """Another market's order is under way; the account is as it was after so many minutes."""
    exchange.outcomes = [(False, TIMEOUT), (False, DuplicatedIdentifier("duplicated"))]
    other = lease_of(books_engine, "KRW-ETH", "run-2")
    entry = entered(books_engine, other, signal_id=2)
    before = dict(exchange.totals)
    exchange.totals[moved] = before[moved] + 1
    back = NOW + timedelta(minutes=minutes)
    sleep = exchange.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        if exchange.clock.now() >= back:
            exchange.totals.clear()
            exchange.totals.update(before)
        else:
            passed = (exchange.clock.now() - NOW) // MINUTE
            exchange.totals[moved] = before[moved] + 1 + each_minute * passed

    exchange.clock.sleep = slept  # type: ignore[method-assign]
    assert looked_up(books_engine, entry).state.is_live
    assert desk.settle(order.identifier).state is IntentState.BURNT
    assert exchange.clock.now() >= back
    assert ("order_stuck" in alert_kinds(books_engine)) == told


def test_a_refused_order_is_rejected_and_not_sent_again(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    exchange.outcomes = [(False, OrderRejected("no", "invalid_price_bid"))]
    assert desk.settle(order.identifier).state is IntentState.REJECTED
    assert len(exchange.posts) == 1


def test_maintenance_is_a_refusal(desk: OrderDesk, exchange: FakeExchange, order: Intent) -> None:
    exchange.outcomes = [(False, ExchangeMaintenance("market_offline"))]
    assert desk.settle(order.identifier).state is IntentState.REJECTED


def test_a_refusal_of_the_second_sending_proves_nothing(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    """The first one is live, not shown yet, and what the money is missing for."""
    exchange.outcomes = [(True, TIMEOUT), (False, InsufficientFunds("no money"))]
    exchange.visible_after = timedelta(seconds=3)
    place = exchange.place

    def refusing(request: object) -> object:
        if exchange.posts:
            exchange.posts.append(request)  # type: ignore[arg-type]
            raise InsufficientFunds("no money")
        return place(request)  # type: ignore[arg-type]

    exchange.place = refusing  # type: ignore[assignment,method-assign]
    ended = desk.settle(order.identifier)
    assert ended.state is IntentState.CLOSED
    assert ended.executed_volume == 10


@pytest.mark.parametrize(
    "refusal",
    [ExchangeMaintenance("market_offline"), CredentialsRefused("no", "no_authorization_ip")],
)
def test_an_exit_that_meets_a_maintenance_when_sent_again_is_sent_as_soon_as_that_is_over(
    desk: OrderDesk,
    exchange: FakeExchange,
    books_engine: Engine,
    lease: Lease,
    refusal: Exception,
) -> None:
    """Not a minute later, when it would count as lost: the same name is sent at every poll."""
    position = bought(books_engine, lease, fee="0")
    exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}
    intent = exit_of(books_engine, lease, position)
    exchange.outcomes = [(False, TIMEOUT), (False, refusal), (False, refusal), (False, refusal)]
    assert desk.settle(intent.identifier).state is IntentState.CLOSED
    assert [p.identifier for p in exchange.posts] == [intent.identifier] * 5
    assert exchange.clock.now() - NOW < timedelta(seconds=10)


def test_an_entry_is_not_sent_again_after_its_time(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    exchange.outcomes = [(False, TIMEOUT)]
    assert desk.settle(order.identifier, resend_until=NOW).state is IntentState.DROPPED
    assert exchange.posts == []


def test_an_entry_is_not_sent_while_a_halt_is_on(
    desk: OrderDesk, exchange: FakeExchange, order: Intent, books_engine: Engine
) -> None:
    halts.halt(books_engine, reason="by_hand", detail="test", now=NOW)
    assert desk.settle(order.identifier).state is IntentState.DROPPED
    assert exchange.posts == []


def test_an_entry_is_not_sent_again_after_a_halt_began(
    exchange: FakeExchange, order: Intent, books_engine: Engine, lease: Lease
) -> None:
    floor = fake_floor(books_engine, exchange)

    def halted(step: str) -> None:
        if step == "after mark the order unknown":
            halts.halt(books_engine, reason="by_hand", detail="test", now=NOW)

    object.__setattr__(floor, "on_step", halted)
    exchange.outcomes = [(False, TIMEOUT)]
    desk = OrderDesk(floor, lease, check=lambda: None)
    assert desk.settle(order.identifier).state is IntentState.BURNT
    assert len(exchange.posts) == 1


def test_an_exit_is_sent_while_a_halt_is_on(
    desk: OrderDesk, exchange: FakeExchange, books_engine: Engine, lease: Lease
) -> None:
    position = bought(books_engine, lease, fee="0")
    exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}
    halts.halt(books_engine, reason="by_hand", detail="test", now=NOW)
    sale = exit_of(books_engine, lease, position)
    assert desk.settle(sale.identifier).state is IntentState.CLOSED
    assert [p.identifier for p in exchange.posts] == [sale.identifier]


def test_an_order_whose_sender_died_is_looked_up_before_anything_else(
    desk: OrderDesk, exchange: FakeExchange, order: Intent, books_engine: Engine, lease: Lease
) -> None:
    booking.mark_sent(books_engine, lease, order.identifier, NOW)
    exchange.make(order.request)
    assert desk.settle(order.identifier).state is IntentState.CLOSED
    assert exchange.posts == []


def test_an_exit_goes_on_while_the_exchange_is_down_and_alerts_at_the_third_trouble(
    desk: OrderDesk, exchange: FakeExchange, books_engine: Engine, lease: Lease
) -> None:
    position = bought(books_engine, lease, fee="0")
    exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}
    intent = exit_of(books_engine, lease, position)
    exchange.reading = ExchangeUnavailable("down")
    tries: list[list[str]] = []
    sleep = exchange.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        tries.append(alert_kinds(books_engine))
        if exchange.clock.now() - NOW > timedelta(hours=1):
            exchange.reading = None

    exchange.clock.sleep = slept  # type: ignore[method-assign]
    assert desk.settle(intent.identifier).state is IntentState.CLOSED
    assert tries[1] == []
    assert tries[2] == ["order_trouble"]
    assert tries[-1] == ["order_trouble"]
    assert len(exchange.made) == 1


def test_a_look_that_is_refused_is_no_news_and_an_exit_goes_on(
    desk: OrderDesk, exchange: FakeExchange, lease: Lease, books_engine: Engine
) -> None:
    """A 400 to a question says nothing about the order; ending would leave the position alone."""
    position = bought(books_engine, lease)
    sale = exit_of(books_engine, lease, position)
    exchange.totals["BTC"] = position.bought_volume
    exchange.reading = OrderRejected("400 something new", "something_new")

    sleep = exchange.clock.sleep

    def answer_again(seconds: float) -> None:
        sleep(seconds)
        exchange.reading = None

    exchange.clock.sleep = answer_again  # type: ignore[method-assign]
    assert desk.settle(sale.identifier).state is IntentState.CLOSED
    assert len(exchange.made) == 1


def test_an_order_that_rests_is_taken_back_after_ten_seconds(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    exchange.rests = True
    ended = desk.settle(order.identifier)
    assert ended.state is IntentState.CLOSED
    assert ended.executed_volume == 0
    assert exchange.cancels == ["order-1"]
    assert exchange.clock.now() - NOW >= timedelta(seconds=10)


@pytest.mark.parametrize(("seconds", "kinds"), [(55, []), (300, ["order_trouble"])])
def test_an_order_that_was_taken_and_is_not_shown_for_a_minute_is_told(
    desk: OrderDesk,
    exchange: FakeExchange,
    order: Intent,
    *,
    books_engine: Engine,
    seconds: int,
    kinds: list[str],
) -> None:
    exchange.visible_after = timedelta(seconds=seconds)
    assert desk.settle(order.identifier).state is IntentState.CLOSED
    assert len(exchange.posts) == 1
    assert alert_kinds(books_engine) == kinds


def test_a_holder_that_lost_its_lease_sends_nothing(
    desk: OrderDesk, exchange: FakeExchange, order: Intent, books_engine: Engine
) -> None:
    exchange.clock.advance(EIGHT_SECONDS)
    taken = leases.take(
        books_engine, order.market, "other", now=exchange.clock.now(), duration=EIGHT_SECONDS
    )
    assert taken is not None
    with pytest.raises(LeaseLost):
        desk.settle(order.identifier)
    assert exchange.posts == []


def sleepy_floor(engine: Engine, exchange: FakeExchange, *then: Callable[[], object]) -> Floor:
    """It sleeps for a lease's length between marking an order sent and posting it."""

    def on_step(step: str) -> None:
        if step == "after mark the order sent":
            exchange.clock.advance(EIGHT_SECONDS)
            for happens in then:
                happens()

    return replace(fake_floor(engine, exchange), on_step=on_step)


def test_a_process_that_slept_before_sending_an_entry_sends_nothing(
    books_engine: Engine, exchange: FakeExchange, order: Intent, lease: Lease
) -> None:
    floor = sleepy_floor(books_engine, exchange)
    with pytest.raises(LeaseLost, match="slept since 2026-03-02 03:00:00"):
        OrderDesk(floor, lease, check=lambda: None).settle(order.identifier)
    assert exchange.posts == []


def test_an_exit_that_slept_before_it_was_sent_goes_on_under_its_own_lease(
    books_engine: Engine, exchange: FakeExchange, lease: Lease
) -> None:
    intent = exit_of(books_engine, lease, bought(books_engine, lease, fee="0"))
    floor = sleepy_floor(books_engine, exchange)
    ended = OrderDesk(floor, lease, check=lambda: None).settle(intent.identifier)
    assert ended.state is IntentState.CLOSED
    with read(books_engine) as connection:
        shown = leases.status_of(connection, lease.subject)
    assert shown is not None
    assert shown.expires_at == NOW + 2 * EIGHT_SECONDS


def test_an_exit_that_slept_while_another_took_over_sends_nothing(
    books_engine: Engine, exchange: FakeExchange, lease: Lease
) -> None:
    intent = exit_of(books_engine, lease, bought(books_engine, lease, fee="0"))
    floor = sleepy_floor(
        books_engine,
        exchange,
        lambda: leases.take(
            books_engine,
            lease.subject,
            "other",
            now=exchange.clock.now(),
            duration=EIGHT_SECONDS,
        ),
    )
    with pytest.raises(LeaseLost, match="belongs to other"):
        OrderDesk(floor, lease, check=lambda: None).settle(intent.identifier)
    assert exchange.posts == []


def test_an_answer_that_the_ledger_cannot_hold_stops_entries(
    desk: OrderDesk, exchange: FakeExchange, order: Intent, books_engine: Engine
) -> None:
    exchange.outcomes = [(True, TIMEOUT)]
    exchange.share = Decimal(2)  # more than was ordered
    with pytest.raises(LedgerMismatch):
        desk.settle(order.identifier)
    with read(books_engine) as connection:
        halt = halts.active_halt(connection)
    assert halt is not None
    assert halt.reason == "ledger_mismatch"


def test_a_look_sends_nothing_and_waits_for_nothing(
    desk: OrderDesk, exchange: FakeExchange, order: Intent, books_engine: Engine, lease: Lease
) -> None:
    booking.mark_sent(books_engine, lease, order.identifier, NOW)
    assert desk.look_up(order.identifier).state is IntentState.UNKNOWN
    exchange.make(order.request)
    assert desk.look_up(order.identifier).state is IntentState.CLOSED
    assert exchange.posts == []
    assert exchange.clock.now() == NOW


def test_a_timeout_before_anything_was_sent_is_tried_again(
    desk: OrderDesk, exchange: FakeExchange, order: Intent
) -> None:
    exchange.outcomes = [(False, ExchangeTimeout("connect"))]
    assert desk.settle(order.identifier).state is IntentState.CLOSED
    assert len(exchange.made) == 1


def test_an_exit_waits_a_block_out_and_is_then_found(
    desk: OrderDesk, exchange: FakeExchange, books_engine: Engine, lease: Lease
) -> None:
    """The POST was answered by 418, which says nothing of the order; so are all reads for 60 s."""
    position = bought(books_engine, lease, fee="0")
    exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}
    intent = exit_of(books_engine, lease, position)
    exchange.make(intent.request)
    exchange.reading = IpBlocked("418")
    sleep = exchange.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        if exchange.clock.now() - NOW >= MINUTE:
            exchange.reading = None

    exchange.clock.sleep = slept  # type: ignore[method-assign]
    assert desk.settle(intent.identifier).state is IntentState.CLOSED
    assert exchange.posts == []
