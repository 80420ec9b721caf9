"""The server as a process: loopback only, clear sentences, light imports, quick pages."""

import json
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from trading_assets.cli import main
from trading_assets.clock import SystemClock
from trading_assets.errors import EnvironmentProblem
from trading_assets.exchange.model import Interval
from trading_assets.paper_exchange.markets import Candles
from trading_assets.paper_exchange.server import serve
from trading_assets.paper_exchange.synthetic import SyntheticMarkets, SyntheticParameters
from trading_assets.settings import load_settings
from trading_assets_tests.conftest import MakeExchange, RunningExchange


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


class HeldMarkets(SyntheticMarkets):
    """The default market, whose look back over days waits until `release` is set."""

    def __init__(self) -> None:
        super().__init__(SyntheticParameters(), ("KRW-BTC", "KRW-ETH"))
        self.asked, self.release = threading.Event(), threading.Event()

    def page(self, market: str, interval: Interval, to_ms: int, count: int, now_ms: int) -> Candles:
        if interval is Interval.D1:
            self.asked.set()
            assert self.release.wait(timeout=60)
        return super().page(market, interval, to_ms, count, now_ms)


def test_tickers_of_cold_markets_hold_nobody_else_up(make_exchange: MakeExchange) -> None:
    """On the event loop the book would wait for the tickers, which wait for the book here."""
    held = HeldMarkets()
    exchange = make_exchange(markets=held)
    with ThreadPoolExecutor() as clients:
        waiting = [
            clients.submit(httpx.get, f"{exchange.url}/v1/{path}", timeout=60)
            for path in ("ticker/all?quote_currencies=KRW", "ticker?markets=KRW-ETH")
        ]
        assert held.asked.wait(timeout=60)
        try:
            book = httpx.get(f"{exchange.url}/v1/orderbook?markets=KRW-BTC", timeout=30)
            assert (book.status_code, book.json()[0]["market"]) == (200, "KRW-BTC")
            assert not any(answer.done() for answer in waiting)
        finally:
            held.release.set()
        every, one = (answer.result().json() for answer in waiting)
    assert [row["market"] for row in every] == ["KRW-BTC", "KRW-ETH"]
    assert [row["market"] for row in one] == ["KRW-ETH"]


def test_a_wrong_ticker_is_still_refused_as_upbit_does(paper_exchange: RunningExchange) -> None:
    unknown = httpx.get(f"{paper_exchange.url}/v1/ticker?markets=KRW-NONE")
    assert (unknown.status_code, unknown.json()["error"]["name"]) == (404, 404)
    missing = httpx.get(f"{paper_exchange.url}/v1/ticker")
    assert missing.status_code == 400
