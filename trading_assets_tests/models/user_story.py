"""The user's setup, built anew: label +-2 % in 6 hours, random split, traded by a 30-minute rule.

Their model showed 85 % accuracy and a log loss of 0.371 and made no trade in 21 hours. Here it is
built on any candles: large trees, overlapping rows, a random fifth to test on.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from trading_assets.candles.series import CandleSeries
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.baselines import fit_logistic
from trading_assets.models.dataset import Dataset, make_dataset, split_of
from trading_assets.models.day_one import Claim, Forecastable
from trading_assets.models.labels import Labels, make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.models.split_gap import large_trees
from trading_assets.models.splits import Fold, random_split
from trading_assets.models.training import train
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.exits import FixedExits
from trading_assets.rules.profile import LabelKind, Profile
from trading_assets.settings import ProfileName, Recipe, SequenceView, Settings

TWO_PERCENT = Decimal("0.02")


def rule(minutes: int, interval_minutes: int = 5, gate_days: int = 10) -> Profile:
    """+-2 % barriers within `minutes`, the label being which of them is touched first."""
    shipped = profile(Settings(), ProfileName.SCALP)
    return replace(
        shipped,
        name=f"two_percent_{minutes}m",
        interval_minutes=interval_minutes,
        label=LabelKind.TRIPLE_BARRIER,
        exits=FixedExits(TWO_PERCENT, TWO_PERCENT, timedelta(minutes=minutes)),
        min_confidence=Decimal("0.5"),
        history=None,
        min_history=timedelta(days=20),
        calibration_window=timedelta(days=3),
        gate_window=timedelta(days=gate_days),
    )


def rows(market: str, series: CandleSeries, chosen: Profile) -> tuple[Labels, Dataset]:
    charges = costs(Settings())
    labels = make_labels(series, chosen, charges, ewm_sigma(series))
    sequences = make_sequences(feature_matrix(series), series)
    dataset = make_dataset(market, chosen, sequences, labels, costs=charges, view=SequenceView.LAST)
    return labels, dataset


def their_claim(market: str, series: CandleSeries, learnt: Profile, traded: Profile) -> Claim:
    """Label `learnt`, random split, large trees; traded by another rule."""
    _, dataset = rows(market, series, learnt)
    tested, later = random_split(len(dataset), seed=1), later_rows(dataset, learnt)
    return Claim(
        dataset,
        learnt,
        tested,
        large_trees(dataset, tested, seed=1),
        later,
        large_trees(dataset, later, seed=1),
        traded,
    )


def honest_claim(dataset: Dataset, traded: Profile) -> tuple[Claim, Forecastable]:
    """A training as shipped (smaller): the label is the traded rule, it is tested on later rows.

    What is shown is the calibration window; the same recipe is later judged on the gate window, and
    what it says there is the forecast.
    """
    made = train(dataset, traded, Recipe.LIGHTGBM, seeds=(1,), max_rounds=60)
    shown, later = split_of(dataset, traded).calibration, later_rows(dataset, traded)
    (tested,) = shown
    p, p_later = made.calibration_rows.p, made.gate_rows.p
    claim = Claim(dataset, traded, tested, p, later, p_later, traded)
    return claim, Forecastable(dataset.market, dataset.closes[later.test], p_later)


def knowing_nothing(dataset: Dataset) -> Dataset:
    """`dataset` with every row's features taken from another row: a pipeline that mixes up rows."""
    order = np.random.default_rng(1).permutation(len(dataset))
    return replace(dataset, x=dataset.x[order])


def later_rows(dataset: Dataset, chosen: Profile) -> Fold:
    split = split_of(dataset, chosen)
    return Fold(split.twin, split.gate)


def small_model(dataset: Dataset, fold: Fold) -> NDArray[np.float64]:
    """A logistic regression: calibrated by its nature, nothing to remember single rows with."""
    fitted = fit_logistic(dataset.x[fold.train], dataset.y[fold.train], dataset.last_columns)
    return fitted.probabilities(dataset.x[fold.test])


def forecast(market: str, series: CandleSeries, traded: Profile) -> tuple[Labels, Forecastable]:
    """Labels of the traded rule, and what an honest model says of it on unseen rows."""
    labels, dataset = rows(market, series, traded)
    fold = later_rows(dataset, traded)
    closes = dataset.closes[fold.test]
    return labels, Forecastable(market, closes, small_model(dataset, fold))


def by_name(outcomes: tuple[CheckOutcome, ...]) -> Mapping[str, CheckOutcome]:
    return {outcome.name: outcome for outcome in outcomes}
