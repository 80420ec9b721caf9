"""How long a trade waits for its turn to write: with a position for ever, and it says so.

A process that was stopped amid a write keeps SQLite's write lock; giving up would only mean to
start again and wait as a process that has everything still to load. Not here: who keeps the lock
(`write_lock`), and one try to write (`database`).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from trading_assets.database import patient
from trading_assets.errors import DatabaseBusy
from trading_assets.trading.floor import Floor

_TOLD_EVERY = timedelta(minutes=1)


@dataclass(slots=True)
class Waiting:
    """Called after each try that failed: tells, at first and once a minute, and returns.

    longest: after so much time since it was made the failure is raised; None never gives up.
    """

    floor: Floor
    longest: timedelta | None = None
    _since: datetime = field(init=False)
    _told_at: datetime | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._since = self.floor.now()

    def __call__(self, busy: DatabaseBusy) -> None:
        now = self.floor.now()
        if self.longest is not None and now - self._since >= self.longest:
            raise busy
        if self._told_at is None or now - self._told_at >= _TOLD_EVERY:
            self._told_at = now
            self.floor.tell(f"waiting to write: {busy}")


def waiting(floor: Floor) -> Floor:
    """`floor`, whose writes wait for their turn however long that takes."""
    return replace(floor, engine=patient(floor.engine, Waiting(floor)))
