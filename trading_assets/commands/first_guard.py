"""What a start does before anything else: hold the positions that the last stop left unguarded.

A service of its own holds them (`trading-assets guard --now-open`): importing Dagster and research
takes many seconds in which a price can fall through its stop. Not here: the guard (`guard`).
"""

import sys
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.engine import Engine

from trading_assets.clock import Clock
from trading_assets.commands.services import EXCHANGE, RUNS
from trading_assets.commands.supervisor import Service
from trading_assets.database import read
from trading_assets.settings import Settings, TradingMode
from trading_assets.trading import leases, records

NAME = "first guard"
# So long the servers wait for it. Then they start all the same: an exchange that does not answer
# must not keep the pages away that a person would look at.
LONGEST_WAIT = timedelta(seconds=30)


def first_guard(settings: Settings, engine: Engine, clock: Clock) -> Service | None:
    """The service that holds what is open, None when nothing is.

    Ready as soon as each open market has a live holder that has judged a price.
    """
    with read(engine) as connection:
        markets = records.markets_in_play(connection)
    if not markets:
        return None
    return Service(
        NAME,
        (sys.executable, "-m", "trading_assets.cli", "guard", "--now-open"),
        is_ready=_guarded_or_late(engine, clock, markets),
        needs=() if settings.trading_mode is TradingMode.LIVE else (EXCHANGE,),
        once=True,
        stop_wave=RUNS,
    )


def _guarded_or_late(engine: Engine, clock: Clock, markets: tuple[str, ...]) -> Callable[[], bool]:
    deadline = clock.now() + LONGEST_WAIT

    def is_ready() -> bool:
        now = clock.now()
        held = {
            lease.subject
            for lease in leases.all_leases(engine)
            if lease.is_live(now)
            and lease.progress_at is not None
            and lease.progress_at >= lease.taken_at
        }
        return now >= deadline or held.issuperset(markets)

    return is_ready
