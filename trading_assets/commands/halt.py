"""`trading-assets halt` and `resume`: sell what is ours and stop entries, till a person resumes."""

import getpass
import os
from collections.abc import Callable

from trading_assets.clock import Clock
from trading_assets.database import open_database, read
from trading_assets.settings import Settings
from trading_assets.trading import books, emergency, halts
from trading_assets.trading.floor import floor_of
from trading_assets.trading.reconcile import open_books
from trading_assets.world import world_of


def holder() -> str:
    """The name of this process as the holder of a lease."""
    return f"by-hand-{os.uname().nodename}-{os.getpid()}"


def is_gone(name: str) -> bool:
    """Whether `name` is of such a process on this machine and it has ended: only a kill leaves its
    lease behind. A process number that is in use again says nothing."""
    kind, _, pid = name.rpartition("-")
    if kind != f"by-hand-{os.uname().nodename}" or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def halt(settings: Settings, clock: Clock, say: Callable[[str], None], reason: str) -> int:
    """Stop entries, cancel our orders, sell our positions; 1 when something went wrong.

    Entries are stopped first, also when the account cannot be reached or has no keys.
    """
    world = world_of(settings)
    engine = open_database(settings, world)
    try:
        begun = halts.halt(engine, reason="by_hand", detail=reason, now=clock.now())
        say(
            f"halted the world {world.name} ({begun.reason}: {begun.detail}): no entries until "
            "`trading-assets resume`"
        )
        floor = floor_of(settings, engine, clock, tell=say)
        done = emergency.halt(floor, holder(), detail=reason)
    finally:
        engine.dispose()
    for market in done.left_to_guards:
        say(f"{market}: its guard sells it now; `trading-assets status` shows when it is done")
    for problem in done.problems:
        say(f"!! {problem}")
    say(f"orders cancelled: {len(done.cancelled)}, positions sold here: {len(done.sold)}")
    return 1 if done.problems else 0


def resume(settings: Settings, clock: Clock, say: Callable[[str], None]) -> int:
    """End the halt. The peak that losses are measured from starts anew, the day does not."""
    world = world_of(settings)
    engine = open_database(settings, world)
    try:
        with read(engine) as connection:
            on, capital = halts.active_halt(connection), books.capital(connection)
        if on is None:
            say(f"nothing is halted in the world {world.name}")
            return 0
        if capital is None:
            open_books(floor_of(settings, engine, clock, tell=say), holder())
        books.resume(engine, by=getpass.getuser(), now=clock.now(), bids={})
    finally:
        engine.dispose()
    since = f"{on.started_at:%Y-%m-%d %H:%M:%S} UTC"
    say(f"resumed the world {world.name}; it was halted since {since} ({on.reason})")
    return 0
