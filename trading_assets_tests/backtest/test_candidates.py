"""Candidates: every row that a decision could have been made at."""

from dataclasses import replace

import numpy as np
import pytest

from trading_assets.backtest.candidates import Candidates
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.dataset import make_dataset
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import costs
from trading_assets.signals.prediction import latest_sigma
from trading_assets_tests.backtest.walked import MARKET, SETTINGS, SWING, candidates, series
from trading_assets_tests.features.candle_series import broken_at


@pytest.fixture(scope="module")
def made() -> Candidates:
    return candidates(series(60))


def test_the_newest_rows_are_there_although_their_outcome_is_not_known(made: Candidates) -> None:
    assert made.open_time[-1] == series(60).open_time[-1]
    # A label of 12 hours is known for no row of the last 12.
    assert not made.known[-12:].any()
    assert made.known[-13]
    assert (made.labels.label[-12:] == -1).all()


def test_known_rows_are_those_that_a_model_is_trained_on(made: Candidates) -> None:
    candles = series(60)
    labels = make_labels(candles, SWING, costs(SETTINGS), ewm_sigma(candles))
    sequences = make_sequences(feature_matrix(candles), candles)
    trained = make_dataset(MARKET, SWING, sequences, labels, costs=costs(SETTINGS), view=made.view)
    mine = made.dataset(np.flatnonzero(made.known))
    for name in ("open_time", "x", "y", "end_time", "long_net", "short_net"):
        np.testing.assert_array_equal(getattr(mine, name), getattr(trained, name))
    assert (mine.columns, mine.volatility_columns) == (trained.columns, trained.volatility_columns)


def test_terms_and_volatility_are_those_of_a_signal_at_that_close(made: Candidates) -> None:
    row = 500
    upto = series(60).slice(0, int(np.searchsorted(series(60).open_time, made.open_time[row])) + 1)
    sigma = latest_sigma(upto)
    assert made.sigma[row] == sigma
    assert made.close[row] == upto.close[-1]
    # k x sigma x sqrt(12) with k = 1; this price moves far more than the floor of two costs.
    assert made.stop_loss[row] == pytest.approx(sigma * 12**0.5)
    assert made.take_profit[row] == made.stop_loss[row]


def test_a_break_in_the_candles_costs_the_rows_whose_window_crosses_it() -> None:
    broken = broken_at(series(60), [900])
    made = candidates(broken)
    late = made.open_time >= broken.open_time[900]
    # 24 rows after a warm-up of 100 candles: the first window ends with the 124th.
    assert made.open_time[late][0] == broken.open_time[900 + 123]


def test_equal_digests_mean_equal_inputs_whatever_else_the_rows_lie_in(made: Candidates) -> None:
    longer = candidates(series(70))
    rows = np.arange(300, 400)
    np.testing.assert_array_equal(longer.open_time[rows], made.open_time[rows])
    assert longer.inputs_digest(rows) == made.inputs_digest(rows)
    assert longer.training_digest(rows) == made.training_digest(rows)
    assert longer.inputs_digest(rows[1:]) != made.inputs_digest(rows)


def test_one_changed_feature_changes_both_digests(made: Candidates) -> None:
    rows = np.arange(100, 200)
    base = made.sequences.base.copy()
    # The oldest of the 24 rows that row 100 reads.
    base[made.sequences.rows[100] - 23, 5] += 1e-3
    other = replace(made, sequences=replace(made.sequences, base=base))
    assert other.inputs_digest(rows) != made.inputs_digest(rows)
    assert other.training_digest(rows) != made.training_digest(rows)
    assert other.inputs_digest(rows[1:]) == made.inputs_digest(rows[1:])


@pytest.mark.parametrize("column", ["label", "end_time", "long_net", "short_net"])
def test_a_changed_outcome_changes_the_training_digest_alone(made: Candidates, column: str) -> None:
    rows = np.arange(100, 200)
    values = getattr(made.labels, column).copy()
    values[150] += 1
    other = replace(made, labels=replace(made.labels, **{column: values}))
    assert other.training_digest(rows) != made.training_digest(rows)
    assert other.inputs_digest(rows) == made.inputs_digest(rows)


def test_sequences_of_other_candles_are_refused() -> None:
    candles = series(60)
    sequences = make_sequences(feature_matrix(candles), candles)
    with pytest.raises(ValueError, match="lacks candles that the sequences end with"):
        Candidates.of(MARKET, SWING, candles.slice(0, 1000), sequences, costs=costs(SETTINGS))
