"""Writing rows of the ledger: the pen that every change holds while it writes.

A pen exists inside one transaction, with a lease that was checked in it. Here: reading a row for
change, checking the tables of legal changes, writing it with its event. Not here: what the next
state is (`ledger`, `booking`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy.engine import Connection, Engine

from trading_assets.database import fills, order_events, orders, positions
from trading_assets.errors import LedgerError
from trading_assets.exchange.model import Fill, OrderType, Side, TimeInForce
from trading_assets.trading import records
from trading_assets.trading.books import Outside
from trading_assets.trading.identifiers import order_identifier
from trading_assets.trading.leases import Lease, require
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.states import (
    IntentState,
    Leg,
    OrderReason,
    check_order_change,
    check_position_change,
)
from trading_assets.trading.transactions import change

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Pen:
    """The right to change what belongs to the lease's market, until the transaction ends."""

    connection: Connection
    lease: Lease
    now: datetime

    def position(self, position_id: str) -> Position:
        """Raises LedgerError: there is none, or it is another market's."""
        found = records.position(self.connection, position_id)
        self._check_market(found.market, f"position {position_id}")
        return found

    def intent(self, identifier: str) -> Intent:
        """Raises LedgerError: there is none, or it is another market's."""
        found = records.intent(self.connection, identifier)
        self._check_market(found.market, f"order {identifier}")
        return found

    def check_no_live_order(self, position: Position) -> None:
        """Raises LedgerError: an order of the position may still exist on the exchange."""
        for order in records.intents_of(self.connection, position.id):
            if order.state.is_live:
                raise LedgerError(
                    f"order {order.identifier} of position {position.id} is {order.state}, "
                    "not ended"
                )

    def insert_position(self, position: Position) -> None:
        self.connection.execute(positions.insert().values(_row(position)))

    def save_position(self, before: Position, after: Position) -> Position:
        """Raises IllegalStateChange when the table has no such change."""
        if after.state is not before.state:
            check_position_change(before.id, before.state, after.state)
        here = positions.c.id == before.id
        self.connection.execute(positions.update().where(here).values(_row(after)))
        return after

    def intend(
        self,
        position: Position,
        leg: Leg,
        reason: OrderReason,
        *,
        prefix: str,
        volume: Decimal,
        price: Decimal | None,
        outside: Outside | None,
    ) -> Intent:
        """Write the next attempt of a leg: at the market, or limit IOC with a price."""
        attempt = len(records.intents_of(self.connection, position.id, leg)) + 1
        intent = Intent(
            identifier=order_identifier(prefix, position.id, leg.value, attempt),
            position_id=position.id,
            leg=leg,
            attempt=attempt,
            market=position.market,
            side=Side.BID if leg is Leg.ENTRY else Side.ASK,
            order_type=OrderType.MARKET if price is None else OrderType.LIMIT,
            time_in_force=None if price is None else TimeInForce.IOC,
            price=price,
            volume=volume,
            reason=reason,
            state=IntentState.INTENDED,
            uuid=None,
            executed_volume=NOTHING,
            paid_fee=NOTHING,
            quote_outside=None if outside is None else outside.quote,
            base_outside=None if outside is None else outside.base,
            sends=0,
            created_at=self.now,
            sent_at=None,
            unknown_since=None,
            ended_at=None,
        )
        _ = intent.request  # the exchange's rules for its type hold before it is written
        self.connection.execute(orders.insert().values(_row(intent)))
        self._write_event(intent, None, reason.value)
        return intent

    def save_intent(self, before: Intent, after: Intent, detail: str) -> Intent:
        """Raises IllegalStateChange when the table has no such change."""
        if after.state is not before.state:
            check_order_change(before.identifier, before.state, after.state)
        here = orders.c.identifier == before.identifier
        self.connection.execute(orders.update().where(here).values(_row(after)))
        self._write_event(after, before.state, detail)
        return after

    def insert_fill(self, intent: Intent, fill: Fill) -> None:
        self.connection.execute(
            fills.insert().values(
                uuid=fill.uuid,
                identifier=intent.identifier,
                position_id=intent.position_id,
                side=fill.side.value,
                price=fill.price,
                volume=fill.volume,
                funds=fill.funds,
                traded_at=fill.created_at,
                booked_at=self.now,
            )
        )

    def _check_market(self, market: str, what: str) -> None:
        if market != self.lease.subject:
            raise LedgerError(f"a lease of {self.lease.subject} cannot change {what} of {market}")

    def _write_event(self, intent: Intent, before: IntentState | None, detail: str) -> None:
        self.connection.execute(
            order_events.insert().values(
                identifier=intent.identifier,
                at=self.now,
                from_state=None if before is None else before.value,
                to_state=intent.state.value,
                holder=self.lease.holder,
                token=self.lease.token,
                detail=detail,
            )
        )


@contextmanager
def pen(engine: Engine, lease: Lease, now: datetime) -> Iterator[Pen]:
    """One change of the ledger. Raises LeaseLost when the lease is not the present one."""
    with change(engine) as connection:
        require(connection, lease)
        yield Pen(connection, lease, now)


def _row(value: Intent | Position) -> dict[str, Any]:
    """Column values; the enumerations as plain strings."""
    return {name: str(v) if isinstance(v, str) else v for name, v in asdict(value).items()}
