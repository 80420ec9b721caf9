"""What the soak sees of its trades: how long a position had no guard, or a blind one.

Here: measuring, from the books and the processes that live. Not here: judging it (`soak`).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from trading_assets.trading.emergency import Scene
from trading_assets.trading.leases import LeaseStatus
from trading_assets.trading.states import PositionState


@dataclass(slots=True)
class Spell:
    """Stretches of time in which something held. longest: seconds, the stretch ended at `until`."""

    longest: float = 0.0
    until: datetime | None = None
    count: int = 0
    _since: datetime | None = None

    def note(self, holds: bool, now: datetime) -> None:
        if not holds:
            self._since = None
            return
        if self._since is None:
            self._since = now
            self.count += 1
        lasts = (now - self._since).total_seconds()
        if lasts > self.longest:
            self.longest, self.until = lasts, now

    def begin_again(self, now: datetime) -> None:
        """Something new happened: what comes is measured from now, if it held at all."""
        if self._since is not None:
            self._since = now


@dataclass(slots=True)
class MarketWatch:
    """One market. unguarded: a position is open, and no living holder of its lease has judged a
    price or works on an order; measured from the last kill. excused: the same while nobody on this
    machine can have a price. blind_seconds: the longest that a living holder judged none.
    """

    market: str
    unguarded: Spell = field(default_factory=Spell)
    excused: Spell = field(default_factory=Spell)
    blind_seconds: float = 0.0

    def look(self, scene: Scene, alive: Collection[str], now: datetime, *, excused: bool) -> None:
        """alive: the holders whose processes live. excused: a 418 stops all requests now."""
        held = any(
            p.market == self.market and p.state is PositionState.OPEN for p in scene.positions
        )
        ordering = any(o.market == self.market for o in scene.orders)
        lease = scene.leases.get(self.market)
        held_by = lease if lease is not None and lease.holder in alive else None
        guarded = held_by is not None and held_by.is_live(now)
        guarded = guarded and (ordering or _has_judged(held_by))
        self.unguarded.note(held and not guarded and not excused, now)
        self.excused.note(held and not guarded and excused, now)
        if held and guarded and not ordering and not excused:
            assert held_by is not None
            assert held_by.progress_at is not None
            blind = (now - held_by.progress_at).total_seconds()
            self.blind_seconds = max(self.blind_seconds, blind)


def _has_judged(lease: LeaseStatus | None) -> bool:
    return (
        lease is not None and lease.progress_at is not None and lease.progress_at >= lease.taken_at
    )
