"""The ledger against the account and its orders."""

from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import alerts, read
from trading_assets.exchange.model import Balance, Order, OrderRequest, OrderType, Side
from trading_assets.trading import booking, books, leases, records
from trading_assets.trading.account import view_account
from trading_assets.trading.floor import Floor
from trading_assets.trading.leases import Lease
from trading_assets.trading.reconcile import entries_stopped_by, open_books, reconcile
from trading_assets.trading.states import IntentState, PositionState
from trading_assets_tests.trading.fake_exchange import BTC, FakeExchange, fake_floor, stepped
from trading_assets_tests.trading.ledger_world import (
    EIGHT_SECONDS,
    NOW,
    bought,
    entered,
    lease_of,
    looked_up,
    position_now,
    sold,
)


@pytest.fixture
def exchange() -> FakeExchange:
    return FakeExchange(stepped())


@pytest.fixture
def floor(books_engine: Engine, exchange: FakeExchange) -> Floor:
    """Books that were opened while the account held 1,000,000 KRW and nothing else."""
    floor = fake_floor(books_engine, exchange)
    open_books(floor, "setup")
    return floor


@pytest.fixture
def lease(floor: Floor) -> Lease:
    return lease_of(floor.engine)


def alert_kinds(engine: Engine) -> list[str]:
    with read(engine) as connection:
        return list(connection.execute(sa.select(alerts.c.kind)).scalars())


def capital(engine: Engine) -> Decimal | None:
    with read(engine) as connection:
        return books.capital(connection)


def missing(engine: Engine) -> str | None:
    with read(engine) as connection:
        return entries_stopped_by(connection)


def hold_ten(floor: Floor, exchange: FakeExchange, lease: Lease) -> None:
    """10 coins for 10,000 KRW, in the ledger and on the account."""
    bought(floor.engine, lease, fee="0")
    exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}


def test_books_that_agree_say_nothing(floor: Floor, exchange: FakeExchange, lease: Lease) -> None:
    hold_ten(floor, exchange, lease)
    found = reconcile(floor, "me")
    assert found.account.missing is None
    assert found.flow == 0
    assert not found.reports
    assert not found.adopted
    assert alert_kinds(floor.engine) == []


def test_a_deposit_is_a_flow_and_no_profit(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    hold_ten(floor, exchange, lease)
    exchange.totals["KRW"] += 500
    assert reconcile(floor, "me").flow == 500
    assert capital(floor.engine) == 1_000_500
    assert reconcile(floor, "me").flow == 0  # once
    with read(floor.engine) as connection:
        assert books.present_mark(connection, now=NOW, bids={BTC: Decimal(1000)}).pnl == 0


def test_a_withdrawal_is_a_flow_and_no_loss(floor: Floor, exchange: FakeExchange) -> None:
    exchange.totals["KRW"] -= 300_000
    assert reconcile(floor, "me").flow == -300_000
    assert capital(floor.engine) == 700_000
    assert alert_kinds(floor.engine) == ["external_flow"]


def test_an_account_that_lags_behind_its_orders_has_no_flow_and_lacks_nothing(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    """A purchase is booked, and the account shows it a second later."""
    bought(floor.engine, lease, fee="0")
    balances = exchange.balances

    def lagging() -> tuple[Balance, ...]:
        if exchange.clock.now() - NOW >= timedelta(seconds=1):
            exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}
        return balances()

    exchange.balances = lagging  # type: ignore[method-assign]
    found = reconcile(floor, "me")
    assert found.flow == 0
    assert found.account.missing is None
    assert alert_kinds(floor.engine) == []


def test_proceeds_that_the_account_shows_a_second_later_are_no_flow(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    """Bought for 10,000 KRW and sold for 10,200; nothing is held, so no coin can be missing."""
    sold(floor.engine, lease, bought(floor.engine, lease, fee="0"), fee="0")
    exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(0)}
    balances = exchange.balances

    def lagging() -> tuple[Balance, ...]:
        if exchange.clock.now() - NOW >= timedelta(seconds=1):
            exchange.totals = {"KRW": Decimal(1_000_200), "BTC": Decimal(0)}
        return balances()

    exchange.balances = lagging  # type: ignore[method-assign]
    assert reconcile(floor, "me").flow == 0
    assert alert_kinds(floor.engine) == []
    assert capital(floor.engine) == 1_000_000


def test_no_flow_is_recorded_while_an_order_is_under_way(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    """Its fill is on the account already and not yet in the ledger."""
    intent = entered(floor.engine, lease)
    booking.mark_sent(floor.engine, lease, intent.identifier, NOW)
    exchange.make(intent.request)
    assert reconcile(floor, "me").flow == 0
    assert capital(floor.engine) == 1_000_000


def test_less_than_the_ledger_stops_entries_until_it_is_back(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    hold_ten(floor, exchange, lease)
    exchange.totals["BTC"] = Decimal("9.99999999")
    reconcile(floor, "me")
    assert missing(floor.engine) == "0.00000001 of 10 KRW-BTC"
    assert alert_kinds(floor.engine) == ["account_short"]
    exchange.totals["BTC"] = Decimal(10)
    reconcile(floor, "me")
    assert missing(floor.engine) is None


def test_more_than_the_ledger_is_a_persons(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    hold_ten(floor, exchange, lease)
    exchange.totals["BTC"] = Decimal(25)
    found = reconcile(floor, "me")
    assert found.account.missing is None
    assert found.account.outside(BTC).base == 15


def test_our_order_that_came_alive_after_all_is_adopted(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    intent = entered(floor.engine, lease)
    booking.mark_sent(floor.engine, lease, intent.identifier, NOW)
    booking.mark_rejected(floor.engine, lease, intent.identifier, now=NOW, detail="test")
    exchange.make(intent.request)
    leases.release(floor.engine, lease, NOW)
    exchange.clock.advance(timedelta(seconds=1))

    assert reconcile(floor, "me").adopted == (intent.identifier,)
    assert looked_up(floor.engine, intent).state is IntentState.CLOSED
    assert position_now(floor.engine, intent.position_id).state is PositionState.OPEN


def test_orders_of_a_market_with_a_live_holder_are_its_own(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    intent = entered(floor.engine, lease)
    booking.mark_sent(floor.engine, lease, intent.identifier, NOW)
    exchange.make(intent.request)
    exchange.clock.advance(timedelta(seconds=1))
    assert reconcile(floor, "me").adopted == ()
    assert looked_up(floor.engine, intent).state is IntentState.SENT


def test_a_stray_whose_market_was_taken_meanwhile_is_left_to_its_holder(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    intent = entered(floor.engine, lease)
    booking.mark_sent(floor.engine, lease, intent.identifier, NOW)
    exchange.make(intent.request)
    leases.release(floor.engine, lease, NOW)
    exchange.clock.advance(timedelta(seconds=1))
    order = exchange.order

    def slow(*, uuid: str | None = None, identifier: str | None = None) -> Order:
        exchange.clock.advance(EIGHT_SECONDS)
        now = exchange.clock.now()
        assert leases.take(floor.engine, BTC, "run-2", now=now, duration=EIGHT_SECONDS)
        return order(uuid=uuid, identifier=identifier)

    exchange.order = slow  # type: ignore[method-assign]
    assert reconcile(floor, "me").adopted == ()
    assert looked_up(floor.engine, intent).state is IntentState.SENT


def by_hand(identifier: str) -> OrderRequest:
    return OrderRequest(
        BTC, Side.BID, OrderType.LIMIT, identifier, volume=Decimal(1), price=Decimal(900)
    )


def test_a_persons_order_is_reported_and_left_alone(floor: Floor, exchange: FakeExchange) -> None:
    exchange.rests = True
    exchange.make(by_hand("mine"))
    (report,) = reconcile(floor, "me").reports
    assert report == "KRW-BTC: order order-1 is not ours, left alone"
    assert exchange.cancels == []


def test_an_order_with_our_prefix_that_no_ledger_knows_alerts_and_is_left_alone(
    floor: Floor, exchange: FakeExchange
) -> None:
    exchange.rests = True
    exchange.make(by_hand(f"ta-{'a' * 40}"))
    found = reconcile(floor, "me")
    assert len(found.reports) == 1
    assert alert_kinds(floor.engine) == ["stray_order"]
    assert exchange.cancels == []
    with read(floor.engine) as connection:
        assert records.all_positions(connection) == ()


def test_the_first_start_declares_what_the_account_holds(
    books_engine: Engine, exchange: FakeExchange
) -> None:
    with books_engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM capital_changes"))
    exchange.totals["KRW"] = Decimal(123_456)
    open_books(fake_floor(books_engine, exchange), "setup")
    assert capital(books_engine) == 123_456
    exchange.totals["KRW"] = Decimal(123_000)
    open_books(fake_floor(books_engine, exchange), "setup")
    assert capital(books_engine) == 123_000  # a flow, not another first start


def test_a_declared_capital_is_kept_whatever_the_account_holds(
    books_engine: Engine, exchange: FakeExchange
) -> None:
    open_books(fake_floor(books_engine, exchange, capital_krw="50000"), "setup")
    assert capital(books_engine) == 50_000


def test_two_readings_with_a_booking_in_between_are_not_settled(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    balances = exchange.balances

    def booked_meanwhile() -> object:
        exchange.balances = balances  # type: ignore[method-assign]  # once
        told = balances()
        hold_ten(floor, exchange, lease)
        return told

    exchange.balances = booked_meanwhile  # type: ignore[assignment,method-assign]
    account = view_account(floor)
    assert not account.settled
    assert account.missing is None
    assert account.outside_krw != 1_000_000


def test_an_unsteady_look_is_repeated_so_that_missing_coins_are_seen(
    floor: Floor, exchange: FakeExchange, lease: Lease
) -> None:
    balances = exchange.balances

    def booked_meanwhile() -> object:
        exchange.balances = balances  # type: ignore[method-assign]  # once
        told = balances()
        hold_ten(floor, exchange, lease)
        exchange.totals = {"KRW": Decimal(990_000)}  # the ten coins are gone
        return told

    exchange.balances = booked_meanwhile  # type: ignore[assignment,method-assign]
    account = reconcile(floor, "me").account
    assert account.steady
    assert account.missing is not None
