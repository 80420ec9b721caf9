"""How fast the 46 features are: against naive pandas, the `ta` package and a plain copy.

CPU seconds of this process, medians, all in one run on the same random candles, one thread. The
others are checked to give the same numbers (after 500 candles, to 1e-5 of each feature's standard
deviation), so that the same work is compared. Two unfair things are in their favour: naive pandas
leaves out every case of 0/0, and `ta`, which knows 21 of the features, is compared with the time
of all 46. Nearly all of naive pandas' time is one feature, CCI, whose mean absolute deviation
takes a Python function per row; the line without it has no goal and is there to be honest.

The copy is of the outputs of 125 markets (a million candles, more than any cache holds) into memory
that is already there; ours for it are the 125 markets one after another, each output let go before
the next, as a retraining does it. First use of memory is the operating system's work and can cost
more than the features; so a second line has both of them keep everything in new memory.

    python benchmarks/features.py        needs: pip install -e '.[bench]'
"""

import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import ta

from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.features.catalogue import FEATURE_NAMES
from trading_assets.features.matrix import feature_matrix, latest_features

ROWS = 8000
MARKETS = 125
SETTLED = 500

MEMCPY_GOAL = 20.0


def main() -> None:
    series = random_candles(ROWS)
    frame = candle_frame(series)
    ours = cpu_seconds(lambda: feature_matrix(series), times=41)
    live = cpu_seconds(lambda: latest_features(series, 24), times=41)
    values = feature_matrix(series).values

    print(f"{ROWS:,} candles, one market; CPU, medians")
    print(f"  {'this code, 46 features':36}{ours * 1e3:9.2f} ms")
    print(f"  {'the last 24 rows only (live)':36}{live * 1e3:9.2f} ms")
    competitors: tuple[tuple[str, Callable[[], pd.DataFrame], float | None], ...] = (
        ("naive pandas", lambda: naive_pandas(frame), 20.0),
        ("naive pandas without CCI", lambda: naive_pandas(frame, with_cci=False), None),
        ("ta", lambda: ta_package(frame), 50.0),
    )
    for name, compute, goal in competitors:
        theirs = compute()
        require_agreement(name, theirs, values)
        seconds = cpu_seconds(compute, times=5)
        ratio = seconds / ours
        print(
            f"  {name + f', {theirs.shape[1]} features':36}{seconds * 1e3:9.1f} ms"
            f"{ratio:8.1f} x ours   {goal_text('>=', goal, goal is None or ratio >= goal)}"
        )
    against_memcpy(series)


def against_memcpy(series: CandleSeries) -> None:
    """The features of a million candles against a copy of them."""
    values = [np.ones((len(FEATURE_NAMES), ROWS)) for _ in range(MARKETS)]
    out = [np.ones_like(x) for x in values]
    ours = cpu_seconds(lambda: one_by_one(series), times=5)
    copy = cpu_seconds(lambda: copy_all(values, out), times=9)
    ours_new = cpu_seconds(lambda: [feature_matrix(series) for _ in range(MARKETS)], times=3)
    copy_new = cpu_seconds(lambda: [x.copy() for x in values], times=3)
    ratio = ours / copy
    print(f"{MARKETS * ROWS:,} candles, {MARKETS} markets; this code / memcpy of the output")
    print(
        f"  {'memory in use already':36}{ours * 1e3:9.1f} ms /{copy * 1e3:7.1f} ms ={ratio:6.1f}"
        f"   {goal_text('<=', MEMCPY_GOAL, ratio <= MEMCPY_GOAL)}"
    )
    print(
        f"  {'new memory, all kept':36}{ours_new * 1e3:9.1f} ms /{copy_new * 1e3:7.1f} ms "
        f"={ours_new / copy_new:6.1f}   no goal"
    )


def copy_all(values: list[np.ndarray], out: list[np.ndarray]) -> None:
    for source, target in zip(values, out, strict=True):
        np.copyto(target, source)


def one_by_one(series: CandleSeries) -> None:
    for _ in range(MARKETS):
        feature_matrix(series)


def goal_text(relation: str, goal: float | None, met: bool) -> str:
    if goal is None:
        return "no goal"
    return f"goal {relation} {goal:g} {'met' if met else 'MISSED'}"


def cpu_seconds(call: Callable[[], object], *, times: int) -> float:
    """Median CPU seconds of `call` after one warm-up."""
    call()
    taken = []
    for _ in range(times):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def random_candles(rows: int) -> CandleSeries:
    """A random walk with clustered volatility, hourly, without flat stretches."""
    rng = np.random.default_rng(20260101)
    size = 0.004 * np.exp(0.5 * np.sin(np.arange(rows) / 200))
    close = 50_000_000 * np.exp(np.cumsum(rng.standard_normal(rows) * size))
    opens = np.concatenate((close[:1], close[:-1]))
    return CandleSeries(
        interval=Interval.M60,
        open_time=np.datetime64("2024-01-01", "us") + np.arange(rows) * np.timedelta64(1, "h"),
        open=opens,
        high=np.maximum(opens, close) * (1 + 0.002 * rng.random(rows)),
        low=np.minimum(opens, close) * (1 - 0.002 * rng.random(rows)),
        close=close,
        volume=rng.lognormal(3, 1, rows),
        filled=np.zeros(rows, dtype=np.bool_),
        segment=np.zeros(rows, dtype=np.int64),
    )


def candle_frame(series: CandleSeries) -> pd.DataFrame:
    names = ("open", "high", "low", "close", "volume")
    return pd.DataFrame({name: getattr(series, name) for name in names}, index=series.open_time)


def require_agreement(name: str, theirs: pd.DataFrame, ours: np.ndarray) -> None:
    """Raises AssertionError: another implementation computes something else."""
    for column in theirs:
        own = ours[SETTLED:, FEATURE_NAMES.index(str(column))]
        off = np.abs(theirs[column].to_numpy()[SETTLED:] - own).max() / own.std()
        assert off < 1e-5, f"{name}: {column} differs by {off:g} standard deviations"


def naive_pandas(f: pd.DataFrame, *, with_cci: bool = True) -> pd.DataFrame:
    """The catalogue as one would write it in pandas; only CCI needs a Python function a row."""
    columns = {**naive_returns(f), **naive_trend(f), **naive_bands(f), **naive_volume(f)}
    columns |= naive_shape_and_calendar(f)
    if with_cci:
        typical = (f["high"] + f["low"] + f["close"]) / 3
        deviation = typical.rolling(20).apply(lambda w: np.abs(w - w.mean()).mean(), raw=True)
        columns["cci_20"] = (typical - typical.rolling(20).mean()) / (0.015 * deviation)
    return pd.DataFrame(columns)


def naive_returns(f: pd.DataFrame) -> dict[str, pd.Series]:
    c = f["close"]
    r = pd.Series(np.log(c / c.shift()), f.index)
    x: dict[str, pd.Series] = {
        f"volatility_{n}": (r**2).rolling(n).mean() ** 0.5 for n in (12, 24, 72)
    }
    for n in (1, 3, 6, 12, 24):
        x[f"log_return_{n}"] = pd.Series(np.log(c / c.shift(n)), f.index)
        x[f"momentum_{n}"] = x[f"log_return_{n}"] / (x["volatility_72"] * n**0.5)
    return {**x, "skewness_24": r.rolling(24).skew(), "kurtosis_24": r.rolling(24).kurt()}


def naive_trend(f: pd.DataFrame) -> dict[str, pd.Series]:
    h, low, c = f["high"], f["low"], f["close"]
    x = {"sma_gap_50": c / c.rolling(50).mean() - 1}
    ema = {n: c.ewm(span=n, adjust=False).mean() for n in (9, 12, 21, 26, 55)}
    for n in (9, 21, 55):
        x[f"ema_gap_{n}"] = c / ema[n] - 1
    x["ema_ratio_9_21"] = ema[9] / ema[21] - 1
    macd = ema[12] - ema[26]
    x["macd_line"] = macd / c
    x["macd_histogram"] = (macd - macd.ewm(span=9, adjust=False).mean()) / c
    change, before = c.diff(), c.shift()
    for n in (7, 14):
        gain, loss = wilder(change.clip(lower=0), n), wilder((-change).clip(lower=0), n)
        x[f"rsi_{n}"] = 100 * gain / (gain + loss)
    ranges = pd.concat([h - low, (h - before).abs(), (low - before).abs()], axis=1)
    atr = wilder(ranges.max(axis=1), 14)
    rise, fall = h.diff(), -low.diff()
    plus = wilder(rise.where((rise > fall) & (rise > 0), 0.0), 14)
    minus = wilder(fall.where((fall > rise) & (fall > 0), 0.0), 14)
    x["natr_14"] = atr / c
    x["plus_di_14"], x["minus_di_14"] = 100 * plus / atr, 100 * minus / atr
    x["adx_14"] = wilder(100 * (plus - minus).abs() / (plus + minus), 14)
    return x


def wilder(x: pd.Series, n: int) -> pd.Series:
    return x.ewm(alpha=1 / n, adjust=False).mean()


def naive_bands(f: pd.DataFrame) -> dict[str, pd.Series]:
    h, low, c = f["high"], f["low"], f["close"]
    mean, sd = c.rolling(20).mean(), c.rolling(20).std(ddof=0)
    lowest, highest = low.rolling(14).min(), h.rolling(14).max()
    k = (100 * (c - lowest) / (highest - lowest)).rolling(3).mean()
    return {
        "bollinger_percent_b": 0.5 + (c - mean) / (4 * sd),
        "bollinger_width": 4 * sd / mean,
        "stochastic_k": k,
        "stochastic_d": k.rolling(3).mean(),
    }


def naive_volume(f: pd.DataFrame) -> dict[str, pd.Series]:
    c, v = f["close"], f["volume"]
    typical = (f["high"] + f["low"] + c) / 3
    direction = pd.Series(np.sign(c.diff()), f.index)
    flow, rose = typical * v, typical.diff()
    up = flow.where(rose > 0, 0.0).rolling(14).sum()
    down = flow.where(rose < 0, 0.0).rolling(14).sum()
    balance = (direction * v).rolling(12).sum()
    return {
        "mfi_14": 100 * up / (up + down),
        "obv_slope_12": balance / v.rolling(12).sum(),
        "vwap_gap_24": c / (flow.rolling(24).sum() / v.rolling(24).sum()) - 1,
        "volume_z_24": (v - v.rolling(24).mean()) / v.rolling(24).std(),
        "volume_z_72": (v - v.rolling(72).mean()) / v.rolling(72).std(),
    }


def naive_shape_and_calendar(f: pd.DataFrame) -> dict[str, pd.Series]:
    o, h, low, c = f["open"], f["high"], f["low"], f["close"]
    height, index = h - low, pd.DatetimeIndex(f.index)
    of_day = pd.Series(2 * np.pi * (index.hour * 60 + index.minute) / 1440, f.index)
    of_week = pd.Series(2 * np.pi * index.day_of_week / 7, f.index)
    return {
        "body_share": (c - o) / height,
        "upper_shadow_share": (h - np.maximum(o, c)) / height,
        "lower_shadow_share": (np.minimum(o, c) - low) / height,
        "range_share": height / c,
        "hour_sin": np.sin(of_day),
        "hour_cos": np.cos(of_day),
        "weekday_sin": np.sin(of_week),
        "weekday_cos": np.cos(of_week),
    }


def ta_package(f: pd.DataFrame) -> pd.DataFrame:
    """The features that the `ta` package (0.11) has an indicator for."""
    h, low, c, v = f["high"], f["low"], f["close"], f["volume"]
    x: dict[str, pd.Series] = {"sma_gap_50": c / ta.trend.SMAIndicator(c, 50).sma_indicator() - 1}
    ema = {n: ta.trend.EMAIndicator(c, n).ema_indicator() for n in (9, 21, 55)}
    for n in (9, 21, 55):
        x[f"ema_gap_{n}"] = c / ema[n] - 1
    x["ema_ratio_9_21"] = ema[9] / ema[21] - 1
    for n in (7, 14):
        x[f"rsi_{n}"] = ta.momentum.RSIIndicator(c, n).rsi()
    macd = ta.trend.MACD(c)
    x["macd_line"], x["macd_histogram"] = macd.macd() / c, macd.macd_diff() / c
    bands = ta.volatility.BollingerBands(c)
    x["bollinger_percent_b"] = bands.bollinger_pband()
    x["bollinger_width"] = bands.bollinger_wband() / 100
    x["natr_14"] = ta.volatility.AverageTrueRange(h, low, c).average_true_range() / c
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own 0/0 in the first rows
        adx = ta.trend.ADXIndicator(h, low, c)
        x["adx_14"], x["plus_di_14"], x["minus_di_14"] = adx.adx(), adx.adx_pos(), adx.adx_neg()
    x["stochastic_k"] = ta.momentum.StochasticOscillator(h, low, c).stoch_signal()
    x["stochastic_d"] = x["stochastic_k"].rolling(3).mean()
    x["cci_20"] = ta.trend.CCIIndicator(h, low, c).cci()
    x["mfi_14"] = ta.volume.MFIIndicator(h, low, c, v).money_flow_index()
    balance = ta.volume.OnBalanceVolumeIndicator(c, v).on_balance_volume()
    x["obv_slope_12"] = balance.diff(12) / v.rolling(12).sum()
    vwap = ta.volume.VolumeWeightedAveragePrice(h, low, c, v, window=24)
    x["vwap_gap_24"] = c / vwap.volume_weighted_average_price() - 1
    return pd.DataFrame(x)


if __name__ == "__main__":
    main()
