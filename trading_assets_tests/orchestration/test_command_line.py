"""`dagster asset materialize -m trading_assets.orchestration.research`, as a person types it."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg

from trading_assets.database import connect, database_url, prepare
from trading_assets.settings import Settings, load_settings
from trading_assets.world import World, world_of
from trading_assets_tests.conftest import RunningExchange

ROOT = Path(__file__).parents[2]
FEW_DAYS = (
    '{"history_days": 30, "min_history_days": 20, "calibration_days": 5, "gate_days": 5, '
    '"first_fit_days": 20}'
)


def _prepared(exchange_url: str) -> tuple[Settings, World]:
    """A world in the test's own home, as `trading-assets setup` leaves it."""
    settings = load_settings({"exchange_url": exchange_url})
    world = world_of(settings)
    engine = connect(database_url(settings, world))
    prepare(engine, world)
    engine.dispose()
    world.dagster_home.mkdir(parents=True)
    shutil.copy(ROOT / "deploy" / "local" / "dagster.yaml", world.dagster_home)
    return settings, world


def _start(select: str, exchange_url: str, dagster_home: Path | None) -> subprocess.Popen[str]:
    given = {"EXCHANGE_URL": exchange_url, "SWING": FEW_DAYS}
    if dagster_home is not None:
        given["DAGSTER_HOME"] = str(dagster_home)
    dagster = str(Path(sys.executable).parent / "dagster")
    module = ["-m", "trading_assets.orchestration.research"]
    return subprocess.Popen(
        [dagster, "asset", "materialize", "--select", select, "--partition", "KRW-BTC", *module],
        env={**os.environ, **given},
        cwd=os.environ["TRADING_ASSETS_HOME"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_selection_is_materialized_for_one_market_and_the_ui_sees_it(
    paper_exchange: RunningExchange,
) -> None:
    _, world = _prepared(paper_exchange.url)
    command = _start("candles/m60,features/m60", paper_exchange.url, world.dagster_home)
    _, errors = command.communicate()
    assert command.returncode == 0, errors
    with dg.DagsterInstance.from_config(str(world.dagster_home)) as instance:
        for asset in (["candles", "m60"], ["features", "m60"]):
            assert instance.get_materialized_partitions(dg.AssetKey(asset)) == {"KRW-BTC"}


def test_without_the_worlds_dagster_home_one_sentence_says_what_to_type(
    paper_exchange: RunningExchange,
) -> None:
    _, world = _prepared(paper_exchange.url)
    command = _start("candles/m60", paper_exchange.url, None)
    _, errors = command.communicate()
    assert command.returncode == 1
    assert errors.strip().splitlines()[-1] == (
        f"this run belongs to the world {world.name}, but DAGSTER_HOME is not set, so nobody "
        "would see it: use `make materialize`, or first "
        f"`export DAGSTER_HOME={world.dagster_home}`"
    )


def test_without_the_paper_exchange_one_sentence_says_how_to_start_it() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"  # bound, but nobody listens
        _, world = _prepared(url)
        command = _start("candles/m60", url, world.dagster_home)
        _, errors = command.communicate()
    assert command.returncode == 1
    assert errors.strip().splitlines()[-1] == (
        f"nothing listens at {url}: start the paper exchange with `make paper-exchange` or "
        "`trading-assets paper-exchange`"
    )
