"""What the last evaluation says of each profile, and which is traded, in words for a person.

The same rows as plain text (`trading-assets profiles`, the start with real money) and as Markdown
(the asset `profile_choice`). Reads one row of the database; evaluates nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.engine import Engine

from trading_assets.settings import Settings
from trading_assets.signals.choices import (
    Choice,
    ProfileNumbers,
    Traded,
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


def as_text(settings: Settings, engine: Engine, now: datetime) -> str:
    """Whose prices, what is traded, a line for each profile, and why."""
    title, rows, said = _parts(settings, engine, now)
    return "\n".join([title, *_aligned(rows), *said])


def as_markdown(settings: Settings, engine: Engine, now: datetime) -> str:
    """The same as Markdown."""
    title, rows, said = _parts(settings, engine, now)
    table = ["| " + " | ".join(row) + " |" for row in rows]
    if table:
        table.insert(1, "|" + " --- |" * len(HEADINGS))
    return "\n\n".join([f"**{title}**", *(["\n".join(table)] if table else []), *said])


def _parts(
    settings: Settings, engine: Engine, now: datetime
) -> tuple[str, list[Sequence[str]], list[str]]:
    """(title, headings and a row for each profile, sentences)."""
    traded, choice = traded_profile(engine, settings, now), latest_choice(engine)
    title = f"world {world_of(settings).name}, {prices(settings)}, PROFILE={settings.profile}: " + (
        _is_traded(traded) if traded.profile else f"nothing is entered, {traded.why}"
    )
    if choice is None:
        return (
            title,
            [],
            ["no profile is evaluated yet: the job `evaluate` does it, after training"],
        )
    said = [f"{n.profile}: {n.verdict}" for n in choice.numbers] + [f"auto: {choice.detail}"]
    if settings.pinned_profile is not None and settings.pinned_profile != choice.profile:
        chosen = choice.profile or "nothing"
        said.append(f"PROFILE={settings.profile} is pinned; auto would trade {chosen}")
    return title, [HEADINGS, *(_cells(n, traded.profile, choice) for n in choice.numbers)], said


def _is_traded(traded: Traded) -> str:
    but = f", not in {', '.join(traded.without)} (not evaluated there)" if traded.without else ""
    return f"{traded.profile} is traded{but}"


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
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(len(HEADINGS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _bp(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1f}"


def _seoul(moment: datetime) -> str:
    return f"{moment.astimezone(_SEOUL):%Y-%m-%d %H:%M} KST"
