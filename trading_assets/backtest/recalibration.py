"""Out-of-sample probabilities as they would have been served: calibrated on earlier ones only.

At each step of the calendar temperature and bias are fitted anew, on the trailing window of
predictions whose outcome was over by then. Before there are enough of them (1,500), nothing is
changed. Not here: the formula (`models.calibration`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from trading_assets.candles.frame import BoolArray, FloatArray, TimeArray, to_us
from trading_assets.models.calibration import Calibration, fit_calibration
from trading_assets.models.splits import Fold, Purge, Rows


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationStep:
    """From `start` on, rows `rows.test` are calibrated with a fit on `rows.train`."""

    start: datetime
    rows: Fold


def calibration_steps(
    starts: Sequence[datetime],
    open_time: TimeArray,
    end_time: TimeArray,
    known: BoolArray,
    *,
    window: timedelta,
    purge: Purge,
) -> tuple[CalibrationStep, ...]:
    """The steps that begin at `starts` (ascending, the first at or before every row).

    open_time, end_time, known: (n,) of the predicted rows, ascending; known: where the outcome is.
    window: how far back from its start a step looks. The purge also keeps the windows of the rows
    that it judges apart from the paths of the labels that it learns from.
    """
    edges = [np.datetime64(to_us(start), "us") for start in starts]
    place = np.searchsorted(open_time, edges)
    ends = [*place[1:], len(open_time)]
    steps = []
    for start, edge, first, last in zip(starts, edges, place, ends, strict=True):
        reach = edge - np.timedelta64(window)
        recent: Rows = np.flatnonzero(known[:first] & (open_time[:first] >= reach))
        steps.append(
            CalibrationStep(
                start, Fold(purge.before(edge, recent, end_time), np.arange(first, last))
            )
        )
    return tuple(steps)


def recalibrated(
    raw: FloatArray, y: NDArray[np.int8], steps: Sequence[CalibrationStep], overlap: int
) -> tuple[FloatArray, tuple[Calibration, ...]]:
    """(p, the calibration of each step). raw, p: (n, 3). overlap: candles in a label's path."""
    p, fitted = raw.copy(), []
    for step in steps:
        calibration = fit_calibration(raw[step.rows.train], y[step.rows.train], overlap)
        p[step.rows.test] = calibration.apply(raw[step.rows.test])
        fitted.append(calibration)
    return p, tuple(fitted)
