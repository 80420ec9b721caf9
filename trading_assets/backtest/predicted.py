"""What the probabilities promised against what happened, on every judged row, traded or not.

Predictions joined with the outcomes of the same candles. Not here: money (`assess.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest.predictions import Predictions
from trading_assets.backtest.report import Bin, Predicted, Skill
from trading_assets.backtest.statistics import FloatArray
from trading_assets.models.evaluation import Evaluation, evaluate, row_losses
from trading_assets.models.labels import Labels
from trading_assets.models.model import BUY, HOLD

BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """The rows of `predictions` whose label is known. y: (n,) classes. long_net: (n,) ratios."""

    predictions: Predictions
    rows: NDArray[np.intp]
    y: NDArray[np.int8]
    long_net: FloatArray


def outcomes(predictions: Predictions, labels: Labels) -> Outcomes:
    """Join by candle time; a row whose path is not over, or broken, has no outcome."""
    place = np.searchsorted(labels.open_time, predictions.open_time)
    inside = np.minimum(place, len(labels) - 1)
    known = (labels.open_time[inside] == predictions.open_time) & labels.valid[inside]
    rows = np.flatnonzero(known)
    return Outcomes(predictions, rows, labels.label[inside[rows]], labels.long_net[inside[rows]])


def predicted(
    predictions: Sequence[Predictions], labels: Mapping[str, Labels], seed: int
) -> Predicted:
    """Skill by market; reliability and tenths of expected value over all markets together."""
    joined = [outcomes(p, labels[p.market]) for p in predictions]
    joined = [j for j in joined if len(j.rows)]
    if not joined:
        return Predicted((), (), ())
    p_buy = np.concatenate([j.predictions.p[j.rows, BUY] for j in joined])
    happened = np.concatenate([(j.y == BUY).astype(np.float64) for j in joined])
    expected = np.concatenate([j.predictions.ev_long[j.rows] for j in joined])
    net = np.concatenate([j.long_net for j in joined])
    return Predicted(
        skill=tuple(_skill(j, seed) for j in joined),
        reliability=bins(p_buy, happened),
        deciles=bins(1e4 * expected, 1e4 * net),
    )


def bins(promised: FloatArray, happened: FloatArray, count: int = BINS) -> tuple[Bin, ...]:
    """Bins of equal count by what was promised, lowest first; fewer when there are fewer rows."""
    order = np.argsort(promised, kind="stable")
    return tuple(
        Bin(float(promised[rows].mean()), float(happened[rows].mean()), len(rows))
        for rows in np.array_split(order, min(count, len(order)))
    )


def evaluation(joined: Outcomes, seed: int) -> Evaluation:
    """The Evaluation of the rows whose outcome is known. Raises ValueError when there is none."""
    return evaluate(
        open_time=joined.predictions.open_time[joined.rows],
        y=joined.y,
        p=joined.predictions.p[joined.rows],
        loss_prior=row_losses(joined.predictions.p_prior[joined.rows], joined.y),
        loss_volatility=row_losses(joined.predictions.p_volatility[joined.rows], joined.y),
        importance={},
        seed=seed,
    )


def _skill(joined: Outcomes, seed: int) -> Skill:
    found = evaluation(joined, seed)
    return Skill(
        market=joined.predictions.market,
        rows=found.n,
        ratio_prior=found.ratio_prior,
        ratio_volatility=found.ratio_volatility,
        auc_direction=found.auc_direction,
        auc_direction_low=found.auc_direction_low,
        auc_direction_high=found.auc_direction_high,
        ece=found.ece,
        ece_bound=found.ece_bound,
        hold_share=found.label_shares[HOLD],
        p_hold=found.mean_probabilities[HOLD],
    )
