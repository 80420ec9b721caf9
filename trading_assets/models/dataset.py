"""Rows to learn from: sequences and labels of one market and profile, joined by candle time.

Only rows whose label is valid. Which of them train and which judge is `splits.py`; what is
computed from candles is `features`; what the classes mean is `labels.py`.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from trading_assets.errors import NotEnoughHistory
from trading_assets.features.catalogue import CATALOGUE_VERSION, FEATURE_NAMES
from trading_assets.features.sequences import (
    SEQUENCE_LENGTH,
    Sequences,
    design_matrix,
    design_names,
)
from trading_assets.models.labels import Labels
from trading_assets.models.splits import Split, make_split
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile
from trading_assets.settings import SequenceView

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]

# Measured volatilities, hour and weekend (the day of the week as a point on the circle): what the
# volatility-only baseline knows. It says when prices move, never in which direction.
VOLATILITY_FEATURES = (
    "volatility_12",
    "volatility_24",
    "volatility_72",
    "natr_14",
    "hour_sin",
    "hour_cos",
    "weekday_sin",
    "weekday_cos",
)


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Rows of one market and profile, oldest first.

    open_time: (n,) of the candle at whose close the trade would begin. x: (n, k) float32 design
    matrix, columns named by `columns`. y: (n,) 0 SELL, 1 HOLD, 2 BUY. end_time: (n,) when the
    label is over. long_net, short_net: (n,) net returns, ratios. last_columns: (46,) where x holds
    each feature's last value. volatility_columns: those that the volatility-only baseline reads.
    """

    market: str
    profile: str
    interval: timedelta
    open_time: TimeArray
    x: NDArray[np.float32]
    y: NDArray[np.int8]
    end_time: TimeArray
    long_net: FloatArray
    short_net: FloatArray
    columns: tuple[str, ...]
    features: tuple[str, ...]
    last_columns: tuple[int, ...]
    volatility_columns: tuple[int, ...]
    view: SequenceView
    costs: Costs
    catalogue_version: str
    candle_hash: str

    def __len__(self) -> int:
        return len(self.open_time)

    @property
    def usable(self) -> timedelta:
        """How much market time the rows cover: their number times the interval."""
        return self.interval * len(self)

    @property
    def closes(self) -> TimeArray:
        """(n,) when each row's candle closes: the moment of the decision."""
        return np.asarray(self.open_time + np.timedelta64(self.interval))

    def take(self, rows: NDArray[np.intp]) -> "Dataset":
        """Only these rows, in this order."""
        return replace(
            self,
            open_time=self.open_time[rows],
            x=self.x[rows],
            y=self.y[rows],
            end_time=self.end_time[rows],
            long_net=self.long_net[rows],
            short_net=self.short_net[rows],
        )

    def recent(self, history: timedelta | None) -> "Dataset":
        """The rows of the last `history` (None: all) before the close of the last candle."""
        if history is None or len(self) == 0:
            return self
        start = self.closes[-1] - np.timedelta64(history)
        return self.take(np.flatnonzero(self.open_time >= start))


def make_dataset(
    market: str,
    profile: Profile,
    sequences: Sequences,
    labels: Labels,
    *,
    costs: Costs,
    view: SequenceView = SequenceView.SUMMARY,
    candle_hash: str = "",
) -> Dataset:
    """Join sequences and valid labels by candle time and keep the profile's history.

    candle_hash: of the candles both were made from; goes into the model's metadata.
    """
    known = labels.valid & np.isin(labels.open_time, sequences.open_time)
    label_rows = np.flatnonzero(known)
    if profile.history is not None and len(label_rows):
        newest = labels.open_time[label_rows[-1]] + np.timedelta64(profile.interval)
        recent = labels.open_time[label_rows] >= newest - np.timedelta64(profile.history)
        label_rows = label_rows[recent]
    found = np.searchsorted(sequences.open_time, labels.open_time[label_rows])
    return joined(
        market,
        profile,
        sequences.take(found),
        labels.take(label_rows),
        costs=costs,
        view=view,
        candle_hash=candle_hash,
    )


def joined(
    market: str,
    profile: Profile,
    sequences: Sequences,
    labels: Labels,
    *,
    costs: Costs,
    view: SequenceView,
    candle_hash: str = "",
) -> Dataset:
    """The data set whose row i is sequence i with label i, every one of them.

    Raises ValueError when they are not of the same candles.
    """
    if not np.array_equal(sequences.open_time, labels.open_time):
        raise ValueError("sequences and labels must be of the same candles")
    last = last_columns(view)
    return Dataset(
        market=market,
        profile=profile.name,
        interval=profile.interval,
        open_time=labels.open_time,
        x=design_matrix(sequences, view),
        y=labels.label,
        end_time=labels.end_time,
        long_net=labels.long_net,
        short_net=labels.short_net,
        columns=design_names(view),
        features=FEATURE_NAMES,
        last_columns=last,
        volatility_columns=tuple(last[FEATURE_NAMES.index(name)] for name in VOLATILITY_FEATURES),
        view=view,
        costs=costs,
        catalogue_version=CATALOGUE_VERSION,
        candle_hash=candle_hash,
    )


def require_history(dataset: Dataset, profile: Profile) -> None:
    """Raises NotEnoughHistory, naming both numbers, below the profile's minimum."""
    if dataset.usable < profile.min_history:
        raise NotEnoughHistory(
            f"{dataset.market} {profile.name}: not enough history, {_days(dataset.usable)} days of "
            f"usable rows ({len(dataset)}), it takes {_days(profile.min_history)} days"
        )


def split_of(dataset: Dataset, profile: Profile) -> Split:
    """The data set's split under the profile's windows; the embargo is the sequence's length."""
    return make_split(
        dataset.open_time,
        dataset.end_time,
        interval=dataset.interval,
        window=SEQUENCE_LENGTH,
        calibration_window=profile.calibration_window,
        gate_window=profile.gate_window,
    )


def last_columns(view: SequenceView) -> tuple[int, ...]:
    """Where the design matrix holds the last value of each of the 46 features.

    Columns come in blocks of 46: mean, sd, last, min, max; the last row alone; or the 24 rows
    from the oldest to the last.
    """
    count = len(FEATURE_NAMES)
    block = {
        SequenceView.SUMMARY: 2,
        SequenceView.LAST: 0,
        SequenceView.FLAT: SEQUENCE_LENGTH - 1,
    }[view]
    return tuple(range(block * count, (block + 1) * count))


def _days(duration: timedelta) -> str:
    return f"{duration / timedelta(days=1):.1f}"
