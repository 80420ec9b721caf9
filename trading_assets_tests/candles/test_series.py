"""The regular grid: flat candles where nobody traded, breaks where nothing is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.candles.frame import empty_candles, to_us
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.exchange.model import Interval
from trading_assets_tests.candles.tables import at, candles, gaps, minutes

M5 = Interval.M5


def _slots(series: CandleSeries) -> list[int]:
    start = to_us(at(0))
    return [(int(t) - start) // 300_000_000 for t in series.open_time.astype(np.int64)]


def test_a_minute_without_trades_is_flat_at_the_previous_close_with_no_volume() -> None:
    frame = candles([0, 1, 3])
    series = regular_series(frame, gaps((2, 3, "no_trades")), M5)
    previous_close = frame["close"].iloc[1]
    assert _slots(series) == [0, 1, 2, 3]
    assert series.filled.tolist() == [False, False, True, False]
    assert [series.open[2], series.high[2], series.low[2], series.close[2]] == [previous_close] * 4
    assert series.volume[2] == 0.0
    assert series.segment.tolist() == [0, 0, 0, 0]
    assert series.close.tolist()[3] == frame["close"].iloc[2]


@pytest.mark.parametrize("kind", ["maintenance", "not_collected"])
def test_a_closure_or_an_uncollected_range_breaks_the_series(kind: str) -> None:
    series = regular_series(candles([0, 1, 4, 5]), gaps((2, 4, kind)), M5)
    assert _slots(series) == [0, 1, 4, 5]
    assert series.segment.tolist() == [0, 0, 1, 1]
    assert not series.filled.any()


def test_a_hole_that_the_gap_table_does_not_explain_breaks_the_series() -> None:
    series = regular_series(candles([0, 2]), gaps(), M5)
    assert series.segment.tolist() == [0, 1]


def test_quiet_time_after_the_last_candle_extends_the_series() -> None:
    series = regular_series(candles([0, 1]), gaps((2, 4, "no_trades")), M5)
    assert _slots(series) == [0, 1, 2, 3]
    assert series.filled.tolist() == [False, False, True, True]


def test_quiet_time_right_after_a_closure_is_left_out_because_it_has_no_previous_close() -> None:
    table = gaps((1, 3, "maintenance"), (3, 4, "no_trades"), (5, 6, "no_trades"))
    series = regular_series(candles([0, 4, 6]), table, M5)
    assert _slots(series) == [0, 4, 5, 6]
    assert series.segment.tolist() == [0, 1, 1, 1]


def test_a_gap_before_the_first_candle_changes_nothing() -> None:
    series = regular_series(candles([5, 6]), gaps((0, 5, "no_trades")), M5)
    assert _slots(series) == [5, 6]


def test_no_candles_give_an_empty_series() -> None:
    series = regular_series(empty_candles(), gaps(), M5)
    assert len(series) == 0
    assert len(series.tail(3)) == 0


def test_tail_and_until_keep_the_last_and_the_closed_candles() -> None:
    series = regular_series(candles(range(10)), gaps(), M5)
    assert _slots(series.tail(3)) == [7, 8, 9]
    assert len(series.tail(99)) == 10
    # Candle 4 starts at minute 20 and closes at minute 25, not a microsecond earlier.
    assert _slots(series.until(at(5)))[-1] == 4
    assert _slots(series.until(at(5) - pd.Timedelta(microseconds=1)))[-1] == 3
    assert len(series.until(at(0) + minutes(4))) == 0
    with pytest.raises(ValueError, match="n must not be negative, was -1"):
        series.tail(-1)


def test_arrays_of_different_lengths_are_refused() -> None:
    s = regular_series(candles(range(3)), gaps(), M5)
    with pytest.raises(ValueError, match="one length"):
        CandleSeries(
            M5, s.open_time, s.open[:2], s.high, s.low, s.close, s.volume, s.filled, s.segment
        )


_kinds = st.sampled_from(["candle", "no_trades", "maintenance", "not_collected", "unexplained"])


@given(st.lists(_kinds, min_size=1, max_size=60))
def test_the_grid_equals_a_walk_slot_by_slot(slots: list[str]) -> None:
    have = [i for i, kind in enumerate(slots) if kind == "candle"]
    frame = candles(have)
    table = gaps(
        *((i, i + 1, k) for i, k in enumerate(slots) if k not in ("candle", "unexplained"))
    )
    series = regular_series(frame, table, M5)

    expected: list[tuple[int, float, bool, int]] = []
    close: float | None = None
    segment = -1
    for i, kind in enumerate(slots):
        if kind == "candle":
            segment += close is None
            close = float(frame["close"].iloc[have.index(i)])
            expected.append((i, close, False, segment))
        elif kind == "no_trades" and close is not None:
            expected.append((i, close, True, segment))
        elif kind != "no_trades":
            close = None
    found = list(
        zip(
            _slots(series),
            series.close.tolist(),
            series.filled.tolist(),
            series.segment.tolist(),
            strict=True,
        )
    )
    assert found == expected
