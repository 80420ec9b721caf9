"""`trading-assets explain`: where an order came from, back to the candles, in one screen."""

import json
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trading_assets.clock import Clock
from trading_assets.database import open_database, orders, positions, read, signals
from trading_assets.errors import LedgerError
from trading_assets.settings import Settings
from trading_assets.trading import records
from trading_assets.trading.records import Intent, Position
from trading_assets.world import World, world_of

_LOOK_BACK = timedelta(days=7)
_AT_LEAST = 4  # characters of a name that is cut short


def explain(settings: Settings, clock: Clock, name: str | None) -> str:
    """The story of an order or a trade. name: of either, or its first characters; None lists.

    Raises LedgerError: nothing is called so, or more than one thing.
    """
    world = world_of(settings)
    engine = open_database(settings, world)
    try:
        with read(engine) as connection:
            if name is None:
                return _listed(records.closed_positions(connection, clock.now() - _LOOK_BACK))
            return "\n".join(_story(connection, world, _found(connection, name)))
    finally:
        engine.dispose()


def _listed(closed: tuple[Position, ...]) -> str:
    if not closed:
        return "no trade ended in the last seven days"
    lines = [
        f"{p.id}  {p.market}  {p.exit_reason}  {p.cash_flow:+,.0f} KRW  {p.closed_at}"
        for p in closed[-10:]
    ]
    return "\n".join(["`trading-assets explain TRADE` tells more of:", *lines])


def _found(connection: Connection, name: str) -> Position:
    """The trade that `name` means, by its own name or one of its orders'."""
    pattern = name.replace("%", "").replace("_", "\\_") + "%"
    by_order = sa.select(orders.c.position_id).where(
        sa.or_(orders.c.identifier.like(pattern, escape="\\"), orders.c.uuid.like(pattern))
    )
    by_trade = sa.select(positions.c.id).where(positions.c.id.like(pattern, escape="\\"))
    ids = {row[0] for query in (by_order, by_trade) for row in connection.execute(query)}
    if not ids or len(name) < _AT_LEAST:
        raise LedgerError(f"the ledger has no order and no trade called {name}")
    if len(ids) > 1:
        raise LedgerError(f"{name} may be {len(ids)} trades: give more of the name")
    return records.position(connection, ids.pop())


def _story(connection: Connection, world: World, trade: Position) -> list[str]:
    profit = f"{trade.cash_flow:+,f} KRW, {trade.fees:,f} KRW fees paid"
    left = "" if trade.exit_reason is None else f", left by {trade.exit_reason}"
    lines = [f"trade      {trade.id} {trade.market} {trade.profile}: {trade.state}{left}, {profit}"]
    for order in records.intents_of(connection, trade.id):
        lines += _order_lines(connection, order)
    if trade.plan is not None:
        plan = trade.plan
        lines.append(
            f"barriers   stop {plan.stop_price:,f}, take {plan.take_price:,f}, "
            f"until {plan.deadline:%Y-%m-%d %H:%M:%S} UTC"
        )
    query = sa.select(signals).where(signals.c.id == trade.signal_id)
    signal = connection.execute(query).one()
    return lines + _signal_lines(signal) + _model_lines(world, trade)


def _order_lines(connection: Connection, order: Intent) -> list[str]:
    price = "the market" if order.price is None else f"{order.price:,f}"
    lines = [
        f"order      {order.identifier} {order.leg} ({order.reason}): {order.side} "
        f"{order.volume:f} at {price}, {order.state}, {order.executed_volume:f} executed, "
        f"sent {order.sends} times, the exchange calls it {order.uuid}"
    ]
    lines += [
        f"  event      {e.at:%H:%M:%S.%f} UTC {e.to_state} by {e.holder} ({e.token}): {e.detail}"
        for e in records.events_of(connection, order.identifier)
    ]
    return lines + [
        f"  fill       {f.traded_at:%H:%M:%S} UTC {f.volume:f} at {f.price:,f} = {f.funds:,f} KRW"
        for f in records.fills_of(connection, order.identifier)
    ]


def _signal_lines(signal: sa.Row[Any]) -> list[str]:
    return [
        f"decision   {signal.decision} ({signal.reason}), expected value {_number(signal.ev_net)} "
        f"after costs, valid until {signal.expires_at:%H:%M:%S} UTC",
        f"signal     {signal.id} of {signal.created_at:%Y-%m-%d %H:%M:%S} UTC: "
        f"p_sell {_number(signal.p_sell)}, p_hold {_number(signal.p_hold)}, "
        f"p_buy {_number(signal.p_buy)}, on the candle of {signal.candle_time} "
        f"that closed at {signal.close}",
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _model_lines(world: World, trade: Position) -> list[str]:
    """The model's version, what it was trained on, and those candles' fingerprint."""
    version = trade.model_version
    if version is None:
        return ["model      none was recorded"]
    folder = world.champions / f"{trade.market}.{trade.profile}" / version / "served"
    try:
        made = json.loads((folder / "model_metadata.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return [f"model      {version} (its folder is gone; MLflow keeps its record)"]
    window = made["window"]
    return [
        f"model      {version}, trained at {made['trained_at']}",
        f"training   {window['first_open_time']} to {window['last_open_time']}, "
        f"{window['rows']} rows, labels until {window['last_label_end']}",
        f"candles    {made['interval_minutes']} minutes, content hash {made['candle_hash']}",
    ]
