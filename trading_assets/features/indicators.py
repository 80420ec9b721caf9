"""The formulas of the catalogue, on one block of consecutive candles.

Recursive averages (EMA, Wilder) come from TA-Lib; everything with a finite window comes from
`windows.py`, because TA-Lib's running sums leave residues where a flat stretch must give exactly
zero. Not here: which candles make a block (`matrix.py`), what a feature is called and means
(`catalogue.py`).

Three dangers this file is written around. TA-Lib treats anything below an absolute 1e-14 (and in
MFI below 1.0) as zero, which would make coins of 0.0005 KRW differ from coins of 100,000,000: so
prices arrive scaled by a power of two, which changes no other bit. 0/0 has a defined value in
every formula. And what counts as 0 under a difference of rounded numbers is anything below 1e-12
of their size.
"""

from dataclasses import dataclass
from math import frexp, ldexp, sqrt

import numpy as np
import numpy.typing as npt
import talib

from trading_assets.features.catalogue import FEATURE_NAMES, WARM_UP
from trading_assets.features.windows import (
    FloatArray,
    moments_of_windows,
    window_max,
    window_mean,
    window_min,
    window_moments,
    window_sum,
    window_sums,
)

IntArray = npt.NDArray[np.int64]
Columns = dict[str, FloatArray]

ROUNDING = 1e-12  # relative; see the paragraph above

_MINUTE_ANGLES = 2 * np.pi * np.arange(1440) / 1440
_WEEKDAY_ANGLES = 2 * np.pi * np.arange(7) / 7
_HOUR_SIN, _HOUR_COS = np.sin(_MINUTE_ANGLES), np.cos(_MINUTE_ANGLES)
_WEEKDAY_SIN, _WEEKDAY_COS = np.sin(_WEEKDAY_ANGLES), np.cos(_WEEKDAY_ANGLES)
_POSITION = {name: i for i, name in enumerate(FEATURE_NAMES)}
_EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday; Monday is 0


@dataclass(frozen=True, slots=True)
class Candles:
    """Consecutive candles of one segment, oldest first; each array has shape (n,)."""

    minute: IntArray  # open time, minutes since the Unix epoch
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def between(self, start: int, stop: int) -> "Candles":
        """Candles start <= i < stop, as views."""
        return Candles(
            self.minute[start:stop],
            self.open[start:stop],
            self.high[start:stop],
            self.low[start:stop],
            self.close[start:stop],
            self.volume[start:stop],
        )

    def last(self, rows: int) -> "Candles":
        """The last `rows` candles, as views."""
        return self.between(len(self.close) - rows, len(self.close))

    def scaled(self) -> "Candles":
        """With prices divided by the power of two that brings the first close to 0.5 .. 1."""
        scale = ldexp(1.0, -frexp(float(self.close[0]))[1])
        return Candles(
            self.minute,
            self.open * scale,
            self.high * scale,
            self.low * scale,
            self.close * scale,
            self.volume,
        )


def write_windowed(candles: Candles, out: FloatArray) -> None:
    """Write the features with a finite window into `out`, shape (rows, 46), for its last rows.

    Exactly WARM_UP candles must come before those rows; a row depends on no more, to the bit.
    Raises ValueError: there are fewer or more.
    """
    rows = len(out)
    if len(candles.close) != rows + WARM_UP:
        raise ValueError(
            f"{rows} rows need {rows + WARM_UP} candles, there were {len(candles.close)}"
        )
    # One family at a time, so that its working arrays are still in the cache when it is written.
    for family in _WINDOWED:
        for name, column in family(candles, rows).items():
            out[:, _POSITION[name]] = column


def write_recursive(candles: Candles, out: FloatArray) -> None:
    """Write the features that never forget into `out`, shape (rows, 46), for its last rows.

    Their last bits depend on where `candles` begin (see `anchors.py`), WARM_UP candles before
    those rows or more.
    Raises ValueError: there are fewer.
    """
    rows = len(out)
    if len(candles.close) < rows + WARM_UP:
        raise ValueError(
            f"{rows} rows need {rows + WARM_UP} candles, there were {len(candles.close)}"
        )
    scaled = candles.scaled()
    for family in _RECURSIVE:
        for name, column in family(scaled, rows).items():
            out[:, _POSITION[name]] = column


def _returns(c: Candles, rows: int) -> Columns:
    """Log returns, realised volatility, momentum in its units, higher moments."""
    close = c.close
    # Each from its own quotient: a difference of logarithms would lose digits and would not be
    # the same to the bit for prices in another unit.
    log_returns = {n: np.log(close[n:] / close[:-n])[-rows:] for n in (3, 6, 12, 24)}
    r = np.log(close[1:] / close[:-1])
    log_returns[1] = r[-rows:]
    squares = r * r
    sums = dict(zip((12, 24, 72), window_sums(squares, (12, 24, 72)), strict=True))
    volatility = {n: np.sqrt(sums[n][-rows:] / n) for n in sums}
    skewness, kurtosis = _higher_moments(
        r[-(rows + 23) :], squares[-(rows + 23) :], sums[24][-rows:] / 24
    )
    return {
        **{f"log_return_{n}": x for n, x in log_returns.items()},
        **{
            f"momentum_{n}": _ratio(x, volatility[72] * sqrt(n), 0.0)
            for n, x in log_returns.items()
        },
        **{f"volatility_{n}": x for n, x in volatility.items()},
        "skewness_24": skewness,
        "kurtosis_24": kurtosis,
    }


def _higher_moments(
    r: FloatArray, squares: FloatArray, raw2: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(skewness, excess kurtosis) of windows of 24, bias-corrected as pandas and Excel do.

    squares: r * r. raw2: their means over the windows. From raw moments; those of numbers whose
    sd is below 1 % of their mean would cancel to noise and count as those of equal numbers.
    """
    n = 24
    mean = window_mean(r, n)
    raw3, raw4 = window_mean(squares * r, n), window_mean(squares * squares, n)
    mean2 = mean * mean
    m2 = raw2 - mean2
    m3 = raw3 - mean * (3 * raw2 - 2 * mean2)
    m4 = raw4 - mean * (4 * raw3 - mean * (6 * raw2 - 3 * mean2))
    flat = m2 <= 1e-4 * mean2
    m2 = np.where(flat, 1.0, m2)
    skewness = m3 / (m2 * np.sqrt(m2)) * (sqrt(n * (n - 1)) / (n - 2))
    kurtosis = ((n + 1) * (m4 / (m2 * m2) - 3) + 6) * ((n - 1) / ((n - 2) * (n - 3)))
    skewness[flat] = 0.0
    kurtosis[flat] = 0.0
    return skewness, kurtosis


def _averages(c: Candles, rows: int) -> Columns:
    """Distances from exponential averages, and MACD."""
    close = c.close[-rows:]
    ema = {n: talib.EMA(c.close, n) for n in (9, 12, 21, 26, 55)}
    macd = ema[12] - ema[26]
    signal = talib.EMA(macd, 9)
    return {
        **{f"ema_gap_{n}": close / ema[n][-rows:] - 1 for n in (9, 21, 55)},
        "ema_ratio_9_21": ema[9][-rows:] / ema[21][-rows:] - 1,
        "macd_line": macd[-rows:] / close,
        "macd_histogram": (macd[-rows:] - signal[-rows:]) / close,
    }


def _oscillators(c: Candles, rows: int) -> Columns:
    """RSI. TA-Lib answers 0 once gains and losses have both faded; here flat means neutral."""
    recent = c.close[-(rows + 14) :]
    moved = (recent[1:] != recent[:-1]).astype(np.float64)
    columns = {}
    for n in (7, 14):
        rsi = talib.RSI(c.close, n)[-rows:]
        rsi[_none_within(moved, n, rows)] = 50.0
        columns[f"rsi_{n}"] = rsi
    return columns


def _directional(c: Candles, rows: int) -> Columns:
    """ATR, ADX and the directional indicators."""
    recent = c.last(rows + 14)
    before = recent.close[:-1]
    has_range = (recent.high[1:] != before) | (recent.low[1:] != before)
    still = _none_within(has_range.astype(np.float64), 14, rows)
    columns = {
        "adx_14": talib.ADX(c.high, c.low, c.close, 14)[-rows:],
        "plus_di_14": talib.PLUS_DI(c.high, c.low, c.close, 14)[-rows:],
        "minus_di_14": talib.MINUS_DI(c.high, c.low, c.close, 14)[-rows:],
    }
    for column in columns.values():
        column[still] = 0.0
    true_range = talib.ATR(c.high, c.low, c.close, 14)[-rows:]
    return {"natr_14": true_range / c.close[-rows:], **columns}


def _bands(c: Candles, rows: int) -> Columns:
    """Bollinger bands, and the distance from a simple average."""
    close = c.close[-(rows + 19) :]
    mean, squares = window_moments(close, 20)
    sd = np.sqrt(squares / 20)
    offset = _ratio(close[-rows:] - mean, 4 * sd, 0.0, ROUNDING * mean)
    return {
        "bollinger_percent_b": offset + 0.5,
        "bollinger_width": 4 * sd / mean,
        "sma_gap_50": close[-rows:] / window_mean(c.close, 50)[-rows:] - 1,
    }


def _stochastics(c: Candles, rows: int) -> Columns:
    needed = rows + 4  # two averages of 3
    lowest = window_min(c.low, 14)[-needed:]
    highest = window_max(c.high, 14)[-needed:]
    fast = _ratio(100 * (c.close[-needed:] - lowest), highest - lowest, 50.0)
    k = window_mean(fast, 3)
    return {"stochastic_k": k[-rows:], "stochastic_d": window_mean(k, 3)}


def _cci(c: Candles, rows: int) -> Columns:
    typical = _typical_price(c)[-(rows + 19) :]
    # The moments' mean is exact for equal prices, the quotient of a sum is not.
    mean = window_moments(typical, 20)[0]
    deviation = np.zeros(rows)
    distance = np.empty(rows)
    for age in range(20):
        np.subtract(typical[19 - age : 19 - age + rows], mean, out=distance)
        np.abs(distance, out=distance)
        deviation += distance
    deviation /= 20
    cci = _ratio(typical[-rows:] - mean, 0.015 * deviation, 0.0, ROUNDING * mean)
    return {"cci_20": cci}


def _money_flow(c: Candles, rows: int) -> Columns:
    """Own sums: talib.MFI answers 0 wherever fewer than 1.0 KRW flowed, whatever the unit."""
    typical = _typical_price(c)
    change = typical[1:] - typical[:-1]
    flow = typical[1:] * c.volume[1:]
    up = window_sum(np.where(change > 0, flow, 0.0), 14)[-rows:]
    down = window_sum(np.where(change < 0, flow, 0.0), 14)[-rows:]
    return {"mfi_14": _ratio(100 * up, up + down, 50.0)}


def _volume(c: Candles, rows: int) -> Columns:
    volume, close = c.volume, c.close[-rows:]
    direction = np.sign(c.close[1:] - c.close[:-1])
    balance = window_sum(direction * volume[1:], 12)[-rows:]
    total_12, total_24 = (x[-rows:] for x in window_sums(volume, (12, 24)))
    value_24 = window_sum(_typical_price(c) * volume, 24)[-rows:]
    (mean_24, squares_24), (mean_72, squares_72) = moments_of_windows(volume, (24, 72))
    return {
        "obv_slope_12": _ratio(balance, total_12, 0.0),
        "vwap_gap_24": _ratio(close * total_24, value_24, 1.0) - 1,
        "volume_z_24": _z_score(volume, mean_24, squares_24 / 23, rows),
        "volume_z_72": _z_score(volume, mean_72, squares_72 / 71, rows),
    }


def _z_score(x: FloatArray, mean: FloatArray, variance: FloatArray, rows: int) -> FloatArray:
    """Of the last rows; 0 where the standard deviation is."""
    mean, sd = mean[-rows:], np.sqrt(variance[-rows:])
    return _ratio(x[-rows:] - mean, sd, 0.0, ROUNDING * mean)


def _shape(c: Candles, rows: int) -> Columns:
    last = c.last(rows)
    height = last.high - last.low
    top, bottom = np.maximum(last.open, last.close), np.minimum(last.open, last.close)
    return {
        "body_share": _ratio(last.close - last.open, height, 0.0),
        "upper_shadow_share": _ratio(last.high - top, height, 0.0),
        "lower_shadow_share": _ratio(bottom - last.low, height, 0.0),
        "range_share": height / last.close,
    }


def _calendar(c: Candles, rows: int) -> Columns:
    minute = c.minute[-rows:]
    day = minute // 1440
    of_day = minute - day * 1440
    weekday = (day + _EPOCH_WEEKDAY) % 7
    return {
        "hour_sin": _HOUR_SIN[of_day],
        "hour_cos": _HOUR_COS[of_day],
        "weekday_sin": _WEEKDAY_SIN[weekday],
        "weekday_cos": _WEEKDAY_COS[weekday],
    }


def _typical_price(c: Candles) -> FloatArray:
    return (c.high + c.low + c.close) / 3


def _none_within(happened: FloatArray, window: int, rows: int) -> npt.NDArray[np.bool_]:
    """Whether none of the last `window` entries is 1."""
    none: npt.NDArray[np.bool_] = window_max(happened, window)[-rows:] == 0
    return none


def _ratio(
    numerator: FloatArray,
    denominator: FloatArray,
    otherwise: float,
    least: FloatArray | float = 0.0,
) -> FloatArray:
    """numerator / denominator, `otherwise` where the denominator is not above `least`."""
    nothing = denominator <= least
    if not nothing.any():
        return numerator / denominator
    quotient: FloatArray = numerator / np.where(nothing, 1.0, denominator)
    quotient[nothing] = otherwise
    return quotient


# Each: (candles, rows) -> columns of the last rows.
_WINDOWED = (_returns, _bands, _stochastics, _cci, _money_flow, _volume, _shape, _calendar)
_RECURSIVE = (_averages, _oscillators, _directional)
