"""The trading code location: what it declares, what it must not import, what its sensor says."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.clock import SteppedClock
from trading_assets.database import connect, heartbeats, prepare, read, signals, write
from trading_assets.orchestration.trading import defs
from trading_assets.orchestration.trading.schedules import HOURLY
from trading_assets.orchestration.trading.sensors import trading_status_sensor
from trading_assets.orchestration.trading.watch import Takeover, may_take_over, pause_before
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


def _modules_loaded_by(statement: str) -> set[str]:
    """What is in sys.modules after `statement` ran in a fresh interpreter."""
    program = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(json.loads(answer.stdout))


def _loaded_by(statement: str) -> set[str]:
    """Top-level packages in sys.modules after `statement` ran in a fresh interpreter."""
    return {name.split(".")[0] for name in _modules_loaded_by(statement)}


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


def test_a_tick_of_the_trading_sensor_loads_no_heavy_library() -> None:
    loaded = _loaded_by(
        "import trading_assets.orchestration.trading\n"
        "import trading_assets.orchestration.trading.watch, trading_assets.trading.funnel\n"
        "import trading_assets.exchange.upbit, trading_assets.orchestration.trading.checks"
    )
    assert loaded.isdisjoint(HEAVY), sorted(loaded.intersection(HEAVY))


def test_a_trades_client_loads_no_part_of_its_libraries_that_it_never_uses() -> None:
    loaded = _loaded_by("import trading_assets.exchange.upbit_http")
    assert {"httpx", "upbit"} <= loaded
    assert loaded.isdisjoint({"aiohttp", "httpx_aiohttp", "rich", "pygments"})


def test_a_trade_on_sqlite_does_not_load_the_dialect_of_postgresql(tmp_path: Path) -> None:
    prepare(
        connect(f"sqlite:///{tmp_path / 'a.sqlite'}"), World("sandbox-test", tmp_path, tmp_path)
    )
    loaded = _modules_loaded_by(
        "from datetime import UTC, datetime\n"
        "import trading_assets.orchestration.trading.jobs, trading_assets.trading.trade\n"
        "from trading_assets.alerts import Severity, write_alert\n"
        "from trading_assets.database import connect, write\n"
        f"with write(connect('sqlite:///{tmp_path / 'a.sqlite'}')) as connection:\n"
        "    assert write_alert(connection, severity=Severity.INFO, kind='test', dedupe_key='a',"
        " message='', now=datetime.now(UTC))"
    )
    assert "sqlalchemy.dialects.sqlite" in loaded
    assert "sqlalchemy.dialects.postgresql" not in loaded


def test_what_was_left_out_of_an_import_can_be_imported_afterwards() -> None:
    loaded = _loaded_by("import trading_assets.exchange.upbit_http, httpx_aiohttp, httpx._main")
    assert {"aiohttp", "httpx_aiohttp", "rich"} <= loaded


def test_a_trade_run_waits_for_no_place_and_says_what_terminate_does() -> None:
    job = defs.resolve_job_def("trade")
    assert job.tags == {"dagster/max_retries": "0"}
    assert job.executor_def is dg.in_process_executor
    assert all(node.definition.pools == set() for node in job.nodes)
    assert "Terminate stops the run, NOT the position" in (job.description or "")


def test_the_lineage_goes_from_signals_to_positions() -> None:
    graph = defs.resolve_asset_graph()
    parents = {
        key.to_user_string(): graph.get(key).parent_keys for key in graph.get_all_asset_keys()
    }
    assert parents["orders"] == {dg.AssetKey("signals")}
    assert parents["fills"] == {dg.AssetKey("orders")}
    assert parents["positions"] == {dg.AssetKey("fills")}


def test_trading_acts_by_default_and_looks_around_every_hour() -> None:
    assert {s.name for s in defs.sensors or ()} == {
        "trading_sensor",
        "emergency_sensor",
        "reconcile_sensor",
        "trading_status_sensor",
    }
    for sensor in defs.sensors or ():
        assert isinstance(sensor, dg.SensorDefinition)
        assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    assert [s.cron_schedule for s in HOURLY] == ["7 * * * *", "37 * * * *"]


@pytest.mark.parametrize(
    ("takeovers", "seconds"),
    [(0, 0), (1, 5), (2, 10), (3, 20), (4, 20), (9, 20), (10, 60), (99, 60)],
)
def test_takeovers_that_fail_are_repeated_ever_more_slowly(takeovers: int, seconds: int) -> None:
    assert pause_before(takeovers) == timedelta(seconds=seconds)


def _takeover(token: int, begun: int, lasted: int | None) -> Takeover:
    """A takeover that began so many seconds ago. lasted: None while it is under way."""
    started = NOW - timedelta(seconds=begun)
    ended = None if lasted is None else started + timedelta(seconds=lasted)
    return Takeover(token, started, ended)


def test_a_takeover_that_held_and_died_is_followed_at_once_however_often_that_happens() -> None:
    often = [_takeover(number, 30 * (10 - number), 25) for number in range(10)]
    assert may_take_over(10, often, NOW)


def test_a_takeover_that_fails_after_one_that_held_waits_for_its_own_failure_only() -> None:
    held = [_takeover(number, 30 * (10 - number) + 60, 25) for number in range(10)]
    assert not may_take_over(10, [*held, _takeover(10, 4, 1)], NOW)
    assert may_take_over(10, [*held, _takeover(10, 5, 1)], NOW)


def test_takeovers_that_fail_one_after_the_other_are_all_waited_for() -> None:
    failed = [_takeover(1, 60, 1), _takeover(1, 50, 19)]
    assert not may_take_over(1, [*failed, _takeover(2, 19, 18)], NOW)
    assert may_take_over(1, [*failed, _takeover(2, 20, 18)], NOW)


def _killed(token: int, begun: int, beat: int, recorded: int | None) -> Takeover:
    """A takeover that began so many seconds ago, after a lease that last beat `beat` seconds ago,
    and whose end was recorded after `recorded` seconds."""
    return replace(_takeover(token, begun, recorded), lost_at=NOW - timedelta(seconds=beat))


def test_takeovers_that_are_killed_at_once_are_told_by_their_leases_last_beat() -> None:
    """Each beat for 3 s; their ends were recorded 25 s after they began, or not yet. The fourth may
    follow 20 s after the third."""
    loop = [_killed(1, 76, 90, 25), _killed(2, 48, 73, 25), _killed(3, 20, 45, None)]
    assert may_take_over(4, loop, NOW, NOW - timedelta(seconds=17))
    second = timedelta(seconds=1)
    assert not may_take_over(4, loop, NOW - second, NOW - timedelta(seconds=17))
    # By the recorded ends alone each of the first two held.
    assert may_take_over(4, loop[:2], NOW - timedelta(seconds=23), None)


def test_a_takeover_under_way_is_waited_for_a_minute() -> None:
    assert not may_take_over(1, [_takeover(1, 59, None)], NOW)
    assert may_take_over(1, [_takeover(1, 60, None)], NOW)
    # It took the lease, and lost it again.
    assert may_take_over(2, [_takeover(1, 30, None)], NOW)


def test_takeovers_from_before_the_clock_was_set_back_keep_none_waiting() -> None:
    ahead = -9 * 3600
    assert may_take_over(1, [_takeover(1, ahead, None), _takeover(1, ahead, 1)], NOW)


def test_the_status_sensor_runs_by_default_and_starts_nothing() -> None:
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
