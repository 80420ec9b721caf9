"""What trading can say about itself before it trades: that it is alive and what it could act on."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import heartbeats, read, signals, write


def live_signals(engine: Engine, now: datetime) -> int:
    """Markets that have a signal of the traded profile which has not expired at `now`."""
    query = sa.select(sa.func.count(sa.distinct(signals.c.market))).where(
        signals.c.traded, signals.c.expires_at > now
    )
    with read(engine) as connection:
        return connection.execute(query).scalar_one()


def beat(engine: Engine, name: str, now: datetime, detail: str) -> None:
    """Record that `name` was alive at `now`; one row per name."""
    with write(engine) as connection:
        updated = connection.execute(
            heartbeats.update().where(heartbeats.c.name == name).values(beat_at=now, detail=detail)
        )
        if updated.rowcount == 0:
            connection.execute(heartbeats.insert().values(name=name, beat_at=now, detail=detail))
