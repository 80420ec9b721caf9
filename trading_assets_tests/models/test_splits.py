"""Splits: literal rows of a small example, then the audit where it must fire and stay quiet."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_assets.models.splits import (
    Fold,
    Split,
    audit_split,
    make_split,
    random_split,
)

START = np.datetime64("2025-01-01T00:00:00", "us")
HOUR = np.timedelta64(1, "h")
ONE_HOUR = timedelta(hours=1)


def hourly_split(
    hours: int, horizon: int, window: int, calibration: int, gate: int
) -> tuple[Split, np.ndarray, np.ndarray]:
    """A split of rows 0 .. hours-1; all lengths in hours."""
    open_time = START + np.arange(hours) * HOUR
    end_time = open_time + (1 + horizon) * HOUR
    split = make_split(
        open_time,
        end_time,
        interval=ONE_HOUR,
        window=window,
        calibration_window=timedelta(hours=calibration),
        gate_window=timedelta(hours=gate),
    )
    return split, open_time, end_time


def test_the_parts_of_a_small_split_are_these_rows() -> None:
    # 100 rows; labels of row t end at hour t + 1 + 2; a window of 4 begins at hour t - 3.
    split, _, _ = hourly_split(100, horizon=2, window=4, calibration=20, gate=10)
    # Gate: the last 10. Its first window begins at hour 87; the twin's labels end by then: t <= 84.
    assert split.gate.tolist() == list(range(90, 100))
    assert split.twin.tolist() == list(range(85))
    # Calibration: rows 70 .. 89 less those whose label ends after hour 87; trained on t + 3 <= 67.
    (fold,) = split.calibration
    assert fold.test.tolist() == list(range(70, 85))
    assert fold.train.tolist() == list(range(65))
    # Train is rows 0 .. 64, its last 15 % begin at row int(65 x 0.85) = 55; fit ends by hour 52.
    assert split.early_stop.tolist() == list(range(55, 65))
    assert split.fit.tolist() == list(range(50))


def test_calibration_folds_are_thirty_days_counted_back_and_each_is_trained_on_all_before() -> None:
    day = 24
    split, open_time, _ = hourly_split(
        300 * day, horizon=12, window=24, calibration=100 * day, gate=30 * day
    )
    starts = [
        int((open_time[f.test[0]] - START) / np.timedelta64(1, "D")) for f in split.calibration
    ]
    # 170 .. 270 is 100 days: three folds of 30 counted back, and the 10 left over join the first.
    assert starts == [170, 210, 240]
    for fold in split.calibration:
        # 13 hours of label and 23 of window lie between.
        assert fold.test[0] - fold.train[-1] == 13 + 23
        assert fold.train[0] == 0


def test_a_rest_of_half_a_fold_or_more_is_a_fold_of_its_own() -> None:
    day = 24
    split, open_time, _ = hourly_split(
        300 * day, horizon=12, window=24, calibration=75 * day, gate=30 * day
    )
    starts = [
        int((open_time[f.test[0]] - START) / np.timedelta64(1, "D")) for f in split.calibration
    ]
    assert starts == [195, 210, 240]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 12), st.integers(1, 30), st.integers(30, 200), st.integers(20, 100), st.data()
)
def test_no_split_ever_lets_a_test_row_touch_a_training_label(
    horizon: int, window: int, calibration: int, gate: int, data: st.DataObject
) -> None:
    n = 900
    gone = data.draw(st.sets(st.integers(0, n - 1), max_size=200))
    open_time = (START + np.arange(n) * HOUR)[sorted(set(range(n)) - gone)]
    end_time = open_time + (1 + horizon) * HOUR
    split = make_split(
        open_time,
        end_time,
        interval=ONE_HOUR,
        window=window,
        calibration_window=timedelta(hours=calibration),
        gate_window=timedelta(hours=gate),
    )
    audit = audit_split(split, open_time, end_time, interval=ONE_HOUR, window=window)
    assert audit.violations == ()
    assert audit.smallest_gap >= timedelta(0)
    # The plain statement of the rule, pair by pair, at the boundary where it could break.
    for _, pair in split.pairs:
        newest_label = end_time[pair.train].max()
        assert newest_label <= open_time[pair.test].min() - (window - 1) * HOUR


def test_the_audit_fires_at_one_row_too_many_and_is_quiet_at_the_boundary() -> None:
    split, open_time, end_time = hourly_split(100, horizon=2, window=4, calibration=20, gate=10)
    audit = audit_split(split, open_time, end_time, interval=ONE_HOUR, window=4)
    assert audit.violations == ()
    assert audit.smallest_gap == timedelta(0)
    late = replace(split, twin=np.arange(86))
    audit = audit_split(late, open_time, end_time, interval=ONE_HOUR, window=4)
    # Row 85's label ends at hour 88; the windows of rows 90 (from 87) alone reach before that.
    (violation,) = audit.violations
    assert violation.startswith("gate: 1 of 10 test rows touch a training label")
    assert audit.smallest_gap == -ONE_HOUR


def test_the_audit_catches_a_random_split() -> None:
    split, open_time, end_time = hourly_split(1000, horizon=2, window=4, calibration=100, gate=50)
    random = random_split(1000, seed=1)
    mixed = replace(split, twin=random.train, gate=random.test)
    audit = audit_split(mixed, open_time, end_time, interval=ONE_HOUR, window=4)
    assert "gate: 200 of 200 test rows touch a training label" in audit.violations[0]


def test_the_audit_catches_training_rows_from_after_the_test_rows() -> None:
    split, open_time, end_time = hourly_split(100, horizon=2, window=4, calibration=20, gate=10)
    after = replace(split, calibration=(Fold(np.arange(88, 100), np.arange(80, 86)),))
    audit = audit_split(after, open_time, end_time, interval=ONE_HOUR, window=4)
    # Row 88's label begins at hour 89; only row 85's label (to 88) ends before: none touches...
    assert audit.violations == ()
    touching = replace(split, calibration=(Fold(np.arange(87, 100), np.arange(80, 87)),))
    # ... row 86's label lasts to hour 89 and row 87's begins at 88.
    audit = audit_split(touching, open_time, end_time, interval=ONE_HOUR, window=4)
    assert audit.violations[0].startswith("calibration 0: 1 of 7 test rows")


def test_too_little_or_unordered_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no row ends before the calibration window"):
        hourly_split(40, horizon=2, window=4, calibration=30, gate=10)
    with pytest.raises(ValueError, match="of the split would be empty"):
        hourly_split(36, horizon=2, window=4, calibration=20, gate=8)
    times = START + np.array([1, 0]) * HOUR
    with pytest.raises(ValueError, match="ascending order"):
        make_split(
            times,
            times + HOUR,
            interval=ONE_HOUR,
            window=2,
            calibration_window=ONE_HOUR,
            gate_window=ONE_HOUR,
        )
