"""How far the future goes beyond what the past showed, measured inside a walk-forward.

A quantile of the past promises too much where the world changes slowly: then the rows come in few
independent pieces, and the next piece is often outside all of them. So bounds for alarms get an
allowance: with the quantiles of earlier rows, how far beyond them were the rows that followed?
Not here: what is measured (`forecast_bands`, `forecast`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trading_assets.candles.frame import FloatArray

# Tenths: the first three are only ever the past, each later one is the future of all before it.
PARTS = 10
FIRST_JUDGED = 3


@dataclass(frozen=True, slots=True)
class Allowance:
    """Multiples of a distance that later rows exceeded with the shares asked for."""

    warn: float
    error: float


def forward_parts(n: int) -> Iterator[tuple[slice, slice]]:
    """(earlier rows, the tenth that follows), oldest first; none for fewer than PARTS rows."""
    if n < PARTS:
        return
    edges = [n * i // PARTS for i in range(PARTS + 1)]
    for part in range(FIRST_JUDGED, PARTS):
        yield slice(0, edges[part]), slice(edges[part], edges[part + 1])


def allowance(distances: Sequence[FloatArray], *, warn: float, error: float) -> Allowance | None:
    """The distances that shares `warn` and `error` of all later rows exceeded, at least 1; None
    when there are none to go by.

    distances: of later rows, in units of what earlier ones reached; NaN where there was no row.
    """
    every = np.concatenate([*distances, np.empty(0)])
    known = every[np.isfinite(every)]
    if not len(known):
        return None
    levels = np.quantile(known, (1 - warn, 1 - error), method="higher")
    return Allowance(*(max(1.0, float(level)) for level in levels))
