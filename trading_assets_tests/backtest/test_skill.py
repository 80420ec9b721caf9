"""How good predictions were: the join with what happened."""

from dataclasses import replace

import numpy as np
import pytest

from trading_assets.backtest.skill import outcomes, skill
from trading_assets.models.labels import Labels
from trading_assets_tests.backtest.predicted import predictions

NAN = float("nan")


def labels() -> Labels:
    """Candles 23:00, 00:00, 01:00, 02:00 around the predictions from 00:00; 02:00 is unknown."""
    n = 4
    open_time = np.datetime64("2023-12-31T23:00", "us") + np.arange(n) * np.timedelta64(1, "h")
    valid = np.array([True, True, True, False])
    return Labels(
        open_time=open_time,
        label=np.array([1, 0, 2, -1], dtype=np.int8),
        end_time=open_time + np.timedelta64(13, "h"),
        long_net=np.array([0.0, -0.02, 0.03, NAN]),
        short_net=np.array([0.0, 0.02, -0.03, NAN]),
        stop_loss=np.array([0.02, 0.02, 0.02, NAN]),
        take_profit=np.array([0.03, 0.03, 0.03, NAN]),
        exit_reason=np.array([2, 0, 1, -1], dtype=np.int8),
        valid=valid,
    )


def test_outcomes_are_joined_by_candle_and_only_where_they_are_known() -> None:
    found = outcomes(predictions(), labels())
    assert found.rows.tolist() == [0, 1]
    assert found.y.tolist() == [0, 2]
    assert found.long_net.tolist() == [-0.02, 0.03]


def test_losses_are_of_the_known_rows() -> None:
    found = skill(predictions(), labels(), seed=1)
    assert found.n == 2
    # SELL had 0.5, BUY 0.5: both losses are ln 2. The baselines gave 1/3 and 0.3.
    assert found.log_loss == pytest.approx(0.693147, abs=1e-6)
    assert found.prior_log_loss == pytest.approx(1.098612, abs=1e-6)
    assert found.volatility_log_loss == pytest.approx(1.203973, abs=1e-6)
    assert found.auc_direction == 1.0


def test_without_any_known_outcome_there_is_nothing_to_say() -> None:
    unknown = replace(labels(), valid=np.zeros(4, dtype=np.bool_))
    with pytest.raises(ValueError, match="at least one row"):
        skill(predictions(), unknown, seed=1)
