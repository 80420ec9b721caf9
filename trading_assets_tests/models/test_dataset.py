"""Data sets: the join by candle time, the profile's history, and its minimum to the row."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from trading_assets.errors import NotEnoughHistory
from trading_assets.features.catalogue import FEATURE_NAMES
from trading_assets.features.sequences import Sequences, design_names
from trading_assets.models.dataset import (
    VOLATILITY_FEATURES,
    Dataset,
    last_columns,
    make_dataset,
    require_history,
    split_of,
)
from trading_assets.models.labels import Labels
from trading_assets.rules.profile import Profile
from trading_assets.settings import SequenceView
from trading_assets_tests.models.examples import COSTS, HOUR, START, small_dataset, small_profile


def sequences_of(n: int) -> Sequences:
    """Feature rows 0 .. n-1, each filled with its own number; the first sequence ends at row 23."""
    base = np.repeat(np.arange(n, dtype=np.float32)[:, None], len(FEATURE_NAMES), axis=1)
    rows = np.arange(23, n)
    return Sequences(START + rows * HOUR, np.ascontiguousarray(base), rows)


def labels_of(n: int, invalid: set[int]) -> Labels:
    valid = np.array([i not in invalid for i in range(n)])
    numbers = np.arange(n, dtype=np.float64)
    open_time = START + np.arange(n) * HOUR
    return Labels(
        open_time=open_time,
        label=np.where(valid, np.arange(n) % 3, -1).astype(np.int8),
        end_time=open_time + 3 * HOUR,
        long_net=np.where(valid, numbers, np.nan),
        short_net=np.where(valid, -numbers, np.nan),
        stop_loss=np.full(n, 0.02),
        take_profit=np.full(n, 0.02),
        exit_reason=np.full(n, 2, dtype=np.int8),
        valid=valid,
    )


def joined(profile: Profile, view: SequenceView = SequenceView.LAST) -> Dataset:
    return make_dataset(
        "KRW-BTC", profile, sequences_of(60), labels_of(60, {30, 58, 59}), costs=COSTS, view=view
    )


def test_only_rows_with_a_sequence_and_a_valid_label_are_joined_by_candle_time() -> None:
    dataset = joined(small_profile())
    rows = [*range(23, 30), *range(31, 58)]
    assert dataset.long_net.tolist() == rows
    assert dataset.x[:, 0].tolist() == rows
    assert dataset.y.tolist() == [i % 3 for i in rows]
    assert dataset.open_time.tolist() == (START + np.array(rows) * HOUR).tolist()


def test_the_profiles_history_keeps_the_newest_rows() -> None:
    dataset = joined(small_profile(history=timedelta(hours=10)))
    # The last row is 57, closed at hour 58; ten hours before is 48.
    assert dataset.long_net.tolist() == list(range(48, 58))
    assert joined(small_profile()).recent(timedelta(hours=10)).long_net.tolist() == list(
        range(48, 58)
    )


@pytest.mark.parametrize("view", list(SequenceView))
def test_the_last_columns_are_where_the_last_values_are(view: SequenceView) -> None:
    dataset = joined(small_profile(), view)
    names = [dataset.columns[c] for c in last_columns(view)]
    suffix = {SequenceView.SUMMARY: "_last", SequenceView.LAST: "", SequenceView.FLAT: "_lag_0"}
    assert names == [f"{name}{suffix[view]}" for name in FEATURE_NAMES]
    assert dataset.columns == design_names(view)
    # Each row's last value is the number of the row.
    assert (dataset.x[:, last_columns(view)] == dataset.long_net[:, None]).all()
    # Column j belongs to feature j mod 46: importance relies on it.
    for j, name in enumerate(dataset.columns):
        assert name.startswith(FEATURE_NAMES[j % len(FEATURE_NAMES)])


def test_the_volatility_baseline_knows_volatilities_and_the_calendar_only() -> None:
    dataset = joined(small_profile(), SequenceView.SUMMARY)
    names = [dataset.columns[c] for c in dataset.volatility_columns]
    assert names == [f"{name}_last" for name in VOLATILITY_FEATURES]


def test_history_is_enough_at_the_minimum_and_not_one_row_below() -> None:
    profile = small_profile(min_history=timedelta(days=30))
    require_history(small_dataset(720), profile)
    with pytest.raises(
        NotEnoughHistory, match=r"30\.0 days of usable rows \(719\), it takes 30\.0"
    ):
        require_history(small_dataset(719), profile)


def test_the_fortnight_of_a_recording_is_not_enough_for_two_months() -> None:
    profile = small_profile(min_history=timedelta(days=60))
    with pytest.raises(
        NotEnoughHistory, match=r"14\.0 days of usable rows \(336\), it takes 60\.0"
    ):
        require_history(small_dataset(336), profile)


def test_the_split_of_a_data_set_uses_the_profiles_windows_and_a_sequence_as_embargo() -> None:
    dataset, profile = small_dataset(1500), small_profile()
    split = split_of(dataset, profile)
    assert split.gate.tolist() == list(range(1260, 1500))  # ten days
    # 3 hours to the label's end and 23 of the window before it: t + 3 <= 1260 - 23.
    assert split.twin[-1] == 1234
    shorter = split_of(dataset, replace(profile, gate_window=timedelta(days=5)))
    assert len(shorter.gate) == 120
