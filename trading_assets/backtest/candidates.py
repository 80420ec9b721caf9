"""Every candle of one market at which a decision could have been made, with what came of it.

Unlike the data set that a model is trained on, rows whose outcome is not known are here too: the
newest ones, and those shortly before a break. The design matrix is built for the rows that are
asked for, so a history of many years needs the memory of one fold. Not here: what is predicted for
them (`walk_forward`).
"""

import hashlib
from dataclasses import dataclass
from typing import Self

import numpy as np

from trading_assets.candles.frame import BoolArray, FloatArray, TimeArray
from trading_assets.candles.series import CandleSeries
from trading_assets.features.sequences import SEQUENCE_LENGTH, Sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.dataset import Dataset, joined
from trading_assets.models.labels import (
    Labels,
    exit_ratios,
    make_labels,
    round_trip_costs,
    tick_sizes,
)
from trading_assets.models.splits import Rows
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile
from trading_assets.settings import SequenceView


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """n candles with a usable sequence and a known volatility, oldest first.

    sequences, labels: row i of both belongs to candle i; where the outcome is not known, the label
    is -1 and not valid. sigma: (n,) volatility a candle. close: (n,) KRW. stop_loss, take_profit:
    (n,) the exit terms of a trade that begins at the close.
    """

    market: str
    profile: Profile
    costs: Costs
    view: SequenceView
    candle_hash: str
    sequences: Sequences
    labels: Labels
    sigma: FloatArray
    close: FloatArray
    stop_loss: FloatArray
    take_profit: FloatArray

    @classmethod
    def of(
        cls,
        market: str,
        profile: Profile,
        series: CandleSeries,
        sequences: Sequences,
        *,
        costs: Costs,
        view: SequenceView = SequenceView.SUMMARY,
        candle_hash: str = "",
    ) -> Self:
        """Those of `sequences`, whose candles must all be in `series`; the labels are made here.

        Raises ValueError for a sequence of a candle that the series lacks.
        """
        place = np.searchsorted(series.open_time, sequences.open_time)
        inside = place < len(series)
        if not (inside.all() and np.array_equal(series.open_time[place], sequences.open_time)):
            raise ValueError(f"{market}: the series lacks candles that the sequences end with")
        sigma = ewm_sigma(series)
        cost = round_trip_costs(costs, series.close, tick_sizes(series.close))
        stop_loss, take_profit = exit_ratios(profile, sigma, cost)
        # As live: without a volatility no signal (`signals.prediction.latest_sigma`).
        tradable = (sigma > 0) & (stop_loss > 0) & (stop_loss < 1) & np.isfinite(take_profit)
        chosen = np.flatnonzero(tradable[place])
        rows = place[chosen]
        return cls(
            market=market,
            profile=profile,
            costs=costs,
            view=view,
            candle_hash=candle_hash,
            sequences=sequences.take(chosen),
            labels=make_labels(series, profile, costs, sigma).take(rows),
            sigma=sigma[rows],
            close=series.close[rows],
            stop_loss=stop_loss[rows],
            take_profit=take_profit[rows],
        )

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def open_time(self) -> TimeArray:
        return self.sequences.open_time

    @property
    def end_time(self) -> TimeArray:
        """(n,) when each row's label is over, whether it is known or not."""
        return self.labels.end_time

    @property
    def known(self) -> BoolArray:
        """(n,) where the outcome is known."""
        return self.labels.valid

    def dataset(self, rows: Rows) -> Dataset:
        """These rows (ascending) as a data set; where the outcome is not known, y is -1."""
        return joined(
            self.market,
            self.profile,
            self.sequences.take(rows),
            self.labels.take(rows),
            costs=self.costs,
            view=self.view,
            candle_hash=self.candle_hash,
        )

    def inputs_digest(self, rows: Rows) -> str:
        """Equal for two sets of rows exactly when a model is given the same by both."""
        return self._digest(rows).hexdigest()

    def training_digest(self, rows: Rows) -> str:
        """Equal for two sets of rows exactly when a model learns the same from both."""
        digest, labels = self._digest(rows), self.labels
        for column in (labels.label, labels.end_time, labels.long_net, labels.short_net):
            digest.update(np.ascontiguousarray(column[rows]).tobytes())
        return digest.hexdigest()

    def _digest(self, rows: Rows) -> "hashlib.blake2b":
        digest = hashlib.blake2b(digest_size=16)
        if len(rows):
            ends = self.sequences.rows[rows]
            first = int(ends[0]) - (SEQUENCE_LENGTH - 1)
            # Every feature row that a sequence reads, once, and where each sequence ends.
            digest.update(np.ascontiguousarray(self.sequences.base[first : ends[-1] + 1]).tobytes())
            digest.update((ends - first).tobytes())
            digest.update(self.open_time[rows].tobytes())
        return digest
