"""The processes of the soak: an exchange whose prices run wild, trades, reconciles.

Here: what a child does. Not here: when it starts and dies (`soak`), what is seen (`soak_watch`).
"""

import itertools
import json
import os
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from trading_assets.clock import SystemClock
from trading_assets.database import connect
from trading_assets.errors import LeaseLost, LedgerError, TradingAssetsError
from trading_assets.exchange.limits import Group
from trading_assets.paper_exchange.account import Account
from trading_assets.paper_exchange.books import order_book
from trading_assets.paper_exchange.markets import to_ms
from trading_assets.paper_exchange.server import create_app
from trading_assets.paper_exchange.synthetic import SyntheticMarkets, SyntheticParameters
from trading_assets.settings import load_settings
from trading_assets.trading.floor import Floor, floor_of
from trading_assets.trading.reconcile import open_books, reconcile
from trading_assets.trading.trade import trade
from trading_assets_tests.conftest import FOUR_MARKETS
from trading_assets_tests.trading.crash_world import START_KRW, announce

# A move of 30 minutes in 30 seconds: the variance grows with time, so it is 60-fold.
VOLATILITY = Decimal("7.746")
_DEEP_KRW = 5e6  # an entry buys for 1,500,000 KRW at most
ENDED, LOST, GAVE_UP, BROKE = 0, 3, 4, 5

# So that trade follows trade: no rest after an exit, no stop of entries after losses.
LIMITS = {
    "rest_minutes": "0",
    "rest_after_stop_minutes": "0",
    "max_stops": "100000",
    "max_day_loss": "0.99",
    "max_peak_loss": "0.99",
    "reconcile_seconds": "10",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a soak happens. waits: of the trades, as settings; none are the shipped ones."""

    folder: Path
    seed: int
    waits: Mapping[str, str] = field(default_factory=dict)

    @property
    def port_file(self) -> Path:
        return self.folder / "port"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port_file.read_text()}"

    def blocked_until(self) -> float:
        """Until when a 418 keeps this machine from any price, seconds since the Unix epoch."""
        host = self.url.removeprefix("http://").replace(":", "-")
        path = self.folder / "data" / "limits" / host / f"{Group.WEBSOCKET_CONNECT}.json"
        if not path.exists():
            return 0.0
        return float(json.loads(path.read_text())["blocked_until"])

    def error_file(self, holder: str) -> Path:
        return self.folder / f"error-{holder}"

    def floor(self, holder: str) -> Floor:
        """holder: whose story goes to a file of its own."""
        os.environ["TRADING_ASSETS_HOME"] = str(self.folder)
        story = (self.folder / f"story-{holder}").open("a", buffering=1)
        clock = SystemClock()
        settings = load_settings({"exchange_url": self.url, "trading": {**LIMITS, **self.waits}})
        engine = connect(f"sqlite:///{self.folder / 'ledger.sqlite'}")
        return floor_of(
            settings, engine, clock, tell=lambda said: print(f"{clock.now()} {said}", file=story)
        )


def wild_markets(seed: int) -> SyntheticMarkets:
    """Prices with 60-fold variance at which a position can be bought and sold.

    Over two years the levels wander far, some to where all the world's offers are worth a few
    thousand KRW; so the first seed from 100 x `seed` is taken whose books are deep enough today.
    """
    now_ms = to_ms(SystemClock().now())
    for number in itertools.count(100 * seed):
        markets = SyntheticMarkets(SyntheticParameters(number, volatility=VOLATILITY), FOUR_MARKETS)
        if all(_offered_krw(markets, market, now_ms) >= _DEEP_KRW for market in FOUR_MARKETS):
            return markets
    raise AssertionError("unreachable: the numbers do not end")


def _offered_krw(markets: SyntheticMarkets, market: str, now_ms: int) -> float:
    """What the ten best asks come to."""
    book = order_book(markets, market, now_ms, 0.0, 10)
    return float((book.ask_price * book.ask_size).sum())


def serve_wild(place: Place) -> None:
    """The exchange's process, with Upbit's request limits."""
    # The server complains of each fault that cuts a connection.
    log = os.open(place.folder / "exchange.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    app = create_app(
        wild_markets(place.seed),
        SystemClock(),
        world="test",
        account=Account(place.folder / "account.sqlite", starting_krw=START_KRW),
    )
    announce(app, place.port_file)


def run_trade(place: Place, market: str, holder: str, signal_id: int | None) -> None:
    """What the job `trade` does, in a process of its own."""
    try:
        floor = place.floor(holder)
        if signal_id is not None:
            open_books(floor, holder)
        trade(floor, market, holder, signal_id=signal_id)
    except BaseException as exc:  # noqa: BLE001  # the soak judges how a process ended
        _end(place, holder, exc)
    os._exit(ENDED)


def run_reconcile(place: Place, holder: str) -> None:
    """What the job `reconcile` does, in a process of its own."""
    try:
        floor = place.floor(holder)
        open_books(floor, holder)
        reconcile(floor, holder)
    except BaseException as exc:  # noqa: BLE001  # the soak judges how a process ended
        _end(place, holder, exc)
    os._exit(ENDED)


def _end(place: Place, holder: str, exc: BaseException) -> None:
    place.error_file(holder).write_text("".join(traceback.format_exception(exc)))
    if isinstance(exc, LeaseLost):
        os._exit(LOST)
    expected = isinstance(exc, TradingAssetsError) and not isinstance(exc, LedgerError)
    os._exit(GAVE_UP if expected else BROKE)
