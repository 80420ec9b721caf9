"""Candles on a regular time grid, the input of features and labels.

*No trades* is a flat candle at the previous close with volume 0, marked in `filled`;
*maintenance*, *not collected* and any hole that the gap table does not explain break the series
into segments. Not here: why a candle is missing (gaps.py), what is computed from the series.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd

from trading_assets.candles.frame import (
    TIMES,
    BoolArray,
    FloatArray,
    Int64Array,
    TimeArray,
    open_times_us,
    step_us,
    to_us,
)
from trading_assets.candles.gaps import GapKind
from trading_assets.exchange.model import Interval


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class CandleSeries:
    """Closed candles, oldest first, one row per interval within a segment; all shape (n,).

    open_time: UTC. open, high, low, close: KRW. volume: coins. filled: True where nobody traded
    and the row is flat at the previous close. segment: 0, 1, 2, ... rising at each break; rows
    inside a break are absent. A window is whole when its first and last row share a segment.
    """

    interval: Interval
    open_time: TimeArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    filled: BoolArray
    segment: Int64Array

    def __post_init__(self) -> None:
        if self.open_time.dtype != TIMES:
            raise ValueError(f"open_time must be {TIMES}, was {self.open_time.dtype}")
        lengths = {name: len(getattr(self, name)) for name in _ARRAYS}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"all arrays of a series must have one length, were {lengths}")

    def __len__(self) -> int:
        return len(self.open_time)

    def slice(self, start: int, stop: int) -> "CandleSeries":
        """Rows start <= i < stop as views; segment numbers stay as they are."""
        return CandleSeries(self.interval, *(getattr(self, name)[start:stop] for name in _ARRAYS))

    def tail(self, n: int) -> "CandleSeries":
        """The last `n` rows (all of them when there are fewer)."""
        if n < 0:
            raise ValueError(f"n must not be negative, was {n}")
        return self.slice(max(0, len(self) - n), len(self))

    def until(self, moment: datetime) -> "CandleSeries":
        """The candles that were closed at `moment` (open_time + interval <= moment)."""
        last_start = to_us(moment) - step_us(self.interval)
        stop = np.searchsorted(self.open_time.astype(np.int64), last_start, side="right")
        return self.slice(0, int(stop))


_ARRAYS = ("open_time", "open", "high", "low", "close", "volume", "filled", "segment")


def regular_series(frame: pd.DataFrame, gaps: pd.DataFrame, interval: Interval) -> CandleSeries:
    """The candles of `frame` on the regular grid of `interval`, broken where nothing is known.

    frame: checked candles, oldest first. gaps: columns start, end, kind (gaps.py). A no-trade gap
    after the last candle extends the series. A no-trade row without a candle before it in its
    segment is left out: it has no previous close.
    """
    times, step = open_times_us(frame), step_us(interval)
    if not len(times):
        return _pick(frame, np.empty(0, np.int64), np.empty(0, np.int64), interval)
    first = int(times[0])
    quiet = gaps.loc[gaps["kind"] == GapKind.NO_TRADES.value]
    starts = (_column_us(quiet, "start") - first) // step
    ends = (_column_us(quiet, "end") - first) // step
    slots = (times - first) // step
    size = max(int(slots[-1]) + 1, int(ends.max(initial=0)))
    # For each slot of the grid: the row it takes its prices from, or -1.
    source = np.full(size, -1, np.int64)
    source[slots] = np.arange(len(slots))
    may_fill = _inside(starts, ends, size) & (source < 0)
    known = source >= 0
    latest = np.maximum.accumulate(source)
    # A fill is good only when no unknown slot lies between it and the candle before it.
    unknown = np.where(~known & ~may_fill, np.arange(size), -1)
    fill = may_fill & (np.maximum.accumulate(unknown) < np.maximum.accumulate(_at(known)))
    kept = np.flatnonzero(known | fill)
    return _pick(frame, kept * step + first, np.where(known, source, latest)[kept], interval)


def _column_us(gaps: pd.DataFrame, name: str) -> Int64Array:
    return gaps[name].to_numpy(dtype=TIMES).astype(np.int64)


def _at(flags: BoolArray) -> Int64Array:
    """The position where a flag is set, -1 elsewhere."""
    return np.where(flags, np.arange(len(flags)), -1)


def _inside(starts: Int64Array, ends: Int64Array, size: int) -> BoolArray:
    """Which of `size` slots lie in one of the ranges starts <= slot < ends."""
    edges = np.zeros(size + 1, np.int64)
    np.add.at(edges, np.clip(starts, 0, size), 1)
    np.add.at(edges, np.clip(ends, 0, size), -1)
    inside: BoolArray = np.cumsum(edges)[:size] > 0
    return inside


def _pick(
    frame: pd.DataFrame, times: Int64Array, source: Int64Array, interval: Interval
) -> CandleSeries:
    own = open_times_us(frame)[source] == times
    close = frame["close"].to_numpy()[source]
    opens, highs, lows = (
        np.where(own, frame[name].to_numpy()[source], close) for name in ("open", "high", "low")
    )
    breaks = np.diff(times, prepend=times[:1]) > step_us(interval)
    return CandleSeries(
        interval=interval,
        open_time=times.astype(TIMES),
        open=opens,
        high=highs,
        low=lows,
        close=close,
        volume=np.where(own, frame["volume"].to_numpy()[source], 0.0),
        filled=~own,
        segment=np.cumsum(breaks).astype(np.int64),
    )
