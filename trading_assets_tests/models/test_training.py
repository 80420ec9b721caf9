"""Training: deterministic, honest about what it has seen, and able to learn what is there."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from trading_assets.errors import ChecksFailed, NotEnoughHistory
from trading_assets.models.baselines import class_prior, fit_logistic
from trading_assets.models.dataset import Dataset, split_of
from trading_assets.models.split_gap import split_gap
from trading_assets.models.training import (
    FitProgress,
    Trained,
    class_returns,
    train,
)
from trading_assets.settings import Recipe
from trading_assets_tests.models.examples import HOUR, START, small_dataset, small_profile

PROFILE = small_profile()
SEEDS = [1, 2]
ROUNDS = 25


def trained(dataset: Dataset, recipe: Recipe = Recipe.LIGHTGBM) -> Trained:
    return train(dataset, PROFILE, recipe, SEEDS, max_rounds=ROUNDS)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return small_dataset(2500)


@pytest.fixture(scope="module")
def result(dataset: Dataset) -> Trained:
    return trained(dataset)


def test_the_same_input_gives_the_same_model_to_the_bit(dataset: Dataset, result: Trained) -> None:
    again = trained(dataset)
    assert again.twin.digest == result.twin.digest
    assert again.served.digest == result.served.digest
    assert again.twin.metadata == result.twin.metadata
    np.testing.assert_array_equal(again.unseen_rows.p, result.unseen_rows.p)


def test_another_seed_gives_another_model(dataset: Dataset, result: Trained) -> None:
    other = train(dataset, PROFILE, Recipe.LIGHTGBM, [3, 4], max_rounds=ROUNDS)
    assert other.served.digest != result.served.digest


def test_the_twin_and_all_unseen_predictions_know_nothing_of_the_gate_window(
    dataset: Dataset, result: Trained
) -> None:
    split = split_of(dataset, PROFILE)
    x, y, long_net = dataset.x.copy(), dataset.y.copy(), dataset.long_net.copy()
    x[split.gate] = 3.0
    y[split.gate] = (y[split.gate] + 1) % 3
    long_net[split.gate] = 9.0
    changed = trained(replace(dataset, x=x, y=y, long_net=long_net))
    assert changed.twin.digest == result.twin.digest
    assert changed.rounds == result.rounds
    np.testing.assert_array_equal(changed.calibration_rows.p, result.calibration_rows.p)
    assert changed.served.digest != result.served.digest


def test_a_calibration_fold_knows_nothing_of_itself_or_later(
    dataset: Dataset, result: Trained
) -> None:
    split = split_of(dataset, PROFILE)
    first = split.calibration[0].test[0]
    y = dataset.y.copy()
    y[first:] = (y[first:] + 1) % 3
    changed = trained(replace(dataset, y=y))
    rows = len(split.calibration[0].test)
    np.testing.assert_array_equal(
        changed.calibration_rows.p[:rows], result.calibration_rows.p[:rows]
    )


def test_it_learns_a_planted_direction_and_the_baselines_do_not(result: Trained) -> None:
    evaluation = result.unseen_evaluation()
    assert evaluation.auc_direction > 0.8
    assert evaluation.ratio_prior < 0.95
    assert evaluation.ratio_volatility < 0.95
    # Column 0 is the planted one.
    importance = result.evaluation.importance
    assert max(importance, key=importance.__getitem__) == "log_return_1"
    assert sum(importance.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("recipe", list(Recipe))
def test_every_recipe_trains_and_beats_the_prior_where_there_is_something_to_learn(
    dataset: Dataset, recipe: Recipe
) -> None:
    made = trained(dataset, recipe)
    assert made.evaluation.ratio_prior < 0.95
    assert len(made.served.boosters) == (0 if recipe is Recipe.LOGISTIC else 2)
    assert (made.served.logistic is None) == (recipe is Recipe.LIGHTGBM)
    assert made.rounds == (0 if recipe is Recipe.LOGISTIC else made.rounds)
    assert made.audit.violations == ()


def test_an_ensemble_votes_half_lightgbm_and_half_logistic_regression(dataset: Dataset) -> None:
    made = trained(dataset, Recipe.ENSEMBLE).twin
    assert made.logistic is not None
    x = dataset.x[:20]
    trees = replace(made, recipe=Recipe.LIGHTGBM, logistic=None).raw_probabilities(x)
    lines = made.logistic.probabilities(x)
    assert made.raw_probabilities(x) == pytest.approx((trees + lines) / 2)


def test_calibration_is_skipped_for_few_rows_and_said_so(dataset: Dataset, result: Trained) -> None:
    del dataset
    assert len(result.calibration_rows) < 1500
    assert result.twin.calibration.rows == 0
    assert result.served.metadata["calibration"]["rows"] == 0


def test_with_enough_rows_the_twin_is_calibrated_before_and_the_served_with_the_gate() -> None:
    profile = small_profile(calibration_window=timedelta(days=70))
    made = train(small_dataset(4000), profile, Recipe.LIGHTGBM, [1], max_rounds=5)
    assert made.twin.calibration.rows == len(made.calibration_rows) == 70 * 24 - 3 - 23 + 1
    assert made.served.calibration.rows == made.twin.calibration.rows + 240
    # Five rounds are timid: calibration makes them surer.
    assert made.twin.calibration.temperature < 1


def test_class_returns_are_shrunk_to_the_mean_of_all() -> None:
    dataset = small_dataset(300)
    y = np.repeat(np.array([0, 1, 2], dtype=np.int8), 100)
    long_net = np.repeat([-0.02, 0.0, 0.05], 100)
    dataset = replace(dataset, y=y, long_net=long_net, short_net=-y.astype(np.float64))
    returns = class_returns(dataset, overlap=10)
    # Mean of all 0.01. 100 rows of overlap 10 are 10 trades: (10 x -0.02 + 30 x 0.01) / 40.
    assert returns.long == pytest.approx((0.0025, 0.0075, 0.02))
    assert returns.short == pytest.approx((-0.75, -1.0, -1.25))
    assert class_returns(dataset, overlap=1).long[2] == pytest.approx((5 + 0.3) / 130)


def test_progress_counts_every_fit(dataset: Dataset) -> None:
    seen: list[FitProgress] = []
    train(dataset, PROFILE, Recipe.LIGHTGBM, [1], seen.append, max_rounds=3)
    # Rounds, one calibration fold of ten days, twin, served.
    assert [(p.done, p.total) for p in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [p.part for p in seen] == ["rounds", "calibration 0", "twin", "served"]


def test_too_little_history_and_no_seeds_are_refused() -> None:
    with pytest.raises(NotEnoughHistory, match=r"29\.2 days of usable rows \(700\)"):
        trained(small_dataset(700))
    with pytest.raises(ValueError, match="at least one seed"):
        train(small_dataset(), PROFILE, Recipe.LIGHTGBM, [])


def test_a_training_part_without_a_class_is_refused_by_name(dataset: Dataset) -> None:
    y = np.where(dataset.y == 2, 1, dataset.y).astype(np.int8)
    with pytest.raises(ChecksFailed, match=r"KRW-BTC swing: missing_classes: .*gate: BUY"):
        trained(replace(dataset, y=y))


def test_trained_at_is_the_moment_given_or_the_last_close(
    dataset: Dataset, result: Trained
) -> None:
    assert result.twin.metadata["trained_at"] == "2025-04-15T04:00:00+00:00"
    assert (START + 2500 * HOUR).item() == datetime(2025, 4, 15, 4)  # noqa: DTZ001
    moment = datetime(2026, 11, 23, 3, tzinfo=UTC)
    made = train(dataset, PROFILE, Recipe.LOGISTIC, [1], trained_at=moment)
    assert made.served.metadata["trained_at"] == "2026-11-23T03:00:00+00:00"
    with pytest.raises(ValueError, match="needs a time zone"):
        train(dataset, PROFILE, Recipe.LOGISTIC, [1], trained_at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_random_split_flatters_a_model_of_overlapping_rows_and_a_purged_one_does_not() -> None:
    # A slow random walk as the only input and labels that last a day: neighbours are the answer.
    rng = np.random.default_rng(2)
    dataset = small_dataset(2500, strength=0.0)
    walk = np.cumsum(rng.standard_normal((2500, 46)), axis=0).astype(np.float32)
    y = np.repeat(rng.integers(0, 3, 105), 24)[:2500].astype(np.int8)
    dataset = replace(dataset, x=walk, y=y, end_time=dataset.open_time + 25 * HOUR)
    gap = split_gap(dataset, PROFILE, seed=1)
    assert gap.random_log_loss < 0.5
    assert gap.purged_log_loss > 1.0


# --- baselines ---------------------------------------------------------------------------------


def test_the_class_prior_is_the_shares_with_one_row_of_each_added() -> None:
    y = np.array([0] * 2 + [1] * 5, dtype=np.int8)
    assert class_prior(y) == pytest.approx([3 / 10, 6 / 10, 1 / 10])


def test_a_logistic_regression_equals_sklearns_own_probabilities() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    dataset = small_dataset(800)
    columns = [0, 3, 5]
    fitted = fit_logistic(dataset.x, dataset.y, columns)
    scaled = StandardScaler().fit_transform(dataset.x[:, columns].astype(np.float64))
    wanted = LogisticRegression(C=0.003).fit(scaled, dataset.y).predict_proba(scaled)
    assert fitted.probabilities(dataset.x) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("classes", [(0, 2), (1, 2), (1,)])
def test_a_logistic_regression_of_fewer_classes_still_gives_three_probabilities(
    classes: tuple[int, ...],
) -> None:
    dataset = small_dataset(800)
    chosen = np.isin(dataset.y, classes)
    fitted = fit_logistic(dataset.x[chosen], dataset.y[chosen], [0, 1])
    p = fitted.probabilities(dataset.x[chosen])
    assert p.sum(axis=1) == pytest.approx(1.0)
    absent = [c for c in range(3) if c not in classes]
    assert p[:, absent].max() < 0.05


def test_a_constant_column_is_ignored() -> None:
    dataset = small_dataset(800)
    x = dataset.x.copy()
    x[:, 1] = 7.0
    fitted = fit_logistic(x, dataset.y, [0, 1])
    assert (fitted.coefficients[:, 1] == 0).all()
    other = x.copy()
    other[:, 1] = 1e6
    np.testing.assert_array_equal(fitted.probabilities(other), fitted.probabilities(x))


@pytest.mark.parametrize("recipe", list(Recipe))
def test_what_another_recipe_would_say_is_what_it_says_when_it_is_chosen(
    dataset: Dataset, recipe: Recipe
) -> None:
    made = trained(dataset, recipe)
    # Boosters are what costs time: a logistic regression knows of no other recipe.
    other = [] if recipe is Recipe.LOGISTIC else [r for r in Recipe if r is not recipe]
    assert list(made.others) == [r.value for r in other]
    for name, p in made.others.items():
        np.testing.assert_array_equal(p, trained(dataset, Recipe(name)).gate_rows.p)


def test_the_other_recipes_come_back_from_disk_and_old_trainings_have_none(
    result: Trained, tmp_path: Path
) -> None:
    result.save(tmp_path / "trained")
    loaded = Trained.load(tmp_path / "trained")
    assert set(loaded.others) == {"logistic", "ensemble"}
    for name, p in result.others.items():
        np.testing.assert_array_equal(loaded.others[name], p)
    (tmp_path / "trained" / "other_recipes.npz").unlink()
    assert Trained.load(tmp_path / "trained").others == {}
