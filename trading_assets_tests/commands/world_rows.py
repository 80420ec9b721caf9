"""A prepared world with rows in its database, without Dagster and MLflow."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Engine

from trading_assets.database import connect, database_url, heartbeats, prepare, signals, write
from trading_assets.settings import Settings
from trading_assets.world import World, claim, world_of


def prepared(settings: Settings) -> tuple[World, Engine]:
    """The world of `settings` with its folders claimed and its database prepared."""
    world = world_of(settings)
    for folder in (world.data, world.mlruns, world.dagster_home):
        claim(folder, world.name)
    engine = connect(database_url(settings, world))
    prepare(engine, world)
    return world, engine


def signal_row(engine: Engine, market: str, at: datetime, **values: Any) -> None:
    """A signal of the profile scalp, made at `at` and good for five minutes: HOLD, no champion."""
    row = {
        "market": market,
        "profile": "scalp",
        "traded": True,
        "created_at": at,
        "expires_at": at + timedelta(minutes=5),
        "decision": "HOLD",
        "reason": "no_champion",
        "detail": "",
    }
    with write(engine) as connection:
        connection.execute(signals.insert().values(**(row | values)))


def heartbeat_row(engine: Engine, at: datetime) -> None:
    with write(engine) as connection:
        connection.execute(
            heartbeats.insert().values(
                name="trading_status_sensor", beat_at=at, detail="4 live signals"
            )
        )
