"""What became of an order: sent, unclear, refused, lost, filled. Each in one transaction.

Positions are opened and closed here, by fills, not by intentions. Whatever the exchange says is
booked as often as it is said and counted once. Not here: what a trade decides (`ledger`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection, Engine

from trading_assets.errors import LedgerError, LedgerMismatch
from trading_assets.exchange.amounts import EXACT, exact_sum
from trading_assets.exchange.model import Fill, Order
from trading_assets.trading import records
from trading_assets.trading.books import Outside
from trading_assets.trading.funnel import write_traded
from trading_assets.trading.leases import Lease
from trading_assets.trading.pen import NOTHING, Pen, pen
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.states import (
    IntentState,
    Leg,
    PositionState,
    check_order_change,
)


@dataclass(frozen=True, slots=True)
class Booked:
    """The books after an order was booked. new_fills: those not known before."""

    intent: Intent
    position: Position
    new_fills: tuple[Fill, ...]


def mark_sent(engine: Engine, lease: Lease, identifier: str, now: datetime) -> Intent:
    """Before every POST: the first, and each of the same identifier while it is UNKNOWN.

    Each may be the one that is taken and shown late, so an order counts as lost from the last.
    """
    with pen(engine, lease, now) as write:
        before = write.intent(identifier)
        after = replace(before, sends=before.sends + 1, sent_at=before.sent_at or now)
        if before.state is IntentState.UNKNOWN:
            return write.save_intent(before, replace(after, unknown_since=now), "sent again")
        check_order_change(identifier, before.state, IntentState.SENT)
        return write.save_intent(before, replace(after, state=IntentState.SENT), "sent")


def mark_unknown(
    engine: Engine, lease: Lease, identifier: str, *, now: datetime, detail: str
) -> Intent:
    """The outcome of sending is not clear. Of an UNKNOWN order: nothing changes."""
    with pen(engine, lease, now) as write:
        before = write.intent(identifier)
        if before.state is IntentState.UNKNOWN:
            return before
        after = replace(before, state=IntentState.UNKNOWN, unknown_since=now)
        return write.save_intent(before, after, detail)


def mark_rejected(
    engine: Engine, lease: Lease, identifier: str, *, now: datetime, detail: str
) -> Intent:
    """The exchange refused its first sending by name. detail: the name and the message."""
    with pen(engine, lease, now) as write:
        return _end(write, identifier, IntentState.REJECTED, detail)


def mark_dropped(
    engine: Engine, lease: Lease, identifier: str, *, now: datetime, detail: str
) -> Intent:
    """It was never sent and will not be."""
    with pen(engine, lease, now) as write:
        return _end(write, identifier, IntentState.DROPPED, detail)


def mark_burnt(
    engine: Engine,
    lease: Lease,
    identifier: str,
    *,
    now: datetime,
    lost_after: timedelta,
    outside: Outside,
    detail: str,
) -> Intent:
    """An UNKNOWN order is proven never to have existed.

    The caller has just seen that it is in none of the exchange's lists. outside: of the account
    now, see `books.outside`. Raises LedgerError: `lost_after` has not passed since it became
    UNKNOWN or was sent again, or the account is not as it was before it.
    """
    with pen(engine, lease, now) as write:
        before = write.intent(identifier)
        check_order_change(identifier, before.state, IntentState.BURNT)
        if before.unknown_since is None or now - before.unknown_since < lost_after:
            raise LedgerError(
                f"order {identifier} is UNKNOWN since {before.unknown_since}, it counts as lost "
                f"only after {lost_after}"
            )
        expected = (before.quote_outside, before.base_outside)
        if expected != (outside.quote, outside.base):
            raise LedgerError(
                f"order {identifier} is not proven lost: the account had {expected} besides the "
                f"ledger before it, has {(outside.quote, outside.base)}"
            )
        return _end(write, identifier, IntentState.BURNT, detail)


def book(engine: Engine, lease: Lease, order: Order, now: datetime) -> Booked:
    """Write what the exchange says about one of our orders; the same answer again adds nothing.

    The order is CLOSED once it has ended and every fill of it is booked; until then it stays OPEN,
    also when the list of fills lags behind. An answer older than what is booked changes nothing.
    Raises LedgerMismatch: the answer contradicts the books (a fill that changed, more than was
    ordered, more sold than held, another order's name).
    """
    if order.identifier is None:
        raise LedgerMismatch(f"order {order.uuid} has no identifier, it is not ours")
    with pen(engine, lease, now) as write:
        before = write.intent(order.identifier)
        _check_same_order(before, order)
        fresh = _fresh_fills(write.connection, before, order.fills or ())
        after = _next_intent(write, before, order, fresh)
        if after != before:
            after = write.save_intent(
                before, after, f"{order.state}, {after.executed_volume:f} executed"
            )
        for fill in fresh:
            write.insert_fill(before, fill)
        held = write.position(before.position_id)
        moved = _closed_if_sold_out(write, _moved(write, held, (before, after), fresh))
        if moved != held:
            write.save_position(held, moved)
        if before.leg is Leg.ENTRY and fresh:
            write_traded(write.connection, moved, now)
        return Booked(after, moved, fresh)


def _end(write: Pen, identifier: str, state: IntentState, detail: str) -> Intent:
    before = write.intent(identifier)
    return write.save_intent(before, replace(before, state=state, ended_at=write.now), detail)


def _check_same_order(intent: Intent, order: Order) -> None:
    for name, ours, theirs in (
        ("market", intent.market, order.market),
        ("side", intent.side, order.side),
        ("uuid", intent.uuid or order.uuid, order.uuid),
    ):
        if ours != theirs:
            raise LedgerMismatch(
                f"order {intent.identifier} has {name} {ours}, the exchange says {theirs}"
            )


def _fresh_fills(connection: Connection, intent: Intent, told: Iterable[Fill]) -> tuple[Fill, ...]:
    """Those of `told` that are not booked yet, each once."""
    fresh: dict[str, Fill] = {}
    for fill in told:
        if fill.side is not intent.side:
            raise LedgerMismatch(f"fill {fill.uuid} of {intent.identifier} is a {fill.side}")
        booked = records.find_fill(connection, fill.uuid)
        if booked is not None and booked.identifier != intent.identifier:
            raise LedgerMismatch(f"fill {fill.uuid} is booked under {booked.identifier} already")
        known = booked or fresh.setdefault(fill.uuid, fill)
        if (known.price, known.volume, known.funds) != (fill.price, fill.volume, fill.funds):
            raise LedgerMismatch(f"fill {fill.uuid} is booked as {known}, was told as {fill}")
    return tuple(fresh.values())


def _next_intent(write: Pen, before: Intent, order: Order, fresh: tuple[Fill, ...]) -> Intent:
    known = records.fills_of(write.connection, before.identifier)
    booked = exact_sum([*(fill.volume for fill in known), *(fill.volume for fill in fresh)])
    executed = max(before.executed_volume, order.executed_volume)
    if booked > executed or executed > before.volume:
        raise LedgerMismatch(
            f"order {before.identifier} of {before.volume} has {executed} executed and fills of "
            f"{booked}"
        )
    after = replace(
        before,
        uuid=order.uuid,
        executed_volume=executed,
        paid_fee=max(before.paid_fee, order.paid_fee),
    )
    if before.state is IntentState.CLOSED:
        if executed > before.executed_volume:
            raise LedgerMismatch(
                f"order {before.identifier} ended with {before.executed_volume} executed, the "
                f"exchange says {executed}"
            )
        return after
    if order.is_terminal and booked == executed:
        return replace(after, state=IntentState.CLOSED, ended_at=write.now)
    _check_no_other_live_order(write.connection, before)
    return replace(after, state=IntentState.OPEN, ended_at=None)


def _check_no_other_live_order(connection: Connection, intent: Intent) -> None:
    """An order found after all comes alive beside its successor: for a person to sort out."""
    for other in records.live_intents(connection, intent.market):
        if other.identifier != intent.identifier:
            raise LedgerMismatch(
                f"order {intent.identifier} is live on the exchange while "
                f"{other.identifier} is {other.state}"
            )


def _moved(
    write: Pen, held: Position, step: tuple[Intent, Intent], fresh: tuple[Fill, ...]
) -> Position:
    """The position after the new fills and fees of one order, whose step is (before, after)."""
    before, after = step
    volume = exact_sum(fill.volume for fill in fresh)
    funds = exact_sum(fill.funds for fill in fresh)
    fee = EXACT.subtract(after.paid_fee, before.paid_fee)
    held = replace(held, fees=EXACT.add(held.fees, fee))
    if not fresh:
        return held
    if before.leg is Leg.ENTRY:
        bought = replace(
            held,
            bought_volume=EXACT.add(held.bought_volume, volume),
            bought_funds=EXACT.add(held.bought_funds, funds),
        )
        return bought if held.state is PositionState.OPEN else _opened(write, bought)
    sold = replace(
        held,
        sold_volume=EXACT.add(held.sold_volume, volume),
        sold_funds=EXACT.add(held.sold_funds, funds),
        exit_reason=held.left_by(before.reason),
    )
    if sold.held_volume < 0:
        raise LedgerMismatch(
            f"position {held.id} bought {sold.bought_volume} and sold {sold.sold_volume}"
        )
    return sold


def _opened(write: Pen, position: Position) -> Position:
    """`position`, open: for the first time, or again because a fill was found after all."""
    for other in records.live_positions(write.connection, position.market):
        if other.id != position.id:
            raise LedgerMismatch(
                f"an entry of position {position.id} was filled while {other.id} is "
                f"{other.state} in {position.market}"
            )
    return replace(
        position,
        state=PositionState.OPEN,
        opened_at=position.opened_at or write.now,
        closed_at=None,
        dust_volume=NOTHING,
    )


def _closed_if_sold_out(write: Pen, position: Position) -> Position:
    """Closed when nothing is held and no order of it may fill any more."""
    if position.state is not PositionState.OPEN or position.held_volume:
        return position
    if any(o.state.is_live for o in records.intents_of(write.connection, position.id)):
        return position
    return replace(position, state=PositionState.CLOSED, closed_at=write.now)
