"""What every test may use: isolated settings, real candles, a running paper exchange."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from trading_assets.clock import Clock, SystemClock
from trading_assets.paper_exchange.account import Account
from trading_assets.paper_exchange.application import PaperExchange
from trading_assets.paper_exchange.auth import ANY_PAIR, Keys
from trading_assets.paper_exchange.faults import Faults
from trading_assets.paper_exchange.markets import Markets
from trading_assets.paper_exchange.server import create_app, server_config
from trading_assets.paper_exchange.synthetic import SyntheticMarkets, SyntheticParameters
from trading_assets.paper_exchange.upstream import Upstream
from trading_assets.settings import Settings

FOUR_MARKETS = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL")
_REPOSITORY = Path(__file__).resolve().parent.parent

# A shell starts what runs in its background with SIGINT ignored, children inherit that, and
# Dagster then ignores SIGTERM too. `trading-assets run` sets a handler before it starts anything.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _setting_names() -> list[str]:
    """The environment variables that settings read, by name or as a prefix with `__`."""
    names = {field.upper() for field in Settings.model_fields} | {"TRADING_ASSETS_HOME"}
    return [
        variable
        for variable in os.environ
        if variable.upper() in names or variable.upper().split("__")[0] in names
    ]


@pytest.fixture(autouse=True)
def isolated_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of this test alone, and none of the developer's own settings.

    Children inherit it through the environment.
    """
    for name in _setting_names():
        monkeypatch.delenv(name)
    for name in ("DAGSTER_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "UPBIT_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("TRADING_ASSETS_HOME", str(home))
    return home


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real candles and documented samples beside the repository."""
    folder = _REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data (real candles and Upbit's samples), which is not here")
    return folder


@dataclass(frozen=True, slots=True)
class RunningExchange:
    """A paper exchange that answers on `url`."""

    url: str
    app: PaperExchange

    @property
    def markets(self) -> Any:
        """The price source behind it: ask it what the server should have said."""
        return self.app.markets

    @property
    def faults(self) -> Faults:
        return self.app.faults

    @property
    def account(self) -> Account:
        """Its account: balances and orders as the exchange has them."""
        return self.app.account

    @property
    def stream_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def set_book(
        self, market: str, bids: Sequence[tuple[str, str]], asks: Sequence[tuple[str, str]]
    ) -> None:
        """Set the book by hand, (price, size) best first; streams and orders see it at once."""
        self.app.liquidity.pin(market, bids, asks, self.app.now_ms())
        self.app.step()


class ExchangeServer:
    """uvicorn in a thread, on a port that the system chooses."""

    def __init__(self, app: PaperExchange) -> None:
        self._app = app
        config = server_config(app, port=0)
        config.lifespan = "off"  # what is cut off by force has no orderly end
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    def start(self) -> RunningExchange:
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the paper exchange did not start")
            time.sleep(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return RunningExchange(f"http://127.0.0.1:{port}", self._app)

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True  # a hanging request must not hold up the next test
        self._thread.join(timeout=10)


@pytest.fixture(scope="session")
def synthetic_markets() -> SyntheticMarkets:
    """The default synthetic market (seed 7, edge 1): its history is made once per session."""
    return SyntheticMarkets(SyntheticParameters(), FOUR_MARKETS)


@pytest.fixture(scope="session")
def paper_exchange(synthetic_markets: SyntheticMarkets) -> Iterator[RunningExchange]:
    """The default synthetic exchange by the system's clock, without request limits.

    Shared by all tests: give it no faults. A test of limits or faults, or one that needs its own
    clock, takes `make_exchange`.
    """
    server = ExchangeServer(create_app(synthetic_markets, SystemClock(), limited=False))
    yield server.start()
    server.stop()


MakeExchange = Callable[..., RunningExchange]


@pytest.fixture
def make_exchange(synthetic_markets: SyntheticMarkets) -> Iterator[MakeExchange]:
    """Starts exchanges for one test: `make_exchange(clock=..., markets=..., limited=...)`.

    Each has an account of its own, in memory unless one with a file is given.
    """
    servers: list[ExchangeServer] = []

    def make(
        *,
        clock: Clock | None = None,
        markets: Markets | Upstream | None = None,
        limited: bool = False,
        account: Account | None = None,
        keys: Keys = ANY_PAIR,
        idle_seconds: float | None = None,
    ) -> RunningExchange:
        app = create_app(
            markets or synthetic_markets,
            clock or SystemClock(),
            limited=limited,
            account=account,
            keys=keys,
            idle_seconds=idle_seconds,
        )
        servers.append(ExchangeServer(app))
        return servers[-1].start()

    yield make
    for server in servers:
        server.stop()
