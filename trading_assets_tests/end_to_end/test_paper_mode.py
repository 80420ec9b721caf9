"""`TRADING_MODE=paper` as it is started: prices of an upstream, play money of our own process.

The upstream, in place of Upbit, is a second paper exchange on this machine. Here: the real server
program between them. Not here: what is passed on, in detail (`paper_exchange/test_upstream.py`).
"""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest

from trading_assets.clock import SystemClock
from trading_assets.commands.materialize import paper_exchange
from trading_assets.commands.ports import free_ports
from trading_assets.database import connect, database_url, open_database, prepare, read
from trading_assets.exchange.candle_pages import candle_pages
from trading_assets.exchange.model import Interval
from trading_assets.settings import Settings, load_settings
from trading_assets.trading import records
from trading_assets.trading.floor import Floor, floor_of
from trading_assets.trading.reconcile import open_books
from trading_assets.trading.states import OrderReason
from trading_assets.trading.trade import trade
from trading_assets.world import claim, world_of
from trading_assets_tests.conftest import MakeExchange, RunningExchange
from trading_assets_tests.trading.crash_trader import MARKET
from trading_assets_tests.trading.crash_world import HIGH, LOW, give_signal


@pytest.fixture
def upstream(make_exchange: MakeExchange) -> RunningExchange:
    exchange = make_exchange()
    exchange.set_book(MARKET, HIGH["bids"], HIGH["asks"])
    return exchange


@pytest.fixture
def settings(upstream: RunningExchange) -> Iterator[Settings]:
    """Settings of paper mode, their paper exchange served by the program that `run` starts."""
    (port,) = free_ports(1)
    names = {
        "TRADING_MODE": "paper",
        "UPSTREAM_URL": upstream.url,
        "PAPER_EXCHANGE_PORT": str(port),
        "MARKETS": MARKET,
        "TRADING__HEARTBEAT_SECONDS": "0.2",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        found = load_settings()
        with paper_exchange(found, world_of(found), SystemClock(), print):
            yield found


@pytest.fixture
def floor(settings: Settings) -> Iterator[Floor]:
    world = world_of(settings)
    claim(world.data, world.name)
    setup = connect(database_url(settings, world))
    prepare(setup, world)
    setup.dispose()
    engine = open_database(settings, world)
    yield floor_of(settings, engine, SystemClock())
    engine.dispose()


def test_a_trade_at_an_upstreams_prices_leaves_no_trace_there(
    settings: Settings, floor: Floor, upstream: RunningExchange
) -> None:
    now = floor.now()
    there = upstream.markets.candles(MARKET, Interval.M60, now - timedelta(hours=5), now)
    here = candle_pages(settings, SystemClock()).page(MARKET, Interval.M60, to=now, count=3)
    # Of closed candles, by their times: in an hour's first second a page ends with the one before.
    closed = there[:-1].set_index("open_time")["close"]
    both = here[here["open_time"].isin(closed.index)]
    assert len(both) >= 2
    assert list(both["close"]) == list(closed[both["open_time"]])

    open_books(floor, "run-1")
    signal_id = give_signal(floor.engine)

    def fall_once_it_is_held() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with read(floor.engine) as connection:
                if any(p.plan for p in records.live_positions(connection)):
                    break
            time.sleep(0.05)
        upstream.set_book(MARKET, LOW["bids"], LOW["asks"])

    falling = threading.Thread(target=fall_once_it_is_held)
    falling.start()
    trade(floor, MARKET, "run-1", signal_id=signal_id)
    falling.join()

    with read(floor.engine) as connection:
        (position,) = records.all_positions(connection)
    assert position.exit_reason is OrderReason.STOP_LOSS
    # 3 coins are there at 100,000, the rest of the 7 % costs 100,100; the falling bid is 98,000.
    assert 0 < position.bought_volume < 7
    assert position.bought_funds == 100_100 * position.bought_volume - 300
    balances = {b.currency: b.total for b in floor.account.balances()}
    assert balances["KRW"] == settings.paper_starting_krw + position.cash_flow
    # The upstream was asked for prices and never saw an order.
    assert upstream.account.orders([]) == upstream.account.open_orders() == ()
    assert [held.balance for held in upstream.account.balances()] == [Decimal(10_000_000)]
