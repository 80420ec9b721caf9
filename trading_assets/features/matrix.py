"""The feature matrix: the 46 features of every candle of a series.

Segments are computed separately, and in pieces with fixed starts (`anchors.py`), so that the
training path and the live path give the same bits. Not here: the formulas (`indicators.py`) and
the sequences a model is given (`sequences.py`).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from trading_assets.candles.series import CandleSeries
from trading_assets.errors import ImpossibleCandle
from trading_assets.features.anchors import pieces, segments
from trading_assets.features.catalogue import CATALOGUE_VERSION, FEATURE_NAMES, WARM_UP
from trading_assets.features.indicators import Candles, write_recursive, write_windowed
from trading_assets.features.tables import (
    VERSION_KEY,
    require_columns,
    require_version,
    table_version,
    time_column,
    time_values,
    versioned,
)
from trading_assets.features.windows import FloatArray

BoolArray = npt.NDArray[np.bool_]
TimeArray = npt.NDArray[np.datetime64]
IntArray = npt.NDArray[np.int64]

_BLOCK = 8192  # rows computed at once: the working arrays stay in the processor's cache
_COLUMNS = ("open_time", "segment", "valid", *FEATURE_NAMES)


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMatrix:
    """The features of consecutive candles, oldest first.

    open_time: shape (n,), datetime64[us], UTC, start of each candle. values: (n, 46) float64,
    columns as FEATURE_NAMES and contiguous each; NaN in rows that are not valid, and only there.
    valid: (n,), False for the first WARM_UP candles of a segment. segment: (n,) as in the series.
    Raises ValueError: the shapes do not belong together.
    """

    open_time: TimeArray
    values: FloatArray
    valid: BoolArray
    segment: IntArray

    def __post_init__(self) -> None:
        n = len(self.open_time)
        if self.values.shape != (n, len(FEATURE_NAMES)):
            raise ValueError(
                f"values must be of shape {(n, len(FEATURE_NAMES))}, was {self.values.shape}"
            )
        for name in ("valid", "segment"):
            if getattr(self, name).shape != (n,):
                raise ValueError(f"{name} must have {n} rows, was {getattr(self, name).shape}")

    def __len__(self) -> int:
        return len(self.open_time)

    def column(self, name: str) -> FloatArray:
        """The feature called `name`, shape (n,)."""
        return self.values[:, FEATURE_NAMES.index(name)]

    def tail(self, rows: int) -> Self:
        """The last `rows` rows, as views."""
        first = max(0, len(self) - rows)
        return type(self)(
            self.open_time[first:], self.values[first:], self.valid[first:], self.segment[first:]
        )

    def to_table(self) -> pa.Table:
        """As an Arrow table: open_time, segment, valid and one column a feature."""
        columns = {
            "open_time": time_column(self.open_time),
            "segment": pa.array(self.segment),
            "valid": pa.array(self.valid),
        }
        columns |= {name: pa.array(self.values[:, i]) for i, name in enumerate(FEATURE_NAMES)}
        return versioned(pa.table(columns))

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Back from `to_table`. Raises ValueError: other columns or another catalogue version."""
        require_version(table_version(table))
        require_columns(table.column_names, _COLUMNS)
        values = np.empty((len(FEATURE_NAMES), table.num_rows)).T
        for i, name in enumerate(FEATURE_NAMES):
            values[:, i] = table.column(name).to_numpy()
        return cls(
            open_time=time_values(table.column("open_time")),
            values=values,
            valid=table.column("valid").to_numpy(),
            segment=table.column("segment").to_numpy(),
        )

    def to_frame(self) -> pd.DataFrame:
        """As a pandas frame with the columns of `to_table`; the version is in `attrs`."""
        frame = pd.DataFrame(self.values, columns=list(FEATURE_NAMES))
        frame.insert(0, "open_time", pd.DatetimeIndex(self.open_time).tz_localize("UTC"))
        frame.insert(1, "segment", self.segment)
        frame.insert(2, "valid", self.valid)
        frame.attrs[VERSION_KEY] = CATALOGUE_VERSION
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Self:
        """Back from `to_frame`. Raises ValueError: other columns or another catalogue version."""
        require_version(str(frame.attrs.get(VERSION_KEY)))
        require_columns(frame.columns, _COLUMNS)
        return cls(
            open_time=frame["open_time"].dt.tz_convert(None).to_numpy(dtype="datetime64[us]"),
            values=np.asfortranarray(frame[list(FEATURE_NAMES)].to_numpy(dtype=np.float64)),
            valid=frame["valid"].to_numpy(dtype=np.bool_),
            segment=frame["segment"].to_numpy(dtype=np.int64),
        )


def feature_matrix(series: CandleSeries) -> FeatureMatrix:
    """The features of every candle of `series`.

    Row t uses candles up to t of its own segment only. Raises ImpossibleCandle: a price is not
    above 0 or a number is not finite.
    """
    return latest_features(series, len(series))


def latest_features(series: CandleSeries, rows: int) -> FeatureMatrix:
    """The last `rows` rows of `feature_matrix(series)`, to the bit, without computing the others.

    What `series` must contain at least: from `anchors.history_start` on.
    """
    if rows < 0:
        raise ValueError(f"rows must not be below 0, was {rows}")
    since = max(0, len(series) - rows)
    _require_possible(series)
    minute = series.open_time.astype("datetime64[us]").view(np.int64) // 60_000_000
    candles = Candles(minute, series.open, series.high, series.low, series.close, series.volume)
    values = np.empty((len(FEATURE_NAMES), len(series) - since)).T
    valid = np.zeros(len(values), dtype=np.bool_)
    for segment in segments(series, since):
        first = min(max(segment.start + WARM_UP, since), segment.stop)
        values[max(segment.start, since) - since : first - since] = np.nan
        valid[first - since : segment.stop - since] = True
        for start in range(first, segment.stop, _BLOCK):
            stop = min(start + _BLOCK, segment.stop)
            block = candles.between(start - WARM_UP, stop)
            write_windowed(block, values[start - since : stop - since])
        for piece in pieces(segment, first):
            block = candles.between(piece.lead_start, piece.stop)
            write_recursive(block, values[piece.start - since : piece.stop - since])
    return FeatureMatrix(series.open_time[since:], values, valid, series.segment[since:])


def _require_possible(series: CandleSeries) -> None:
    """What every formula relies on. The store checks more; a bug must not become a NaN here."""
    if not len(series):
        return
    for name in ("open", "high", "low", "close", "volume"):
        column = getattr(series, name)
        least, greatest = float(column.min()), float(column.max())
        if (least > 0 or (least == 0 and name == "volume")) and greatest < np.inf:
            continue
        bad = ~np.isfinite(column) | ((column < 0) if name == "volume" else (column <= 0))
        row = int(np.argmax(bad))
        raise ImpossibleCandle(
            f"{name} must be a finite number above 0 (a volume also 0), was {column[row]} at "
            f"{series.open_time[row]}"
        )
