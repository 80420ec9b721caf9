"""The funnel: exactly one row for every candidate entry, traded or the coded reason why not.

A candidate is a BUY signal of the traded profile. Here: its rows, and ending the candidates that
nobody decided on in time. Not here: the codes and the rules behind them (`rules.funnel`,
`rules.entry`).
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.database import funnel, positions, read, signals
from trading_assets.errors import LedgerError
from trading_assets.rules.decision import Action
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.trading.records import Position
from trading_assets.trading.transactions import change

# id, market, profile, expires_at
_Undecided = sa.Row[tuple[int, str, str, datetime]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a candidate ended."""

    signal_id: int
    market: str
    profile: str
    code: FunnelCode
    detail: str
    needed_krw: Decimal | None
    position_id: str | None
    decided_at: datetime


def outcome_of(connection: Connection, signal_id: int) -> Outcome | None:
    """The row of a candidate, None while it is undecided or its entry is under way."""
    query = sa.select(funnel).where(funnel.c.signal_id == signal_id)
    row = connection.execute(query).one_or_none()
    return None if row is None else _outcome(row)


def write_outcome(
    connection: Connection,
    *,
    signal_id: int,
    market: str,
    profile: str,
    outcome: Refusal,
    position_id: str | None,
    now: datetime,
) -> None:
    """Write why a candidate was not traded. Raises LedgerError: it has a row already."""
    before = outcome_of(connection, signal_id)
    if before is not None:
        raise LedgerError(f"signal {signal_id} ended as {before.code}, not as {outcome.code}")
    connection.execute(
        funnel.insert().values(
            signal_id=signal_id,
            market=market,
            profile=profile,
            code=outcome.code.value,
            detail=outcome.detail,
            needed_krw=outcome.needed_krw,
            position_id=position_id,
            decided_at=now,
        )
    )


def write_traded(connection: Connection, position: Position, now: datetime) -> None:
    """The row of a candidate that became a position, as the fills stand.

    A fill found after all corrects the refusal that was written before.
    """
    row = {
        "code": FunnelCode.TRADED.value,
        "detail": f"bought {position.bought_volume:f} for {position.bought_funds:,f} KRW",
        "needed_krw": None,
        "position_id": position.id,
        "decided_at": now,
    }
    if outcome_of(connection, position.signal_id) is not None:
        here = funnel.c.signal_id == position.signal_id
        connection.execute(funnel.update().where(here).values(row))
        return
    connection.execute(
        funnel.insert().values(
            signal_id=position.signal_id,
            market=position.market,
            profile=position.profile,
            **row,
        )
    )


def candidates(engine: Engine, now: datetime) -> tuple[int, ...]:
    """Signals that ask for an entry now: undecided, not expired, the newest of their market.

    Ids, oldest first.
    """
    with read(engine) as connection:
        undecided = _undecided(connection)
        newest = _newest(connection)
    return tuple(
        row.id
        for row in undecided
        if row.expires_at > now and newest[(row.market, row.profile)] == row.id
    )


def end_missed_candidates(engine: Engine, now: datetime) -> int:
    """Give every candidate that nobody decided on in time its row; says how many there were.

    One that a newer signal replaced is `superseded`, otherwise it has `expired`. Nothing is written
    when there is none. Raises DatabaseBusy.
    """
    with read(engine) as connection:
        if not _missed(connection, now):
            return 0
    with change(engine) as connection:
        missed = _missed(connection, now)
        for row, refusal in missed:
            write_outcome(
                connection,
                signal_id=row.id,
                market=row.market,
                profile=row.profile,
                outcome=refusal,
                position_id=None,
                now=now,
            )
    return len(missed)


def _missed(connection: Connection, now: datetime) -> list[tuple[_Undecided, Refusal]]:
    newest = _newest(connection)
    missed = []
    for row in _undecided(connection):
        replaced_by = newest[(row.market, row.profile)]
        if replaced_by != row.id:
            told = f"signal {replaced_by} replaced signal {row.id}"
            missed.append((row, Refusal(FunnelCode.SUPERSEDED, told)))
        elif row.expires_at <= now:
            told = (
                f"expired at {row.expires_at} undecided: no run began in time, or its run ended "
                "before it decided (it is not tried again)"
            )
            missed.append((row, Refusal(FunnelCode.EXPIRED, told)))
    return missed


def outcomes(engine: Engine, since: datetime) -> tuple[Outcome, ...]:
    """The rows decided at or after `since`, oldest first."""
    query = (
        sa.select(funnel)
        .where(funnel.c.decided_at >= since)
        .order_by(funnel.c.decided_at, funnel.c.signal_id)
    )
    with read(engine) as connection:
        return tuple(_outcome(row) for row in connection.execute(query))


def counts(engine: Engine, since: datetime) -> dict[FunnelCode, int]:
    """How many candidates ended with each code since then; codes without any are left out."""
    query = (
        sa.select(funnel.c.code, sa.func.count())
        .where(funnel.c.decided_at >= since)
        .group_by(funnel.c.code)
    )
    with read(engine) as connection:
        found = {FunnelCode(code): int(n) for code, n in connection.execute(query)}
    return {code: found[code] for code in FunnelCode if code in found}


def _undecided(connection: Connection) -> list[_Undecided]:
    """Candidates without a row and without a position, oldest first."""
    query = (
        sa.select(signals.c.id, signals.c.market, signals.c.profile, signals.c.expires_at)
        .outerjoin(funnel, funnel.c.signal_id == signals.c.id)
        .outerjoin(positions, positions.c.signal_id == signals.c.id)
        .where(
            signals.c.traded,
            signals.c.decision == Action.BUY.value,
            funnel.c.signal_id.is_(None),
            positions.c.signal_id.is_(None),
        )
        .order_by(signals.c.created_at, signals.c.id)
    )
    return list(connection.execute(query))


def _newest(connection: Connection) -> dict[tuple[str, str], int]:
    """The newest signal of every market and profile, whatever it decides."""
    query = sa.select(signals.c.market, signals.c.profile, sa.func.max(signals.c.id)).group_by(
        signals.c.market, signals.c.profile
    )
    return {(market, profile): newest for market, profile, newest in connection.execute(query)}


def _outcome(row: sa.Row[tuple[object, ...]]) -> Outcome:
    values = dict(row._mapping)
    return Outcome(**{**values, "code": FunnelCode(values["code"])})
