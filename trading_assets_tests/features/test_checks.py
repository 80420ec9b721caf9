"""Each check where it must fire and where it must stay quiet, at the boundary."""

import json
from dataclasses import replace

import numpy as np
import pytest

from trading_assets.errors import NotEnoughHistory
from trading_assets.features.catalogue import FEATURE_NAMES
from trading_assets.features.checks import (
    DRIFT_ROWS,
    FeatureReference,
    check_constant_columns,
    check_drift,
    check_features,
    check_filled_windows,
    check_finite,
    check_range,
    check_training_features,
    feature_reference,
)
from trading_assets.features.matrix import FeatureMatrix, feature_matrix
from trading_assets.rules.check import blocking_failures
from trading_assets_tests.features.candle_series import random_series, series_of

MATRIX = feature_matrix(random_series(6000, 1))


def changed(row: int, name: str, value: float, matrix: FeatureMatrix = MATRIX) -> FeatureMatrix:
    values = matrix.values.copy(order="F")
    values[row, FEATURE_NAMES.index(name)] = value
    return replace(matrix, values=values)


def with_columns(matrix: FeatureMatrix, names: tuple[str, ...], value: float) -> FeatureMatrix:
    values = matrix.values.copy(order="F")
    for name in names:
        values[matrix.valid, FEATURE_NAMES.index(name)] = value
    return replace(matrix, values=values)


def test_a_sound_matrix_passes_every_check() -> None:
    outcomes = check_features(MATRIX, feature_reference(MATRIX))
    assert [o.name for o in outcomes] == [
        "features_finite",
        "features_in_range",
        "features_not_constant",
        "features_drift",
    ]
    assert all(o.passed for o in outcomes), [o.reason for o in outcomes]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_number_that_is_none_blocks(bad: float) -> None:
    outcomes = check_features(changed(500, "cci_20", bad), None)
    assert outcomes[0].reason == "not finite in valid rows: cci_20"
    assert outcomes[0] in blocking_failures(outcomes)
    assert outcomes[1] in blocking_failures(outcomes)  # a NaN is in no range


def test_rows_that_are_not_valid_may_be_nan() -> None:
    assert np.isnan(MATRIX.values[50]).all()
    assert check_finite(MATRIX).passed


def test_a_matrix_without_a_valid_row_blocks() -> None:
    outcome = check_finite(feature_matrix(series_of([1.0] * 100)))
    assert not outcome.passed
    assert outcome.blocking
    assert outcome.reason == "none of the 100 rows is valid"


@pytest.mark.parametrize(
    ("name", "value", "passes"),
    [
        ("rsi_14", 100.0, True),
        ("rsi_14", 100.00000001, True),  # rounding: 1e-8 of a width of 100
        ("rsi_14", 100.001, False),
        ("rsi_14", -0.001, False),
        ("volatility_12", 0.0, True),
        ("volatility_12", -1e-6, False),
        ("volatility_12", 50.0, True),  # wild, but possible
    ],
)
def test_the_range_is_the_catalogues(name: str, value: float, passes: bool) -> None:
    outcome = check_range(changed(500, name, value))
    assert outcome.passed is passes
    assert outcome.blocking
    if not passes:
        assert name in outcome.reason
        assert outcome.values["values_outside"] == 1


@pytest.mark.parametrize(("columns", "blocking"), [(1, False), (4, False), (5, True)])
def test_constant_columns_warn_and_five_block(columns: int, blocking: bool) -> None:
    outcome = check_constant_columns(with_columns(MATRIX, FEATURE_NAMES[:columns], 0.5))
    assert not outcome.passed
    assert outcome.blocking is blocking
    assert outcome.values["constant_columns"] == columns


def test_a_few_rows_cannot_be_called_constant() -> None:
    flat = feature_matrix(series_of([100.0] * 599))
    assert flat.valid.sum() == 499
    assert check_constant_columns(flat).passed
    flat = feature_matrix(series_of([100.0] * 600))
    assert not check_constant_columns(flat).passed
    assert check_constant_columns(flat).blocking


def test_the_shift_of_training_is_measured_by_hand() -> None:
    # 1440 rows, the first half at 0..719 and the second at 720..1439: each half fills five of
    # the ten tenths. PSI of a half: five tenths with 0.2 against 0.1 give 5 * 0.1 * log 2 =
    # 0.3466, five empty ones (counted as 0.001) 5 * 0.099 * log 100 = 2.2796. Together 2.6262.
    values = np.repeat(np.arange(2.0 * DRIFT_ROWS)[:, None], 46, axis=1)
    n = len(values)
    times = np.datetime64("2024-01-01", "us") + np.arange(n) * np.timedelta64(1, "h")
    matrix = FeatureMatrix(times, values, np.ones(n, np.bool_), np.zeros(n, np.int64))
    reference = feature_reference(matrix)
    assert reference.shares[0] == pytest.approx([0.1] * 10)
    assert reference.worst[0] == pytest.approx(2.6262, abs=1e-3)
    assert check_drift(matrix, reference).values["times_worst"] == pytest.approx(1.0)


def test_features_that_leave_their_training_range_are_drift() -> None:
    reference = feature_reference(MATRIX)
    # All in one tenth: 0.9 log 10 + 9 * 0.099 * log 100 = 6.18, above any multiple that warns.
    one = check_drift(with_columns(MATRIX, ("momentum_3",), 8.0), reference)
    assert not one.passed
    assert not one.blocking
    assert one.values["most_drifted"] == "momentum_3"
    assert "momentum_3" in one.reason


@pytest.mark.parametrize(("columns", "blocking"), [(11, False), (12, True)])
def test_a_quarter_of_all_features_far_off_blocks(columns: int, blocking: bool) -> None:
    calm = replace(feature_reference(MATRIX), worst=(0.3,) * 46)
    in_one_place = with_columns(MATRIX, FEATURE_NAMES[:columns], 8.0)
    outcome = check_drift(in_one_place, calm)
    assert outcome.values["far_drifted_columns"] == columns
    assert outcome.blocking is blocking
    assert not outcome.passed


def test_drift_needs_rows_and_a_reference() -> None:
    reference = feature_reference(MATRIX)
    assert check_drift(MATRIX.tail(DRIFT_ROWS - 1), reference).passed
    assert "too few" in check_drift(MATRIX.tail(DRIFT_ROWS - 1), reference).reason
    assert check_drift(MATRIX, None).passed
    with pytest.raises(NotEnoughHistory, match="needs 720 rows, there are 719"):
        feature_reference(MATRIX.tail(DRIFT_ROWS - 1))


def test_a_model_of_another_catalogue_blocks() -> None:
    old = replace(feature_reference(MATRIX), catalogue_version="0-old")
    outcome = check_drift(MATRIX, old)
    assert not outcome.passed
    assert outcome.blocking
    assert "trained on catalogue 0-old" in outcome.reason


@pytest.mark.parametrize("kind", ["far off", "another catalogue"])
def test_no_drift_stops_the_training_that_would_end_it(kind: str) -> None:
    known = feature_reference(MATRIX)
    matrix = with_columns(MATRIX, FEATURE_NAMES[:12], 8.0) if kind == "far off" else MATRIX
    reference = (
        replace(known, worst=(0.3,) * 46)
        if kind == "far off"
        else replace(known, catalogue_version="0-old")
    )
    live, training = check_features(matrix, reference), check_training_features(matrix, reference)
    assert "features_drift" in [o.name for o in blocking_failures(live)]
    assert "features_drift" not in [o.name for o in blocking_failures(training)]
    assert (training[-1].passed, training[-1].reason) == (False, live[-1].reason)


def test_a_broken_input_stops_training_as_well() -> None:
    outcomes = check_training_features(changed(500, "cci_20", float("nan")), None)
    assert [o.name for o in blocking_failures(outcomes)] == ["features_finite", "features_in_range"]


def test_a_model_that_has_learnt_from_a_new_regime_may_be_asked_about_it() -> None:
    """The last 720 of 5,900 rows in one place; blocks of 720 from the first row end at 5,760."""
    values = MATRIX.values.copy(order="F")
    values[-DRIFT_ROWS:, :12] = 8.0
    later = replace(MATRIX, values=values)
    before = feature_reference(MATRIX.tail(len(MATRIX) - DRIFT_ROWS))
    assert not check_drift(later, before).passed
    retrained = check_drift(later, feature_reference(later))
    assert retrained.passed
    assert retrained.values["times_worst"] == pytest.approx(1.0)


def test_a_reference_is_the_same_after_json() -> None:
    reference = feature_reference(MATRIX)
    text = json.dumps(reference.to_json(), allow_nan=False)
    assert FeatureReference.from_json(json.loads(text)) == reference


def test_windows_without_trades_warn_and_then_block() -> None:
    series = random_series(1123, 3)  # 1000 windows
    quiet = series.filled.copy()
    assert check_filled_windows(series).passed
    quiet[:13] = True  # 13 in the first window only
    few = check_filled_windows(replace(series, filled=quiet))
    assert few.passed
    assert few.values["refused_windows"] == 1
    quiet[500:520] = True
    some = check_filled_windows(replace(series, filled=quiet))
    assert not some.passed
    assert not some.blocking
    quiet[::5] = True
    most = check_filled_windows(replace(series, filled=quiet))
    assert not most.passed
    assert most.blocking
    assert check_filled_windows(series.slice(0, 0)).passed
