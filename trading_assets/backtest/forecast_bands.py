"""What windows of predictions look like in a walk-forward, and when one is odd.

Here: HOLD share, entropy and confidence averaged over every whole window of 1 hour to a week, their
quantiles, and bounds for the live checks. Not here: comparing live signals with them
(`signals.bands`).

A plain 1 % quantile is no bound for an alarm: what comes next is not drawn from the past. Measured
on real hourly candles, windows of the next month were beyond the 1 % quantile of the months before
in up to 5 % of all hours, in one month in 30 %. So the bounds are moved out by an allowance that is
measured forward (`forward`): how far beyond the quantiles of earlier rows later rows went.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from trading_assets.backtest.forward import Allowance, allowance, forward_parts
from trading_assets.candles.frame import FloatArray, TimeArray
from trading_assets.models.model import HOLD
from trading_assets.signals.forecast import WINDOW_HOURS, Band, Statistic

# Together the three statistics warn in 5 % and fail in 1 % of later moments.
WARN_SHARE = 0.05 / len(Statistic)
ERROR_SHARE = 0.01 / len(Statistic)
# Fewer windows than this have no 5 % quantile worth the name.
LEAST_WINDOWS = 100

_LOWEST = {Statistic.CONFIDENCE: 1 / 3}  # of three probabilities the largest is no smaller
_EDGE = 1e-4
_FLAT = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The statistics of one market's predictions, row by row; arrays (n,)."""

    times: TimeArray
    values: Mapping[Statistic, FloatArray]


def statistics_of(p: FloatArray) -> dict[Statistic, FloatArray]:
    """Each statistic of each prediction, (n,). p: (n, 3) probabilities of SELL, HOLD, BUY."""
    logs = np.log(np.where(p > 0, p, 1.0))
    return {
        Statistic.HOLD_SHARE: (p[:, HOLD] >= p.max(axis=1)).astype(np.float64),
        Statistic.ENTROPY: np.asarray(-(p * logs).sum(axis=1) / np.log(3)),
        Statistic.CONFIDENCE: np.asarray(p.max(axis=1)),
    }


def window_sums(
    values: FloatArray, times: TimeArray, step: np.timedelta64, size: int
) -> FloatArray:
    """Sum of the `size` rows that end at each row, (n,); NaN where one of them is missing.

    times: (n,) open times, ascending; rows are neighbours when they are `step` apart.
    """
    sums = np.full(len(values), np.nan)
    if len(values) < size:
        return sums
    total = np.concatenate([[0.0], np.cumsum(values)])
    whole = times[size - 1 :] - times[: len(times) - size + 1] == (size - 1) * step
    sums[size - 1 :] = np.where(whole, total[size:] - total[:-size], np.nan)
    return sums


def bands(
    seen: Mapping[str, Seen], interval: timedelta
) -> dict[str, dict[Statistic, dict[int, Band]]]:
    """By market: the band of each statistic and window length. The allowance of a statistic is
    that of all markets, so that one market's quiet years do not promise too much."""
    found: dict[str, dict[Statistic, dict[int, Band]]] = {market: {} for market in seen}
    for statistic in Statistic:
        means = {m: _window_means(s, statistic, interval) for m, s in seen.items()}
        beyond = [d for of in means.values() for d in _forward_distances(of, statistic)]
        allowed = allowance(beyond, warn=WARN_SHARE, error=ERROR_SHARE)
        for market, of in means.items():
            found[market][statistic] = {
                hours: _band(mean, statistic, allowed)
                for hours, mean in of.items()
                if np.isfinite(mean).sum() >= LEAST_WINDOWS
            }
    return found


def _window_means(seen: Seen, statistic: Statistic, interval: timedelta) -> dict[int, FloatArray]:
    step = np.timedelta64(interval)
    means = {}
    for hours in WINDOW_HOURS:
        size = max(1, int(timedelta(hours=hours) / interval))
        sums = window_sums(seen.values[statistic], seen.times, step, size)
        # A running sum leaves 1e-13 behind, which must not make a tie a difference.
        means[hours] = np.round(sums / size, 9)
    return means


def _forward_distances(means: Mapping[int, FloatArray], statistic: Statistic) -> list[FloatArray]:
    """How far out each later window was, by the quantiles of the rows before: the worst of all
    window lengths, in units of the distance from the median to the 5 % quantile."""
    spread = {hours: _spread(mean, statistic) for hours, mean in means.items()}
    found = []
    for before, after in forward_parts(len(next(iter(means.values())))):
        of = [
            d
            for values in spread.values()
            if (d := _distance(values[before], values[after])) is not None
        ]
        if of:
            found.append(np.fmax.reduce(of))
    return found


def _distance(before: FloatArray, after: FloatArray) -> FloatArray | None:
    """None when `before` has too few windows, or a 5 % quantile that is its median."""
    known = before[np.isfinite(before)]
    if len(known) < LEAST_WINDOWS:
        return None
    usual, five = np.quantile(known, (0.5, 0.05))
    return None if usual - five < _FLAT else np.asarray((usual - after) / (usual - five))


def _band(mean: FloatArray, statistic: Statistic, allowed: Allowance | None) -> Band:
    known = np.sort(_spread(mean[np.isfinite(mean)], statistic))
    usual, five, one = np.quantile(known, (0.5, 0.05, 0.01))
    flat = usual - five < _FLAT or allowed is None
    impossible = np.inf if not flat else -np.inf
    warn, error = impossible, impossible
    if not flat and allowed is not None:
        warn, error = (usual - times * (usual - five) for times in (allowed.warn, allowed.error))
    back = [_unspread(v, statistic) for v in (usual, five, one, warn, error)]
    return Band(*back)


def _spread(values: FloatArray, statistic: Statistic) -> FloatArray:
    """`values` on a scale without ends, the sick side below: the logit of their place between the
    lowest and highest possible, so that a distance means the same near an end as in the middle."""
    lowest = _LOWEST.get(statistic, 0.0)
    place = np.clip((values - lowest) / (1 - lowest), _EDGE, 1 - _EDGE)
    logit = np.log(place / (1 - place))
    return np.asarray(-logit if statistic.is_worse_above else logit)


def _unspread(value: float, statistic: Statistic) -> float:
    """The inverse of `_spread`; the ends themselves for values beyond its clipping."""
    edge = float(np.log((1 - _EDGE) / _EDGE))
    lowest = _LOWEST.get(statistic, 0.0)
    if value <= -edge + _FLAT:
        place = 0.0
    elif value >= edge - _FLAT:
        place = 1.0
    else:
        place = float(1 / (1 + np.exp(-value)))
    if statistic.is_worse_above:
        place = 1 - place
    return lowest + (1 - lowest) * place
