"""What `trading-assets run` leaves behind, and finds: positions that nobody holds."""

from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy.engine import Engine

from trading_assets.commands.halt import is_gone
from trading_assets.database import read
from trading_assets.settings import Settings, TradingMode
from trading_assets.trading import leases, records
from trading_assets.trading.leases import Lease

# How the runs of Dagster call themselves.
RUN_PREFIX = "run-"


def release_dead_runs(engine: Engine, now: datetime) -> None:
    """Give back the leases of trade runs, all of which have ended, and of guards that are gone:
    the next start need not wait, and what they held counts as unguarded at once."""
    _release(engine, now, lambda holder: holder.startswith(RUN_PREFIX) or is_gone(holder))


def release_gone_guards(engine: Engine, now: datetime) -> None:
    """Give back the leases of `trading-assets guard` processes that were killed; one that lives is
    left alone."""
    _release(engine, now, is_gone)


def _release(engine: Engine, now: datetime, is_dead: Callable[[str], bool]) -> None:
    for lease in leases.all_leases(engine):
        if lease.released_at is None and is_dead(lease.holder):
            leases.release(engine, Lease(lease.subject, lease.holder, lease.token), now)


def left_open(engine: Engine) -> Iterable[str]:
    """What a start says of the positions it finds, before it holds them (`first_guard`)."""
    with read(engine) as connection:
        markets = records.markets_in_play(connection)
    if markets:
        yield f"still open: {', '.join(markets)}. Guarded before anything else starts"


def unguarded(settings: Settings, engine: Engine, now: datetime) -> Iterable[str]:
    """One line for each position without a live holder, and what to do about them."""
    held = {lease.subject for lease in leases.all_leases(engine) if lease.is_live(now)}
    with read(engine) as connection:
        left = [p for p in records.live_positions(connection) if p.market not in held]
    for p in left:
        stop = "no stop yet" if p.stop_price is None else f"stop {p.stop_price:,f}"
        yield f"!! {p.market}: {p.held_volume:f} is now UNGUARDED ({stop})"
    if left:
        yield (
            "   `trading-assets guard` holds them without Dagster, `trading-assets halt` sells "
            f"them{_where(settings)}; the next start takes them over first"
        )


def _where(settings: Settings) -> str:
    if settings.trading_mode is TradingMode.LIVE:
        return ""
    return " (either with `trading-assets paper-exchange` in another terminal)"
