"""Where recursive computations start, so that live and training give the same bits.

An average that never forgets depends, in its last bits, on where it was started. So a series is
cut into pieces of CHUNK candles on a grid that is fixed in absolute time (since the Unix epoch),
and each piece is computed from the same start: LEAD candles before it, or the start of its
segment if that is later. The result of a row then does not depend on how much history lies before
that start, nor on what comes after the row; and a live update computes the current piece only.

Not here: what is computed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval

CHUNK = 8192
LEAD = 2048  # a start weighs 3e-11 after so many in an average of span 168, 1e-33 in one of 55

# More than the start itself: after it, a regular series begins at the first real candle, and a
# quiet market may have none for a while.
_SPARE = 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows start <= i < stop of a series that share a segment; `slot` is the first one's place
    on the grid of the interval, counted from the Unix epoch."""

    start: int
    stop: int
    slot: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows start <= i < stop of one segment and one chunk, computed from row `lead_start` on."""

    lead_start: int
    start: int
    stop: int


def segments(series: CandleSeries, since: int = 0) -> Iterator[Segment]:
    """The segments with rows since <= i, whole, oldest first.

    Raises ValueError: one has a hole (its rows are not on a regular grid).
    """
    open_us = series.open_time.astype("datetime64[us]").view(np.int64)
    step = series.interval.minutes * 60_000_000
    breaks = np.flatnonzero(series.segment[1:] != series.segment[:-1]) + 1
    edges = [0, *breaks.tolist(), len(series)] if len(series) else []
    for start, stop in pairwise(edges):
        if stop <= since:
            continue
        if int(open_us[stop - 1] - open_us[start]) != (stop - 1 - start) * step:
            raise ValueError(
                f"segment {series.segment[start]} from {series.open_time[start]} has a hole: "
                f"{stop - start} rows until {series.open_time[stop - 1]}"
            )
        yield Segment(start, stop, int(open_us[start]) // step)


def pieces(segment: Segment, since: int = 0) -> Iterator[Piece]:
    """The pieces that together make the segment's rows since <= i, oldest first."""
    start = segment.start
    while start < segment.stop:
        behind = (segment.slot + start - segment.start) % CHUNK  # rows since the chunk began
        stop = min(segment.stop, start + CHUNK - behind)
        if stop > since:
            yield Piece(max(segment.start, start - behind - LEAD), max(start, since), stop)
        start = stop


def history_start(last: datetime, interval: Interval, rows: int = 1) -> datetime:
    """The open time from which candles must be read so that the last `rows` rows come out right.

    last: open time of the newest candle, aware UTC. Features, sequences (ask for 24 rows more)
    and volatility computed from a series that starts here, or at the market's first candle, are
    those of the whole history, to the bit.
    """
    slot = (last - _EPOCH) // interval.duration - (rows - 1)
    anchor = slot // CHUNK * CHUNK - LEAD - _SPARE
    return _EPOCH + max(anchor, 0) * timedelta(minutes=interval.minutes)
