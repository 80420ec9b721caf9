"""Deflated Sharpe ratio and PBO: the papers' own numbers, by hand, and against simulation."""

import itertools
import math

import numpy as np
import pytest

from trading_assets.backtest.overfitting import (
    Overfitting,
    deflated_sharpe,
    expected_best_sharpe,
    independent_trials,
    probabilistic_sharpe,
    probability_of_overfitting,
    psr,
)
from trading_assets.backtest.statistics import FloatArray


def test_the_numerical_example_of_the_deflated_sharpe_ratio() -> None:
    """Bailey and Lopez de Prado (2014): 100 trials, five years of 250 days, annual Sharpe 2.5."""
    luck = expected_best_sharpe(100, math.sqrt(1 / 2 / 250))
    assert luck == pytest.approx(0.1132, abs=5e-5)
    assert psr(2.5 / math.sqrt(250), luck, 1250, -3, 10) == pytest.approx(0.9004, abs=5e-5)


def test_the_example_with_46_trials_reaches_95_percent() -> None:
    luck = expected_best_sharpe(46, math.sqrt(1 / 2 / 250))
    assert psr(2.5 / math.sqrt(250), luck, 1250, -3, 10) == pytest.approx(0.9505, abs=5e-5)


@pytest.mark.parametrize("trials", [5, 30, 300])
def test_the_expected_best_is_the_mean_maximum_of_so_many_normals(trials: int) -> None:
    drawn = np.random.default_rng(1).normal(size=(20_000, trials)).max(axis=1).mean()
    # The formula is an approximation for many trials; its error falls from 3 % at 5.
    assert expected_best_sharpe(trials, 1.0) == pytest.approx(drawn, rel=0.04)


def test_one_trial_needs_no_deflation_and_none_is_refused() -> None:
    assert expected_best_sharpe(1, 0.5) == 0.0
    # Settings that are almost one: the formula alone would make the best of them look better.
    assert expected_best_sharpe(1.05, 0.5) == 0.0
    assert expected_best_sharpe(1.5, 0.5) > 0.0
    with pytest.raises(ValueError, match="at least 1 trial"):
        expected_best_sharpe(0, 0.5)


def test_the_probabilistic_sharpe_ratio_of_normal_returns_is_about_students_t() -> None:
    returns = np.random.default_rng(2).normal(0.05, 1, 2000)
    t = returns.mean() / returns.std(ddof=1) * math.sqrt(2000)
    expected = 0.5 * (1 + math.erf(t / math.sqrt(2)))
    assert probabilistic_sharpe(returns, 0.0) == pytest.approx(expected, abs=0.005)


def test_copies_of_one_setting_count_once_and_independent_ones_fully() -> None:
    rng = np.random.default_rng(3)
    one = rng.normal(size=(500, 1))
    assert independent_trials(np.repeat(one, 20, axis=1)) == pytest.approx(1.0)
    assert independent_trials(rng.normal(size=(5000, 20))) == pytest.approx(20, abs=0.5)
    assert independent_trials(np.zeros((10, 4))) == 1.0


def test_the_best_of_many_lucky_settings_is_not_better_than_luck() -> None:
    found, alone = [], []
    for seed in range(40):
        returns = np.random.default_rng(seed).normal(0, 0.01, (730, 50))
        best = int(returns.mean(axis=0).argmax())
        found.append(deflated_sharpe(returns, best).probability)
        alone.append(probabilistic_sharpe(returns[:, best], 0.0))
    assert 0.35 < np.mean(found) < 0.65
    # Looked at alone, nearly every one of them would have passed as skill.
    assert np.mean(np.array(alone) > 0.95) > 0.9


def test_a_real_edge_survives_the_deflation() -> None:
    returns = np.random.default_rng(4).normal(0, 0.01, (730, 50))
    returns[:, 7] += 0.002  # an annual Sharpe ratio of 0.2 x sqrt(365) = 3.8
    found = deflated_sharpe(returns, 7)
    assert found.probability > 0.95
    assert found.trials == pytest.approx(50, abs=2)


def overfitting_by_loop(returns: FloatArray, partitions: int) -> float:
    """An independent implementation: one split after another, in plain Python."""
    parts = np.array_split(returns, partitions)
    bad = total = 0
    for chosen in itertools.combinations(range(partitions), partitions // 2):
        inside = np.concatenate([parts[i] for i in chosen])
        outside = np.concatenate([parts[i] for i in range(partitions) if i not in chosen])
        score_in = inside.mean(axis=0) / inside.std(axis=0, ddof=1)
        score_out = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        best = int(score_in.argmax())
        rank = sum(1 for s in score_out if s <= score_out[best])
        relative = rank / (returns.shape[1] + 1)
        bad += math.log(relative / (1 - relative)) <= 0
        total += 1
    return bad / total


@pytest.mark.parametrize("seed", range(5))
def test_pbo_agrees_with_one_split_after_another(seed: int) -> None:
    returns = np.random.default_rng(seed).normal(0.0002 * seed, 0.01, (80, 7))
    found = probability_of_overfitting(returns, partitions=8)
    assert found.splits == 70  # 8 over 4
    assert found.probability == pytest.approx(overfitting_by_loop(returns, 8))


def test_pbo_of_two_settings_and_two_halves_by_hand() -> None:
    # Setting 0 is the better one in the first half, setting 1 in the second: whichever half
    # chooses, the other half ranks the choice last (1 of 2): 1/3 <= 1/2 in both splits.
    swapped = np.array([[0.02, 0.0], [0.01, 0.01], [0.0, 0.02], [0.01, 0.01]])
    assert probability_of_overfitting(swapped, 2) == Overfitting(1.0, 0.0, 2, 2)
    # Setting 0 is the better one in both: ranked 2 of 2, 2/3 > 1/2.
    steady = np.array([[0.02, -0.02], [0.01, -0.01], [0.02, -0.02], [0.01, -0.01]])
    assert probability_of_overfitting(steady, 2) == Overfitting(0.0, 0.0, 2, 2)


def test_pbo_is_about_half_without_skill_and_small_with_it() -> None:
    noise = [
        probability_of_overfitting(np.random.default_rng(s).normal(size=(320, 20)), 8).probability
        for s in range(20)
    ]
    assert 0.35 < np.mean(noise) < 0.65
    skilled = np.random.default_rng(1).normal(0, 0.01, (320, 20))
    skilled[:, 3] += 0.004
    assert probability_of_overfitting(skilled, 8).probability < 0.05


def test_a_setting_that_never_trades_is_ranked_at_zero() -> None:
    returns = np.random.default_rng(1).normal(-0.01, 0.01, (64, 3))
    returns[:, 1] = 0.0  # no trade is the best choice among losing ones, in every half
    assert probability_of_overfitting(returns, 8) == Overfitting(0.0, 0.0, 3, 70)


@pytest.mark.parametrize(
    ("shape", "partitions", "message"),
    [
        ((100, 1), 16, "at least 2 settings"),
        ((100, 3), 5, "even"),
        ((20, 3), 16, "do not make 16 blocks"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    shape: tuple[int, int], partitions: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        probability_of_overfitting(np.zeros(shape), partitions)
