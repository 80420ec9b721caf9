"""How much of a good result is the search for it: deflated Sharpe ratio and PBO.

Try enough settings and the best of them looks good by luck. Both numbers ask how good the best of
so many lucky attempts would look. Not here: counting the attempts (each search counts its own).
Sharpe ratios in this file are per period, not annualised.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import kurtosis, norm, rankdata, skew

from trading_assets.backtest.documents import Number
from trading_assets.backtest.statistics import FloatArray

PARTITIONS = 16
# A setting with fewer trades is not judged: a handful says nothing.
LEAST_TRADES = 30


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """probability: that the true Sharpe ratio is above what luck alone would show.

    sharpe: of the chosen setting, per period. expected_by_luck: the expected best of `trials`
    settings without any skill, per period. trials: independent ones. Above 0.95 is the usual bar.
    """

    probability: Number
    sharpe: Number
    expected_by_luck: Number
    trials: float
    periods: int


@dataclass(frozen=True, slots=True)
class Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    probability: share of the splits in which the setting that was best in one half is not above
    the median of the settings in the other half. loses: share of them in which it loses money
    there. settings, splits: how many there were.
    """

    probability: float
    loses: float
    settings: int
    splits: int


def probabilistic_sharpe(returns: FloatArray, benchmark: float) -> float:
    """Probability that the true Sharpe ratio per period exceeds `benchmark`.

    Corrected for length, skew and kurtosis of the returns (n,); NaN where the Sharpe ratio is.
    Source: Bailey and Lopez de Prado (2012), Journal of Risk 15(2), 3-44.
    """
    if len(returns) < 2 or not returns.std() > 0:
        return math.nan
    sharpe = float(returns.mean() / returns.std(ddof=1))
    return psr(
        sharpe,
        benchmark,
        len(returns),
        float(skew(returns)),
        float(kurtosis(returns, fisher=False)),
    )


def psr(sharpe: float, benchmark: float, n: int, skewness: float, kurtosis_: float) -> float:
    """The formula of `probabilistic_sharpe` on its moments (kurtosis of a normal is 3)."""
    variance = 1 - skewness * sharpe + (kurtosis_ - 1) / 4 * sharpe**2
    if not variance > 0:
        return math.nan
    return float(norm.cdf((sharpe - benchmark) * math.sqrt(n - 1) / math.sqrt(variance)))


def expected_best_sharpe(trials: float, spread: float) -> float:
    """The expected largest of `trials` Sharpe ratios whose true value is 0, sd `spread`.

    trials: 1 or more, independent. With one there is nothing to choose from: 0, and so where the
    approximation falls below that (settings so alike that they amount to 1.3 or less).
    Source: Bailey and Lopez de Prado (2014), Journal of Portfolio Management 40(5), 94-107, eq. 1.
    """
    if trials < 1:
        raise ValueError(f"there must be at least 1 trial, was {trials}")
    if trials == 1:
        return 0.0
    first = float(norm.ppf(1 - 1 / trials))
    second = float(norm.ppf(1 - 1 / (trials * math.e)))
    return spread * max(0.0, float((1 - np.euler_gamma) * first + np.euler_gamma * second))


def independent_trials(returns: FloatArray) -> float:
    """How many independent settings `returns` (periods, settings) amount to.

    rho + (1 - rho) x settings, rho the mean correlation between them: settings that trade alike
    count once. Settings that never vary are left out.
    Source: Bailey and Lopez de Prado (2014), appendix A.3.
    """
    varying = returns[:, returns.std(axis=0) > 0]
    n = varying.shape[1]
    if n < 2:
        return float(max(n, 1))
    correlations: FloatArray = np.asarray(np.corrcoef(varying, rowvar=False))
    mean = float(correlations[~np.eye(n, dtype=bool)].mean())
    rho = min(max(mean, 0.0), 1.0)
    return float(rho + (1 - rho) * n)


def deflated_sharpe(
    returns: FloatArray, chosen: int, trials: float | None = None
) -> DeflatedSharpe:
    """Whether column `chosen` of `returns` (periods, settings) is better than luck.

    trials: independent attempts, when more were made than are in `returns`; default: those that
    `returns` amount to. The spread of the settings' Sharpe ratios is that of the columns.
    Source: Bailey and Lopez de Prado (2014), eq. 2.
    """
    sharpes = column_sharpes(returns)
    count = independent_trials(returns) if trials is None else trials
    known = sharpes[np.isfinite(sharpes)]
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    luck = expected_best_sharpe(count, spread)
    column = returns[:, chosen]
    return DeflatedSharpe(
        probabilistic_sharpe(column, luck), float(sharpes[chosen]), luck, count, len(column)
    )


def column_sharpes(returns: FloatArray) -> FloatArray:
    """(settings,) Sharpe ratio per period of each column, NaN where it never varies."""
    spread = returns.std(axis=0, ddof=1)
    known = np.where(spread > 0, spread, np.nan)
    return np.asarray(returns.mean(axis=0) / known)


def probability_of_overfitting(returns: FloatArray, partitions: int = PARTITIONS) -> Overfitting:
    """PBO of `returns` (periods, settings), oldest first, by their Sharpe ratios.

    The periods are cut into `partitions` (even) blocks; every half of the blocks in turn chooses
    the best setting and the other half judges it. Periods that do not fill a block are dropped from
    the old end. A setting that never varies within a half (it did not trade) has the ratio 0 there.
    Raises ValueError for fewer than two settings or than two periods a block.
    Source: Bailey, Borwein, Lopez de Prado and Zhu (2015), Journal of Computational Finance 20(4).
    """
    n_periods, n_settings = returns.shape
    if n_settings < 2:
        raise ValueError(f"overfitting needs at least 2 settings to choose from, was {n_settings}")
    if partitions < 2 or partitions % 2:
        raise ValueError(f"partitions must be even and at least 2, was {partitions}")
    size = n_periods // partitions
    if size < 2:
        raise ValueError(f"{n_periods} periods do not make {partitions} blocks of at least 2")
    cut = returns[n_periods - size * partitions :].reshape(partitions, size, n_settings)
    halves = np.array(list(itertools.combinations(range(partitions), partitions // 2)))
    chosen = np.zeros((len(halves), partitions))
    np.put_along_axis(chosen, halves, 1.0, axis=1)
    count = size * partitions // 2
    inside = _sharpes(chosen @ cut.sum(axis=1), chosen @ (cut**2).sum(axis=1), count)
    outside = _sharpes((1 - chosen) @ cut.sum(axis=1), (1 - chosen) @ (cut**2).sum(axis=1), count)
    best = inside.argmax(axis=1)
    rows = np.arange(len(halves))
    rank = rankdata(outside, axis=1)[rows, best] / (n_settings + 1)
    return Overfitting(
        probability=float((rank <= 0.5).mean()),
        loses=float((outside[rows, best] < 0).mean()),
        settings=n_settings,
        splits=len(halves),
    )


def _sharpes(total: FloatArray, squares: FloatArray, count: int) -> FloatArray:
    """Sharpe ratio per period from sums and sums of squares over `count` periods; 0 without any
    variance."""
    mean = total / count
    variance = (squares - count * mean**2) / (count - 1)
    # What is left of a difference of equal numbers is rounding, not variance.
    varies = variance > 1e-12 * np.maximum(squares / count, 1e-300)
    return np.divide(
        mean, np.sqrt(np.where(varies, variance, 1.0)), where=varies, out=np.zeros_like(mean)
    )
