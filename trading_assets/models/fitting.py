"""One way to fit a recipe on any rows of a data set, the columns binned once.

A LightGBM per seed and / or a logistic regression. Not here: which rows, and in which order
(`training.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from trading_assets.features.groups import features_of
from trading_assets.models.baselines import LogisticModel, fit_logistic
from trading_assets.models.dataset import Dataset
from trading_assets.models.model import vote
from trading_assets.models.splits import Fold
from trading_assets.rules.profile import ModelShape
from trading_assets.settings import Recipe

FloatArray = NDArray[np.float64]
Rows = NDArray[np.intp]

MAX_ROUNDS = 150
PATIENCE = 20
# Tiny trees on much history: measured on real candles, 127 leaves have skill -17 %, 5 leaves +12 %.
# No use_quantized_grad: 20 % faster, but LightGBM 4.7.0 stops with a failed check of its own.
LIGHTGBM_PARAMETERS: Mapping[str, Any] = {
    "objective": "multiclass",
    "num_class": 3,
    "num_leaves": 5,
    "learning_rate": 0.06,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "min_data_in_leaf": 150,
    "max_bin": 63,
    "feature_pre_filter": False,
    "num_threads": 1,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True, slots=True)
class FitProgress:
    """`done` of `total` fits are made, the last one for `part`."""

    done: int
    total: int
    part: str


def tree_parameters(shape: ModelShape, features: Sequence[str], columns: int) -> dict[str, Any]:
    """LightGBM's parameters for models of `shape`; column j is of feature j mod len(features).

    A column of a feature that is left out stays where it is, and no split of it gains anything. So
    the share of the columns that a tree may use is a share of those that are left, too.
    """
    parameters = {**LIGHTGBM_PARAMETERS, "num_leaves": shape.num_leaves}
    if shape.without:
        unseen = features_of(shape.without)
        parameters["feature_contri"] = [
            0.0 if features[j % len(features)] in unseen else 1.0 for j in range(columns)
        ]
    return parameters


OnFit = Callable[[FitProgress], None]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """One fit: a booster per seed and / or a logistic regression."""

    boosters: tuple[lgb.Booster, ...]
    logistic: LogisticModel | None

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipes that these parts can be put together to."""
        if not self.boosters:
            return (Recipe.LOGISTIC,)
        return (Recipe.LIGHTGBM,) if self.logistic is None else tuple(Recipe)

    def of(self, recipe: Recipe) -> "Parts":
        """Only what `recipe`, one of `recipes`, consists of."""
        return Parts(
            () if recipe is Recipe.LOGISTIC else self.boosters,
            None if recipe is Recipe.LIGHTGBM else self.logistic,
        )

    def predict(self, x: NDArray[np.float32]) -> FloatArray:
        return vote(self.boosters, self.logistic, x)

    def texts(self, rounds: int) -> tuple[str, ...]:
        return tuple(b.model_to_string(num_iteration=rounds) for b in self.boosters)


@dataclass(slots=True, eq=False)
class Fitter:
    """Fits a recipe on any rows of one data set, whose columns are binned once.

    The bin edges come from the oldest rows alone, so no later row shapes them.
    """

    dataset: Dataset
    recipe: Recipe
    seeds: tuple[int, ...]
    shape: ModelShape
    binned: lgb.Dataset | None
    total: int
    on_fit: OnFit | None
    done: int = 0
    # Also fit what another recipe would need and what costs next to nothing: a logistic regression.
    others: bool = False

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        recipe: Recipe,
        seeds: tuple[int, ...],
        *,
        shape: ModelShape,
        oldest: Rows,
        fits: int,
        on_fit: OnFit | None = None,
        others: bool = False,
    ) -> "Fitter":
        """oldest: the rows that the bin edges come from. fits: how many there will be, for
        `on_fit`; finding the rounds is one more."""
        if not seeds:
            raise ValueError("training needs at least one seed")
        if recipe is Recipe.LOGISTIC:
            return cls(dataset, recipe, seeds, shape, None, fits, on_fit, others=others)
        edges = lgb.Dataset(dataset.x[oldest], dataset.y[oldest], params=dict(LIGHTGBM_PARAMETERS))
        binned = lgb.Dataset(
            dataset.x, dataset.y, reference=edges, params=dict(LIGHTGBM_PARAMETERS)
        ).construct()
        return cls(dataset, recipe, seeds, shape, binned, fits + 1, on_fit, others=others)

    def rounds(self, early_stop: Fold, max_rounds: int) -> int:
        """Rounds by early stopping on the purged last part of train: the seeds' mean, at least 1.

        0 for a recipe without trees.
        """
        if self.binned is None:
            return 0
        train_set = self.binned.subset(early_stop.train.tolist()).construct()
        valid_set = self.binned.subset(early_stop.test.tolist()).construct()
        best = [
            lgb.train(
                self._parameters(seed),
                train_set,
                num_boost_round=max_rounds,
                valid_sets=[valid_set],
                callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
            ).best_iteration
            for seed in self.seeds
        ]
        self._report("rounds")
        return max(1, round(float(np.mean(best))))

    def fit(self, rows: Rows, rounds: int, part: str) -> Parts:
        """The recipe on `rows`, with the cheap parts of the others beside it if asked for."""
        boosters: tuple[lgb.Booster, ...] = ()
        if self.binned is not None:
            chosen = (
                self.binned if len(rows) == len(self.dataset) else self.binned.subset(rows.tolist())
            ).construct()
            boosters = tuple(
                lgb.train(self._parameters(seed), chosen, num_boost_round=rounds)
                for seed in self.seeds
            )
        logistic = None
        if self.recipe is not Recipe.LIGHTGBM or self.others:
            logistic = fit_logistic(self.dataset.x[rows], self.dataset.y[rows], self._seen_last())
        self._report(part)
        return Parts(boosters, logistic)

    @property
    def parameters(self) -> dict[str, Any]:
        """LightGBM's, without the seed."""
        return tree_parameters(self.shape, self.dataset.features, len(self.dataset.columns))

    def _parameters(self, seed: int) -> dict[str, Any]:
        return {**self.parameters, "seed": seed}

    def _seen_last(self) -> list[int]:
        """The columns of last values that a logistic regression may read."""
        unseen = features_of(self.shape.without)
        named = zip(self.dataset.features, self.dataset.last_columns, strict=True)
        return [column for name, column in named if name not in unseen]

    def _report(self, part: str) -> None:
        self.done += 1
        if self.on_fit is not None:
            self.on_fit(FitProgress(self.done, self.total, part))
