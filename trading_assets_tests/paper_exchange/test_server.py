"""The server as a process: loopback only, clear sentences, light imports, quick pages."""

import json
import os
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from trading_assets.cli import main
from trading_assets.clock import SystemClock
from trading_assets.errors import EnvironmentProblem
from trading_assets.paper_exchange.server import serve
from trading_assets.settings import load_settings
from trading_assets_tests.conftest import RunningExchange


def test_a_port_in_use_is_a_clear_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        settings = load_settings({"paper_exchange_port": port})
        with pytest.raises(EnvironmentProblem, match=f"port {port} of 127.0.0.1 is in use"):
            serve(settings)


def test_live_mode_has_no_paper_exchange() -> None:
    with pytest.raises(EnvironmentProblem, match="TRADING_MODE=live"):
        serve(load_settings({"trading_mode": "live", "profile": "swing"}))


def test_serve_answers_on_loopback_in_a_process_of_its_own(isolated_settings: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = (
        "from trading_assets.paper_exchange.server import serve\n"
        "from trading_assets.settings import load_settings\n"
        "serve(load_settings())\n"
    )
    environment = {**os.environ, "PAPER_EXCHANGE_PORT": str(port)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment)
    try:
        health = _until_up(process, f"http://127.0.0.1:{port}/health")
        assert health["world"].startswith("sandbox-")
        newest = httpx.get(
            f"http://127.0.0.1:{port}/v1/candles/minutes/60",
            params={"market": "KRW-BTC"},
            timeout=60,
        ).json()[0]
        start = datetime.fromisoformat(newest["candle_date_time_utc"]).replace(tzinfo=UTC)
        assert 0 <= (datetime.now(UTC) - start).total_seconds() < 3_700
    finally:
        process.terminate()
        assert process.wait(timeout=30) is not None


def test_the_command_line_gives_faults(isolated_settings: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = (
        *(sys.executable, "-m", "trading_assets.cli", "paper-exchange"),
        *("--fault", "maintenance,path=/v1/ticker,times=always", "--fault", "late,seconds=5"),
    )
    environment = {**os.environ, "PAPER_EXCHANGE_PORT": str(port)}
    process = subprocess.Popen(command, env=environment)
    try:
        _until_up(process, url + "/health")
        faults = httpx.get(url + "/control", timeout=30).json()["faults"]
        assert faults == ["maintenance", "late"]
        assert httpx.get(url + "/v1/ticker?markets=KRW-BTC", timeout=30).status_code == 403
    finally:
        process.terminate()
        assert process.wait(timeout=30) is not None
    (account,) = isolated_settings.glob("data/sandbox-*/paper_exchange/account.sqlite")
    assert account.stat().st_size > 0


def test_a_wrong_fault_on_the_command_line_is_one_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["paper-exchange", "--fault", "explode"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("trading-assets: --fault: a fault must be one of error_after, ")
    assert said.endswith("was 'explode'\n")


def _until_up(process: "subprocess.Popen[bytes]", url: str) -> dict[str, str]:
    clock = SystemClock()
    while process.poll() is None:
        try:
            found: dict[str, str] = httpx.get(url, timeout=5).json()
        except httpx.TransportError:
            clock.sleep(0.05)
        else:
            return found
    raise AssertionError(f"the exchange ended with {process.returncode}")


def test_importing_the_server_needs_no_orchestration_and_no_models() -> None:
    code = (
        "import json, sys\n"
        "import trading_assets.paper_exchange.server\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    loaded = set(json.loads(done.stdout))
    assert not loaded & {"dagster", "mlflow", "lightgbm", "sklearn", "talib", "pyupbit", "upbit"}


def test_the_shared_exchange_serves_the_present(paper_exchange: RunningExchange) -> None:
    newest = httpx.get(
        paper_exchange.url + "/v1/candles/minutes/60", params={"market": "KRW-BTC"}, timeout=60
    ).json()[0]
    start = datetime.fromisoformat(newest["candle_date_time_utc"]).replace(tzinfo=UTC)
    assert start <= datetime.now(UTC)
    assert paper_exchange.app.requests >= 1
