"""Paths and account rules for the tests of this room: by hand, candle by candle."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from trading_assets.backtest.inputs import AccountRules, MarketPath
from trading_assets.candles.frame import TIMES
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.rules.costs import Costs
from trading_assets.rules.limits import Limits
from trading_assets.rules.sizing import SizeRules, SizeStep

# 09:00 in Korea: a Korean day begins at 15:00 UTC.
START = datetime(2024, 1, 1, tzinfo=UTC)
COSTS = Costs(fee_rate=Decimal("0.0005"), min_slippage_rate=Decimal("0.0003"))
NO_COSTS = Costs(fee_rate=Decimal(0), min_slippage_rate=Decimal(0))

LIMITS = Limits(
    max_exposure=Decimal("0.5"),
    max_positions=5,
    rest=timedelta(minutes=15),
    rest_after_stop=timedelta(minutes=60),
    max_stops=4,
    stop_window=timedelta(hours=24),
    stop_pause=timedelta(hours=2),
    max_day_loss=Decimal("0.03"),
    max_peak_loss=Decimal("0.07"),
)
SIZE = SizeRules(
    steps=(
        SizeStep(Decimal("0.8"), Decimal("0.15")),
        SizeStep(Decimal("0.7"), Decimal("0.10")),
        SizeStep(Decimal("0.6"), Decimal("0.07")),
        SizeStep(Decimal(0), Decimal("0.05")),
    ),
    raise_to_minimum=False,
    minimum_buffer=Decimal("0.05"),
)
RULES = AccountRules(
    size=SIZE,
    limits=LIMITS,
    starting_krw=Decimal(10_000_000),
    min_notional=Decimal(5000),
    max_slippage=Decimal("0.002"),
    resume_after=None,
)


def rules_with(*, starting_krw: int | None = None, **limits: Any) -> AccountRules:
    """RULES with other limits (by name) or another capital."""
    krw = RULES.starting_krw if starting_krw is None else Decimal(starting_krw)
    return replace(RULES, limits=replace(LIMITS, **limits), starting_krw=krw)


Candle = tuple[float, float, float, float]  # open, high, low, close


def series_of(
    candles: Sequence[Candle],
    *,
    breaks: Mapping[int, int] | None = None,
    interval: Interval = Interval.M60,
    start: datetime = START,
) -> CandleSeries:
    """A series of these candles. breaks: before this row, so many candles are missing."""
    n = len(candles)
    missing = np.zeros(n, dtype=np.int64)
    for row, count in (breaks or {}).items():
        missing[row] = count
    slots = np.arange(n) + np.cumsum(missing)
    first = np.datetime64(start.replace(tzinfo=None), "us")
    prices = np.asarray(candles, dtype=np.float64).reshape(n, 4)
    return CandleSeries(
        interval=interval,
        open_time=(first + slots * np.timedelta64(interval.duration)).astype(TIMES),
        open=prices[:, 0].copy(),
        high=prices[:, 1].copy(),
        low=prices[:, 2].copy(),
        close=prices[:, 3].copy(),
        volume=np.ones(n),
        filled=np.zeros(n, dtype=np.bool_),
        segment=np.cumsum(missing > 0).astype(np.int64),
    )


def path_of(
    series: CandleSeries,
    *,
    buy: Sequence[int] = (),
    sell: Sequence[int] = (),
    market: str = "KRW-BTC",
    p_buy: float = 0.55,
    ev_net: float = 0.01,
    min_ev_net: float = 0.0,
    stop_loss: float = 0.02,
    take_profit: float = 0.02,
    timeout: timedelta = timedelta(hours=12),
) -> MarketPath:
    """A path with BUY and SELL at these rows and the same numbers everywhere."""
    n = len(series)
    buys, sells = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    buys[list(buy)] = True
    sells[list(sell)] = True
    return MarketPath(
        market=market,
        series=series,
        buy=buys,
        sell=sells,
        p_buy=np.full(n, p_buy),
        ev_net=np.full(n, ev_net),
        min_ev_net=np.full(n, min_ev_net),
        stop_loss=np.full(n, stop_loss),
        take_profit=np.full(n, take_profit),
        timeout=timeout,
    )
