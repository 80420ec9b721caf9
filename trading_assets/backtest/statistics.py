"""How sure a number is: block bootstrap of trades, of time series and of differences.

Trades of one week share one market, and often one hour: they are not independent, so whole weeks
are resampled (all markets' trades of a week are one block), never single trades. Here: blocks,
draws and intervals. Not here: what is measured (`performance.py`, `overfitting.py`, `report.py`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest.documents import Number

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]
TimeArray = NDArray[np.datetime64]

WEEK = np.timedelta64(7, "D")
DRAWS = 2000
COVERAGE = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its percentile interval of `coverage`.

    blocks: how many blocks were there to draw from; below about 20 an interval is too narrow to be
    trusted. NaN where the data cannot say (no trades, one block).
    """

    value: Number
    low: Number
    high: Number
    blocks: int
    coverage: float = COVERAGE

    def scaled(self, factor: float) -> "Interval":
        """The same in another unit. factor: above 0."""
        return Interval(
            self.value * factor,
            self.low * factor,
            self.high * factor,
            self.blocks,
            self.coverage,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Blocks:
    """A stretch of time cut into blocks of equal length, counted from its start.

    A block without a trade is still a block: it can be drawn and lowers the trades a day. The last
    block may be shorter. start, end: UTC, end exclusive.
    """

    start: np.datetime64
    end: np.datetime64
    length: np.timedelta64 = WEEK

    def __post_init__(self) -> None:
        if not self.end > self.start:
            raise ValueError(f"blocks need an end after {self.start}, was {self.end}")
        if not self.length > np.timedelta64(0, "us"):
            raise ValueError(f"a block must be longer than nothing, was {self.length}")

    @property
    def count(self) -> int:
        return int(-((self.start - self.end) // self.length))

    @property
    def days(self) -> FloatArray:
        """(count,) length of each block in days."""
        whole = np.full(self.count, self.length / np.timedelta64(1, "D"))
        whole[-1] -= (self.start + self.count * self.length - self.end) / np.timedelta64(1, "D")
        return whole

    def of(self, times: TimeArray) -> IntArray:
        """(n,) the block of each time. Raises ValueError for one outside the stretch."""
        outside = (times < self.start) | (times >= self.end)
        if outside.any():
            raise ValueError(
                f"{times[outside][0]} lies outside of the blocks from {self.start} to {self.end}"
            )
        return np.asarray((times - self.start) // self.length, dtype=np.intp)

    def weights(self, seed: int, *, draws: int = DRAWS) -> FloatArray:
        """(draws, count) how often each block is drawn, `count` drawn with replacement.

        Source: Carlstein (1986), Annals of Statistics 14(3): non-overlapping blocks, with the
        resampling of Kuensch (1989).
        """
        rng = np.random.default_rng(seed)
        chances = np.full(self.count, 1 / self.count)
        return rng.multinomial(self.count, chances, draws).astype(np.float64)


def mean_interval(
    times: TimeArray,
    values: FloatArray,
    blocks: Blocks,
    seed: int,
    *,
    draws: int = DRAWS,
    coverage: float = COVERAGE,
) -> Interval:
    """Mean of `values` (n,), each counted in the block of its time (n,)."""
    sums = np.stack([values, np.ones(len(values))], axis=1)
    return sums_interval(times, sums, _ratio, blocks, seed, draws=draws, coverage=coverage)


def mean_difference_interval(
    first: tuple[TimeArray, FloatArray],
    second: tuple[TimeArray, FloatArray],
    blocks: Blocks,
    seed: int,
    *,
    draws: int = DRAWS,
    coverage: float = COVERAGE,
) -> Interval:
    """Mean of the first (times, values) less mean of the second: which way to trade earns more?

    Paired by time: each draw takes the same blocks of both. A draw in which one of the two has
    nothing says nothing and is left out.
    """
    times = np.concatenate([first[0], second[0]])
    columns, n = np.zeros((len(times), 4)), len(first[0])
    columns[:n, 0], columns[:n, 1] = first[1], 1.0
    columns[n:, 2], columns[n:, 3] = second[1], 1.0

    def difference(sums: FloatArray) -> FloatArray:
        return np.asarray(_ratio(sums[:, :2]) - _ratio(sums[:, 2:]))

    return sums_interval(times, columns, difference, blocks, seed, draws=draws, coverage=coverage)


def ratio_interval(
    times: TimeArray,
    numerator: FloatArray,
    denominator: FloatArray,
    blocks: Blocks,
    seed: int,
    *,
    draws: int = DRAWS,
) -> Interval:
    """sum(numerator) / sum(denominator), both (n,), by resampled blocks.

    A draw whose denominator is 0 (only blocks without trades) says nothing and is left out.
    """
    sums = np.stack([numerator, denominator], axis=1)
    return sums_interval(times, sums, _ratio, blocks, seed, draws=draws)


def sums_interval(
    times: TimeArray,
    columns: FloatArray,
    statistic: Callable[[FloatArray], FloatArray],
    blocks: Blocks,
    seed: int,
    *,
    draws: int = DRAWS,
    coverage: float = COVERAGE,
) -> Interval:
    """A statistic of column sums, by resampled blocks: exact and fast, without laying out rows.

    columns: (n, k). statistic: turns sums (m, k) into values (m,); NaN where it is not defined,
    and such a draw is left out.
    """
    place = blocks.of(times)
    by_block = np.zeros((blocks.count, columns.shape[1]))
    np.add.at(by_block, place, columns)
    whole = statistic(by_block.sum(axis=0)[None])
    drawn = statistic(blocks.weights(seed, draws=draws) @ by_block)
    return _interval(float(whole[0]), drawn, blocks.count, coverage)


def rate_interval(times: TimeArray, blocks: Blocks, seed: int, *, draws: int = DRAWS) -> Interval:
    """Events a day, with every block of the stretch, also those without one."""
    events = np.bincount(blocks.of(times), minlength=blocks.count)
    weights, days = blocks.weights(seed, draws=draws), blocks.days
    return _interval(
        float(events.sum() / days.sum()), (weights @ events) / (weights @ days), blocks.count
    )


def statistic_interval(
    statistic: Callable[[IntArray], float],
    times: TimeArray,
    blocks: Blocks,
    seed: int,
    *,
    draws: int = DRAWS,
) -> Interval:
    """Any statistic of rows: `statistic(rows)` is given row numbers, rows of a block together.

    For what is no ratio of sums (a median, a Sharpe ratio, a draw-down). The blocks are laid one
    after another in the order in which they were drawn. Slow: one call for each draw.
    """
    place = blocks.of(times)
    order = np.argsort(place, kind="stable")
    members = np.split(order, np.searchsorted(place[order], np.arange(1, blocks.count)))
    rng = np.random.default_rng(seed)
    found = np.full(draws, np.nan)
    for draw in range(draws):
        rows = np.concatenate([members[b] for b in rng.integers(0, blocks.count, blocks.count)])
        if len(rows):
            found[draw] = statistic(rows)
    whole = statistic(order) if len(order) else math.nan
    return _interval(whole, found, blocks.count)


def paired_interval(
    times: TimeArray,
    first: FloatArray,
    second: FloatArray,
    blocks: Blocks,
    seed: int,
    *,
    draws: int = DRAWS,
    coverage: float = COVERAGE,
) -> Interval:
    """Mean of first - second, row by row (n,), by resampled blocks: is one of two models better?

    Above 0 the first is larger. What both share (a quiet month, a crash) cancels, which is why it
    is paired. An interval that contains 0 means: no more than noise.
    """
    if len(first) != len(second):
        raise ValueError(f"paired series need one length, were {len(first)} and {len(second)}")
    return mean_interval(times, first - second, blocks, seed, draws=draws, coverage=coverage)


def without_best_blocks(
    times: TimeArray, values: FloatArray, blocks: Blocks, dropped: int
) -> NDArray[np.bool_]:
    """(n,) rows that stay when the `dropped` blocks with the highest sum of `values` are left out.

    Of equal sums the earlier block goes first. What is left shows how much of a result a few weeks
    made; it is biased downwards by construction and no estimate of what to expect.
    """
    place = blocks.of(times)
    sums = np.bincount(place, values, minlength=blocks.count)
    best = np.argsort(-sums, kind="stable")[:dropped]
    return ~np.isin(place, best)


def _interval(value: float, found: FloatArray, blocks: int, coverage: float = COVERAGE) -> Interval:
    usable = found[np.isfinite(found)]
    if blocks < 2 or len(usable) == 0 or not math.isfinite(value):
        return Interval(float(value), math.nan, math.nan, blocks, coverage)
    tail = 100 * (1 - coverage) / 2
    low, high = np.percentile(usable, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high), blocks, coverage)


def _ratio(sums: FloatArray) -> FloatArray:
    below = np.where(sums[:, 1] != 0, sums[:, 1], np.nan)
    return np.asarray(sums[:, 0] / below)
