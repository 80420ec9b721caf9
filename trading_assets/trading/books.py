"""The bot's own money: capital, profit and loss, exposure, and what an entry must know of them.

Losses are measured on the bot's own trades, read from the ledger, so money that a person moves
moves the capital and is neither a loss nor a profit. Here: reading and marking. Not here: the
limits themselves (`rules.limits`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.alerts import Severity, write_alert
from trading_assets.database import capital_changes, equity_marks, halts, leases
from trading_assets.errors import LedgerError
from trading_assets.exchange.amounts import EXACT, exact_sum
from trading_assets.rules.entry import BotView
from trading_assets.rules.limits import (
    EquityMark,
    PastExit,
    first_mark,
    mark_after_resume,
    next_mark,
)
from trading_assets.trading import records
from trading_assets.trading.halts import active_halt
from trading_assets.trading.leases import Lease, require
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.states import IntentState, Leg, PositionState
from trading_assets.trading.transactions import change

# The settings allow no longer rest, and no longer streak of stops with its pause.
EXITS_LOOKED_AT = timedelta(days=7)

_DECLARED = "declared"
_FLOW = "flow"


@dataclass(frozen=True, slots=True)
class Outside:
    """What the account has (balance + locked) that the ledger does not explain, both currencies.

    Trades that we book do not change it, whatever their market. So when it is the same before an
    order and long after, that order cannot have traded.
    """

    quote: Decimal
    base: Decimal


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger's half of what an entry decision needs. KRW.

    exposure: what is held, at the bid, and what entries under way may still spend. reserved: the
    part of the latter, fees left out, that the exchange may not have locked yet.
    """

    halt: str | None
    position_open: bool
    live_order: bool
    unknown_order: bool
    live_positions: int
    past_exits: tuple[PastExit, ...]
    mark: EquityMark
    exposure: Decimal
    reserved: Decimal

    def bot_view(
        self, *, not_enabled: str | None, missing: str | None, available: Decimal
    ) -> BotView:
        """The whole, with what only settings and account can tell. available: free KRW."""
        return BotView(
            halt=self.halt,
            not_enabled=not_enabled,
            missing=missing,
            position_open=self.position_open,
            live_order=self.live_order,
            unknown_order=self.unknown_order,
            live_positions=self.live_positions,
            past_exits=self.past_exits,
            mark=self.mark,
            exposure=self.exposure,
            available=max(Decimal(0), EXACT.subtract(available, self.reserved)),
        )


def read_books(
    connection: Connection, market: str, *, now: datetime, bids: Mapping[str, Decimal]
) -> Books:
    """The books as an entry in `market` has to see them, in the caller's transaction.

    bids: KRW per coin; markets without one count at their guard's last judged bid, else at cost.
    Raises LedgerError: the capital was never declared.
    """
    halt = active_halt(connection)
    live = records.live_positions(connection)
    intents = records.live_intents(connection)
    of_market = [o for o in intents if o.market == market]
    entries = [o for o in intents if o.leg is Leg.ENTRY]
    not_locked = [o for o in entries if o.state is not IntentState.OPEN]
    return Books(
        halt=None if halt is None else f"{halt.reason}: {halt.detail}",
        position_open=any(p.market == market for p in live),
        live_order=bool(of_market),
        unknown_order=any(o.state is IntentState.UNKNOWN for o in of_market),
        live_positions=len(live),
        past_exits=records.past_exits(connection, now - EXITS_LOOKED_AT),
        mark=present_mark(connection, now=now, bids=bids),
        exposure=_exposure(connection, live, entries, bids),
        reserved=exact_sum(_may_spend(o) for o in not_locked),
    )


# --- capital --------------------------------------------------------------------------------


def capital(connection: Connection) -> Decimal | None:
    """What the bot works with, KRW: the last declared amount and the flows since; None before."""
    amount: Decimal | None = None
    for row in connection.execute(sa.select(capital_changes).order_by(capital_changes.c.id)):
        if row.kind == _DECLARED:
            amount = row.amount
        elif amount is not None:
            amount = EXACT.add(amount, row.amount)
    return amount


def declare_capital(engine: Engine, amount: Decimal, *, now: datetime, detail: str) -> bool:
    """Set what the bot works with; False when that was the last declaration already.

    So a setting can be declared at every start without undoing the flows in between.
    """
    with change(engine) as connection:
        declared = capital_changes.c.kind == _DECLARED
        last = connection.execute(
            sa.select(capital_changes.c.amount)
            .where(declared)
            .order_by(capital_changes.c.id.desc())
            .limit(1)
        ).scalar_one_or_none()
        if last == amount:
            return False
        _insert_capital(connection, now, _DECLARED, amount, detail)
        return True


def record_flow(engine: Engine, amount: Decimal, *, now: datetime, detail: str) -> None:
    """Money that came in (or, negative, went out) without us: re-bases the capital, with an alert.

    Raises LedgerError: the capital was never declared.
    """
    with change(engine) as connection:
        if capital(connection) is None:
            raise LedgerError("a flow needs a capital to change, none was declared")
        identity = _insert_capital(connection, now, _FLOW, amount, detail)
        write_alert(
            connection,
            severity=Severity.WARNING,
            kind="external_flow",
            dedupe_key=f"external-flow-{identity}",
            message=f"{amount:+,f} KRW moved without the bot: {detail}. The capital follows.",
            now=now,
        )


def explained(connection: Connection, market: str) -> Outside:
    """What flows and trades have added to the account since the beginning: KRW and `market`'s coin.

    Exact; negative where more went out. Dust is among the coins.
    """
    quote, left = explained_by_market(connection)
    return Outside(quote, left.get(market, Decimal(0)))


def explained_by_market(connection: Connection) -> tuple[Decimal, Mapping[str, Decimal]]:
    """The same of all markets: KRW, and the coins of each market that has any left."""
    sums = records.sums_by_market(connection)
    flows = capital_changes.c.kind == _FLOW
    moved = connection.execute(sa.select(capital_changes.c.amount).where(flows)).scalars()
    quote = exact_sum([*moved, *(of_market.cash_flow for of_market in sums.values())])
    return quote, {market: found.left for market, found in sums.items() if found.left}


def outside(connection: Connection, market: str, totals: Outside) -> Outside:
    """What of the account's `totals` (balance + locked) the ledger does not explain.

    It changes only when something happens that is not booked: a fill still to come, a person.
    """
    ours = explained(connection, market)
    return Outside(EXACT.subtract(totals.quote, ours.quote), EXACT.subtract(totals.base, ours.base))


# --- equity ---------------------------------------------------------------------------------


def present_mark(
    connection: Connection, *, now: datetime, bids: Mapping[str, Decimal]
) -> EquityMark:
    """The equity mark of this moment, not written. Raises LedgerError: no capital was declared."""
    base = capital(connection)
    if base is None:
        raise LedgerError("the capital was never declared: run `trading-assets run` once")
    sums = records.sums_by_market(connection)
    prices = _prices(connection, bids)
    held = (p.value(prices(p)) for p in records.live_positions(connection))
    pnl = exact_sum([*(of_market.cash_flow for of_market in sums.values()), *held])
    last = last_mark(connection)
    if last is None:
        return first_mark(now, base, pnl)
    # Two processes may have read their clocks in the other order than they got here.
    return next_mark(last, max(now, last.at), base, pnl)


def save_mark(
    engine: Engine, *, now: datetime, bids: Mapping[str, Decimal], lease: Lease | None = None
) -> EquityMark:
    """Write the equity mark of this moment; losses are measured from these.

    lease: of the guard whose bids these are; raises LeaseLost when it is another's by now.
    """
    with change(engine) as connection:
        if lease is not None:
            require(connection, lease)
        mark = present_mark(connection, now=now, bids=bids)
        _insert_mark(connection, mark, bids)
        return mark


def last_mark(connection: Connection) -> EquityMark | None:
    query = sa.select(equity_marks).order_by(equity_marks.c.id.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return EquityMark(
        row.at, row.capital, row.pnl, row.peak_pnl, row.day_start_pnl, row.day_low_pnl
    )


def resume(engine: Engine, *, by: str, now: datetime, bids: Mapping[str, Decimal]) -> bool:
    """End the halt; False when none is on. The peak starts again from here, the day does not."""
    with change(engine) as connection:
        if active_halt(connection) is None:
            return False
        on = halts.c.resumed_at.is_(None)
        connection.execute(halts.update().where(on).values(resumed_at=now, resumed_by=by))
        mark = mark_after_resume(present_mark(connection, now=now, bids=bids))
        _insert_mark(connection, mark, bids)
        return True


# --- parts ----------------------------------------------------------------------------------


def _prices(
    connection: Connection, bids: Mapping[str, Decimal]
) -> Callable[[Position], Decimal | None]:
    """The bid to value a position at: the caller's, else the last that its guard judged."""
    judged = {
        row.subject: row for row in connection.execute(sa.select(leases)) if row.bid is not None
    }

    def price(position: Position) -> Decimal | None:
        if position.market in bids:
            return bids[position.market]
        row = judged.get(position.market)
        # A bid from before this position is another trade's, perhaps days old.
        if row is None or position.opened_at is None or row.progress_at < position.opened_at:
            return None
        price: Decimal = row.bid
        return price

    return price


def _exposure(
    connection: Connection,
    live: tuple[Position, ...],
    entries: list[Intent],
    bids: Mapping[str, Decimal],
) -> Decimal:
    prices = _prices(connection, bids)
    held = (p.value(prices(p)) for p in live if p.state is PositionState.OPEN)
    return exact_sum([*held, *(_may_spend(o) for o in entries)])


def _may_spend(entry: Intent) -> Decimal:
    """KRW that an entry order may still spend, without the fee."""
    rest = EXACT.subtract(entry.volume, entry.executed_volume)
    return EXACT.multiply(rest, entry.price or Decimal(0))


def _insert_mark(connection: Connection, mark: EquityMark, bids: Mapping[str, Decimal]) -> None:
    live = records.live_positions(connection)
    entries = [o for o in records.live_intents(connection) if o.leg is Leg.ENTRY]
    connection.execute(
        equity_marks.insert().values(
            at=mark.at,
            capital=mark.capital,
            pnl=mark.pnl,
            peak_pnl=mark.peak_pnl,
            day_start_pnl=mark.day_start_pnl,
            day_low_pnl=mark.day_low_pnl,
            exposure=_exposure(connection, live, entries, bids),
        )
    )


def _insert_capital(
    connection: Connection, now: datetime, kind: str, amount: Decimal, detail: str
) -> int:
    done = connection.execute(
        capital_changes.insert().values(at=now, kind=kind, amount=amount, detail=detail)
    )
    assert done.inserted_primary_key is not None
    return int(done.inserted_primary_key[0])
