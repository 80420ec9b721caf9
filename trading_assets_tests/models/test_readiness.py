"""The may_train verdict: what is written, what is raised, what counts as a verdict on the model."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from trading_assets.errors import ChecksFailed, NotEnoughHistory
from trading_assets.models.readiness import (
    check_age,
    check_dataset,
    require_trainable,
    stop_if_blocked,
)
from trading_assets.models.staleness import confirmed_at
from trading_assets.models.verdicts import VerdictKind, latest_verdict
from trading_assets.rules.check import CheckOutcome
from trading_assets_tests.models.gate_world import NOW, dataset, small_profile, workshop

GOOD = CheckOutcome("features_finite", True, "all 10 valid rows are finite")
BAD = CheckOutcome("features_finite", False, "not finite in valid rows: rsi_14")
WARNING = CheckOutcome("candle_jumps", False, "a step of 31 %", blocking=False)


def test_passing_checks_let_training_go_on_and_say_so(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    require_trainable(shop, "KRW-BTC", "swing", (GOOD, WARNING))
    verdict = latest_verdict(shop.engine, VerdictKind.MAY_TRAIN, "KRW-BTC", "swing")
    assert verdict is not None
    assert (verdict.passed, verdict.reasons, verdict.decided_at) == (True, (), NOW)


def test_a_blocking_failure_stops_training_and_is_no_verdict_on_the_model(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    with pytest.raises(ChecksFailed, match="KRW-BTC swing: features_finite: not finite"):
        require_trainable(shop, "KRW-BTC", "swing", (GOOD, BAD))
    verdict = latest_verdict(shop.engine, VerdictKind.MAY_TRAIN, "KRW-BTC", "swing")
    assert verdict is not None
    assert not verdict.passed
    assert verdict.reasons == ("features_finite: not finite in valid rows: rsi_14",)
    assert confirmed_at(shop.engine, "KRW-BTC", "swing") is None


def test_too_little_history_with_no_champion_is_asked_again_after_a_day(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    profile = small_profile()  # at least 30 days
    outcomes = check_dataset(dataset(days=14), profile)
    with pytest.raises(NotEnoughHistory, match=r"14\.0 days of usable rows \(336\)"):
        require_trainable(shop, "KRW-BTC", "swing", outcomes)
    assert confirmed_at(shop.engine, "KRW-BTC", "swing") == NOW


def test_a_step_before_training_writes_only_a_stop(tmp_path: Path) -> None:
    shop = workshop(tmp_path)
    stop_if_blocked(shop, "KRW-BTC", ["scalp", "swing"], (GOOD, WARNING))
    assert latest_verdict(shop.engine, VerdictKind.MAY_TRAIN, "KRW-BTC", "scalp") is None
    stop_if_blocked(shop, "KRW-BTC", ["scalp", "swing"], (GOOD, BAD))
    for profile in ("scalp", "swing"):
        verdict = latest_verdict(shop.engine, VerdictKind.MAY_TRAIN, "KRW-BTC", profile)
        assert verdict is not None
        assert not verdict.passed


def test_enough_rows_with_all_classes_pass(tmp_path: Path) -> None:
    outcomes = check_dataset(dataset(days=60), small_profile())
    assert [(o.name, o.passed) for o in outcomes] == [
        ("enough_history", True),
        ("missing_classes", True),
    ]


def test_a_class_that_training_never_sees_is_named() -> None:
    rows = dataset(days=60)
    only_two = rows.take(np.flatnonzero(rows.y != 0))
    names = {o.name: o for o in check_dataset(only_two, small_profile())}
    assert not names["missing_classes"].passed
    assert "SELL" in names["missing_classes"].reason


def test_features_may_be_one_candle_and_two_hours_old_and_no_older() -> None:
    hour = timedelta(hours=1)
    assert check_age(NOW - 3 * hour, hour, NOW).passed
    assert not check_age(NOW - 3 * hour - timedelta(microseconds=1), hour, NOW).passed
