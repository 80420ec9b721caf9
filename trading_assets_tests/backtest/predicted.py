"""Predictions made by hand for the tests of this room: four hourly rows, two folds, two seeds."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from trading_assets.backtest.predictions import FoldFacts, Predictions, expected_values
from trading_assets.models.model import ClassReturns

HOUR = timedelta(hours=1)
START = datetime(2024, 1, 1, tzinfo=UTC)
RETURNS = (
    ClassReturns(long=(-0.02, -0.001, 0.018), short=(0.018, -0.001, -0.02)),
    ClassReturns(long=(-0.01, -0.002, 0.01), short=(0.01, -0.002, -0.01)),
)


def predictions(**changes: Any) -> Predictions:
    """KRW-BTC swing lightgbm, 2024-01-01 00:00 to 03:00; the second fold begins at 02:00."""
    start = np.datetime64("2024-01-01T00:00", "us")
    fold = np.array([0, 0, 1, 1], dtype=np.int16)
    p = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]])
    first = np.array([[0.6, 0.2, 0.2], [0.1, 0.3, 0.6], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5]])
    ev_long, ev_short = expected_values(p, fold, RETURNS)
    made = Predictions(
        market="KRW-BTC",
        profile="swing",
        recipe="lightgbm",
        interval=HOUR,
        open_time=start + np.arange(4) * np.timedelta64(1, "h"),
        fold=fold,
        p=p,
        p_seeds=np.stack([first, 2 * p - first]).astype(np.float32),
        ev_long=ev_long,
        ev_short=ev_short,
        p_prior=np.full((4, 3), 1 / 3),
        p_volatility=np.tile([0.3, 0.4, 0.3], (4, 1)),
        stop_loss=np.full(4, 0.02),
        take_profit=np.full(4, 0.03),
        sigma=np.full(4, 0.005),
        close=np.array([100.0, 101.0, 102.0, 103.0]),
        folds=folds(RETURNS),
        record={"cadence": "by hand"},
    )
    return replace(made, **changes)


def folds(returns: Sequence[ClassReturns]) -> tuple[FoldFacts, ...]:
    """A fold each two hours, trained on everything from 2023 to a day before it."""
    return tuple(
        FoldFacts(
            start=START + 2 * place * HOUR,
            train_from=datetime(2023, 1, 1, tzinfo=UTC),
            train_until=START + 2 * place * HOUR - timedelta(days=1),
            train_rows=8000 + place,
            rounds=40,
            returns=fold_returns,
        )
        for place, fold_returns in enumerate(returns)
    )
