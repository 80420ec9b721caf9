"""Sequences: for each usable candle its 24 latest feature rows, as a view over the features.

A sequence is usable when it and everything that its features looked back on lie in one segment
and at most 10 % of that window's candles are filled ones (candles in which nobody traded). The
24-fold copy is never kept: `base` holds each row once. Here too: what a model is given of a
sequence (`design_matrix`). Not here: labels and splits (`models`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numpy.lib.stride_tricks import as_strided
from upath import UPath

from trading_assets.candles.series import CandleSeries
from trading_assets.features.catalogue import FEATURE_NAMES, WARM_UP
from trading_assets.features.matrix import FeatureMatrix, latest_features
from trading_assets.features.tables import (
    read_parquet,
    require_columns,
    require_version,
    table_version,
    time_column,
    time_values,
    versioned,
    write_parquet,
)
from trading_assets.features.windows import window_max, window_min, window_moments
from trading_assets.settings import SequenceView

SEQUENCE_LENGTH = 24
WINDOW = WARM_UP + SEQUENCE_LENGTH  # candles that a sequence looks at
MAX_FILLED_SHARE = 0.10

SUMMARY_STATISTICS = ("mean", "sd", "last", "min", "max")

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
TimeArray = npt.NDArray[np.datetime64]
IntArray = npt.NDArray[np.int64]

_WIDTH = len(FEATURE_NAMES)
_FILE = "sequences.parquet"
_BLOCK = 512  # rows summarised at once: the working arrays stay in the processor's cache


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """n sequences of 24 x 46 over m feature rows.

    open_time: shape (n,), datetime64[us], UTC, of the last candle of each. base: (m, 46) float32,
    C order. rows: (n,) the row of `base` that each sequence ends with, strictly increasing.
    Raises ValueError: the shapes do not belong together, or a sequence would begin before `base`.
    """

    open_time: TimeArray
    base: Float32Array
    rows: IntArray

    def __post_init__(self) -> None:
        if self.base.ndim != 2 or self.base.shape[1] != _WIDTH:
            raise ValueError(f"base must have {_WIDTH} columns, was of shape {self.base.shape}")
        if self.base.dtype != np.float32 or not self.base.flags.c_contiguous:
            raise ValueError(f"base must be float32 in C order, was {self.base.dtype}")
        if self.rows.shape != self.open_time.shape:
            raise ValueError(f"{len(self.rows)} rows but {len(self.open_time)} open times")
        if not len(self.rows):
            return
        if self.rows[0] < SEQUENCE_LENGTH - 1 or self.rows[-1] >= len(self.base):
            raise ValueError(
                f"rows must be from {SEQUENCE_LENGTH - 1} to {len(self.base) - 1}, were "
                f"{self.rows[0]} to {self.rows[-1]}"
            )
        if (np.diff(self.rows) <= 0).any():
            raise ValueError("rows must be strictly increasing")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def tensor(self) -> Float32Array:
        """Shape (n, 24, 46), oldest step first; read-only, and a view where rows have no holes."""
        return self.flat.reshape(len(self), SEQUENCE_LENGTH, _WIDTH)

    @property
    def flat(self) -> Float32Array:
        """Shape (n, 1104): the 24 rows of each sequence one after another, oldest first.

        Read-only. A view of `base` where the rows have no holes, otherwise gathered anew.
        """
        runs = list(_runs(self.rows))
        if len(runs) == 1:
            return self._flat_run(*runs[0])
        return self.flat_copy()

    def flat_copy(self) -> Float32Array:
        """`flat` as a new contiguous array of one's own."""
        out = np.empty((len(self), SEQUENCE_LENGTH * _WIDTH), dtype=np.float32)
        for start, stop in _runs(self.rows):
            np.copyto(out[start:stop], self._flat_run(start, stop))
        return out

    @property
    def last(self) -> Float32Array:
        """Shape (n, 46): the last row of each sequence."""
        return self.base[self.rows]

    def tail(self, count: int) -> Self:
        """The last `count` sequences, over the same base."""
        first = max(0, len(self) - count)
        return type(self)(self.open_time[first:], self.base, self.rows[first:])

    def take(self, chosen: npt.NDArray[np.intp]) -> Self:
        """Only these sequences (positions, ascending), over the same base."""
        return type(self)(self.open_time[chosen], self.base, self.rows[chosen])

    def to_table(self) -> pa.Table:
        """As an Arrow table: `base`, and the open time where a sequence ends (null elsewhere)."""
        ends = np.full(len(self.base), np.datetime64("NaT", "us"))
        ends[self.rows] = self.open_time
        columns = {"open_time": time_column(ends)}
        columns |= {
            name: pa.array(np.ascontiguousarray(self.base[:, i]))
            for i, name in enumerate(FEATURE_NAMES)
        }
        return versioned(pa.table(columns))

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Back from `to_table`. Raises ValueError: other columns or another catalogue version."""
        require_version(table_version(table))
        require_columns(table.column_names, ("open_time", *FEATURE_NAMES))
        base = np.empty((table.num_rows, _WIDTH), dtype=np.float32)
        for i, name in enumerate(FEATURE_NAMES):
            base[:, i] = table.column(name).to_numpy()
        ends = time_values(table.column("open_time"))
        rows = np.flatnonzero(~np.isnat(ends))
        return cls(ends[rows], base, rows)

    def save(self, folder: Path | UPath) -> None:
        """Write into `folder`; the file there is the old one or this one, never half of one."""
        write_parquet(self.to_table(), folder / _FILE)

    @classmethod
    def load(cls, folder: Path | UPath) -> Self:
        """What `save` wrote. Raises FileNotFoundError, ValueError as `from_table`."""
        return cls.from_table(read_parquet(folder / _FILE))

    def _flat_run(self, start: int, stop: int) -> Float32Array:
        """Sequences start <= i < stop, whose rows follow one another, as a view."""
        first = int(self.rows[start]) - (SEQUENCE_LENGTH - 1) if stop > start else 0
        row_bytes = _WIDTH * self.base.itemsize
        return as_strided(
            self.base[first:],
            shape=(stop - start, SEQUENCE_LENGTH * _WIDTH),
            strides=(row_bytes, self.base.itemsize),
            writeable=False,
        )


def make_sequences(matrix: FeatureMatrix, series: CandleSeries) -> Sequences:
    """The usable sequences of `matrix`.

    series: the candles of the matrix, whose last rows are the matrix's rows.
    Raises ValueError: the matrix is not the end of the series.
    """
    first = len(series) - len(matrix)
    if first < 0 or not np.array_equal(series.open_time[first:], matrix.open_time):
        raise ValueError(
            f"the {len(matrix)} rows of the matrix must be the last of the {len(series)} candles"
        )
    usable = usable_windows(series)[first:]
    usable[: SEQUENCE_LENGTH - 1] = False  # begins before the matrix
    rows = np.flatnonzero(usable)
    base = np.ascontiguousarray(matrix.values, dtype=np.float32)
    return Sequences(matrix.open_time[rows], base, rows)


def latest_sequences(series: CandleSeries, count: int = 1) -> Sequences:
    """The usable ones among the sequences that end with the last `count` candles.

    The same bits as in `make_sequences(feature_matrix(series), series)`. Empty when the newest
    candles are not usable: `refusal` says why.
    """
    return make_sequences(latest_features(series, count + SEQUENCE_LENGTH - 1), series)


def usable_windows(series: CandleSeries) -> BoolArray:
    """Which candles end a usable window of WINDOW candles, shape (n,)."""
    return _whole(series) & (_filled(series) <= MAX_FILLED_SHARE * WINDOW)


def filled_windows(series: CandleSeries) -> BoolArray:
    """Which candles end a window that is whole but has too many filled candles, shape (n,)."""
    return _whole(series) & (_filled(series) > MAX_FILLED_SHARE * WINDOW)


def refusal(series: CandleSeries) -> str | None:
    """Why the last candle of `series` ends no usable sequence, in one sentence; None if it does."""
    if not len(series):
        return "there are no candles"
    if not _whole(series)[-1]:
        count = int((series.segment == series.segment[-1]).sum())
        return f"a sequence needs {WINDOW} candles since the last break, there are {count}"
    filled = int(_filled(series)[-1])
    if filled > MAX_FILLED_SHARE * WINDOW:
        return (
            f"{filled} of the last {WINDOW} candles are without trades, "
            f"more than {MAX_FILLED_SHARE:.0%}"
        )
    return None


def _whole(series: CandleSeries) -> BoolArray:
    """Which candles end a window of WINDOW candles that lies in one segment."""
    whole = np.zeros(len(series), dtype=np.bool_)
    whole[WINDOW - 1 :] = series.segment[WINDOW - 1 :] == series.segment[: -(WINDOW - 1)]
    return whole


def _filled(series: CandleSeries) -> IntArray:
    """How many of the WINDOW candles up to each one are filled."""
    total = np.concatenate(([0], np.cumsum(series.filled)))
    count = total[1:].copy()
    count[WINDOW:] -= total[1:-WINDOW]
    return count


def _runs(rows: IntArray) -> Iterator[tuple[int, int]]:
    """Ranges of positions whose rows follow one another without holes; one at least."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    edges = [0, *breaks.tolist(), len(rows)]
    yield from pairwise(edges)


def design_names(view: SequenceView) -> tuple[str, ...]:
    """The columns of `design_matrix`: statistic by statistic, or step by step, oldest first."""
    if view is SequenceView.SUMMARY:
        return tuple(f"{name}_{stat}" for stat in SUMMARY_STATISTICS for name in FEATURE_NAMES)
    if view is SequenceView.LAST:
        return FEATURE_NAMES
    return tuple(
        f"{name}_lag_{lag}" for lag in reversed(range(SEQUENCE_LENGTH)) for name in FEATURE_NAMES
    )


def design_matrix(sequences: Sequences, view: SequenceView) -> Float32Array:
    """What a model is given of each sequence, shape (n, k) float32, columns as `design_names`.

    A row depends on its own 24 rows only, to the bit.
    """
    if view is SequenceView.SUMMARY:
        return _summary(sequences)
    if view is SequenceView.LAST:
        return sequences.last
    return sequences.flat_copy()


def _summary(sequences: Sequences) -> Float32Array:
    """Mean, population sd, last, min and max over the 24 steps: (n, 230).

    Computed in float64 and rounded once.
    """
    out = np.empty((len(sequences), len(SUMMARY_STATISTICS) * _WIDTH), dtype=np.float32)
    if not len(sequences):
        return out
    for start, stop in _runs(sequences.rows):
        for begin in range(start, stop, _BLOCK):
            end = min(begin + _BLOCK, stop)
            first = int(sequences.rows[begin]) - (SEQUENCE_LENGTH - 1)
            rows = sequences.base[first : int(sequences.rows[end - 1]) + 1]
            _summarise(rows, out[begin:end])
    return out


def _summarise(base: Float32Array, out: Float32Array) -> None:
    """The summary of each window of 24 of `base` into `out`, shape (len(base) - 23, 230)."""
    x = base.astype(np.float64)
    mean, squares = window_moments(x, SEQUENCE_LENGTH)
    squares /= SEQUENCE_LENGTH
    statistics = (
        mean,
        np.sqrt(squares, out=squares),
        x[SEQUENCE_LENGTH - 1 :],
        window_min(x, SEQUENCE_LENGTH),
        window_max(x, SEQUENCE_LENGTH),
    )
    for i, values in enumerate(statistics):
        out[:, i * _WIDTH : (i + 1) * _WIDTH] = values
