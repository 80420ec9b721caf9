"""How good the probabilities of a walk-forward were, beside its baselines.

Not here: what they would have earned (`engine`), and the metrics themselves (`models.evaluation`).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest.predictions import Predictions
from trading_assets.candles.frame import BoolArray, FloatArray
from trading_assets.models.evaluation import Evaluation, evaluate, row_losses
from trading_assets.models.labels import Labels
from trading_assets.models.splits import Rows


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What was true of each row of a walk-forward. rows: its rows whose outcome is known.

    y: their classes, (len(rows),). long_net, short_net: net returns, ratios.
    """

    rows: Rows
    y: NDArray[np.int8]
    long_net: FloatArray
    short_net: FloatArray


def outcomes(predictions: Predictions, labels: Labels) -> Outcomes:
    """Join by candle. labels: of the profile that was predicted, ascending, one row a candle."""
    place = np.searchsorted(labels.open_time, predictions.open_time)
    inside: BoolArray = place < len(labels)
    inside[inside] = labels.open_time[place[inside]] == predictions.open_time[inside]
    inside[inside] = labels.valid[place[inside]]
    known = place[inside]
    return Outcomes(
        np.flatnonzero(inside),
        labels.label[known],
        labels.long_net[known],
        labels.short_net[known],
    )


def skill(predictions: Predictions, labels: Labels, seed: int) -> Evaluation:
    """The Evaluation of every row whose outcome is known. seed: of the resampling.

    Raises ValueError when there is none.
    """
    found = outcomes(predictions, labels)
    return evaluate(
        open_time=predictions.open_time[found.rows],
        y=found.y,
        p=predictions.p[found.rows],
        loss_prior=row_losses(predictions.p_prior[found.rows], found.y),
        loss_volatility=row_losses(predictions.p_volatility[found.rows], found.y),
        importance={},
        seed=seed,
    )
