"""Which rows a model may learn from and which judge it: time-ordered, purged, embargoed.

Oldest to newest: train | early-stop part (last 15 % of train) | calibration, in folds of 30 days
that are each predicted by a refit on everything before | gate window. Before each of these parts
every training row is purged whose label ends after the first window of the part begins. So a
test row's 24-candle window and its label share no candle with any training label. `audit_split`
proves it row by row on the finished split.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

TimeArray = NDArray[np.datetime64]
Rows = NDArray[np.intp]

EARLY_STOP_SHARE = 0.15
FOLD = timedelta(days=30)


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Rows `test` are predicted by a fit on rows `train`, all of which ended before."""

    train: Rows
    test: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Row numbers of a data set, ascending.

    fit, early_stop: decide the number of rounds. calibration: folds over the calibration window.
    twin: what the twin is fitted on (all that is purged before the gate window). gate: the rows
    that judge it. Every row trains the served refit.
    """

    fit: Rows
    early_stop: Rows
    calibration: tuple[Fold, ...]
    twin: Rows
    gate: Rows

    @property
    def pairs(self) -> tuple[tuple[str, Fold], ...]:
        """Every (training rows, test rows) pair of the split with its name."""
        folds = tuple((f"calibration {i}", fold) for i, fold in enumerate(self.calibration))
        return (
            ("early stop", Fold(self.fit, self.early_stop)),
            *folds,
            ("gate", Fold(self.twin, self.gate)),
        )


@dataclass(frozen=True, slots=True)
class SplitAudit:
    """What `audit_split` found. violations: one sentence each, empty when the split is clean."""

    pairs: int
    test_rows: int
    violations: tuple[str, ...]
    smallest_gap: timedelta

    def to_json(self) -> dict[str, Any]:
        return {
            "pairs": self.pairs,
            "test_rows": self.test_rows,
            "violations": list(self.violations),
            "smallest_gap_seconds": self.smallest_gap.total_seconds(),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SplitAudit":
        return cls(
            values["pairs"],
            values["test_rows"],
            tuple(values["violations"]),
            timedelta(seconds=values["smallest_gap_seconds"]),
        )


@dataclass(frozen=True, slots=True)
class Purge:
    """Which rows may train what is tested from some moment on: every split is made of this rule.

    window: candles a row's input reaches back, itself included; it is the embargo.
    """

    interval: timedelta
    window: int

    def before(self, moment: np.datetime64, rows: Rows, end_time: TimeArray) -> Rows:
        """Those of `rows` whose label is over before the window of a row at `moment` begins."""
        reach = np.timedelta64(self.interval * (self.window - 1))
        return rows[end_time[rows] <= moment - reach]

    def early_stop(self, train: Rows, open_time: TimeArray, end_time: TimeArray) -> Fold:
        """The last 15 % of `train` (ascending, not empty), and what of the rest may train it."""
        first = open_time[train[int(len(train) * (1 - EARLY_STOP_SHARE))]]
        return Fold(self.before(first, train, end_time), train[open_time[train] >= first])


def make_split(
    open_time: TimeArray,
    end_time: TimeArray,
    *,
    interval: timedelta,
    window: int,
    calibration_window: timedelta,
    gate_window: timedelta,
) -> Split:
    """The split of rows (ascending `open_time`) whose labels end at `end_time`.

    window: candles a row's input reaches back, itself included; it is the embargo. The gate
    window ends with the last row. Raises ValueError when a part would be empty.
    """
    if len(open_time) == 0:
        raise ValueError("a split needs rows, there are none")
    if np.any(np.diff(open_time) <= np.timedelta64(0, "us")):
        raise ValueError("rows must be in ascending order of open_time, each once")
    last = open_time[-1] + np.timedelta64(interval)
    gate_from = last - np.timedelta64(gate_window)
    calibration_from = gate_from - np.timedelta64(calibration_window)
    purge = Purge(interval, window)
    everything: Rows = np.arange(len(open_time))

    def before(moment: np.datetime64) -> Rows:
        return purge.before(moment, everything, end_time)

    def between(start: np.datetime64, end: np.datetime64) -> Rows:
        return np.flatnonzero((open_time >= start) & (open_time < end))

    train = before(calibration_from)
    if len(train) == 0:
        raise ValueError(
            f"no row ends before the calibration window, which begins {calibration_from}"
        )
    early_stop = purge.early_stop(train, open_time, end_time)
    split = Split(
        fit=early_stop.train,
        early_stop=early_stop.test,
        calibration=tuple(
            fold
            for start, end in _fold_edges(calibration_from, gate_from)
            # A label of the last fold may not reach into the gate window: the twin's temperature
            # is fitted on these rows.
            if len(
                (
                    fold := Fold(
                        before(start), purge.before(gate_from, between(start, end), end_time)
                    )
                ).test
            )
        ),
        twin=before(gate_from),
        gate=between(gate_from, last),
    )
    for name, pair in split.pairs:
        if len(pair.train) == 0 or len(pair.test) == 0:
            raise ValueError(f"the part '{name}' of the split would be empty")
    return split


def _fold_edges(
    start: np.datetime64, end: np.datetime64
) -> tuple[tuple[np.datetime64, np.datetime64], ...]:
    """30-day folds counted back from `end`; a rest shorter than half a fold joins the first."""
    fold = np.timedelta64(FOLD)
    edges = [end]
    while edges[0] - fold >= start + fold // 2:
        edges.insert(0, edges[0] - fold)
    if edges[0] > start:
        edges.insert(0, start)
    return tuple(itertools.pairwise(edges))


def audit_split(
    split: Split, open_time: TimeArray, end_time: TimeArray, *, interval: timedelta, window: int
) -> SplitAudit:
    """Prove that no test row's window or label interval touches a training label.

    A training label occupies the candles from its entry (the close of its candle) to `end_time`;
    a test row occupies the opening of the first candle of its window to its own `end_time`. Judged
    for every test row against every training row, not only at the boundary: by sorted search, so
    that it also judges splits which are not ordered in time (a random one fails).
    """
    return audit_pairs(split.pairs, open_time, end_time, interval=interval, window=window)


def audit_pairs(
    pairs: Sequence[tuple[str, Fold]],
    open_time: TimeArray,
    end_time: TimeArray,
    *,
    interval: timedelta,
    window: int,
) -> SplitAudit:
    """`audit_split` of any named (training rows, test rows) pairs, however they were made."""
    step, reach = np.timedelta64(interval), np.timedelta64(interval * (window - 1))
    violations, gaps, test_rows = [], [], 0
    for name, pair in pairs:
        label_start, label_end = open_time[pair.train] + step, np.sort(end_time[pair.train])
        test_start, test_end = open_time[pair.test] - reach, end_time[pair.test]
        # Labels that have begun before the test row ends, less those over before it starts.
        begun = np.searchsorted(np.sort(label_start), test_end, side="left")
        over = np.searchsorted(label_end, test_start, side="right")
        touched = begun > over
        if touched.any():
            first = pair.test[np.flatnonzero(touched)[0]]
            violations.append(
                f"{name}: {int(touched.sum())} of {len(pair.test)} test rows touch a training "
                f"label, the first at {open_time[first]}"
            )
        if len(pair.train) and len(pair.test):
            gaps.append(test_start.min() - label_end[-1])
        test_rows += len(pair.test)
    smallest = min(gaps) if gaps else np.timedelta64(0, "us")
    return SplitAudit(
        pairs=len(pairs),
        test_rows=test_rows,
        violations=tuple(violations),
        smallest_gap=timedelta(microseconds=int(smallest / np.timedelta64(1, "us"))),
    )


def random_split(n: int, seed: int, test_share: float = 0.2) -> Fold:
    """The split that must NOT be used, for measuring how much it would flatter (docs/models.md)."""
    order = np.random.default_rng(seed).permutation(n)
    cut = int(n * (1 - test_share))
    return Fold(np.sort(order[:cut]), np.sort(order[cut:]))
