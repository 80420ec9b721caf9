"""What an account's equity says: return, draw-down, Sharpe and Sortino ratios.

Values in, values out. A crypto market has no weekend: a year has 365 trading days and a day ends at
00:00 UTC. Not here: how sure the numbers are (`statistics.py`) and how many attempts they cost
(`overfitting.py`).
"""

import math

import numpy as np

from trading_assets.backtest.statistics import (
    Blocks,
    FloatArray,
    Interval,
    TimeArray,
    sums_interval,
)

DAYS_A_YEAR = 365
_DAY = np.timedelta64(1, "D")
_NO_VARIANCE = 1e-12


def daily_returns(times: TimeArray, equity: FloatArray) -> tuple[TimeArray, FloatArray]:
    """(days, returns): the simple return of each UTC day from the last mark of the day before.

    times, equity: (n,), ascending; the first mark is where the first day begins. Days without a
    mark (the exchange stood still) return 0: the money was there, nothing moved.
    """
    if len(times) == 0:
        return times.astype("datetime64[D]"), np.empty(0)
    # A mark at 00:00 ends the day before it.
    day = (times - np.timedelta64(1, "us")).astype("datetime64[D]")
    every = np.arange(day[0], day[-1] + _DAY)
    last = equity[np.searchsorted(day, every, side="right") - 1]
    before = np.concatenate([equity[:1], last[:-1]])
    return every, last / before - 1


def total_return(equity: FloatArray) -> float:
    """Last over first less 1; 0 without marks."""
    return float(equity[-1] / equity[0] - 1) if len(equity) else 0.0


def max_drawdown(equity: FloatArray) -> float:
    """The deepest fall from a peak so far, as a positive share of that peak; 0 without one."""
    return float(drawdowns(equity).max(initial=0.0))


def drawdowns(equity: FloatArray) -> FloatArray:
    """(n,) how far each mark lies below the highest one so far, shares of that peak."""
    peak = np.maximum.accumulate(equity)
    return np.asarray(1 - equity / peak)


def sharpe_ratio(returns: FloatArray, periods: int = DAYS_A_YEAR) -> float:
    """mean / standard deviation (n - 1) x sqrt(periods): annualised, against a rate of 0.

    returns: (n,) per period. NaN below two returns or when they are all the same.
    Source: Sharpe (1994), Journal of Portfolio Management 21(1), 49-58.
    """
    if len(returns) < 2:
        return math.nan
    spread = float(returns.std(ddof=1))
    return float(returns.mean()) / spread * math.sqrt(periods) if spread > 0 else math.nan


def sortino_ratio(returns: FloatArray, periods: int = DAYS_A_YEAR) -> float:
    """mean / downside deviation x sqrt(periods), target 0.

    Downside deviation: root of the mean of min(r, 0)^2 over all periods, not only the losing ones.
    NaN below two returns or without a loss.
    Source: Sortino and Price (1994), Journal of Investing 3(3), 59-64.
    """
    if len(returns) < 2:
        return math.nan
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0.0) ** 2)))
    return float(returns.mean()) / downside * math.sqrt(periods) if downside > 0 else math.nan


def sharpe_interval(days: TimeArray, returns: FloatArray, blocks: Blocks, seed: int) -> Interval:
    """`sharpe_ratio` of daily returns (n,) with its interval by resampled blocks."""
    sums = np.stack([np.ones(len(returns)), returns, returns**2], axis=1)
    return sums_interval(days, sums, _sharpes, blocks, seed)


def sortino_interval(days: TimeArray, returns: FloatArray, blocks: Blocks, seed: int) -> Interval:
    """`sortino_ratio` of daily returns (n,) with its interval by resampled blocks."""
    sums = np.stack([np.ones(len(returns)), returns, np.minimum(returns, 0.0) ** 2], axis=1)
    return sums_interval(days, sums, _sortinos, blocks, seed)


def _sharpes(sums: FloatArray) -> FloatArray:
    n, total, squares = sums.T
    n = np.where(n > 1, n, np.nan)
    variance = (squares - total**2 / n) / (n - 1)
    # What is left of a difference of equal numbers is rounding, not variance.
    variance = np.where(variance > _NO_VARIANCE * squares / n, variance, np.nan)
    return np.asarray(total / n / np.sqrt(variance) * math.sqrt(DAYS_A_YEAR))


def _sortinos(sums: FloatArray) -> FloatArray:
    n, total, downside = sums.T
    n = np.where(n > 1, n, np.nan)
    deviation = np.sqrt(np.where(downside > 0, downside, np.nan) / n)
    return np.asarray(total / n / deviation * math.sqrt(DAYS_A_YEAR))
