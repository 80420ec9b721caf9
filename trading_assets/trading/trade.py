"""One run, one trade: take the lease, finish what a predecessor left, enter, guard, leave.

The same function starts a trade, takes over a position whose holder died, and holds positions
without Dagster. Dying at any instruction loses nothing: whoever takes the lease next finds in the
ledger what there is to do. Nothing is sent while a run is being ended from outside.
"""

import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.exc import SQLAlchemyError

from trading_assets.database import impatient, read
from trading_assets.errors import DatabaseBusy, LedgerError
from trading_assets.rules.funnel import Refusal
from trading_assets.trading import leases, records
from trading_assets.trading.entry import arm, enter, finish_entry
from trading_assets.trading.floor import Floor, seconds
from trading_assets.trading.guard import Guard
from trading_assets.trading.heart import Heart
from trading_assets.trading.leases import Lease
from trading_assets.trading.order_desk import OrderDesk
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.states import Leg, PositionState
from trading_assets.trading.waiting import Waiting, waiting

# Whoever starts takeovers sends the next one after a minute: until it is there, this one waits on.
_LEASE_PATIENCE = timedelta(seconds=90)


class TradeEnd(StrEnum):
    """How a run ended."""

    LEFT = "left"
    REFUSED = "refused"
    NOTHING_TO_DO = "nothing_to_do"
    HELD_BY_ANOTHER = "held_by_another"


@dataclass(frozen=True, slots=True)
class TradeReport:
    """refusal: why no position was entered. position: the one that was left."""

    end: TradeEnd
    position: Position | None = None
    refusal: Refusal | None = None


def trade(floor: Floor, market: str, holder: str, *, signal_id: int | None = None) -> TradeReport:
    """Enter for `signal_id` and guard to the end, or guard what `market` holds already.

    holder: of this process, unique. The first act is to take the lease; without it the run ends.
    Raises DatabaseBusy when the lease could not be written for a minute and a half, LeaseLost when
    another took over meanwhile, and the errors of asking before an entry was decided; with a
    position there are none but LedgerMismatch and PricesStopped.
    """
    with floor.step("take the lease"):
        lease = _taken(floor, market, holder)
    if lease is None:
        floor.tell(f"{market}: another run holds it")
        return TradeReport(TradeEnd.HELD_BY_ANOTHER)
    try:
        with Heart(floor, lease) as heart:
            report = _under_lease(waiting(floor), lease, heart, signal_id)
    except BaseException:
        # A second interrupt (the code server's, after the group's) reaches the main thread only.
        letting_go = threading.Thread(target=_let_go, args=(floor, lease), name="let go")
        letting_go.start()
        letting_go.join()
        raise
    with floor.step("release the lease"):
        leases.release(floor.engine, lease, floor.now())
    return report


def _taken(floor: Floor, market: str, holder: str) -> Lease | None:
    """The lease, None while another holds it. Each try looks at the clock anew."""
    on_busy = Waiting(floor, _LEASE_PATIENCE)
    while True:
        try:
            return leases.take(
                impatient(floor.engine),
                market,
                holder,
                now=floor.now(),
                duration=seconds(floor.knobs.lease_seconds),
            )
        except DatabaseBusy as busy:
            on_busy(busy)


def _let_go(floor: Floor, lease: Lease) -> None:
    """Release early, so that a successor need not wait for the expiry. Sends nothing."""
    try:
        leases.release(impatient(floor.engine), lease, floor.now())
    except (SQLAlchemyError, DatabaseBusy) as exc:
        # The lease expires by itself; what ended the run is the error to show.
        floor.tell(f"{lease.subject}: the lease could not be released: {exc}")


def _under_lease(floor: Floor, lease: Lease, heart: Heart, signal_id: int | None) -> TradeReport:
    desk = OrderDesk(floor, lease, heart.check)
    position = finish_what_is_there(floor, lease, desk)
    if position is None and signal_id is None:
        return TradeReport(TradeEnd.NOTHING_TO_DO)
    prices = floor.open_prices([lease.subject])
    prices.start()
    try:
        tested = position is None
        if position is None:
            assert signal_id is not None
            entered = enter(floor, lease, desk, prices, signal_id)
            if isinstance(entered, Refusal):
                return TradeReport(TradeEnd.REFUSED, refusal=entered)
            position = entered
        guard = Guard(floor, lease, desk, heart, prices, tested=tested)
        return TradeReport(TradeEnd.LEFT, position=guard.hold(position))
    finally:
        prices.stop()


def finish_what_is_there(floor: Floor, lease: Lease, desk: OrderDesk) -> Position | None:
    """Bring the market's orders to their ends: the open, armed position, or None.

    An entry that was meant and never sent is dropped: its price is a dead process's.
    """
    for intent in _live_intents(floor, lease.subject):
        if intent.leg is Leg.ENTRY and intent.sends == 0:
            desk.drop(intent.identifier, "the run that meant it died before sending it")
        else:
            desk.settle(intent.identifier, resend_until=_resend_until(floor, intent))
    position = _live_position(floor, lease.subject)
    if position is None:
        return None
    if position.state is PositionState.PLANNED:
        ended = finish_entry(floor, lease, position.id, "its run died, the entry bought nothing")
        return None if isinstance(ended, Refusal) else ended
    return position if position.plan is not None else arm(floor, lease, position)


def _resend_until(floor: Floor, intent: Intent) -> datetime | None:
    """An inherited entry is looked for, not sent again; an exit is."""
    return floor.now() if intent.leg is Leg.ENTRY else None


def _live_intents(floor: Floor, market: str) -> tuple[Intent, ...]:
    with read(floor.engine) as connection:
        return records.live_intents(connection, market)


def _live_position(floor: Floor, market: str) -> Position | None:
    with read(floor.engine) as connection:
        found = records.live_positions(connection, market)
    if len(found) > 1:
        raise LedgerError(f"{market} has {len(found)} live positions")
    return found[0] if found else None
