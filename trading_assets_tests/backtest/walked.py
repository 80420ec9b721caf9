"""A small walk-forward for the tests of this room: hourly candles of 2024, few columns, few rounds.

The prices are random, so nothing can be learnt from them; what is tested here is which rows learn
and which are judged, and what is kept. From 2024-01-01; the first fold begins on 2024-04-01.
"""

from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import numpy as np

from trading_assets.backtest.cadence import Cadence
from trading_assets.backtest.candidates import Candidates
from trading_assets.backtest.predictions import Predictions, PredictionStore
from trading_assets.backtest.walk_forward import WalkForwardPlan
from trading_assets.candles.series import CandleSeries
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.models.profiles import costs, profile
from trading_assets.settings import ProfileName, Recipe, SequenceView, Settings
from trading_assets_tests.features.candle_series import random_series

MARKET = "KRW-BTC"
SETTINGS = Settings()
SWING = profile(SETTINGS, ProfileName.SWING)
PLAN = WalkForwardPlan(
    recipe=Recipe.LIGHTGBM,
    seeds=(1, 2),
    refit=Cadence.parse("1mo"),
    recalibrate=Cadence.parse("10d"),
    retrained_every=timedelta(hours=24),
    first_fit=timedelta(days=60),
    history=None,
    calibration_window=timedelta(days=90),
    max_rounds=4,
)
QUICK = replace(PLAN, recipe=Recipe.LOGISTIC)


DAYS = 220


@cache
def _all() -> CandleSeries:
    return random_series(24 * DAYS, 3)


def series(days: int = DAYS) -> CandleSeries:
    """The first `days` of them."""
    return _all().slice(0, 24 * days)


def candidates(made_of: CandleSeries) -> Candidates:
    sequences = make_sequences(feature_matrix(made_of), made_of)
    return Candidates.of(
        MARKET, SWING, made_of, sequences, costs=costs(SETTINGS), view=SequenceView.LAST
    )


def store(folder: Path) -> PredictionStore:
    return PredictionStore(folder / "walk_forward", "sandbox-test")


def assert_same_rows(one: Predictions, other: Predictions) -> None:
    """The same predictions to the bit; how they were made may differ."""
    for name in Predictions.__slots__:
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, np.ndarray):
            np.testing.assert_array_equal(left, right, err_msg=name)
