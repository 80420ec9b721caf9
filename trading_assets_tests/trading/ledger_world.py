"""A ledger on SQLite and on PostgreSQL, and short ways to say what happens to it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.database import connect, metadata, prepare, read
from trading_assets.exchange.amounts import exact_sum
from trading_assets.exchange.model import Fill, Order, OrderState, Side
from trading_assets.rules.decision import Action
from trading_assets.rules.entry import Candidate, Entry
from trading_assets.rules.exits import ExitTerms
from trading_assets.rules.funnel import Refusal
from trading_assets.rules.sizing import Size
from trading_assets.trading import booking, books, leases, ledger, records
from trading_assets.trading.books import Books, Outside
from trading_assets.trading.leases import Lease
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.states import OrderReason
from trading_assets.world import World

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
EIGHT_SECONDS = timedelta(seconds=8)
MINUTE = timedelta(minutes=1)
NOTHING = Decimal(0)
UNTOUCHED = Outside(quote=Decimal(1_000_000), base=NOTHING)
POSTGRES = "postgresql://root@127.0.0.1:5432/test"


@contextmanager
def postgres_schema(label: str) -> Iterator[str]:
    """The URL of a schema of our own, gone afterwards. Skips when there is no PostgreSQL."""
    admin = connect(POSTGRES)
    name = f"{label}_{os.getpid()}"
    try:
        admin.connect().close()
    except sa.exc.OperationalError:
        pytest.skip("no PostgreSQL at 127.0.0.1:5432 (database test, user root)")
    with admin.begin() as connection:
        connection.execute(sa.text(f"DROP SCHEMA IF EXISTS {name} CASCADE"))
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))
    try:
        yield f"{POSTGRES}?options=-csearch_path%3D{name}"
    finally:
        with admin.begin() as connection:
            connection.execute(sa.text(f"DROP SCHEMA {name} CASCADE"))
        admin.dispose()


def prepared(url: str, folder: Path) -> Engine:
    engine = connect(url)
    prepare(engine, World("sandbox-test", folder, folder))
    return engine


def emptied(engine: Engine) -> Engine:
    """`engine` with every table but the world's empty and a capital of 1,000,000 KRW."""
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name != "world":
                connection.execute(table.delete())
    books.declare_capital(engine, Decimal(1_000_000), now=NOW, detail="test")
    return engine


def candidate(signal_id: int = 1, market: str = "KRW-BTC") -> Candidate:
    return Candidate(
        signal_id=signal_id,
        market=market,
        action=Action.BUY,
        expires_at=NOW + timedelta(hours=1),
        p_buy=0.7,
        ev_net=0.002,
        min_ev_net=0.0,
        close=Decimal(1000),
        terms=ExitTerms(Decimal("0.02"), Decimal("0.02"), timedelta(minutes=30)),
        model_confirmed_at=NOW,
    )


ORIGIN = ledger.Origin(signal_created_at=NOW, profile="scalp", model_version="v1")


def lease_of(engine: Engine, market: str = "KRW-BTC", holder: str = "run-1") -> Lease:
    lease = leases.take(engine, market, holder, now=NOW, duration=EIGHT_SECONDS)
    assert lease is not None
    return lease


def entry(volume: str = "10", price: str = "1000") -> Entry:
    funds = Decimal(volume) * Decimal(price)
    return Entry(
        Decimal(price), Size(Decimal(volume), funds, funds, Decimal("0.1"), raised=False), 0.002
    )


def enter(
    engine: Engine,
    lease: Lease,
    decision: Entry | Refusal | None = None,
    *,
    signal_id: int = 1,
    now: datetime = NOW,
) -> Intent | Refusal:
    def decide(_books: Books) -> Entry | Refusal:
        return entry() if decision is None else decision

    return ledger.enter(
        engine,
        lease,
        candidate(signal_id, lease.subject),
        ORIGIN,
        decide,
        prefix="ta",
        now=now,
        bids={},
        outside=UNTOUCHED,
    )


def entered(engine: Engine, lease: Lease, *, signal_id: int = 1, volume: str = "10") -> Intent:
    """An intended entry of `volume` at 1,000 KRW."""
    intent = enter(engine, lease, entry(volume), signal_id=signal_id)
    assert isinstance(intent, Intent)
    return intent


def fill(intent: Intent, uuid: str, volume: str, price: str = "1000") -> Fill:
    return Fill(
        uuid=uuid,
        market=intent.market,
        side=intent.side,
        price=Decimal(price),
        volume=Decimal(volume),
        funds=Decimal(volume) * Decimal(price),
        created_at=NOW,
    )


def told(
    intent: Intent,
    state: OrderState,
    *fills: Fill,
    fee: str = "0",
    executed: str | None = None,
    uuid: str | None = None,
) -> Order:
    """What the exchange says about `intent`. executed: as the fills say unless given."""
    executed_volume = exact_sum(f.volume for f in fills) if executed is None else Decimal(executed)
    return Order(
        market=intent.market,
        uuid=uuid or f"uuid-of-{intent.identifier}",
        side=intent.side,
        ord_type=intent.order_type,
        state=state,
        created_at=NOW,
        price=intent.price,
        volume=intent.volume,
        remaining_volume=intent.volume - executed_volume,
        executed_volume=executed_volume,
        reserved_fee=NOTHING,
        remaining_fee=NOTHING,
        paid_fee=Decimal(fee),
        locked=NOTHING,
        prevented_volume=NOTHING,
        prevented_locked=NOTHING,
        trades_count=len(fills),
        identifier=intent.identifier,
        time_in_force=intent.time_in_force,
        smp_type=None,
        fills=fills,
    )


def bought(
    engine: Engine,
    lease: Lease,
    *,
    signal_id: int = 1,
    volume: str = "10",
    fee: str = "5",
    now: datetime = NOW,
) -> Position:
    """An open position of `volume` at 1,000 KRW."""
    intent = entered(engine, lease, signal_id=signal_id, volume=volume)
    booking.mark_sent(engine, lease, intent.identifier, now)
    done = told(intent, OrderState.DONE, fill(intent, f"buy-{signal_id}", volume), fee=fee)
    return booking.book(engine, lease, done, now).position


def exit_of(
    engine: Engine,
    lease: Lease,
    position: Position,
    reason: OrderReason = OrderReason.TAKE_PROFIT,
    *,
    now: datetime = NOW,
) -> Intent:
    """An exit order that was sent."""
    intent = ledger.intend_exit(
        engine, lease, position.id, reason, prefix="ta", now=now, outside=UNTOUCHED
    )
    return booking.mark_sent(engine, lease, intent.identifier, now)


def sold(
    engine: Engine,
    lease: Lease,
    position: Position,
    reason: OrderReason = OrderReason.TAKE_PROFIT,
    *,
    price: str = "1020",
    fee: str = "5",
    now: datetime = NOW,
) -> Position:
    """`position`, sold whole at `price`."""
    intent = exit_of(engine, lease, position, reason, now=now)
    sale = fill(intent, f"sell-{position.signal_id}", str(intent.volume), price)
    return booking.book(engine, lease, told(intent, OrderState.DONE, sale, fee=fee), now).position


def looked_up(engine: Engine, intent: Intent) -> Intent:
    with read(engine) as connection:
        return records.intent(connection, intent.identifier)


def position_now(engine: Engine, position_id: str) -> Position:
    with read(engine) as connection:
        return records.position(connection, position_id)


def check_books(connection: Connection) -> None:
    """What holds after every change, however it came about: the sums of the rows, to the digit."""
    markets: set[str] = set()
    every = records.all_positions(connection)
    for market, sums in records.sums_by_market(connection).items():
        here = [p for p in every if p.market == market]
        assert sums.cash_flow == exact_sum(p.cash_flow for p in here)
        assert sums.left == exact_sum(p.bought_volume - p.sold_volume for p in here)
    for p in every:
        intents = records.intents_of(connection, p.id)
        rows = [f for o in intents for f in records.fills_of(connection, o.identifier)]
        buys = [f for f in rows if f.side is Side.BID]
        sells = [f for f in rows if f.side is Side.ASK]
        assert p.bought_volume == exact_sum(f.volume for f in buys)
        assert p.bought_funds == exact_sum(f.funds for f in buys)
        assert p.sold_volume == exact_sum(f.volume for f in sells)
        assert p.sold_funds == exact_sum(f.funds for f in sells)
        assert p.fees == exact_sum(o.paid_fee for o in intents)
        assert p.held_volume >= 0
        assert (p.state.value in ("open", "closed")) == bool(buys)
        live = [o for o in intents if o.state.is_live]
        assert len(live) <= 1
        if p.state.value == "closed":
            assert p.held_volume == 0
            assert not live
        if p.state.is_live:
            assert p.market not in markets, "two live positions in one market"
            markets.add(p.market)


def as_wait(intent: Intent) -> Order:
    """The answer to a POST: taken, nothing filled yet."""
    return replace(told(intent, OrderState.WAIT), fills=None)
