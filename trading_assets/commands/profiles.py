"""`trading-assets profiles`: what the last evaluation says of each profile, and which is traded.

Reads one row of the database; evaluates nothing. The same table is on the asset `profile_choice`
and is printed at each start with real money.
"""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from trading_assets.database import open_database
from trading_assets.settings import Settings
from trading_assets.signals.choices import (
    Choice,
    ProfileNumbers,
    latest_choice,
    traded_profile,
)
from trading_assets.world import prices, world_of

HEADINGS = (
    "profile",
    "trades",
    "a day",
    "net bp [90 %]",
    "bound",
    "gross",
    "random",
    "from",
    "to",
    "evaluated",
    "traded",
)
_SEOUL = ZoneInfo("Asia/Seoul")


def profiles(settings: Settings, now: datetime) -> str:
    """The table of the world of `settings`, or the sentence that says why there is none.

    Raises MigrationNeeded when the world was never prepared.
    """
    engine = open_database(settings, world_of(settings))
    try:
        return evaluation(settings, engine, now)
    finally:
        engine.dispose()


def evaluation(settings: Settings, engine: Engine, now: datetime) -> str:
    """Whose prices, what is traded, a line for each profile, and why."""
    traded = traded_profile(engine, settings, now)
    choice = latest_choice(engine)
    lines = [
        f"world {world_of(settings).name}, {prices(settings)}, PROFILE={settings.profile}: "
        + (f"{traded.profile} is traded" if traded.profile else f"nothing is entered, {traded.why}")
    ]
    if choice is None:
        lines.append("no profile is evaluated yet: the job `evaluate` does it after the training")
        return "\n".join(lines)
    rows = [HEADINGS, *(_cells(n, traded.profile, choice) for n in choice.numbers)]
    lines += _aligned(rows)
    lines += [f"{n.profile}: {n.verdict}" for n in choice.numbers]
    lines.append(f"auto: {choice.detail}")
    if settings.pinned_profile is not None and settings.pinned_profile != choice.profile:
        chosen = choice.profile or "nothing"
        lines.append(f"PROFILE={settings.profile} is pinned; auto would trade {chosen}")
    return "\n".join(lines)


def _cells(n: ProfileNumbers, traded: str | None, choice: Choice) -> tuple[str, ...]:
    chosen = n.profile == choice.profile
    since = f"auto's, since {_seoul(choice.since)}" if chosen and choice.since else ""
    state = ", ".join(part for part in ("*" if n.profile == traded else "", since) if part)
    return (
        n.profile,
        str(n.trades),
        f"{n.trades_a_day:.2f}",
        f"{_bp(n.net_bp)} [{_bp(n.net_low_bp)}, {_bp(n.net_high_bp)}]",
        _bp(n.bound_bp),
        _bp(n.gross_bp),
        _bp(n.random_bp),
        f"{n.first:%Y-%m-%d}",
        f"{n.last:%Y-%m-%d}",
        _seoul(n.evaluated_at),
        state or "-",
    )


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _bp(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"


def _seoul(moment: datetime) -> str:
    return f"{moment.astimezone(_SEOUL):%Y-%m-%d %H:%M} KST"
