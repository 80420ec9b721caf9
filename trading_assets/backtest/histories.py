"""Shorter histories of the same candles, and values compared on them to the bit.

A history is cut as it was at a moment (nothing that opened later) or read from a start on (as a
signal reads its candles), always from the stored candles and gaps, so that the regular series is
made anew each time. Not here: which values (`quantities`) and what a difference means.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest.quantities import Compute, FloatArray, IntArray
from trading_assets.candles.frame import from_us, open_times_us, step_us
from trading_assets.candles.recorded import StoredCandles
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.features.anchors import pieces, segments
from trading_assets.features.sequences import WINDOW

BoolArray = NDArray[np.bool_]


@dataclass(slots=True)
class Tally:
    """Comparisons of one value, added up. compared: pairs of which at least one exists. largest: of
    the differences, inf where only one side has a value. first: where they differed first."""

    compared: int = 0
    differing: int = 0
    largest: float = 0.0
    first: str = ""

    def add(self, pairs: "Pairs", column: int, times: IntArray, where: str) -> None:
        """Column `column` of `pairs` at `times` (microseconds), on the history `where` names."""
        self.compared += int(pairs.exists[:, column].sum())
        differs = pairs.differs[:, column]
        if not differs.any():
            return
        if not self.differing:
            row = int(np.argmax(differs))
            self.first = f"{iso(int(times[row]))} {where}"
        self.differing += int(differs.sum())
        self.largest = max(self.largest, float(pairs.size[differs, column].max()))


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Values computed twice, (n, k) each: which exist on either side, which are not the same to the
    bit, and by how much (0 where they are, inf where only one side has a value)."""

    exists: BoolArray
    differs: BoolArray
    size: FloatArray


def pairs(expected: FloatArray, found: FloatArray) -> Pairs:
    """The comparison of two arrays of one shape; NaN is no value, and two of them are the same."""
    nothing, other = np.isnan(expected), np.isnan(found)
    bits, other_bits = (np.ascontiguousarray(a).view(np.uint64) for a in (expected, found))
    differs = (bits != other_bits) & ~(nothing & other)
    size = np.zeros(expected.shape)
    size[differs] = np.inf
    both = differs & ~nothing & ~other
    size[both] = np.abs(expected[both] - found[both])
    return Pairs(~(nothing & other), differs, size)


def history(stored: StoredCandles, end_us: int, start_us: int | None = None) -> CandleSeries:
    """The candles that had closed at `end_us`, read from `start_us` on; microseconds."""
    times = open_times_us(stored.frame)
    first = 0 if start_us is None else int(np.searchsorted(times, start_us))
    stop = int(np.searchsorted(times, end_us))
    frame = stored.frame.iloc[first:stop]
    return regular_series(frame, stored.gaps, stored.interval).until(from_us(end_us))


def times_us(series: CandleSeries) -> IntArray:
    """The open times in microseconds, (n,)."""
    return series.open_time.astype(np.int64)


def close_us(series: CandleSeries, row: int) -> int:
    """When candle `row` closes, microseconds."""
    return int(times_us(series)[row]) + step_us(series.interval)


def values_at(compute: Compute, series: CandleSeries, times: IntArray, width: int) -> FloatArray:
    """`compute` at ascending `times`, (len(times), width); NaN where the series has no candle."""
    own = times_us(series)
    rows = np.flatnonzero(np.isin(own, times, assume_unique=True))
    values = np.full((len(times), width), np.nan)
    if len(rows):
        values[np.searchsorted(times, own[rows])] = compute(series, rows)
    return values


def ends(series: CandleSeries, count: int, seed: int, *, after_chunk: Iterable[int]) -> IntArray:
    """Numbers of rows to cut the history to, ascending, each below len(series).

    `count` at random, one in each of as many equal stretches, and the places where something
    begins anew: around each break, where a sequence is first usable after it, and `after_chunk`
    rows behind the start of each piece of `anchors`.
    """
    least = WINDOW
    if len(series) <= least:
        return np.empty(0, np.int64)
    edges = np.linspace(least, len(series), count + 1)
    rng = np.random.default_rng(seed)
    chosen = {int(n) for n in rng.uniform(edges[:-1], edges[1:])}
    parts = list(segments(series))
    broken = [p.start for p in parts[1:]]
    chosen |= {start + rows for start in _spread(broken, count) for rows in (0, WINDOW)}
    anew = [p.start for part in parts for p in pieces(part) if p.start > part.start]
    chosen |= {start + rows for start in anew for rows in after_chunk}
    return np.array(sorted(n for n in chosen if least <= n < len(series)), np.int64)


def iso(microseconds: int) -> str:
    """The instant for a person to read."""
    return f"{from_us(microseconds):%Y-%m-%d %H:%M}"


def _spread(places: list[int], count: int) -> list[int]:
    """At most `count` of `places`, evenly."""
    if len(places) <= count:
        return places
    return [places[i] for i in np.linspace(0, len(places) - 1, count).astype(int).tolist()]
