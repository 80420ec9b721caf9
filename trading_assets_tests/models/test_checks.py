"""Checks: each fires where it must and is quiet at the exact boundary."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from trading_assets.models.checks import (
    check_classes,
    check_history,
    check_label_rule,
    check_label_shares,
    check_probabilities,
    check_split,
    check_too_good,
)
from trading_assets.models.dataset import split_of
from trading_assets.models.evaluation import Evaluation
from trading_assets.models.metadata import label_terms
from trading_assets.models.splits import SplitAudit
from trading_assets.rules.costs import Costs
from trading_assets.rules.exits import FixedExits
from trading_assets_tests.models.examples import COSTS, small_dataset, small_profile


def labels(sell: int, hold: int, buy: int) -> np.ndarray:
    return np.repeat(np.array([0, 1, 2], dtype=np.int8), [sell, hold, buy])


@pytest.mark.parametrize(
    ("shares", "passed"),
    [
        ((30, 900, 70), True),  # 3.0 %, 90.0 %
        ((29, 900, 71), False),  # 2.9 %
        ((30, 901, 69), False),  # 90.1 %
        ((3, 994, 3), False),  # the +-2 % barrier within 30 minutes
        ((0, 500, 500), False),
    ],
)
def test_label_shares_must_lie_between_3_and_90_percent(
    shares: tuple[int, int, int], passed: bool
) -> None:
    assert check_label_shares(labels(*shares)).passed is passed


def test_no_labels_at_all_fail() -> None:
    outcome = check_label_shares(labels(0, 0, 0))
    assert not outcome.passed
    assert outcome.blocking


def test_history_passes_at_the_minimum_and_names_both_numbers_below_it() -> None:
    profile = small_profile(min_history=timedelta(days=60))
    assert check_history(small_dataset(1440), profile).passed
    short = check_history(small_dataset(336), profile)
    assert not short.passed
    assert short.reason.startswith(
        "not enough history: 14.0 days of usable rows (336), it takes 60"
    )


def test_a_training_part_without_a_class_is_named() -> None:
    dataset, profile = small_dataset(), small_profile()
    split = split_of(dataset, profile)
    assert check_classes(dataset, split).passed
    y = dataset.y.copy()
    y[:1000] = np.where(y[:1000] == 2, 1, y[:1000])
    outcome = check_classes(replace(dataset, y=y), split)
    assert not outcome.passed
    assert "early stop: BUY" in outcome.reason
    assert "gate" not in outcome.reason  # its training rows reach to 1,234


def test_a_model_of_another_trade_is_refused_and_the_difference_is_named() -> None:
    profile = small_profile()
    metadata = {"market": "KRW-BTC", **label_terms(profile, COSTS)}
    assert check_label_rule(metadata, profile, COSTS).passed
    wider = replace(profile, exits=FixedExits(Decimal("0.03"), Decimal("0.02"), timedelta(hours=2)))
    outcome = check_label_rule(metadata, wider, COSTS)
    assert not outcome.passed
    assert "exits was" in outcome.reason
    assert "'0.03'" in outcome.reason
    dearer = Costs(Decimal("0.0025"), Decimal("0.0003"))
    assert "costs was" in check_label_rule(metadata, profile, dearer).reason
    longer = replace(
        profile, exits=FixedExits(Decimal("0.02"), Decimal("0.02"), timedelta(hours=3))
    )
    assert "label was" in check_label_rule(metadata, longer, COSTS).reason


def evaluation(**changes: object) -> Evaluation:
    """An honest one: skill 5 %, 2 points over the majority, direction 0.56 +- 0.04."""
    values: dict[str, object] = {
        "n": 5000,
        "log_loss": 0.95,
        "prior_log_loss": 1.0,
        "volatility_log_loss": 0.97,
        "logistic_log_loss": 0.96,
        "accuracy": 0.57,
        "majority_accuracy": 0.55,
        "auc": (0.6, 0.6, 0.6),
        "auc_direction": 0.56,
        "auc_direction_low": 0.52,
        "auc_direction_high": 0.6,
        "ece": 0.03,
        "ece_bound": 0.03,
        "precision": (0.5, 0.5, 0.5),
        "recall": (0.5, 0.5, 0.5),
        "f1": (0.5, 0.5, 0.5),
        "confusion": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
        "label_shares": (0.2, 0.6, 0.2),
        "predicted_shares": (0.1, 0.8, 0.1),
        "mean_probabilities": (0.2, 0.6, 0.2),
        "importance": {},
    }
    return Evaluation(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "suspicion"),
    [
        ({}, None),
        ({"log_loss": 0.75}, None),
        ({"log_loss": 0.749}, "skill 25.1%"),
        ({"accuracy": 0.669}, None),
        ({"accuracy": 0.671}, "accuracy 12.1 points"),
        ({"auc_direction": 0.65, "auc_direction_low": 0.61}, None),
        ({"auc_direction": 0.651, "auc_direction_low": 0.611}, "direction AUC 0.651"),
        # Known to +-0.1 only: its lower bound decides.
        ({"auc_direction": 0.7, "auc_direction_low": 0.6}, None),
        ({"auc_direction": 0.76, "auc_direction_low": 0.66}, "at least 0.660"),
        ({"log_loss": 0.41, "accuracy": 0.85}, "skill 59.0%"),  # the story of the 85 %
    ],
)
def test_too_good_is_suspected_just_beyond_each_limit(
    changes: dict[str, object], suspicion: str | None
) -> None:
    outcome = check_too_good(evaluation(**changes))
    assert outcome.passed is (suspicion is None)
    if suspicion is not None:
        assert outcome.reason.startswith("LEAK suspected")
        assert suspicion in outcome.reason


def test_a_direction_nobody_could_measure_is_not_suspicious() -> None:
    nan = float("nan")
    assert check_too_good(evaluation(auc_direction=nan, auc_direction_low=nan)).passed


def test_a_violation_of_the_split_is_passed_on_in_words() -> None:
    clean = SplitAudit(3, 1000, (), timedelta(hours=2))
    assert check_split(clean).passed
    dirty = replace(clean, violations=("gate: 1 of 10 test rows touch a training label",))
    outcome = check_split(dirty)
    assert not outcome.passed
    assert outcome.reason == "gate: 1 of 10 test rows touch a training label"


@pytest.mark.parametrize(
    ("row", "passed"),
    [
        ([1 / 3, 1 / 3, 1 / 3], True),
        ([0.2, 0.3, 0.5], True),
        ([0.2, 0.3, 0.4], False),  # sums to 0.9
        ([0.01, 0.4, 0.01], False),  # "HOLD at 40 %" that is no argmax probability
        ([float("nan"), 0.5, 0.5], False),
        ([-0.1, 0.6, 0.5], False),
    ],
)
def test_probabilities_must_be_finite_and_sum_to_one(row: list[float], passed: bool) -> None:
    assert check_probabilities(np.array([row])).passed is passed


def test_no_probabilities_at_all_fail() -> None:
    assert not check_probabilities(np.empty((0, 3))).passed
