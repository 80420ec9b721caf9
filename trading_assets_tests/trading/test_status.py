"""Heartbeat and live signals, on a real database."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import connect, heartbeats, prepare, read, signals, write
from trading_assets.trading.status import beat, live_signals
from trading_assets.world import World

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    engine = connect(f"sqlite:///{tmp_path / 'db.sqlite'}")
    prepare(engine, World("sandbox-test", tmp_path, tmp_path))
    return engine


def _signal(engine: Engine, market: str, expires_at: datetime, *, traded: bool = True) -> None:
    with write(engine) as connection:
        connection.execute(
            signals.insert().values(
                market=market,
                profile="scalp" if traded else "swing",
                traded=traded,
                created_at=NOW,
                expires_at=expires_at,
                decision="HOLD",
                reason="no_champion",
                detail="",
            )
        )


def test_a_signal_is_live_until_its_expiry_and_counts_once_a_market(engine: Engine) -> None:
    _signal(engine, "KRW-BTC", NOW + timedelta(microseconds=1))
    _signal(engine, "KRW-BTC", NOW + timedelta(minutes=5))  # corrected later: the same market
    _signal(engine, "KRW-ETH", NOW)  # expires exactly now: no longer live
    _signal(engine, "KRW-XRP", NOW + timedelta(minutes=5), traded=False)  # not the traded profile
    assert live_signals(engine, NOW) == 1


def test_a_heartbeat_is_one_row_that_moves_forward(engine: Engine) -> None:
    beat(engine, "trading_status_sensor", NOW, "0 live signals")
    beat(engine, "trading_status_sensor", NOW + timedelta(seconds=30), "1 live signal")
    with read(engine) as connection:
        rows = connection.execute(sa.select(heartbeats)).all()
    assert [(r.name, r.beat_at, r.detail) for r in rows] == [
        ("trading_status_sensor", NOW + timedelta(seconds=30), "1 live signal")
    ]
