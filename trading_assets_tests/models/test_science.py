"""The science test: no edge is found where there is none, the planted one where there is.

By experiments on the synthetic market (`science.py`; the table is in docs/models.md). In CI at a
reduced size: 60 days without an edge and 120 with it (the profile's own history), one LightGBM
seed a model, at most 60 rounds; about a minute of CPU. `deep` (make test-deep) takes 120 days, five
seeds and all rounds.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import t as student

from trading_assets.models.baselines import class_prior
from trading_assets.models.checks import check_too_good
from trading_assets.models.dataset import Dataset, split_of
from trading_assets.models.evaluation import row_losses
from trading_assets.models.split_gap import large_trees
from trading_assets.models.splits import Fold
from trading_assets_tests.models.science import (
    Finding,
    FloatArray,
    Money,
    Size,
    experiment,
    fit,
    market_of,
    money,
    scalp,
    synthetic_dataset,
    synthetic_series,
    t_value,
)

SMALL = Size(days=60, model_seeds=1, max_rounds=60)
TRADED = Size(days=120, model_seeds=1, max_rounds=60)
FULL = Size(days=120, model_seeds=5, max_rounds=150)

# One shuffle leaves a model that leans on some feature by chance; where that one is the volume, it
# earns or loses by chance. Several lean either way.
SHUFFLES = 6

# The time limit is for a machine that does other things too: the longest takes 45 s of CPU.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def assert_no_edge(findings: Sequence[Finding]) -> None:
    """The three statements about a market without an edge, over 20 seeds."""
    n = len(findings)
    winners = [f for f in findings if f.t_volatility > student.ppf(0.95, f.days - 1)]
    # 1 of 20 is expected at 5 %; 4 or more happen in 1.6 % of the cases.
    assert len(winners) <= 3, f"{len(winners)} of {n} beat the volatility-only baseline"
    direction = np.array([f.auc_direction for f in findings])
    reach = student.ppf(0.975, n - 1) * direction.std(ddof=1) / np.sqrt(n)
    assert abs(direction.mean() - 0.5) <= reach, f"direction AUC {direction.mean():.4f}"
    assert reach < 0.015, "the interval is too wide to mean anything"
    profit = np.array([f.chosen_net - f.random_net for f in findings])
    assert t_value(profit) < student.ppf(0.95, n - 1), f"profit {profit.mean():.5f} over random"
    ours, moved = pooled([f.money for f in findings])
    assert ours < 0, f"{1e4 * ours:+.1f} bp a trade after costs from prices that hold nothing"
    assert ours <= np.quantile(moved, 0.95), f"{1e4 * ours:+.1f} bp, moved {1e4 * moved}"


def assert_planted_edge_is_found(findings: Sequence[Finding]) -> None:
    """The direction within 0.03 of the oracle's, and entries better than random ones."""
    model = float(np.mean([f.auc_direction for f in findings]))
    oracle = float(np.mean([f.oracle_auc for f in findings]))
    assert 0.59 < oracle < 0.64
    assert oracle - model <= 0.03, f"direction AUC {model:.4f}, the oracle's {oracle:.4f}"
    assert model - oracle <= 0.01, "a model cannot know more than the generator"
    profit = np.array([f.chosen_net - f.random_net for f in findings])
    assert t_value(profit) > student.ppf(0.95, len(findings) - 1)
    ours, moved = pooled([f.money for f in findings])
    assert ours > 0, f"{1e4 * ours:+.1f} bp a trade after costs from an edge that is there"
    assert ours > moved.max(), f"{1e4 * ours:+.1f} bp a trade, moved {1e4 * moved}"


def pooled(accounts: Sequence[Money]) -> tuple[float, FloatArray]:
    """(net per trade of all accounts together, (SHIFTS,) the same with the signals moved)."""
    trades = sum(a.trades for a in accounts)
    assert trades >= 40 * len(accounts), "too few trades to mean anything"
    moved_trades = np.sum([a.moved_trades for a in accounts], axis=0)
    moved = np.sum([a.moved_net for a in accounts], axis=0) / moved_trades
    return sum(a.net for a in accounts) / trades, moved


def test_without_an_edge_nothing_is_found_in_20_seeds() -> None:
    assert_no_edge([experiment(seed, "0", SMALL) for seed in range(20)])


def test_with_the_planted_edge_the_direction_is_found_nearly_as_well_as_by_the_oracle() -> None:
    assert_planted_edge_is_found([experiment(seed, "1", TRADED) for seed in range(6)])


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_without_an_edge_nothing_is_found_at_full_size() -> None:
    assert_no_edge([experiment(seed, "0", FULL) for seed in range(20)])


@pytest.mark.deep
@pytest.mark.timeout(3600)
def test_the_planted_edge_is_found_at_full_size() -> None:
    assert_planted_edge_is_found([experiment(seed, "1", FULL) for seed in range(20)])


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    market, name = market_of(1, "1")
    return synthetic_dataset(market, name, SMALL)


def test_shuffled_labels_fall_to_the_prior(dataset: Dataset) -> None:
    market, name = market_of(1, "1")
    series = synthetic_series(market, name, SMALL.days)
    accounts = []
    for seed in range(1, SHUFFLES + 1):
        order = np.random.default_rng(seed).permutation(len(dataset))
        shuffled = replace(
            dataset,
            y=dataset.y[order],
            long_net=dataset.long_net[order],
            short_net=dataset.short_net[order],
        )
        made = fit(shuffled, SMALL)
        found = made.unseen_evaluation()
        assert found.ratio_prior == pytest.approx(1.0, abs=0.005)
        assert found.auc_direction == pytest.approx(0.5, abs=0.02)
        accounts.append(money(series, name, made, SMALL))
    # On the real prices of those rows they earn no more than the same signals at the wrong time.
    ours, moved = pooled(accounts)
    assert ours < 0
    assert ours <= np.quantile(moved, 0.95), f"{1e4 * ours:+.1f} bp, moved {1e4 * moved}"


def test_shuffled_labels_find_a_test_whose_rows_were_trained_on(dataset: Dataset) -> None:
    """What the shuffle is for: there is nothing to learn, so only memory beats the prior."""
    order = np.random.default_rng(1).permutation(len(dataset))
    shuffled = replace(dataset, y=dataset.y[order], x=dataset.x[:, dataset.last_columns])
    split = split_of(shuffled, scalp(SMALL))
    prior = row_losses(class_prior(shuffled.y[split.twin]), shuffled.y[split.gate]).mean()

    def ratio(train: NDArray[np.intp]) -> float:
        p = large_trees(shuffled, Fold(train, split.gate), seed=1)
        return float(row_losses(p, shuffled.y[split.gate]).mean() / prior)

    assert ratio(split.twin) > 1
    assert ratio(np.arange(len(shuffled))) < 0.9


def test_a_feature_that_sees_the_outcome_is_caught_and_the_honest_model_is_not(
    dataset: Dataset,
) -> None:
    honest = check_too_good(fit(dataset, SMALL).unseen_evaluation())
    assert honest.passed, honest.reason
    # The return to come, under noise of the same size, in place of one harmless column.
    rng = np.random.default_rng(1)
    future = dataset.long_net / dataset.long_net.std()
    x = dataset.x.copy()
    x[:, dataset.columns.index("body_share_last")] = future + rng.standard_normal(len(dataset))
    leaky = check_too_good(fit(replace(dataset, x=x), SMALL).unseen_evaluation())
    assert not leaky.passed
    assert leaky.reason.startswith("LEAK suspected")
