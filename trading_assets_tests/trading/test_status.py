"""The heartbeat, on a real database."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import connect, heartbeats, prepare, read
from trading_assets.trading.status import beat
from trading_assets.world import World

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = connect(f"sqlite:///{tmp_path / 'db.sqlite'}")
    prepare(engine, World("sandbox-test", tmp_path, tmp_path))
    return engine


def test_a_heartbeat_is_one_row_that_moves_forward(engine: Engine) -> None:
    beat(engine, "trading_status_sensor", NOW, "0 live signals")
    beat(engine, "trading_status_sensor", NOW + timedelta(seconds=30), "1 live signal")
    with read(engine) as connection:
        rows = connection.execute(sa.select(heartbeats)).all()
    assert [(r.name, r.beat_at, r.detail) for r in rows] == [
        ("trading_status_sensor", NOW + timedelta(seconds=30), "1 live signal")
    ]
