"""Which trades should begin now: takeovers first, then entries. Reads the books, starts nothing.

Here: the question of `trading_sensor`, answered without Dagster. Not here: what a trade does with
its signal (`trading.trade`), and what a person must be told (`checks`).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import read, signals
from trading_assets.settings import Settings
from trading_assets.trading.emergency import Remedy, Scene, emergencies, read_scene
from trading_assets.trading.funnel import candidates

# How long a run may take beyond the trade's own time: to enter, and to sell when selling is hard.
SPARE = timedelta(hours=6)
# A takeover that has not begun to hold after this long is taken for dead.
_TAKEOVER_STARTS_WITHIN = timedelta(seconds=60)
TAKEOVERS_COUNTED = timedelta(minutes=10)
# One that lasted so long did hold: its death is not a failure to take over.
_HELD_AFTER = timedelta(seconds=20)
_HOPELESS = 10


@dataclass(frozen=True, slots=True)
class Wanted:
    """A trade that should begin. signal_id: None to take over what `market` holds already.

    lost_token, lost_at: of the lease that the takeover follows, and when it last beat (None when
    there never was one). longest: what the run may last.
    """

    market: str
    signal_id: int | None
    lost_token: int | None
    model_version: str | None
    longest: timedelta
    why: str
    lost_at: datetime | None = None


def wanted_takeovers(engine: Engine, now: datetime) -> tuple[Wanted, ...]:
    """Markets with a position or an order that nobody holds, whatever the settings name."""
    scene = read_scene(engine)
    return tuple(
        _takeover(scene, e.market, e.lost_token, e.detail)
        for e in emergencies(scene, now)
        if e.remedy is Remedy.TAKE_OVER and e.market is not None
    )


def _takeover(scene: Scene, market: str, lost_token: int, why: str) -> Wanted:
    held = next((p for p in scene.positions if p.market == market), None)
    lost = scene.leases.get(market)
    return Wanted(
        market=market,
        signal_id=None,
        lost_token=lost_token,
        model_version=None if held is None else held.model_version,
        longest=SPARE + timedelta(seconds=0 if held is None else held.timeout_seconds),
        why=why,
        lost_at=None if lost is None else lost.heartbeat_at,
    )


def wanted_entries(engine: Engine, settings: Settings, now: datetime) -> tuple[Wanted, ...]:
    """Undecided BUY signals of the traded profile, in markets of the settings that are free."""
    ids = candidates(engine, now)
    if not ids:
        return ()
    leases = read_scene(engine).leases
    query = sa.select(signals).where(signals.c.id.in_(ids)).order_by(signals.c.id)
    with read(engine) as connection:
        rows = connection.execute(query).all()
    return tuple(
        Wanted(
            market=row.market,
            signal_id=row.id,
            lost_token=None,
            model_version=row.model_version,
            longest=SPARE + timedelta(seconds=row.timeout_seconds),
            why=f"signal {row.id} of {row.market} says BUY",
        )
        for row in rows
        if row.market in settings.markets
        and not (row.market in leases and leases[row.market].is_live(now))
    )


@dataclass(frozen=True, slots=True)
class Takeover:
    """One that was started. lost_token, lost_at: of the lease it follows, as in Wanted. ended_at:
    as it was recorded, None while under way."""

    lost_token: int
    started_at: datetime
    ended_at: datetime | None
    lost_at: datetime | None = None


def may_take_over(
    lost_token: int,
    earlier: Sequence[Takeover],
    now: datetime,
    lost_at: datetime | None = None,
) -> bool:
    """Whether the next takeover of a market may start: not while the last may still begin to hold,
    and after a pause when the last ones ended at once.

    earlier: of the market in the last ten minutes. lost_at: when the lease of `lost_token` last
    beat; without it, only the recorded ends tell how long they lasted.
    """
    # One that began later than now did so before the clock was set back: long ago.
    earlier = [takeover for takeover in earlier if takeover.started_at <= now]
    for takeover in earlier:
        may_begin = now - takeover.started_at < _TAKEOVER_STARTS_WITHIN
        if takeover.lost_token == lost_token and takeover.ended_at is None and may_begin:
            return False
    newest_first = sorted(earlier, key=lambda t: t.started_at, reverse=True)
    followers = [Takeover(lost_token, now, None, lost_at), *newest_first]
    failed = sum(
        1
        for _ in itertools.takewhile(
            lambda pair: _lasted(*pair, now) < _HELD_AFTER,
            zip(newest_first, followers, strict=False),
        )
    )
    return not failed or now - newest_first[0].started_at >= pause_before(failed)


def _lasted(takeover: Takeover, follower: Takeover, now: datetime) -> timedelta:
    """How long a takeover was there, by the last beat of its lease if it had one: when a process is
    killed, Dagster notices only some time later."""
    end = takeover.ended_at or now
    if follower.lost_at is not None and follower.lost_token > takeover.lost_token:
        end = min(end, follower.lost_at)
    return end - takeover.started_at


def pause_before(takeovers: int) -> timedelta:
    """How long after the last takeover of a market the next may begin.

    takeovers: that ended soon after they began, one after the other. Bad luck is followed within 20
    s, or a guard would be missed for longer than a takeover may take; what fails for minutes is
    started once a minute.
    """
    if takeovers < _HOPELESS:
        return timedelta(seconds=0 if takeovers == 0 else min(20, 5 * 2 ** (takeovers - 1)))
    return timedelta(minutes=1)
