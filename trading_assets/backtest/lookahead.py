"""Look-ahead analysis: does a value change when later candles are taken away?

Each value is computed on the whole history and again on the history as it was at many moments; on
both it must be the same to the bit. A centred window, a minimum of the whole series, a shift by -1
or a fill from behind are found so, and named. Not here: values that depend on how far back one
reads (`recursion`).
"""

from collections.abc import Iterator, Sequence
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
from trading_assets.backtest.quantities import Family, IntArray
from trading_assets.candles.frame import step_us
from trading_assets.candles.recorded import StoredCandles
from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.features.sequences import WINDOW

CUTS = 32


@dataclass(frozen=True, slots=True)
class LookaheadFinding:
    """What was found of one value. compared: how many pairs; largest: of their differences, inf
    where only one of the two exists. first: the first that differed, for a person. A value that
    was never there to compare has not passed.
    """

    group: str
    name: str
    compared: int
    differing: int
    largest: float
    first: str

    @property
    def passed(self) -> bool:
        return self.compared > 0 and self.differing == 0


def lookahead(
    stored: StoredCandles, families: Sequence[Family], *, cuts: int = CUTS, seed: int = 0
) -> tuple[LookaheadFinding, ...]:
    """One finding a value, in the order of `families`.

    cuts: moments at random; breaks and the edges of `features.anchors` are cut at as well. Raises
    NotEnoughHistory when the candles are too few for a single cut.
    """
    full = stored.series
    moments = [close_us(full, n - 1) for n in ends(full, cuts, seed, after_chunk=(0, 1)).tolist()]
    if not moments:
        raise NotEnoughHistory(
            f"{stored.market}: {len(full)} candles of {stored.interval} are too few to cut, more "
            f"than {WINDOW} are needed"
        )
    parts = [history(stored, moment) for moment in moments]
    return tuple(
        finding for family in families for finding in _of_family(family, full, parts, moments)
    )


def _of_family(
    family: Family, full: CandleSeries, parts: Sequence[CandleSeries], moments: Sequence[int]
) -> Iterator[LookaheadFinding]:
    width, wanted = (
        len(family.names),
        [
            _known_by(family, full, part, moment)
            for part, moment in zip(parts, moments, strict=True)
        ],
    )
    every = np.unique(np.concatenate(wanted))
    expected = values_at(family.training, full, every, width)
    tallies = [Tally() for _ in family.names]
    for part, moment, times in zip(parts, moments, wanted, strict=True):
        found = values_at(family.training, part, times, width)
        both = pairs(expected[np.searchsorted(every, times)], found)
        where = f"with the candles until {iso(moment)}"
        for column, tally in enumerate(tallies):
            tally.add(both, column, times, where)
    for name, tally in zip(family.names, tallies, strict=True):
        yield LookaheadFinding(
            family.group, name, tally.compared, tally.differing, tally.largest, tally.first
        )


def _known_by(family: Family, full: CandleSeries, part: CandleSeries, moment: int) -> IntArray:
    """The times, of either history, whose values are made of candles that closed by `moment`."""
    step = step_us(full.interval)
    last = moment - (family.reach + 1) * step
    first = -np.inf if family.last_rows is None else last - (family.last_rows - 1) * step
    times = np.union1d(times_us(full), times_us(part))
    return times[(times >= first) & (times <= last)]
