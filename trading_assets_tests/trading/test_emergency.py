"""What must be done now, halting and resuming."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import cast

import pytest
from sqlalchemy.engine import Engine

from trading_assets.database import read
from trading_assets.exchange.api import PriceStream
from trading_assets.exchange.model import Order, OrderRequest, OrderType, Side, TimeInForce
from trading_assets.rules.exits import ExitPlan
from trading_assets.trading import booking, halts, leases, ledger, records
from trading_assets.trading.emergency import (
    Emergency,
    Kind,
    Remedy,
    Scene,
    emergencies,
    halt,
    read_scene,
    resume,
)
from trading_assets.trading.halts import Halt
from trading_assets.trading.leases import Lease
from trading_assets.trading.states import OrderReason, PositionState
from trading_assets_tests.trading.fake_exchange import (
    BTC,
    FakeExchange,
    FakePrices,
    fake_floor,
    stepped,
)
from trading_assets_tests.trading.ledger_world import (
    EIGHT_SECONDS,
    NOW,
    as_wait,
    bought,
    entered,
    lease_of,
)

LATER = NOW + EIGHT_SECONDS
PLAN = ExitPlan(Decimal(980), Decimal(1020), NOW + timedelta(minutes=30))


@pytest.fixture
def lease(books_engine: Engine) -> Lease:
    return lease_of(books_engine)


@pytest.fixture
def held(books_engine: Engine, lease: Lease) -> Scene:
    """A guarded position of 10 coins."""
    position = bought(books_engine, lease, fee="0")
    ledger.arm(books_engine, lease, position.id, PLAN, NOW)
    return read_scene(books_engine)


def kinds(found: tuple[Emergency, ...]) -> list[Kind]:
    return [emergency.kind for emergency in found]


def test_a_guarded_position_is_no_emergency(held: Scene) -> None:
    assert emergencies(held, NOW) == ()
    assert emergencies(held, LATER - timedelta(microseconds=1)) == ()


def test_a_position_whose_lease_ran_out_is_to_be_taken_over(held: Scene) -> None:
    (found,) = emergencies(held, LATER)
    assert (found.kind, found.remedy) == (Kind.UNGUARDED_POSITION, Remedy.TAKE_OVER)
    assert (found.market, found.lost_token) == (BTC, 1)


def test_a_position_that_was_never_guarded_is_to_be_taken_over(held: Scene) -> None:
    (found,) = emergencies(replace(held, leases={}), NOW)
    assert (found.kind, found.lost_token) == (Kind.UNGUARDED_POSITION, 0)


def test_an_order_that_nobody_settles_is_to_be_taken_over(
    books_engine: Engine, lease: Lease
) -> None:
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    scene = replace(read_scene(books_engine), positions=())
    assert kinds(emergencies(scene, NOW)) == []
    assert kinds(emergencies(scene, LATER)) == [Kind.ORPHANED_ORDER]


def test_an_order_is_told_after_two_minutes_of_unknown(books_engine: Engine, lease: Lease) -> None:
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    booking.mark_unknown(books_engine, lease, intent.identifier, now=NOW, detail="timeout")
    two_minutes = timedelta(minutes=2)
    leases.renew(books_engine, lease, now=NOW, duration=timedelta(minutes=5))
    scene = read_scene(books_engine)
    assert kinds(emergencies(scene, NOW + two_minutes - timedelta(seconds=1))) == []
    assert kinds(emergencies(scene, NOW + two_minutes)) == [Kind.UNKNOWN_ORDER]


def test_an_order_that_the_exchange_took_and_never_ends_is_told_after_two_minutes(
    books_engine: Engine, lease: Lease
) -> None:
    intent = entered(books_engine, lease)
    booking.mark_sent(books_engine, lease, intent.identifier, NOW)
    booking.book(books_engine, lease, as_wait(intent), NOW)
    two_minutes = timedelta(minutes=2)
    leases.renew(books_engine, lease, now=NOW, duration=timedelta(minutes=5))
    scene = read_scene(books_engine)
    assert kinds(emergencies(scene, NOW + two_minutes - timedelta(seconds=1))) == []
    (found,) = emergencies(scene, NOW + two_minutes)
    assert found.kind is Kind.ENDLESS_ORDER
    assert found.detail == f"order {intent.identifier} of {BTC} is OPEN since {NOW}"


def test_a_position_that_gets_no_barriers_is_told_like_a_blind_guard(
    books_engine: Engine, lease: Lease
) -> None:
    """Half of its entry is booked, and the order does not end."""
    bought(books_engine, lease, fee="0")
    half_a_minute = NOW + timedelta(seconds=30)
    leases.renew(books_engine, lease, now=NOW, duration=timedelta(minutes=5))
    scene = read_scene(books_engine)
    assert emergencies(scene, half_a_minute - timedelta(seconds=1)) == ()
    assert kinds(emergencies(scene, half_a_minute)) == [Kind.BLIND_GUARD]


def test_a_guard_that_lives_and_judges_no_price_is_told(held: Scene) -> None:
    half_a_minute = NOW + timedelta(seconds=30)
    status = replace(held.leases[BTC], expires_at=half_a_minute + EIGHT_SECONDS)
    blind = replace(held, leases={BTC: status})
    assert kinds(emergencies(blind, half_a_minute - timedelta(seconds=1))) == []
    assert kinds(emergencies(blind, half_a_minute)) == [Kind.BLIND_GUARD]
    seeing = replace(status, progress_at=half_a_minute - timedelta(seconds=1))
    assert emergencies(replace(held, leases={BTC: seeing}), half_a_minute) == ()


def test_a_position_left_after_a_minute_of_halt_is_told_after_the_takeover(held: Scene) -> None:
    on = Halt(1, NOW, "by_hand", "test", None, None)
    found = emergencies(replace(held, halt=on), NOW + timedelta(minutes=1))
    assert kinds(found) == [Kind.UNGUARDED_POSITION, Kind.HALTED_WITH_POSITION]


def test_a_position_held_on_under_a_halt_for_the_books_is_no_emergency(held: Scene) -> None:
    on = Halt(1, NOW - timedelta(hours=1), "ledger_mismatch", "test", None, None)
    assert emergencies(replace(held, halt=on), NOW) == ()


def test_a_short_account_is_told(held: Scene) -> None:
    (found,) = emergencies(replace(held, missing="1 of 10 KRW-BTC"), NOW)
    assert (found.kind, found.market) == (Kind.ACCOUNT_SHORT, None)


def test_a_halt_takes_over_sells_cancels_ours_and_leaves_a_persons_orders(
    books_engine: Engine, held: Scene
) -> None:
    exchange = FakeExchange(stepped())
    exchange.clock.advance(EIGHT_SECONDS)
    exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}
    exchange.rests = True
    ours = f"ta-{'0' * 40}"
    for identifier in (ours, "by-hand"):
        exchange.make(
            OrderRequest(
                BTC,
                Side.BID,
                OrderType.LIMIT,
                identifier,
                volume=Decimal(1),
                price=Decimal(900),
                time_in_force=TimeInForce.POST_ONLY,
            )
        )
    exchange.rests = False
    floor = fake_floor(books_engine, exchange, FakePrices(exchange.clock, [(0, "1000")]))

    done = halt(floor, "person", detail="test")

    assert (done.sold, done.left_to_guards, done.problems) == ((BTC,), (), ())
    assert exchange.cancels == [exchange.made[ours].uuid]
    assert exchange.totals["BTC"] == 0
    with read(books_engine) as connection:
        (position,) = records.all_positions(connection)
    assert position.state is PositionState.CLOSED
    assert position.exit_reason is OrderReason.HALT


def test_a_sale_that_cannot_be_made_does_not_keep_a_halt_from_the_others(
    books_engine: Engine, lease: Lease
) -> None:
    """The first market's order is answered only after the second market is sold."""
    bought(books_engine, lease, fee="0")
    bought(books_engine, lease_of(books_engine, "KRW-ETH"), signal_id=2, fee="0")
    exchange = FakeExchange(stepped())
    exchange.clock.advance(EIGHT_SECONDS)
    exchange.totals = {"KRW": Decimal(980_000), "BTC": Decimal(20)}
    place, second_is_sold = exchange.place, threading.Event()

    def one_after_the_other(request: OrderRequest) -> Order:
        if request.market == BTC:
            assert second_is_sold.wait(60)
            return place(request)
        answer = place(request)
        second_is_sold.set()
        return answer

    exchange.place = one_after_the_other  # type: ignore[method-assign]
    prices = FakePrices(exchange.clock, [(0, "1000"), (0, "1000")])
    done = halt(fake_floor(books_engine, exchange, prices), "person", detail="test")
    assert (done.sold, done.problems) == ((BTC, "KRW-ETH"), ())


def test_a_market_in_which_a_halt_fails_is_told_and_the_others_are_sold(
    books_engine: Engine, held: Scene
) -> None:
    bought(books_engine, lease_of(books_engine, "KRW-ETH"), signal_id=2, fee="0")
    exchange = FakeExchange(stepped())
    exchange.clock.advance(EIGHT_SECONDS)
    exchange.totals = {"KRW": Decimal(980_000), "BTC": Decimal(20)}
    prices = FakePrices(exchange.clock, [(0, "1000")])
    floor = fake_floor(books_engine, exchange, prices)

    def broken(markets: Sequence[str]) -> PriceStream:
        if markets == ["KRW-ETH"]:
            raise RuntimeError("no socket")
        return cast(PriceStream, prices)

    done = halt(replace(floor, open_prices=broken), "person", detail="test")
    assert done.sold == (BTC,)
    assert done.problems == ("KRW-ETH: RuntimeError: no socket",)


def test_a_halt_leaves_positions_with_a_live_guard_to_it(books_engine: Engine, held: Scene) -> None:
    exchange = FakeExchange(stepped())
    done = halt(fake_floor(books_engine, exchange), "person", detail="test")
    assert (done.sold, done.left_to_guards) == ((), (BTC,))
    assert exchange.posts == []


def test_a_resume_ends_the_halt(books_engine: Engine) -> None:
    floor = fake_floor(books_engine, FakeExchange(stepped()))
    assert not resume(floor, "person")
    halts.halt(books_engine, reason="by_hand", detail="test", now=NOW)
    assert resume(floor, "person")
    with read(books_engine) as connection:
        assert halts.active_halt(connection) is None
