"""The latest signal of each market and profile, as a table for a person."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import open_database, read, signals
from trading_assets.settings import Settings
from trading_assets.signals.choices import Traded, traded_profile
from trading_assets.world import prices, world_of

HEADINGS = (
    "market",
    "profile",
    "p_sell",
    "p_hold",
    "p_buy",
    "confidence",
    "decision",
    "reason",
    "model age",
    "skill",
    "signal",
)


@dataclass(frozen=True, slots=True)
class SignalLine:
    """One signal as stored; None where it has none (no champion)."""

    market: str
    profile: str
    traded: bool
    p_sell: float | None
    p_hold: float | None
    p_buy: float | None
    confidence: float | None
    decision: str
    reason: str
    skill: float | None
    model_confirmed_at: datetime | None
    created_at: datetime
    expires_at: datetime


def latest(engine: Engine, markets: Iterable[str], profiles: Iterable[str]) -> list[SignalLine]:
    """The newest signal of each market and profile that has any, in the order given."""
    columns = [signals.c[name] for name in SignalLine.__slots__]
    lines = []
    with read(engine) as connection:
        names = list(profiles)
        for market in markets:
            for profile in names:
                query = (
                    sa.select(*columns)
                    .where(signals.c.market == market, signals.c.profile == profile)
                    .order_by(signals.c.created_at.desc(), signals.c.id.desc())
                    .limit(1)
                )
                row = connection.execute(query).one_or_none()
                if row is not None:
                    lines.append(SignalLine(*row))
    return lines


def status(settings: Settings, now: datetime) -> str:
    """The table of the world of `settings`, or the sentence that says why there is none.

    Raises MigrationNeeded when the world was never prepared.
    """
    world = world_of(settings)
    engine = open_database(settings, world)
    try:
        lines = latest(engine, settings.markets, settings.active_profiles)
        traded = traded_profile(engine, settings, now)
    finally:
        engine.dispose()
    if not lines:
        return f"{heading(settings, traded)}: no signals yet; `make run` produces them"
    return titled_table(settings, traded, lines, now)


def heading(settings: Settings, traded: Traded) -> str:
    """Whose signals these are: the world and, lest anyone take them for real, its prices."""
    profile = traded.profile or f"none ({traded.why})"
    return f"world {world_of(settings).name}, {prices(settings)}, traded profile {profile}"


def titled_table(
    settings: Settings, traded: Traded, lines: Sequence[SignalLine], now: datetime
) -> str:
    """`table` under its `heading`."""
    return f"{heading(settings, traded)}\n{table(lines, now)}"


def table(lines: Sequence[SignalLine], now: datetime) -> str:
    """`lines` in aligned columns. `*` marks the traded profile, EXPIRED what must not be used."""
    rows = [HEADINGS, *(_cells(line, now) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _cells(line: SignalLine, now: datetime) -> tuple[str, ...]:
    confirmed = line.model_confirmed_at
    return (
        line.market,
        line.profile + ("*" if line.traded else ""),
        _number(line.p_sell),
        _number(line.p_hold),
        _number(line.p_buy),
        _number(line.confidence),
        line.decision,
        line.reason,
        "-" if confirmed is None else age(now - confirmed),
        _number(line.skill),
        f"{age(now - line.created_at)} old" if now < line.expires_at else "EXPIRED",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def age(span: timedelta) -> str:
    """`span` in the two units that matter: `12 s`, `4 min`, `3 h 20 min`, `2 d 4 h`."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 60:
        return f"{minutes} min"
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{days} d {hours % 24} h"
