"""The tables of the account's file, and its rows as the values of `orders.py` and back."""

import sqlite3
from decimal import Decimal
from typing import Any

from trading_assets.exchange.model import OrderState, OrderType, Side, SmpType, TimeInForce
from trading_assets.paper_exchange.exact import plain
from trading_assets.paper_exchange.orders import OrderTerms, PaperBalance, PaperOrder, PaperTrade

SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS balances (
    currency TEXT PRIMARY KEY, balance TEXT NOT NULL, locked TEXT NOT NULL, average TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS identifiers (identifier TEXT PRIMARY KEY, sent_ms INTEGER NOT NULL)
STRICT;
CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, identifier TEXT UNIQUE,
    market TEXT NOT NULL, side TEXT NOT NULL, ord_type TEXT NOT NULL, price TEXT, volume TEXT,
    time_in_force TEXT, smp_type TEXT NOT NULL, state TEXT NOT NULL, created_ms INTEGER NOT NULL,
    remaining_volume TEXT, remaining_funds TEXT, executed_volume TEXT NOT NULL,
    executed_funds TEXT NOT NULL, reserved_fee TEXT NOT NULL, remaining_fee TEXT NOT NULL,
    paid_fee TEXT NOT NULL, locked TEXT NOT NULL, trades_count INTEGER NOT NULL,
    prevented_volume TEXT NOT NULL, prevented_locked TEXT NOT NULL, visible_ms INTEGER NOT NULL,
    held_until_ms INTEGER NOT NULL, cancel_asked INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS orders_by_state ON orders (state, created_ms);
CREATE TABLE IF NOT EXISTS trades (
    number INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL, order_uuid TEXT NOT NULL,
    market TEXT NOT NULL, side TEXT NOT NULL, price TEXT NOT NULL, volume TEXT NOT NULL,
    funds TEXT NOT NULL, fee TEXT NOT NULL, made_us INTEGER NOT NULL, is_maker INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS trades_by_order ON trades (order_uuid);
"""


def _maybe(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _maybe_plain(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def balance_of(row: sqlite3.Row) -> PaperBalance:
    return PaperBalance(
        row["currency"], Decimal(row["balance"]), Decimal(row["locked"]), Decimal(row["average"])
    )


def order_of(row: sqlite3.Row) -> PaperOrder:
    mode = row["time_in_force"]
    terms = OrderTerms(
        market=row["market"],
        side=Side(row["side"]),
        ord_type=OrderType(row["ord_type"]),
        price=_maybe(row["price"]),
        volume=_maybe(row["volume"]),
        time_in_force=None if mode is None else TimeInForce(mode),
        smp_type=SmpType(row["smp_type"]),
        identifier=row["identifier"],
    )
    return PaperOrder(
        number=row["number"],
        uuid=row["uuid"],
        terms=terms,
        state=OrderState(row["state"]),
        created_ms=row["created_ms"],
        remaining_volume=_maybe(row["remaining_volume"]),
        remaining_funds=_maybe(row["remaining_funds"]),
        executed_volume=Decimal(row["executed_volume"]),
        executed_funds=Decimal(row["executed_funds"]),
        reserved_fee=Decimal(row["reserved_fee"]),
        remaining_fee=Decimal(row["remaining_fee"]),
        paid_fee=Decimal(row["paid_fee"]),
        locked=Decimal(row["locked"]),
        trades_count=row["trades_count"],
        prevented_volume=Decimal(row["prevented_volume"]),
        prevented_locked=Decimal(row["prevented_locked"]),
        visible_ms=row["visible_ms"],
        held_until_ms=row["held_until_ms"],
        cancel_asked=bool(row["cancel_asked"]),
    )


def order_row(order: PaperOrder) -> dict[str, Any]:
    terms = order.terms
    return {
        "number": order.number,
        "uuid": order.uuid,
        "identifier": terms.identifier,
        "market": terms.market,
        "side": terms.side.value,
        "ord_type": terms.ord_type.value,
        "price": _maybe_plain(terms.price),
        "volume": _maybe_plain(terms.volume),
        "time_in_force": None if terms.time_in_force is None else terms.time_in_force.value,
        "smp_type": terms.smp_type.value,
        "state": order.state.value,
        "created_ms": order.created_ms,
        "remaining_volume": _maybe_plain(order.remaining_volume),
        "remaining_funds": _maybe_plain(order.remaining_funds),
        "executed_volume": plain(order.executed_volume),
        "executed_funds": plain(order.executed_funds),
        "reserved_fee": plain(order.reserved_fee),
        "remaining_fee": plain(order.remaining_fee),
        "paid_fee": plain(order.paid_fee),
        "locked": plain(order.locked),
        "trades_count": order.trades_count,
        "prevented_volume": plain(order.prevented_volume),
        "prevented_locked": plain(order.prevented_locked),
        "visible_ms": order.visible_ms,
        "held_until_ms": order.held_until_ms,
        "cancel_asked": int(order.cancel_asked),
    }


def trade_of(row: sqlite3.Row) -> PaperTrade:
    return PaperTrade(
        uuid=row["uuid"],
        order_uuid=row["order_uuid"],
        market=row["market"],
        side=Side(row["side"]),
        price=Decimal(row["price"]),
        volume=Decimal(row["volume"]),
        funds=Decimal(row["funds"]),
        fee=Decimal(row["fee"]),
        made_us=row["made_us"],
        is_maker=bool(row["is_maker"]),
    )


def trade_row(fill: PaperTrade) -> dict[str, Any]:
    return {
        "uuid": fill.uuid,
        "order_uuid": fill.order_uuid,
        "market": fill.market,
        "side": fill.side.value,
        "price": plain(fill.price),
        "volume": plain(fill.volume),
        "funds": plain(fill.funds),
        "fee": plain(fill.fee),
        "made_us": fill.made_us,
        "is_maker": int(fill.is_maker),
    }
