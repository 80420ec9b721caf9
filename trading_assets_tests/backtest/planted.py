"""Random prices with signals, each followed by a rise of a known size: what a report must find."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np

from trading_assets.backtest.inputs import AccountRules, MarketPath
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.rules.limits import Limits
from trading_assets.rules.sizing import SizeRules, SizeStep
from trading_assets_tests.backtest.simulations import HOUR, START

RULES = AccountRules(
    size=SizeRules((SizeStep(Decimal(0), Decimal("0.05")),), False, Decimal("0.05")),
    limits=Limits(
        max_exposure=Decimal("0.5"),
        max_positions=5,
        rest=timedelta(0),
        rest_after_stop=timedelta(0),
        max_stops=1000,
        stop_window=timedelta(hours=24),
        stop_pause=timedelta(0),
        max_day_loss=Decimal("0.9"),
        max_peak_loss=Decimal("0.9"),
    ),
    starting_krw=Decimal(10_000_000),
    min_notional=Decimal(5000),
    max_slippage=Decimal("0.002"),
    resume_after=None,
)


def planted_path(
    market: str, rise_bp: float, *, days: int = 200, seed: int = 1, every: int = 16
) -> MarketPath:
    """Hourly candles of 60 bp noise; about every `every` hours a BUY, after which the price rises.

    It rises by `rise_bp`, a quarter in each of the next four hours, at the end of which (time
    limit) the trade is over. Barriers of 20 % are never reached. Prices far from coarse ticks.
    """
    rng = np.random.default_rng([seed, *market.encode()])
    n = 24 * days
    buy = np.zeros(n, dtype=np.bool_)
    at = np.arange(8, n - 8, every)
    buy[at + rng.integers(0, every - 5, len(at))] = True
    returns = rng.normal(0, 0.006, n)
    for step in range(1, 5):
        returns[np.flatnonzero(buy) + step] += rise_bp / 4e4
    # Rising for ever would reach another price level: the drift goes evenly out of all hours.
    close = 50_000_000.0 * np.exp(np.cumsum(returns - returns.mean()))
    close = np.round(close / 1000) * 1000
    opened = np.concatenate([close[:1], close[:-1]])
    flat = np.full(n, 0.2)
    return MarketPath(
        market=market,
        series=CandleSeries(
            Interval.M60,
            START + np.arange(n) * HOUR,
            opened,
            np.maximum(opened, close),
            np.minimum(opened, close),
            close,
            np.ones(n),
            np.zeros(n, dtype=np.bool_),
            np.zeros(n, dtype=np.int64),
        ),
        buy=buy,
        sell=np.zeros(n, dtype=np.bool_),
        p_buy=np.where(buy, 0.6, 0.3),
        ev_net=np.where(buy, 0.005, 0.0),
        min_ev_net=np.full(n, 0.0016),
        stop_loss=flat,
        take_profit=flat,
        timeout=timedelta(hours=4),
    )


def planted(rise_bp: float, seed: int = 1, days: int = 200) -> list[MarketPath]:
    """Two such markets."""
    return [
        planted_path(market, rise_bp, seed=seed, days=days) for market in ("KRW-BTC", "KRW-ETH")
    ]


def without_signals(path: MarketPath) -> MarketPath:
    return replace(path, buy=np.zeros(len(path), dtype=np.bool_))
