"""The ledger's rows as values: orders, positions, fills, and reading them.

Here: what the books say. Not here: changing them (`ledger`). Every function takes a connection, so
that a change and its checks read in the same transaction.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trading_assets.database import fills, order_events, orders, positions
from trading_assets.errors import LedgerError
from trading_assets.exchange.amounts import EXACT, exact_sum
from trading_assets.exchange.model import OrderRequest, OrderType, Side, TimeInForce
from trading_assets.rules.exits import ExitPlan, ExitReason
from trading_assets.rules.limits import PastExit
from trading_assets.trading.states import (
    LIVE_ORDERS,
    LIVE_POSITIONS,
    IntentState,
    Leg,
    OrderReason,
    PositionState,
)


@dataclass(frozen=True, slots=True)
class Intent:
    """An order that we meant to place and what became of it.

    executed_volume, paid_fee: the exchange's latest word. quote_outside, base_outside: what
    the account had besides the ledger before it was sent. sends: how often it was posted.
    """

    identifier: str
    position_id: str
    leg: Leg
    attempt: int
    market: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce | None
    price: Decimal | None
    volume: Decimal
    reason: OrderReason
    state: IntentState
    uuid: str | None
    executed_volume: Decimal
    paid_fee: Decimal
    quote_outside: Decimal | None
    base_outside: Decimal | None
    sends: int
    created_at: datetime
    sent_at: datetime | None
    unknown_since: datetime | None
    ended_at: datetime | None

    @property
    def request(self) -> OrderRequest:
        """What is posted: always the same, however often."""
        return OrderRequest(
            market=self.market,
            side=self.side,
            ord_type=self.order_type,
            identifier=self.identifier,
            volume=self.volume,
            price=self.price,
            time_in_force=self.time_in_force,
        )


@dataclass(frozen=True, slots=True)
class Position:
    """What one signal's trade has bought, sold and paid. Sums over fills, exact.

    dust_volume: left at the close. stop_price, take_price, deadline: the plan, once armed.
    """

    id: str
    market: str
    profile: str
    signal_id: int
    model_version: str | None
    state: PositionState
    created_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None
    bought_volume: Decimal
    bought_funds: Decimal
    sold_volume: Decimal
    sold_funds: Decimal
    fees: Decimal
    dust_volume: Decimal
    stop_loss: Decimal
    take_profit: Decimal
    timeout_seconds: int
    stop_price: Decimal | None
    take_price: Decimal | None
    deadline: datetime | None
    exit_reason: OrderReason | None

    @property
    def held_volume(self) -> Decimal:
        """Coins that are still to be sold; dust is not."""
        return EXACT.subtract(self.bought_volume, EXACT.add(self.sold_volume, self.dust_volume))

    @property
    def average_price(self) -> Decimal | None:
        """Funds over volume of the buys (KRW per coin, 28 digits); None before the first fill."""
        return self.bought_funds / self.bought_volume if self.bought_volume else None

    @property
    def cash_flow(self) -> Decimal:
        """KRW that the trade has brought in so far; negative while more was paid. Exact."""
        return EXACT.subtract(self.sold_funds, EXACT.add(self.bought_funds, self.fees))

    def pnl(self, bid: Decimal | None) -> Decimal:
        """Profit and loss with what is held valued at `bid`; dust counts as nothing. Exact.

        Without a bid, what is held counts as what it cost on average.
        """
        if not self.held_volume:
            return self.cash_flow
        return EXACT.add(self.cash_flow, self.value(bid))

    def value(self, bid: Decimal | None) -> Decimal:
        """KRW that what is held is worth at `bid`; without one, what it cost on average."""
        price = bid if bid is not None else self.average_price
        if price is None or not self.held_volume:
            return Decimal(0)
        return EXACT.multiply(self.held_volume, price)

    def left_by(self, reason: OrderReason) -> OrderReason:
        """What counts as its exit after one more step for `reason`: a stop stays a stop."""
        stopped = self.exit_reason is OrderReason.STOP_LOSS
        return OrderReason.STOP_LOSS if stopped else reason

    @property
    def plan(self) -> ExitPlan | None:
        """The barriers, None until the entry has ended and the position is armed."""
        if self.stop_price is None or self.take_price is None or self.deadline is None:
            return None
        return ExitPlan(self.stop_price, self.take_price, self.deadline)


@dataclass(frozen=True, slots=True)
class Sums:
    """Of all trades of a market. cash_flow: KRW brought in less spent and fees. left: coins bought
    and not sold, dust among them."""

    cash_flow: Decimal
    left: Decimal


@dataclass(frozen=True, slots=True)
class BookedFill:
    uuid: str
    identifier: str
    position_id: str
    side: Side
    price: Decimal
    volume: Decimal
    funds: Decimal
    traded_at: datetime
    booked_at: datetime


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """A step in an order's life: who made it and why."""

    identifier: str
    at: datetime
    from_state: IntentState | None
    to_state: IntentState
    holder: str
    token: int
    detail: str


# --- orders ---------------------------------------------------------------------------------


def intent(connection: Connection, identifier: str) -> Intent:
    """Raises LedgerError: the ledger has no such order."""
    found = find_intent(connection, identifier)
    if found is None:
        raise LedgerError(f"the ledger has no order {identifier}")
    return found


def find_intent(connection: Connection, identifier: str) -> Intent | None:
    rows = _intents(connection, orders.c.identifier == identifier)
    return rows[0] if rows else None


def intents_of(connection: Connection, position: str, leg: Leg | None = None) -> tuple[Intent, ...]:
    """The orders of a position, oldest first, of one leg or of both."""
    of_leg = sa.true() if leg is None else orders.c.leg == leg.value
    return _intents(connection, sa.and_(orders.c.position_id == position, of_leg))


def live_intents(connection: Connection, market: str | None = None) -> tuple[Intent, ...]:
    """Orders that may exist on the exchange now, of one market or of all."""
    of_market = sa.true() if market is None else orders.c.market == market
    live = orders.c.state.in_([state.value for state in LIVE_ORDERS])
    return _intents(connection, sa.and_(live, of_market))


def events_of(connection: Connection, identifier: str) -> tuple[OrderEvent, ...]:
    """The life of an order, oldest first."""
    query = (
        sa.select(order_events)
        .where(order_events.c.identifier == identifier)
        .order_by(order_events.c.id)
    )
    return tuple(
        OrderEvent(
            row.identifier,
            row.at,
            None if row.from_state is None else IntentState(row.from_state),
            IntentState(row.to_state),
            row.holder,
            row.token,
            row.detail,
        )
        for row in connection.execute(query)
    )


def fills_of(connection: Connection, identifier: str) -> tuple[BookedFill, ...]:
    """The booked fills of an order, by the exchange's time."""
    query = (
        sa.select(fills)
        .where(fills.c.identifier == identifier)
        .order_by(fills.c.traded_at, fills.c.uuid)
    )
    return tuple(_fill(row) for row in connection.execute(query))


def find_fill(connection: Connection, uuid: str) -> BookedFill | None:
    row = connection.execute(sa.select(fills).where(fills.c.uuid == uuid)).one_or_none()
    return None if row is None else _fill(row)


# --- positions ------------------------------------------------------------------------------


def position(connection: Connection, position_id: str) -> Position:
    """Raises LedgerError: the ledger has no such position."""
    found = _positions(connection, positions.c.id == position_id)
    if not found:
        raise LedgerError(f"the ledger has no position {position_id}")
    return found[0]


def position_of_signal(connection: Connection, signal_id: int) -> Position | None:
    found = _positions(connection, positions.c.signal_id == signal_id)
    return found[0] if found else None


def live_positions(connection: Connection, market: str | None = None) -> tuple[Position, ...]:
    """Open positions and those whose entry is under way, of one market or of all."""
    of_market = sa.true() if market is None else positions.c.market == market
    live = positions.c.state.in_([state.value for state in LIVE_POSITIONS])
    return _positions(connection, sa.and_(live, of_market))


def all_positions(connection: Connection) -> tuple[Position, ...]:
    """Every position there ever was, oldest first."""
    return _positions(connection, sa.true())


def sums_by_market(connection: Connection) -> dict[str, Sums]:
    """What all trades there ever were come to, by market; exact.

    Read on the way to every order, so only what is added up, and without the columns' types: ten
    thousand positions take a twentieth of a second.
    """
    columns = (
        positions.c.bought_volume,
        positions.c.sold_volume,
        positions.c.bought_funds,
        positions.c.sold_funds,
        positions.c.fees,
    )
    query = sa.select(
        positions.c.market, *(sa.type_coerce(column, sa.types.NullType()) for column in columns)
    )
    nothing = Decimal(0)
    found: dict[str, tuple[Decimal, Decimal]] = {}
    for market, *amounts in connection.execute(query):
        bought, sold, spent, earned, fees = map(Decimal, amounts)
        cash, rest = found.get(market, (nothing, nothing))
        found[market] = (
            EXACT.subtract(EXACT.add(cash, earned), EXACT.add(spent, fees)),
            EXACT.subtract(EXACT.add(rest, bought), sold),
        )
    return {market: Sums(cash, rest) for market, (cash, rest) in found.items()}


def closed_positions(connection: Connection, since: datetime) -> tuple[Position, ...]:
    """Positions closed at or after `since`, by their beginning."""
    closed = positions.c.state == PositionState.CLOSED.value
    return _positions(connection, sa.and_(closed, positions.c.closed_at >= since))


def past_exits(connection: Connection, since: datetime) -> tuple[PastExit, ...]:
    """Positions left at or after `since`, by their beginning, as the limits judge them.

    Read inside the transaction that decides an entry, so only what is judged: building the whole
    positions took four times as long.
    """
    closed = positions.c.state == PositionState.CLOSED.value
    query = (
        sa.select(positions.c.market, positions.c.closed_at, positions.c.exit_reason)
        .where(closed, positions.c.closed_at >= since)
        .order_by(positions.c.created_at, positions.c.id)
    )
    return tuple(
        PastExit(market, closed_at, reason == ExitReason.STOP_LOSS.value)
        for market, closed_at, reason in connection.execute(query)
    )


def holdings(connection: Connection) -> dict[str, Decimal]:
    """Coins that the account must hold at least, by market: what open positions hold, no dust."""
    held: dict[str, Decimal] = {}
    for p in live_positions(connection):
        if p.held_volume:
            held[p.market] = EXACT.add(held.get(p.market, Decimal(0)), p.held_volume)
    return held


def dust(connection: Connection) -> dict[str, Decimal]:
    """Coins left by closed positions because they were worth too little to sell, by market."""
    left: dict[str, list[Decimal]] = {}
    for p in all_positions(connection):
        if p.dust_volume:
            left.setdefault(p.market, []).append(p.dust_volume)
    return {market: exact_sum(volumes) for market, volumes in left.items()}


def markets_in_play(connection: Connection) -> tuple[str, ...]:
    """Markets with a live position or order: they are watched whatever the settings say."""
    names: Iterable[str] = (
        *(p.market for p in live_positions(connection)),
        *(o.market for o in live_intents(connection)),
    )
    return tuple(sorted(set(names)))


def _intents(connection: Connection, condition: sa.ColumnElement[bool]) -> tuple[Intent, ...]:
    query = (
        sa.select(orders)
        .where(condition)
        .order_by(orders.c.created_at, orders.c.leg, orders.c.attempt)
    )
    return tuple(_intent(row) for row in connection.execute(query))


def _intent(row: sa.Row[tuple[object, ...]]) -> Intent:
    values = dict(row._mapping)
    kind = values["time_in_force"]
    return Intent(
        **{
            **values,
            "leg": Leg(values["leg"]),
            "side": Side(values["side"]),
            "order_type": OrderType(values["order_type"]),
            "time_in_force": None if kind is None else TimeInForce(kind),
            "reason": OrderReason(values["reason"]),
            "state": IntentState(values["state"]),
        }
    )


def _positions(connection: Connection, condition: sa.ColumnElement[bool]) -> tuple[Position, ...]:
    query = sa.select(positions).where(condition).order_by(positions.c.created_at, positions.c.id)
    return tuple(_position(row) for row in connection.execute(query))


def _position(row: sa.Row[tuple[object, ...]]) -> Position:
    values = dict(row._mapping)
    reason = values["exit_reason"]
    return Position(
        **{
            **values,
            "state": PositionState(values["state"]),
            "exit_reason": None if reason is None else OrderReason(reason),
        }
    )


def _fill(row: sa.Row[tuple[object, ...]]) -> BookedFill:
    values = dict(row._mapping)
    return BookedFill(**{**values, "side": Side(values["side"])})
