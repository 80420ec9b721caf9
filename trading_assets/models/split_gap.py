"""How much a random split would flatter here: measured on demand, never used to train.

The audit of the splits that are used is in `splits.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from trading_assets.models.dataset import Dataset, split_of
from trading_assets.models.evaluation import row_losses
from trading_assets.models.fitting import LIGHTGBM_PARAMETERS
from trading_assets.models.model import vote
from trading_assets.models.splits import Fold, random_split
from trading_assets.rules.profile import Profile

FloatArray = NDArray[np.float64]

# Large enough to remember single rows: what a leaking split rewards.
_PROBE_PARAMETERS: Mapping[str, Any] = {
    "num_leaves": 63,
    "min_data_in_leaf": 5,
    "lambda_l2": 0.0,
    "feature_fraction": 1.0,
    "learning_rate": 0.1,
}


@dataclass(frozen=True, slots=True)
class SplitGap:
    """Log loss of one and the same large-tree model, tested on random rows and on later rows.

    A random split puts neighbours with nearly the same label into training: what it shows is
    memory. The wider the gap, the more a careless split would flatter here.
    """

    random_log_loss: float
    purged_log_loss: float


def split_gap(dataset: Dataset, profile: Profile, seed: int) -> SplitGap:
    """Measure what a random split would have claimed (63 leaves, 100 rounds, both times)."""
    split = split_of(dataset, profile)
    later = Fold(split.twin, split.gate)

    def loss(fold: Fold) -> float:
        p = large_trees(dataset, fold, seed)
        return float(row_losses(p, dataset.y[fold.test]).mean())

    return SplitGap(loss(random_split(len(dataset), seed)), loss(later))


def large_trees(dataset: Dataset, fold: Fold, seed: int) -> FloatArray:
    """(n_test, 3) what the large-tree model says of `fold.test` after learning `fold.train`."""
    parameters = {**LIGHTGBM_PARAMETERS, **_PROBE_PARAMETERS, "seed": seed}
    rows = lgb.Dataset(dataset.x[fold.train], dataset.y[fold.train])
    booster = lgb.train(parameters, rows, num_boost_round=100)
    return vote((booster,), None, dataset.x[fold.test])
