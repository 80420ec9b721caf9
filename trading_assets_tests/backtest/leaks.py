"""Histories and values for the look-ahead and recursion tests: honest ones, and ones that cheat."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np

from trading_assets.backtest.quantities import Family, FloatArray, IntArray
from trading_assets.candles.frame import candle_frame, open_times_us
from trading_assets.candles.gaps import Gap, GapKind, gap_frame, missing_spans
from trading_assets.candles.recorded import StoredCandles
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.dataset import make_dataset
from trading_assets.models.labels import make_labels
from trading_assets.models.model import Model
from trading_assets.models.profiles import costs, profile
from trading_assets.models.training import train
from trading_assets.paper_exchange.synthetic import EPOCH, SyntheticMarkets, SyntheticParameters
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, Recipe, Settings
from trading_assets_tests.features.candle_series import broken_at, random_series

Column = Callable[[FloatArray], FloatArray]

MARKET = "KRW-BTC"
COSTS = costs(Settings())
SCALP = profile(Settings(), ProfileName.SCALP)
SWING = profile(Settings(), ProfileName.SWING)


def stored_of(series: CandleSeries) -> StoredCandles:
    """The candles of `series` as a store would hold them; its breaks were maintenance."""
    names = ("open", "high", "low", "close", "volume")
    columns = {name: getattr(series, name)[~series.filled] for name in names}
    frame = candle_frame(series.open_time[~series.filled], **columns)
    filled = set(series.open_time[series.filled].astype(np.int64).tolist())
    gaps = [
        Gap(span, GapKind.NO_TRADES if span.start in filled else GapKind.MAINTENANCE)
        for span in missing_spans(open_times_us(frame), series.interval)
    ]
    return StoredCandles(MARKET, series.interval, frame, gap_frame(gaps))


@cache
def broken_history(rows: int = 1500) -> StoredCandles:
    """Hourly candles with two breaks."""
    return stored_of(broken_at(random_series(rows, 11), [400, 900]))


@cache
def long_history() -> StoredCandles:
    """Hourly candles, more than any signal reads, with an edge of `anchors` and a break late."""
    return stored_of(broken_at(random_series(13_500, 12), [700, 12_600]))


@cache
def synthetic_history(days: int = 60) -> StoredCandles:
    """5-minute candles of the sandbox, minutes without trades included."""
    market = SyntheticMarkets(SyntheticParameters(), (MARKET,))
    frame = market.candles(MARKET, Interval.M5, EPOCH, EPOCH + timedelta(days=days))
    missing = missing_spans(open_times_us(frame), Interval.M5)
    gaps = gap_frame(Gap(span, GapKind.NO_TRADES) for span in missing)
    return StoredCandles(MARKET, Interval.M5, frame, gaps)


@cache
def small_model() -> Model:
    """LightGBM and logistic regression on the sandbox's candles: every part a model can have."""
    series, chosen = synthetic_history().series, small(SCALP)
    labels = make_labels(series, chosen, COSTS, ewm_sigma(series))
    sequences = make_sequences(feature_matrix(series), series)
    dataset = make_dataset(MARKET, chosen, sequences, labels, costs=COSTS)
    return train(dataset, chosen, Recipe.ENSEMBLE, (1, 2), max_rounds=12).served


def small(chosen: Profile) -> Profile:
    """`chosen` with windows that two months of candles fill."""
    return replace(
        chosen,
        min_history=timedelta(days=50),
        calibration_window=timedelta(days=10),
        gate_window=timedelta(days=5),
    )


def family(name: str, column: Column, *, reach: int = 0) -> Family:
    """One value that is a function of the close alone."""

    def values(series: CandleSeries, rows: IntArray) -> FloatArray:
        return column(series.close)[rows, None]

    return Family("test", (name,), values, values, reach=reach)


def lagged_return(close: FloatArray) -> FloatArray:
    out = np.full(len(close), np.nan)
    out[1:] = np.log(close[1:] / close[:-1])
    return out


def centred_mean(close: FloatArray) -> FloatArray:
    """The mean of five candles, two of which come later."""
    out = np.full(len(close), np.nan)
    out[2:-2] = np.lib.stride_tricks.sliding_window_view(close, 5).mean(axis=1)
    return out


def scaled_by_whole_series(close: FloatArray) -> FloatArray:
    scaled: FloatArray = (close - close.min()) / (close.max() - close.min())
    return scaled


def next_return(close: FloatArray) -> FloatArray:
    """shift(-1)."""
    return np.concatenate((lagged_return(close)[1:], [np.nan]))


def filled_from_behind(close: FloatArray) -> FloatArray:
    """Every 100th value missing and taken from the next candle: wrong in one row of a hundred."""
    out = lagged_return(close)
    holes = np.arange(99, len(close) - 1, 100)
    out[holes] = out[holes + 1]
    return out


def running_mean(close: FloatArray) -> FloatArray:
    """Of everything since the first candle that was read."""
    return np.asarray(np.cumsum(close) / np.arange(1, len(close) + 1))


def slow_average(close: FloatArray) -> FloatArray:
    """An exponential average that remembers a hundred thousand candles."""
    out = np.empty(len(close))
    value = close[0]
    for i, price in enumerate(close.tolist()):
        value += (price - value) / 100_000
        out[i] = value
    return out
