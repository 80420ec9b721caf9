"""Signal rows: written by research, read by trading. Only SQLAlchemy; no pandas, no numpy.

Here: the row, writing it once, the newest of each market. Not here: what it says
(`decision`, `prediction`) and when one is made (`produce`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.database import read, signals, write
from trading_assets.rules.decision import Action, Reason

# Said about the inputs of a moment: asked again in the same candle, the answer may be another.
_PASSING = frozenset(
    {
        Reason.ERROR,
        Reason.EXCHANGE_UNAVAILABLE,
        Reason.STALE_CANDLES,
        Reason.CHECKS_FAILED,
        Reason.MARKET_MISSING,
        Reason.NO_CHAMPION,
        Reason.NOT_ENOUGH_HISTORY,
        Reason.MODEL_EXPIRED,
        Reason.NO_EDGE,
    }
)


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal as stored; None where the reason is that there is no such value.

    traded: of the profile that is traded. candle_time: start of the closed candle it stands on.
    expires_at: it never trades from this moment on. probabilities, confidence, ev_net, skill:
    ratios. close: KRW. sigma: per candle. stop_loss, take_profit: ratios.
    """

    market: str
    profile: str
    traded: bool
    candle_time: datetime | None
    created_at: datetime
    expires_at: datetime
    decision: Action
    reason: Reason
    detail: str
    p_sell: float | None = None
    p_hold: float | None = None
    p_buy: float | None = None
    predicted_class: Action | None = None
    confidence: float | None = None
    ev_net: float | None = None
    close: Decimal | None = None
    sigma: float | None = None
    stop_loss: Decimal | None = None
    take_profit: Decimal | None = None
    timeout_seconds: int | None = None
    model_version: str | None = None
    model_trained_at: datetime | None = None
    model_confirmed_at: datetime | None = None
    skill: float | None = None
    run_id: str | None = None

    @property
    def is_passing(self) -> bool:
        """Whether asking again for the same candle may give another answer."""
        return self.reason in _PASSING

    def is_live(self, now: datetime) -> bool:
        return now < self.expires_at


def insert_signal(engine: Engine, signal: Signal, slot_start: datetime) -> bool:
    """Store `signal` unless it is there already; whether it was stored.

    There already: the same market, profile, candle and model version decided on the candle's data
    and traded or not alike; or, for what may pass (an error, stale candles, no edge), the same
    reason since `slot_start`, the close of the candle that should be the newest. Safe to repeat,
    also from two processes at once.
    """
    with write(engine) as connection:
        if connection.dialect.name == "postgresql":
            # SQLite's write transactions take turns; here the pair of look and insert does.
            key = sa.func.hashtext(f"signal:{signal.market}:{signal.profile}")
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))
        if _is_there(connection, signal, slot_start):
            return False
        connection.execute(signals.insert().values(_values(signal)))
        return True


def latest_signals(engine: Engine, now: datetime) -> tuple[Signal, ...]:
    """The newest signal of each market and profile made by `now`, expired ones included."""
    newest = (
        sa.select(sa.func.max(signals.c.id))
        .where(signals.c.created_at <= now)
        .group_by(signals.c.market, signals.c.profile)
    )
    query = (
        sa.select(signals)
        .where(signals.c.id.in_(newest))
        .order_by(signals.c.market, signals.c.profile)
    )
    with read(engine) as connection:
        return tuple(_signal(row) for row in connection.execute(query).mappings())


def live_signals(engine: Engine, now: datetime) -> tuple[Signal, ...]:
    """Those of `latest_signals` that have not expired: what trading may act on."""
    return tuple(s for s in latest_signals(engine, now) if s.is_live(now))


def decided_signal(
    engine: Engine, market: str, profile: str, candle_time: datetime, model_version: str
) -> Signal | None:
    """The newest signal that this model version decided on this candle, None when there is none."""
    query = (
        sa.select(signals)
        .where(
            signals.c.market == market,
            signals.c.profile == profile,
            signals.c.candle_time == candle_time,
            signals.c.model_version == model_version,
            signals.c.reason.not_in([r.value for r in _PASSING]),
        )
        .order_by(signals.c.id.desc())
        .limit(1)
    )
    with read(engine) as connection:
        row = connection.execute(query).mappings().first()
    return None if row is None else _signal(row)


def _is_there(connection: Connection, signal: Signal, slot_start: datetime) -> bool:
    same = sa.select(signals.c.id).where(
        signals.c.market == signal.market,
        signals.c.profile == signal.profile,
        signals.c.traded == signal.traded,
        _equals(signals.c.candle_time, signal.candle_time),
        _equals(signals.c.model_version, signal.model_version),
    )
    if signal.is_passing:
        same = same.where(
            signals.c.reason == signal.reason.value, signals.c.created_at >= slot_start
        )
    else:
        same = same.where(signals.c.reason.not_in([r.value for r in _PASSING]))
    return connection.execute(same.limit(1)).first() is not None


def _equals(column: sa.Column[Any], value: object) -> sa.ColumnElement[bool]:
    return column.is_(None) if value is None else column == value


def _values(signal: Signal) -> dict[str, Any]:
    values = {f.name: getattr(signal, f.name) for f in fields(signal)}
    for name in ("decision", "reason", "predicted_class"):
        values[name] = None if values[name] is None else values[name].value
    return values


def _signal(row: Mapping[Any, Any]) -> Signal:
    values = {f.name: row[f.name] for f in fields(Signal)}
    predicted = values["predicted_class"]
    values["decision"] = Action(values["decision"])
    values["reason"] = Reason(values["reason"])
    values["predicted_class"] = None if predicted is None else Action(predicted)
    return Signal(**values)
