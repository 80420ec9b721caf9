"""Evaluation: numbers by hand on a few rows, then the bootstrap against the plain way."""

import json
import math

import numpy as np
import pytest

from trading_assets.models.evaluation import (
    Evaluation,
    auc,
    block_numbers,
    direction_auc,
    direction_interval,
    ece_noise_bound,
    evaluate,
    expected_calibration_error,
    row_losses,
)

START = np.datetime64("2025-01-01T00:00:00", "us")
HOUR = np.timedelta64(1, "h")
SELL, HOLD, BUY = 0, 1, 2

# Four rows: right SELL, right HOLD, a BUY taken for HOLD, a BUY right.
Y = np.array([SELL, HOLD, BUY, BUY], dtype=np.int8)
P = np.array([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.5, 0.4], [0.3, 0.2, 0.5]])


def evaluation(p: np.ndarray = P, y: np.ndarray = Y) -> Evaluation:
    n = len(y)
    return evaluate(
        open_time=START + np.arange(n) * HOUR,
        y=y,
        p=p,
        loss_prior=np.full(n, 1.0),
        loss_volatility=np.full(n, 0.8),
        importance={"rsi_14": 1.0},
        seed=1,
    )


def test_log_loss_ratios_and_skill_are_those_of_the_hand_calculation() -> None:
    result = evaluation()
    # -(ln .5 + ln .6 + ln .4 + ln .5) / 4 = (0.6931 + 0.5108 + 0.9163 + 0.6931) / 4 = 0.70335
    assert result.log_loss == pytest.approx(0.70335, abs=1e-4)
    assert result.ratio_prior == pytest.approx(0.70335, abs=1e-4)
    assert result.ratio_volatility == pytest.approx(0.70335 / 0.8, abs=1e-4)
    assert result.skill == pytest.approx(0.29665, abs=1e-4)


def test_confusion_precision_recall_and_f1_are_those_of_the_hand_calculation() -> None:
    result = evaluation()
    assert result.confusion == ((1, 0, 0), (0, 1, 0), (0, 1, 1))
    assert result.accuracy == 0.75
    assert result.majority_accuracy == 0.5
    assert result.precision == (1.0, 0.5, 1.0)
    assert result.recall == (1.0, 1.0, 0.5)
    # F1 of HOLD: 2 x .5 x 1 / 1.5; of BUY: 2 x 1 x .5 / 1.5.
    assert result.f1 == pytest.approx((1.0, 2 / 3, 2 / 3))
    assert result.label_shares == (0.25, 0.25, 0.5)
    assert result.predicted_shares == (0.25, 0.5, 0.25)
    assert result.mean_probabilities == pytest.approx((0.275, 0.4, 0.325))


def test_auc_counts_ordered_pairs_and_half_of_the_ties() -> None:
    positive = np.array([True, True, False, False])
    assert auc(np.array([4.0, 3.0, 2.0, 1.0]), positive) == 1.0
    assert auc(np.array([1.0, 2.0, 3.0, 4.0]), positive) == 0.0
    # Pairs (3 over 2), (3 over 1), (2 equal 2: half), (2 over 1): 3.5 of 4.
    assert auc(np.array([3.0, 2.0, 2.0, 1.0]), positive) == 0.875
    assert math.isnan(auc(np.array([1.0, 2.0]), np.array([True, True])))


def test_direction_auc_looks_only_at_rows_that_moved() -> None:
    # Lean p_buy / (p_buy + p_sell): SELL .2/.7 = .286, BUY .4/.5 = .8 and .5/.8 = .625. Both above.
    assert direction_auc(Y, P) == 1.0
    # The HOLD row may lean as it likes.
    other = P.copy()
    other[1] = [0.0, 0.1, 0.9]
    assert direction_auc(Y, other) == 1.0


def test_the_direction_interval_equals_resampling_the_rows_of_each_drawn_block() -> None:
    rng = np.random.default_rng(3)
    n = 24 * 30
    y = rng.integers(0, 3, n).astype(np.int8)
    p = rng.dirichlet((2, 2, 2), n).round(2)  # rounded: with ties
    p[:, 1] += 1 - p.sum(axis=1)
    open_time = START + np.arange(n) * HOUR
    low, high = direction_interval(open_time, y, p, seed=5, draws=50)
    block = block_numbers(open_time)
    names = np.unique(block)
    draws = np.random.default_rng(5).multinomial(
        len(names), np.full(len(names), 1 / len(names)), 50
    )
    plain = []
    for counts in draws:
        rows = np.concatenate(
            [
                np.tile(np.flatnonzero(block == name), k)
                for name, k in zip(names, counts, strict=True)
            ]
        )
        plain.append(direction_auc(y[rows], p[rows]))
    assert (low, high) == pytest.approx(tuple(np.percentile(plain, [5, 95])))


def test_blocks_are_three_whole_days_since_the_epoch() -> None:
    # 2025-01-01 is day 20,089 = 3 x 6,696 + 1: one day into its block.
    times = START + np.array([0, 47, 48, 119, 120]) * HOUR
    assert (block_numbers(times) - 6696).tolist() == [0, 0, 1, 1, 2]


def test_calibration_error_is_the_gap_between_promise_and_frequency() -> None:
    # Always (.2, .5, .3); of ten rows 2 SELL, 5 HOLD, 3 BUY: no gap in one bin.
    y = np.array([0] * 2 + [1] * 5 + [2] * 3, dtype=np.int8)
    p = np.tile([0.2, 0.5, 0.3], (10, 1))
    assert expected_calibration_error(p, y, bins=1) == pytest.approx(0.0)
    # All BUY instead: gaps .2, .5 and .7, mean 1.4 / 3.
    assert expected_calibration_error(p, np.full(10, 2, dtype=np.int8), bins=1) == pytest.approx(
        1.4 / 3
    )


def test_a_calibrated_model_exceeds_the_noise_bound_in_about_one_draw_of_twenty() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet((4, 8, 4), 600)
    bound = ece_noise_bound(p, seed=1)
    above = 0
    for _ in range(200):
        u = rng.random(600)
        y = ((u > p[:, 0]).astype(np.int8) + (u > p[:, 0] + p[:, 1])).astype(np.int8)
        above += expected_calibration_error(p, y) > bound
    assert 2 <= above <= 22  # 10 expected of 200; both ends beyond 2.5 sd
    # More rows, less noise.
    assert ece_noise_bound(np.tile(p, (4, 1)), seed=1) < bound


def test_row_losses_take_one_row_of_probabilities_for_all() -> None:
    prior = np.array([0.25, 0.5, 0.25])
    assert row_losses(prior, Y) == pytest.approx([1.3863, 0.6931, 1.3863, 1.3863], abs=1e-4)
    assert row_losses(np.array([[0.0, 1.0, 0.0]]), np.array([0], dtype=np.int8))[0] < 28


def test_an_evaluation_survives_json_and_leaves_unknown_numbers_out_of_the_metrics() -> None:
    holds = np.full(4, HOLD, dtype=np.int8)
    result = evaluation(y=holds)
    assert math.isnan(result.auc_direction)
    again = Evaluation.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False)))
    assert again.metrics() == result.metrics()
    assert again.confusion == result.confusion
    assert "auc_direction" not in result.metrics()
    assert "logistic_log_loss" not in result.metrics()
    assert result.metrics()["recall_hold"] == 0.5


def test_no_rows_cannot_be_evaluated() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        evaluation(P[:0], Y[:0])
