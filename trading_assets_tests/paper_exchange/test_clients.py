"""pyupbit and the official SDK, both unmodified, against the paper exchange over a real socket."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pyupbit
import requests
import upbit

from trading_assets.exchange.model import Interval
from trading_assets_tests.conftest import RunningExchange

OHLCV = ["open", "high", "low", "close", "volume", "value"]


class Rerouted(requests.Session):
    """A session for pyupbit, which knows Upbit's host only: it sends each request elsewhere."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url

    def request(self, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
        kwargs.setdefault("timeout", 30)
        here = str(url).replace("https://api.upbit.com", self._base_url, 1)
        return super().request(method, here, *args, **kwargs)


@pytest.fixture
def through_pyupbit(exchange: RunningExchange, monkeypatch: pytest.MonkeyPatch) -> RunningExchange:
    monkeypatch.setattr(pyupbit.request_api, "requests", Rerouted(exchange.url))
    return exchange


@pytest.fixture
def sdk(exchange: RunningExchange) -> Iterator[upbit.Upbit]:
    with upbit.Upbit(
        access_key="none", secret_key="none", base_url=exchange.url, max_retries=0, timeout=30
    ) as client:
        yield client


def test_pyupbit_lists_the_markets(through_pyupbit: RunningExchange) -> None:
    assert pyupbit.get_tickers("KRW") == ["KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL"]
    verbose = pyupbit.get_tickers("KRW", verbose=True)
    assert verbose[0]["english_name"] == "Bitcoin"


def test_pyupbit_pages_through_more_than_200_candles(through_pyupbit: RunningExchange) -> None:
    paged = pyupbit.get_ohlcv(
        "KRW-BTC", interval="minute5", count=450, to="2026-11-23 10:00:00", period=0
    )
    # pyupbit's index is KST: the last candle before 10:00 UTC is stamped 18:55.
    assert str(paged.index[-1]) == "2026-11-23 18:55:00"
    assert len(paged) == 450
    assert paged.index.is_unique
    expected = through_pyupbit.markets.candles(
        "KRW-BTC",
        Interval.M5,
        datetime(2026, 11, 21, 20, 30, tzinfo=UTC),
        datetime(2026, 11, 23, 10, 0, tzinfo=UTC),
    )
    # BTC trades in every 5 minutes, so 450 candles are 37.5 hours.
    assert len(expected) == 450
    for name in OHLCV[:5]:
        assert paged[name].tolist() == expected[name].tolist()


@pytest.mark.parametrize("interval", ["day", "minute1", "minute60", "minute240"])
def test_pyupbit_reads_every_interval(through_pyupbit: RunningExchange, interval: str) -> None:
    frame = pyupbit.get_ohlcv("KRW-ETH", interval=interval, count=7)
    assert list(frame.columns) == OHLCV
    assert len(frame) == 7


def test_pyupbit_reads_prices_and_books(through_pyupbit: RunningExchange) -> None:
    price = pyupbit.get_current_price("KRW-BTC")
    both = pyupbit.get_current_price(["KRW-BTC", "KRW-XRP"])
    assert both["KRW-BTC"] == price
    book = pyupbit.get_orderbook("KRW-BTC")
    best = book["orderbook_units"][0]
    assert best["bid_price"] <= price <= best["ask_price"]


def test_the_sdk_reads_all_quotation_endpoints(sdk: upbit.Upbit) -> None:
    pairs = sdk.trading_pairs.list(is_details=True)
    assert [pair.market for pair in pairs] == ["KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL"]
    assert pairs[0].market_event is not None
    assert pairs[0].market_event.warning is False
    candles = sdk.candles.list_minutes(60, market="KRW-BTC", count=3)
    assert [c.candle_date_time_utc for c in candles] == [
        "2026-11-23T10:00:00",
        "2026-11-23T09:00:00",
        "2026-11-23T08:00:00",
    ]
    assert candles[0].unit == 60
    days = sdk.candles.list_days(market="KRW-BTC", count=2)
    assert days[0].prev_closing_price == days[1].trade_price
    ticker = sdk.tickers.list_by_trading_pairs(markets="KRW-BTC")[0]
    assert ticker.trade_price == candles[0].trade_price
    everything = sdk.tickers.list_by_quote_currencies(quote_currencies="KRW")
    assert everything[0] == ticker
    book = sdk.orderbooks.list(markets="KRW-BTC,KRW-XRP")
    assert [b.market for b in book] == ["KRW-BTC", "KRW-XRP"]
    assert book[0].orderbook_units[0].ask_price > book[0].orderbook_units[0].bid_price
    instruments = sdk.orderbooks.list_instruments(markets="KRW-XRP")
    assert instruments[0].tick_size == "1"
    trades = sdk.trades.list(market="KRW-BTC", count=5)
    assert len(trades) == 5
    assert trades[0].trade_price == ticker.trade_price


def test_the_sdk_understands_our_errors(sdk: upbit.Upbit) -> None:
    with pytest.raises(upbit.NotFoundError) as caught:
        sdk.candles.list_minutes(60, market="KRW-NONE")
    assert caught.value.status_code == 404
    with pytest.raises(upbit.BadRequestError):
        sdk.candles.list_minutes(60, market="KRW-BTC", count=201)
