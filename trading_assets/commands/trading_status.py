"""`trading-assets status`: signals, account, positions, leases, halts, in a screen. Reads only."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy.engine import Engine

from trading_assets.clock import Clock
from trading_assets.commands import signal_table
from trading_assets.commands.signal_table import age
from trading_assets.database import open_database, read
from trading_assets.errors import TradingAssetsError
from trading_assets.exchange import upbit
from trading_assets.exchange.amounts import price_text
from trading_assets.exchange.model import Balance
from trading_assets.settings import Settings
from trading_assets.trading import books, funnel, records
from trading_assets.trading.emergency import Scene, emergencies, read_scene
from trading_assets.trading.leases import LeaseStatus
from trading_assets.trading.records import Position
from trading_assets.world import world_of

_DAY = timedelta(hours=24)


def status(settings: Settings, clock: Clock) -> str:
    """Everything a person asks first. Raises MigrationNeeded when the world was never prepared."""
    signals = signal_table.status(settings, clock.now())
    engine = open_database(settings, world_of(settings))
    try:
        lines = [signals, "", *account_lines(settings, clock), *money_lines(engine, clock.now())]
        return "\n".join([*lines, *trading_lines(engine, clock.now())])
    finally:
        engine.dispose()


def account_lines(settings: Settings, clock: Clock) -> list[str]:
    """The account as the exchange tells it now, or the sentence why it does not."""
    try:
        client = upbit.trading(settings, clock, attempts=1)
    except TradingAssetsError as exc:
        return [f"account    {exc}"]
    try:
        return [f"account    {_balances(client.balances())}"]
    except TradingAssetsError as exc:
        return [f"account    not answered: {exc}"]
    finally:
        client.close()


def _balances(balances: Sequence[Balance]) -> str:
    return ", ".join(
        f"{b.total:,f} {b.currency}" + (f" ({b.locked:,f} in orders)" if b.locked else "")
        for b in balances
        if b.total
    )


def money_lines(engine: Engine, now: datetime) -> list[str]:
    """The bot's own money, from the ledger."""
    with read(engine) as connection:
        if books.capital(connection) is None:
            return ["ledger     no capital yet: the first trade or reconcile declares it"]
        mark = books.present_mark(connection, now=now, bids={})
    return [
        f"ledger     capital {mark.capital:,.0f} KRW, profit {mark.pnl:+,.0f} KRW "
        f"(today {mark.pnl - mark.day_start_pnl:+,.0f}, peak {mark.peak_pnl:+,.0f})"
    ]


def trading_lines(engine: Engine, now: datetime) -> list[str]:
    """Positions, who holds them, halts, what is wrong, and how the last candidates ended."""
    scene = read_scene(engine)
    lines = [_position_line(p, scene.leases.get(p.market), now) for p in scene.positions]
    lines = lines or ["positions  none"]
    lines += [
        f"order      {o.identifier} {o.market} {o.leg} {o.state}, sent {o.sends} times"
        for o in scene.orders
    ]
    lines += [_lease_line(lease, now) for lease in scene.leases.values() if lease.is_live(now)]
    lines += [_halt_line(scene)]
    lines += [f"!! {e.detail}" for e in emergencies(scene, now)]
    ended = ", ".join(f"{n} {code}" for code, n in funnel.counts(engine, now - _DAY).items())
    lines.append(f"last 24 h  {ended or 'no candidate for an entry'}")
    with read(engine) as connection:
        closed = records.closed_positions(connection, now - _DAY)
    lines += [
        f"trade      {p.id} {p.market} left by {p.exit_reason}, {p.cash_flow:+,.0f} KRW"
        for p in closed[-5:]
    ]
    return lines


def _position_line(position: Position, lease: LeaseStatus | None, now: datetime) -> str:
    start = f"position   {position.id} {position.market} {position.profile} {position.state}"
    plan, average = position.plan, position.average_price
    if plan is None or average is None:
        return f"{start}, not armed yet"
    held = f"{start}, {position.held_volume:f} bought at {price_text(average)}"
    left = f"{age(plan.deadline - now)} left" if plan.deadline > now else "its time is up"
    if lease is None or lease.bid is None:
        return f"{held}, stop {plan.stop_price:,f}, take {plan.take_price:,f}, {left}"
    return (
        f"{held}, bid {lease.bid:,f}: stop {_away(plan.stop_price, lease.bid)}, "
        f"take {_away(plan.take_price, lease.bid)}, {left}, "
        f"{position.pnl(lease.bid):+,.0f} KRW"
    )


def _away(barrier: Decimal, bid: Decimal) -> str:
    return f"{barrier:,f} ({(barrier / bid - 1) * 100:+.2f} %)"


def _lease_line(lease: LeaseStatus, now: datetime) -> str:
    seen = "no price yet" if lease.progress_at is None else f"{age(now - lease.progress_at)} ago"
    return (
        f"running    {lease.subject} held by {lease.holder} since {lease.taken_at:%H:%M:%S} UTC, "
        f"last price judged {seen}"
    )


def _halt_line(scene: Scene) -> str:
    if scene.halt is None:
        return "halt       none"
    since = f"{scene.halt.started_at:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"halt       since {since} ({scene.halt.reason}: {scene.halt.detail}); "
        "`trading-assets resume` ends it"
    )
