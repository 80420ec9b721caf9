"""`trading-assets funnel`: from decisions to trades, and where the others ended. Reads only.

One column for the last 24 hours and one for the last 7 days, so that silence can be told from
sickness: no BUY is the model's doing, BUYs without trades are somebody's.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.commands.signal_table import heading
from trading_assets.database import funnel as funnel_table
from trading_assets.database import open_database, positions, read, signals
from trading_assets.rules.decision import Action
from trading_assets.rules.funnel import KINDS, MEANINGS, FunnelCode, FunnelKind
from trading_assets.settings import Settings
from trading_assets.signals.choices import traded_profile
from trading_assets.world import world_of

SPANS = {"24 h": timedelta(hours=24), "7 d": timedelta(days=7)}


@dataclass(frozen=True, slots=True)
class Counts:
    """What happened to the signals of traded profiles since a moment.

    signals: rows. judged: of them, those a model was asked for. reasons: of those that are no BUY.
    bought: BUYs. codes: how those ended that were decided on since then. undecided: BUYs that wait.
    trades: positions that were opened.
    """

    signals: int
    judged: int
    reasons: Mapping[str, int]
    bought: int
    codes: Mapping[FunnelCode, int]
    undecided: int
    trades: int


def funnel(settings: Settings, now: datetime) -> str:
    """The table of the world of `settings`. Raises MigrationNeeded: it was never prepared."""
    engine = open_database(settings, world_of(settings))
    try:
        traded = traded_profile(engine, settings, now)
        found = {name: counts(engine, now - span, now) for name, span in SPANS.items()}
    finally:
        engine.dispose()
    return "\n".join([heading(settings, traded), *table(found)])


def counts(engine: Engine, since: datetime, now: datetime) -> Counts:
    """What happened from `since` to `now`."""
    made = (signals.c.traded) & (signals.c.created_at >= since) & (signals.c.created_at <= now)
    buys = made & (signals.c.decision == Action.BUY.value)
    decided = (funnel_table.c.decided_at >= since) & (funnel_table.c.decided_at <= now)
    opened = (positions.c.opened_at >= since) & (positions.c.opened_at <= now)
    undecided = (
        sa.select(sa.func.count())
        .select_from(
            signals.outerjoin(funnel_table, funnel_table.c.signal_id == signals.c.id).outerjoin(
                positions, positions.c.signal_id == signals.c.id
            )
        )
        .where(buys, funnel_table.c.signal_id.is_(None), positions.c.signal_id.is_(None))
    )
    with read(engine) as connection:
        rows = connection.execute(
            sa.select(signals.c.reason, signals.c.p_buy.is_(None), sa.func.count())
            .where(made, signals.c.decision != Action.BUY.value)
            .group_by(signals.c.reason, signals.c.p_buy.is_(None))
        ).all()
        bought = _count(connection, sa.select(sa.func.count()).where(buys))
        codes = connection.execute(
            sa.select(funnel_table.c.code, sa.func.count())
            .where(decided)
            .group_by(funnel_table.c.code)
        ).all()
        waiting = _count(connection, undecided)
        trades = _count(connection, sa.select(sa.func.count()).where(opened))
    reasons: Counter[str] = Counter()
    for reason, _unasked, n in rows:
        reasons[reason] += n
    return Counts(
        signals=bought + reasons.total(),
        judged=bought + sum(n for _reason, unasked, n in rows if not unasked),
        reasons=dict(reasons),
        bought=bought,
        codes={FunnelCode(code): n for code, n in codes},
        undecided=waiting,
        trades=trades,
    )


def _count(connection: Connection, query: sa.Select[Any]) -> int:
    return int(connection.execute(query).scalar_one())


def table(found: Mapping[str, Counts]) -> list[str]:
    """The lines, widest part of the funnel first; what never happened is left out."""
    every = list(found.values())
    rows: list[tuple[str, Sequence[int], str]] = [
        ("signals", [c.signals for c in every], "of the traded profile, one a market and candle"),
        ("judged", [c.judged for c in every], "a model was asked"),
        *_parts({r: [c.reasons.get(r, 0) for c in every] for r in _reasons(every)}),
        ("BUY", [c.bought for c in every], "candidates for an entry"),
        *_codes(every),
        ("  undecided", [c.undecided for c in every], "waiting for a run"),
        ("trades", [c.trades for c in every], "positions opened"),
    ]
    shown = [r for r in rows if any(r[1]) or not r[0].startswith(" ")]
    names = max(len(r[0]) for r in shown)
    heads = "".join(f"{name:>8}" for name in found)
    lines = [" " * names + heads]
    for name, numbers, meaning in shown:
        cells = "".join(f"{n:>8}" for n in numbers)
        lines.append(f"{name:<{names}}{cells}  {meaning}".rstrip())
    return lines


def _reasons(every: Sequence[Counts]) -> list[str]:
    total: Counter[str] = Counter()
    for c in every:
        total.update(c.reasons)
    return [reason for reason, _ in total.most_common()]


def _parts(of: Mapping[str, Sequence[int]]) -> list[tuple[str, Sequence[int], str]]:
    return [(f"  {name}", numbers, "no BUY for this reason") for name, numbers in of.items()]


def _codes(every: Sequence[Counts]) -> list[tuple[str, Sequence[int], str]]:
    """How BUYs ended, by code; what somebody has to look at is marked."""
    lines: list[tuple[str, Sequence[int], str]] = []
    for code in FunnelCode:
        mark = " !" if KINDS[code] in {FunnelKind.STOPPED, FunnelKind.LATE} else ""
        numbers = [c.codes.get(code, 0) for c in every]
        lines.append((f"  {code}{mark}", numbers, MEANINGS[code]))
    return lines
