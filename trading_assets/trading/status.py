"""What trading says about itself: that it is alive."""

from datetime import datetime

from sqlalchemy.engine import Engine

from trading_assets.database import heartbeats, write


def beat(engine: Engine, name: str, now: datetime, detail: str) -> None:
    """Record that `name` was alive at `now`; one row per name."""
    with write(engine) as connection:
        updated = connection.execute(
            heartbeats.update().where(heartbeats.c.name == name).values(beat_at=now, detail=detail)
        )
        if updated.rowcount == 0:
            connection.execute(heartbeats.insert().values(name=name, beat_at=now, detail=detail))
