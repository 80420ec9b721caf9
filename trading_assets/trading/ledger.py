"""The trades of the ledger: a position is planned, armed, sold, given up or closed as dust.

Every change is one transaction that reads what is there, builds the next state, checks every rule
and writes it, or raises and writes nothing. Here: the steps that a trade decides on. Not here:
what becomes of an order (`booking`), talking to the exchange (`order_desk`), reading (`records`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy.engine import Connection, Engine

from trading_assets.alerts import Severity, write_alert
from trading_assets.errors import LedgerError
from trading_assets.rules.entry import Candidate, Entry
from trading_assets.rules.exits import ExitPlan
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.trading import records
from trading_assets.trading.books import Books, Outside, read_books
from trading_assets.trading.funnel import outcome_of, write_outcome
from trading_assets.trading.identifiers import position_id
from trading_assets.trading.leases import Lease
from trading_assets.trading.pen import NOTHING, pen
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.states import (
    IntentState,
    Leg,
    OrderReason,
    PositionState,
    check_position_change,
)

# How a candidate ended whose entry order ended without a fill.
_UNFILLED = {
    IntentState.REJECTED: FunnelCode.REJECTED,
    IntentState.CLOSED: FunnelCode.NOT_FILLED,
    IntentState.BURNT: FunnelCode.ORDER_LOST,
    IntentState.DROPPED: FunnelCode.STOPPED,
}


@dataclass(frozen=True, slots=True)
class Origin:
    """What a position descends from: the signal's row."""

    signal_created_at: datetime
    profile: str
    model_version: str | None


def enter(
    engine: Engine,
    lease: Lease,
    candidate: Candidate,
    origin: Origin,
    decide: Callable[[Books], Entry | Refusal],
    *,
    prefix: str,
    now: datetime,
    bids: Mapping[str, Decimal],
    outside: Outside,
) -> Intent | Refusal:
    """Decide on a candidate and write what follows: a planned position and its order, or why not.

    decide: pure and quick; it is called inside the transaction, so that two entries cannot both
    take the last place. bids: KRW per coin, of the markets the caller knows. Asked again for the
    same candidate it answers what was decided first. Raises LeaseLost; LedgerError when `decide`
    enters while halted or where there is a position or an order already.
    """
    if lease.subject != candidate.market:
        raise LedgerError(f"a lease of {lease.subject} cannot enter {candidate.market}")
    with pen(engine, lease, now) as write:
        known = _decided(write.connection, candidate.signal_id)
        if known is not None:
            return known
        books = read_books(write.connection, candidate.market, now=now, bids=bids)
        decision = decide(books)
        if isinstance(decision, Refusal):
            write_outcome(
                write.connection,
                signal_id=candidate.signal_id,
                market=candidate.market,
                profile=origin.profile,
                outcome=decision,
                position_id=None,
                now=now,
            )
            return decision
        _check_entry_is_free(books, candidate.market)
        planned = _planned(candidate, origin, now)
        write.insert_position(planned)
        return write.intend(
            planned,
            Leg.ENTRY,
            OrderReason.ENTRY,
            prefix=prefix,
            volume=decision.size.volume,
            price=decision.limit_price,
            outside=outside,
        )


def give_up(engine: Engine, lease: Lease, position: str, *, now: datetime, detail: str) -> Refusal:
    """End a planned position whose entry ended without a fill; its funnel row says how.

    Raises LedgerError: the entry may still fill. IllegalStateChange: the position is not planned.
    """
    with pen(engine, lease, now) as write:
        planned = write.position(position)
        check_position_change(position, planned.state, PositionState.VOID)
        write.check_no_live_order(planned)
        last = records.intents_of(write.connection, position, Leg.ENTRY)[-1]
        refusal = Refusal(_UNFILLED[last.state], detail)
        write.save_position(planned, replace(planned, state=PositionState.VOID))
        write_outcome(
            write.connection,
            signal_id=planned.signal_id,
            market=planned.market,
            profile=planned.profile,
            outcome=refusal,
            position_id=position,
            now=now,
        )
        return refusal


def arm(engine: Engine, lease: Lease, position: str, plan: ExitPlan, now: datetime) -> Position:
    """Store the barriers of an open position, once, after its entry has ended.

    The same plan again changes nothing. Raises LedgerError: another plan is stored already, the
    entry has not ended, or the position is not open.
    """
    with pen(engine, lease, now) as write:
        held = write.position(position)
        if held.state is not PositionState.OPEN:
            raise LedgerError(f"only an open position is armed, {position} is {held.state}")
        if held.plan is not None:
            if held.plan != plan:
                raise LedgerError(f"position {position} is armed with {held.plan}, not {plan}")
            return held
        write.check_no_live_order(held)
        armed = replace(
            held,
            stop_price=plan.stop_price,
            take_price=plan.take_price,
            deadline=plan.deadline,
        )
        return write.save_position(held, armed)


def intend_exit(
    engine: Engine,
    lease: Lease,
    position: str,
    reason: OrderReason,
    *,
    prefix: str,
    now: datetime,
    price: Decimal | None = None,
    volume: Decimal | None = None,
    outside: Outside | None = None,
) -> Intent:
    """The order that sells what is held, or `volume` of it: at the market, or limit IOC with a
    `price`.

    While an exit order of the position may still exist, that one is the answer, whatever the
    reason now: never a second identifier. outside: without it the order can never be proven lost.
    Raises LedgerError: nothing or less is held, or the entry order has not ended.
    """
    if reason is OrderReason.ENTRY:
        raise LedgerError("an exit needs a reason of its own, was entry")
    with pen(engine, lease, now) as write:
        held = write.position(position)
        for live in records.live_intents(write.connection, held.market):
            if live.position_id == position and live.leg is Leg.EXIT:
                return live
            raise LedgerError(f"order {live.identifier} of {held.market} is {live.state}")
        if held.state is not PositionState.OPEN:
            raise LedgerError(f"position {position} is {held.state}, there is nothing to sell")
        if volume is not None and volume > held.held_volume:
            raise LedgerError(f"position {position} holds {held.held_volume}, not {volume}")
        return write.intend(
            held,
            Leg.EXIT,
            reason,
            prefix=prefix,
            volume=held.held_volume if volume is None else volume,
            price=price,
            outside=outside,
        )


def close_as_dust(
    engine: Engine,
    lease: Lease,
    position: str,
    reason: OrderReason,
    *,
    bid: Decimal,
    min_notional: Decimal,
    now: datetime,
) -> Position:
    """Close a position whose rest is worth less than the exchange lets us sell (KRW at the bid).

    reason: why it was to be left; the limits count what was left at its stop as a stop, sold or
    not. The rest goes to the dust list, with an alert. Raises LedgerError: it can be sold, or an
    order is live. IllegalStateChange: the position is not open.
    """
    with pen(engine, lease, now) as write:
        held = write.position(position)
        check_position_change(position, held.state, PositionState.CLOSED)
        write.check_no_live_order(held)
        worth = held.value(bid)
        if worth >= min_notional:
            raise LedgerError(
                f"position {position} is worth {worth} KRW, only below {min_notional} is dust"
            )
        closed = replace(
            held,
            state=PositionState.CLOSED,
            dust_volume=held.held_volume,
            closed_at=now,
            exit_reason=held.left_by(reason),
        )
        write_alert(
            write.connection,
            severity=Severity.WARNING,
            kind="dust_left",
            dedupe_key=f"dust-left-{position}-{now:%Y-%m-%dT%H:%M:%S}",
            message=f"{held.market}: {held.held_volume:f} coins worth {worth:,.0f} KRW are left of "
            f"a position that was to be sold ({reason}): the exchange takes nothing below "
            f"{min_notional:,f} KRW. They stay in the account, and the bot no longer sells them.",
            now=now,
        )
        return write.save_position(held, closed)


def _decided(connection: Connection, signal_id: int) -> Intent | Refusal | None:
    """What was decided on a candidate before, None when nothing was."""
    planned = records.position_of_signal(connection, signal_id)
    if planned is not None:
        return records.intents_of(connection, planned.id, Leg.ENTRY)[-1]
    outcome = outcome_of(connection, signal_id)
    if outcome is None:
        return None
    return Refusal(outcome.code, outcome.detail, outcome.needed_krw)


def _check_entry_is_free(books: Books, market: str) -> None:
    """The rules that hold whatever `decide` says."""
    if books.halt is not None:
        raise LedgerError(f"no entry in {market} while halted: {books.halt}")
    if books.position_open or books.live_order or books.unknown_order:
        raise LedgerError(f"{market} already has a position or an order")


def _planned(candidate: Candidate, origin: Origin, now: datetime) -> Position:
    return Position(
        id=position_id(candidate.market, candidate.signal_id, origin.signal_created_at),
        market=candidate.market,
        profile=origin.profile,
        signal_id=candidate.signal_id,
        model_version=origin.model_version,
        state=PositionState.PLANNED,
        created_at=now,
        opened_at=None,
        closed_at=None,
        bought_volume=NOTHING,
        bought_funds=NOTHING,
        sold_volume=NOTHING,
        sold_funds=NOTHING,
        fees=NOTHING,
        dust_volume=NOTHING,
        stop_loss=candidate.terms.stop_loss,
        take_profit=candidate.terms.take_profit,
        timeout_seconds=int(candidate.terms.timeout.total_seconds()),
        stop_price=None,
        take_price=None,
        deadline=None,
        exit_reason=None,
    )
