"""`trading-assets guard`: holds all open positions without Dagster, with the same code and lease.

Every market with a position or an order that nobody holds gets a thread that runs its trade. What a
live Dagster run holds is left to it, and taken over when that run dies. `guard --now-open` is how
`run` begins when it finds open positions: it holds these and leaves all later ones to Dagster.
"""

import threading
from collections.abc import Callable, Iterable
from datetime import datetime

from sqlalchemy.engine import Engine

from trading_assets.clock import Clock
from trading_assets.commands.halt import holder as own_name
from trading_assets.database import open_database, read
from trading_assets.errors import LeaseLost
from trading_assets.settings import Settings
from trading_assets.trading import leases, records
from trading_assets.trading.emergency import Remedy, emergencies, read_scene
from trading_assets.trading.floor import Floor, floor_of
from trading_assets.trading.trade import trade
from trading_assets.world import world_of

_LOOK_SECONDS = 1.0
_PATIENCE_SECONDS = 10.0


def guard(
    settings: Settings, clock: Clock, say: Callable[[str], None], *, now_open: bool = False
) -> int:
    """Hold what is open until all of it is sold, or Ctrl-C; 1 when a trade ended with an error.

    now_open: only what is open now, and is then sold by whoever; later positions are not looked at.
    """
    engine = open_database(settings, world_of(settings))
    guards = Guards(floor_of(settings, engine, clock, tell=say), own_name(), say)
    if now_open:
        guards.only_these(guards.open_markets())
    try:
        if not guards.anything_open():
            say("no position is open: there is nothing to guard")
            return 0
        say("guarding; Ctrl-C gives the positions back, it does not sell them")
        while guards.anything_open():
            guards.look(clock.now())
            clock.sleep(_LOOK_SECONDS)
        guards.join()
        say("everything is sold")
    finally:
        guards.give_back(clock.now())
        for market in guards.open_markets():
            say(f"!! {market} is still open and no longer guarded here")
        engine.dispose()
    return 1 if guards.failed else 0


class Guards:
    """The threads of this process, one a market."""

    def __init__(self, floor: Floor, holder: str, say: Callable[[str], None]) -> None:
        self._floor = floor
        self._holder = holder
        self._say = say
        self._threads: dict[str, threading.Thread] = {}
        self._only: frozenset[str] | None = None
        self.failed = False

    @property
    def _engine(self) -> Engine:
        return self._floor.engine

    def only_these(self, markets: Iterable[str]) -> None:
        """From now on look at `markets` alone, and at none of them again once it was sold."""
        self._only = frozenset(markets)

    def open_markets(self) -> tuple[str, ...]:
        with read(self._engine) as connection:
            open_now = records.markets_in_play(connection)
        if self._only is None:
            return open_now
        self._only &= frozenset(open_now)
        return tuple(sorted(self._only))

    def anything_open(self) -> bool:
        return bool(self.open_markets())

    def look(self, now: datetime) -> None:
        """Begin to hold what nobody holds."""
        ours = self.open_markets()
        for found in emergencies(read_scene(self._engine), now):
            if found.remedy is not Remedy.TAKE_OVER or found.market is None:
                continue
            if found.market not in ours:
                continue
            running = self._threads.get(found.market)
            if running is None or not running.is_alive():
                self._say(found.detail + ": taken over")
                self._begin(found.market)

    def _begin(self, market: str) -> None:
        thread = threading.Thread(
            target=self._hold, args=(market,), name=f"guard {market}", daemon=True
        )
        self._threads[market] = thread
        thread.start()

    def _hold(self, market: str) -> None:
        try:
            trade(self._floor, market, self._holder)
        except LeaseLost as exc:
            self._say(f"{market}: {exc}")
        except Exception as exc:  # noqa: BLE001  # whatever it was: told, counted, tried again
            self.failed = True
            self._say(f"!! {market}: {type(exc).__name__}: {exc}; tried again in a moment")

    def join(self) -> None:
        for thread in self._threads.values():
            thread.join(_PATIENCE_SECONDS)

    def give_back(self, now: datetime) -> None:
        """Release our leases, so that the next holder need not wait; our threads end by it.

        An order that a thread is about to send is not lost: whoever holds next finds it.
        """
        leases.give_back(self._engine, self._holder, now)
        self.join()
