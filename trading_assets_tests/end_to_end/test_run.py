"""The main promise, everything real: `run` reaches signals, Ctrl-C ends it to the last process."""

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue

import pytest
import sqlalchemy as sa

from trading_assets.commands.ports import free_ports
from trading_assets.database import open_database, read, signals
from trading_assets.settings import load_settings
from trading_assets.world import World, world_of
from trading_assets_tests.conftest import MakeExchange

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux's /proc"),
]
REACH_SIGNALS_SECONDS = 420
ACCESS_KEY = "acc3ss-key-of-this-run-alone-0123456789"
SECRET_KEY = "s3cret-key-of-this-run-alone-0123456789-0123456789"


@pytest.fixture
def small_world(isolated_settings: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One market, one profile, a short history, one seed, free ports: minutes become one."""
    dagster, mlflow, exchange = free_ports(3)
    for name, value in {
        "MARKETS": "KRW-BTC",
        "PROFILES": "scalp",
        "SEEDS": "1",
        "SCALP__HISTORY_DAYS": "70",
        "DAGSTER_PORT": str(dagster),
        "MLFLOW_PORT": str(mlflow),
        "PAPER_EXCHANGE_PORT": str(exchange),
        "UPBIT_ACCESS_KEY": ACCESS_KEY,
        "UPBIT_SECRET_KEY": SECRET_KEY,
        "HOME": str(isolated_settings),
    }.items():
        monkeypatch.setenv(name, value)
    return isolated_settings


class Running:
    """`trading-assets run` and what it has printed."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trading_assets.cli", "run"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.printed: list[str] = []
        self._lines: Queue[str | None] = Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def read_until(self, text: str, seconds: float) -> None:
        """Read lines until one holds `text`."""
        while not (self.printed and text in self.printed[-1]):
            try:
                line = self._lines.get(timeout=seconds)
            except Empty:
                pytest.fail(f"silent for {seconds} s after:\n" + "\n".join(self.printed))
            if line is None:
                pytest.fail("it ended after:\n" + "\n".join(self.printed))
            self.printed.append(line)

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=60)
        self._reader.join()
        while (line := self._lines.get()) is not None:
            self.printed.append(line)
        return code


@pytest.fixture
def running(small_world: Path) -> Iterator[Running]:
    started = Running()
    yield started
    if started.process.poll() is None:
        started.interrupt()


@pytest.mark.deep
def test_run_reaches_signals_at_an_upstreams_prices(
    small_world: Path, make_exchange: MakeExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = make_exchange()
    monkeypatch.setenv("TRADING_MODE", "paper")
    monkeypatch.setenv("UPSTREAM_URL", upstream.url)
    started = Running()
    try:
        started.read_until("the first signals are out", REACH_SIGNALS_SECONDS)
        started.read_until(f"prices of {upstream.url}, NOT Upbit's", 60)
        assert not any(line.startswith("!!") for line in started.printed), started.printed
    finally:
        code = started.interrupt()
    assert code == 0
    assert processes_of(small_world) == []


def processes_of(home: Path) -> list[str]:
    """Commands of the living processes whose environment names `home`."""
    return [command for _, command in folders_of(home)]


def folders_of(home: Path) -> list[tuple[Path, str]]:
    """(working folder, command) of the same."""
    marker = f"TRADING_ASSETS_HOME={home}".encode()
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if marker in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(((folder / "cwd").readlink(), command))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def test_run_reaches_signals_and_ctrl_c_leaves_no_process(
    running: Running, small_world: Path
) -> None:
    running.read_until("the first signals are out", REACH_SIGNALS_SECONDS)
    running.read_until("trading-assets status", 60)
    settings = load_settings()
    printed = "\n".join(running.printed)
    assert f"http://127.0.0.1:{settings.dagster_port}" in printed
    assert f"http://127.0.0.1:{settings.mlflow_port}" in printed
    assert not any(line.startswith("!!") for line in running.printed), printed
    # Dagster's servers believe an `.env` where they start more than their environment.
    assert (small_world / ".env").exists()
    starts = [folder for folder, command in folders_of(small_world) if "dagster" in command]
    assert len(starts) >= 4
    assert not [folder for folder in starts if (folder / ".env").exists()]
    # `*` would mark a traded profile: with the default, none is before the first evaluation.
    first = [line.split() for line in running.printed if line.startswith("KRW-BTC")]
    assert any(cells[1] in ("scalp", "scalp*") for cells in first), printed

    engine = open_database(settings, world_of(settings))
    with read(engine) as connection:
        row = connection.execute(sa.select(signals).order_by(signals.c.id.desc()).limit(1)).one()
    assert row.p_sell + row.p_hold + row.p_buy == pytest.approx(1)
    assert row.model_version is not None
    for port in (settings.dagster_port, settings.mlflow_port):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
            assert page.status == 200
    with urllib.request.urlopen(
        f"http://127.0.0.1:{settings.paper_exchange_port}/v1/market/all", timeout=30
    ) as page:
        assert [m["market"] for m in json.load(page)] == ["KRW-BTC"]

    assert len(processes_of(small_world)) >= 6
    assert running.interrupt() == 0
    assert running.printed[-1] == "stopped, nothing is left running"
    assert processes_of(small_world) == []
    check_no_secret_is_written(small_world, world_of(settings), running.printed)


def check_no_secret_is_written(home: Path, world: World, printed: list[str]) -> None:
    """Not a line, log, run, event, parameter, tag or artifact of the start holds a key."""
    files = [path for path in home.rglob("*") if path.is_file()]
    written = {path: path.read_bytes() for path in files}
    # There was something to search: servers' logs, Dagster's runs and events, MLflow's.
    assert any(path.is_relative_to(world.run / "logs") and data for path, data in written.items())
    assert any(path.is_relative_to(world.dagster_home / "history") for path in files)
    assert any(path.is_relative_to(world.mlflow_artifacts) for path in files)
    assert (world.mlruns / "mlflow.db") in files
    written[Path("printed")] = "\n".join(printed).encode()
    for secret in (ACCESS_KEY, SECRET_KEY):
        assert [path for path, data in written.items() if secret.encode() in data] == []
