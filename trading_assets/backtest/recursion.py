"""Recursion analysis: does a value depend on how far back one reads?

A signal reads a limited stretch of candles (`features.anchors.history_start`), a training all of
them. The newest values of many histories are computed as a signal does, on stretches of several
lengths, and compared with the whole history's. From the length that a signal reads on, they must
be the same to the bit; on shorter stretches the differences are told and not judged: they say how
long each value remembers. Not here: values that see later candles (`lookahead`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trading_assets.backtest.histories import (
    Tally,
    close_us,
    ends,
    history,
    iso,
    pairs,
    times_us,
    values_at,
)
from trading_assets.backtest.quantities import LIVE_ROWS, Family, FloatArray, IntArray
from trading_assets.candles.frame import from_us, open_times_us, step_us, to_us
from trading_assets.candles.recorded import StoredCandles
from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.features.anchors import history_start
from trading_assets.features.sequences import WINDOW

ENDS = 16
# Candles read, the newest included. A sequence looks at WINDOW of them.
SHORTER = (WINDOW, 200, 500, 1000, 2000)
# Candles more than a signal reads: one, a quarter, and a piece of `anchors`.
LONGER = (0, 1, 1000, 8192)


@dataclass(frozen=True, slots=True)
class RecursionFinding:
    """What was found of one value.

    shorter: by the number of candles read, the largest difference of the newest value (inf where
    only one of the two exists), not judged. compared, differing, largest, first: on stretches as
    long as a signal reads and longer; first names the first that differed. A value that was never
    there to compare has not passed.
    """

    group: str
    name: str
    shorter: Mapping[int, float]
    compared: int
    differing: int
    largest: float
    first: str

    @property
    def passed(self) -> bool:
        return self.compared > 0 and self.differing == 0


def recursion(
    stored: StoredCandles, families: Sequence[Family], *, count: int = ENDS, seed: int = 0
) -> tuple[RecursionFinding, ...]:
    """One finding a value, in the order of `families`.

    count: histories that end at random; those around the edges of `features.anchors`, where the
    stretch that a signal reads is shortest and longest, are taken as well. Raises NotEnoughHistory
    when no history is longer than what a signal reads: nothing could differ.
    """
    full = stored.series
    # A signal reads from the edge before its oldest row: the last with the old and the first with
    # the new edge.
    around = (LIVE_ROWS - 1, LIVE_ROWS)
    moments = [close_us(full, n - 1) for n in ends(full, count, seed, after_chunk=around).tolist()]
    oldest = int(open_times_us(stored.frame)[0]) if len(full) else 0
    stretches = [s for moment in moments for s in _stretches(stored, moment, oldest)]
    if not any(s.judged for s in stretches):
        raise NotEnoughHistory(
            f"{stored.market}: the {len(full)} candles of {stored.interval} are no more than a "
            "signal reads, so there is nothing to compare"
        )
    return tuple(f for family in families for f in _of_family(family, stored, moments, stretches))


@dataclass(frozen=True, slots=True, eq=False)
class _Stretch:
    """Candles read from a start on, until `moment`. rows: how many at most."""

    moment: int
    rows: int
    judged: bool
    series: CandleSeries
    where: str


def _stretches(stored: StoredCandles, moment: int, oldest: int) -> Iterator[_Stretch]:
    """Those that are shorter than the whole history until `moment`."""
    step = step_us(stored.interval)
    live = to_us(history_start(from_us(moment - step), stored.interval, LIVE_ROWS))
    starts = [(moment - rows * step, False) for rows in SHORTER]
    starts += [(live - more * step, True) for more in LONGER]
    for start, judged in starts:
        if start <= oldest:
            continue
        rows = (moment - start) // step
        where = f"with the candles from {iso(start)} until {iso(moment)}"
        yield _Stretch(moment, rows, judged, history(stored, moment, start), where)


def _of_family(
    family: Family, stored: StoredCandles, moments: Sequence[int], stretches: Sequence[_Stretch]
) -> Iterator[RecursionFinding]:
    judged = [Tally() for _ in family.names]
    shorter = {rows: np.zeros(len(family.names)) for rows in SHORTER}
    whole = {moment: _whole(family, stored, moment) for moment in moments}
    for stretch in stretches:
        times, expected = whole[stretch.moment]
        if not stretch.judged:
            times, expected = times[-1:], expected[-1:]
        found = values_at(family.live, stretch.series, times, len(family.names))
        both = pairs(expected, found)
        if not stretch.judged:
            largest = shorter[stretch.rows]
            np.maximum(largest, both.size.max(axis=0, initial=0.0), out=largest)
            continue
        for column, tally in enumerate(judged):
            tally.add(both, column, times, stretch.where)
    for column, (name, tally) in enumerate(zip(family.names, judged, strict=True)):
        yield RecursionFinding(
            family.group,
            name,
            {rows: float(largest[column]) for rows, largest in shorter.items()},
            tally.compared,
            tally.differing,
            tally.largest,
            tally.first,
        )


def _whole(family: Family, stored: StoredCandles, moment: int) -> tuple[IntArray, FloatArray]:
    """(times, values) of the newest rows of the whole history until `moment`."""
    series = history(stored, moment)
    last = moment - (family.reach + 1) * step_us(stored.interval)
    times = times_us(series)
    times = times[times <= last][-family.live_rows :]
    return times, values_at(family.training, series, times, len(family.names))
