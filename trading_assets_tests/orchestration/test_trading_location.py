"""The trading code location: what it declares, what it must not import, what its sensor says."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.clock import SteppedClock
from trading_assets.database import connect, heartbeats, prepare, read, signals, write
from trading_assets.orchestration.trading import defs
from trading_assets.orchestration.trading.sensors import trading_status_sensor
from trading_assets.world import World

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HEAVY = [
    "pandas",
    "numpy",
    "talib",
    "numba",
    "lightgbm",
    "sklearn",
    "mlflow",
    "pyupbit",
    "upbit",
    "upbit_sdk",
]


def _loaded_by(statement: str) -> set[str]:
    """Top-level packages in sys.modules after `statement` ran in a fresh interpreter."""
    program = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in json.loads(answer.stdout)}


def test_the_trading_location_loads_no_heavy_library() -> None:
    loaded = _loaded_by("import trading_assets.orchestration.trading")
    assert "dagster" in loaded
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))


def test_no_room_but_orchestration_imports_dagster() -> None:
    package = Path(__file__).parents[2] / "trading_assets"
    modules = [
        ".".join(file.relative_to(package.parent).with_suffix("").parts)
        for file in sorted(package.rglob("*.py"))
        if "orchestration" not in file.parts and "migrations" not in file.parts
    ]
    loaded = _loaded_by(f"import importlib\nfor m in {modules!r}: importlib.import_module(m)")
    assert "sqlalchemy" in loaded
    assert "dagster" not in loaded


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


def test_a_tick_of_the_trading_location_loads_no_heavy_library() -> None:
    loaded = _loaded_by(
        "import trading_assets.orchestration.trading\n"
        "import trading_assets.signals.store, trading_assets.trading.status"
    )
    assert "sqlalchemy" in loaded
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))


def test_the_status_sensor_runs_by_default_and_starts_nothing() -> None:
    assert defs.sensors == [trading_status_sensor]
    assert trading_status_sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert not trading_status_sensor.targets


def test_the_status_sensor_beats_and_says_how_many_signals_are_live(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'db.sqlite'}")
    prepare(engine, World("sandbox-test", tmp_path, tmp_path))
    _signal(engine, "KRW-BTC", NOW + timedelta(minutes=5))
    _signal(engine, "KRW-ETH", NOW)  # expires exactly now
    _signal(engine, "KRW-XRP", NOW + timedelta(minutes=5), traded=False)
    context = dg.build_sensor_context(resources={"clock": SteppedClock(NOW), "database": engine})
    tick = trading_status_sensor.evaluate_tick(context)
    assert tick.run_requests == []
    assert tick.skip_message == "1 live signal"
    with read(engine) as connection:
        (row,) = connection.execute(sa.select(heartbeats)).all()
    assert (row.name, row.beat_at, row.detail) == ("trading_status_sensor", NOW, "1 live signal")
