"""The candle checks, each at its boundary."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from trading_assets.candles.checks import (
    check_collected,
    check_freshness,
    check_gaps,
    check_jumps,
    check_schema,
    check_store,
)
from trading_assets.candles.frame import candle_frame, empty_candles
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.exchange.model import Interval
from trading_assets.rules.check import blocking_failures
from trading_assets_tests.candles.tables import at, candles, gaps, minutes

M5 = Interval.M5


def _series(*slots: int, table: pd.DataFrame | None = None) -> CandleSeries:
    return regular_series(candles(list(slots)), gaps() if table is None else table, M5)


def test_good_candles_pass_every_check() -> None:
    frame = candles(range(30))
    outcomes = check_store(frame, gaps(), regular_series(frame, gaps(), M5), at(30))
    assert [o.name for o in outcomes] == [
        "candle_schema",
        "candle_freshness",
        "candle_gaps",
        "candle_continuity",
        "candle_jumps",
    ]
    assert all(o.passed for o in outcomes)


def test_no_candles_block() -> None:
    series = regular_series(empty_candles(), gaps(), M5)
    outcomes = check_store(empty_candles(), gaps(), series, at(0))
    names = [o.name for o in blocking_failures(outcomes)]
    assert names == ["candle_schema", "candle_freshness", "candle_gaps"]


def test_the_schema_check_names_value_and_rule() -> None:
    frame = candles(range(3))
    frame.loc[1, "low"] = -4.0
    outcome = check_schema(frame, M5)
    assert not outcome.passed
    assert outcome.blocking
    assert "low = -4.0 at row 1 breaks greater_than(0)" in outcome.reason


def test_the_quick_schema_check_says_the_same_without_importing_pandera() -> None:
    program = (
        "import sys\n"
        "from trading_assets.candles.checks import check_store\n"
        "from trading_assets.candles.series import regular_series\n"
        "from trading_assets.exchange.model import Interval\n"
        "from trading_assets_tests.candles.tables import at, candles, gaps\n"
        "frame = candles(range(30))\n"
        "series = regular_series(frame, gaps(), Interval.M5)\n"
        "good = check_store(frame, gaps(), series, at(30), with_pandera=False)\n"
        "assert all(o.passed for o in good), good\n"
        "frame.loc[1, 'low'] = -4.0\n"
        "bad = check_store(frame, gaps(), series, at(30), with_pandera=False)\n"
        "assert [o.name for o in bad if not o.passed] == ['candle_schema'], bad\n"
        "assert 'low = -4.0 must be finite and above 0' in bad[0].reason, bad\n"
        "assert 'pandera' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("after_open_minutes", "passed"), [(5, True), (9.99, True), (14.99, True), (15, False)]
)
def test_a_candle_is_stale_when_the_next_one_has_been_closed_for_a_whole_interval(
    after_open_minutes: float, passed: bool
) -> None:
    # Candle 9 closes 5 minutes after it opens; candle 10 closes at 10; stale from 15 on.
    outcome = check_freshness(_series(8, 9), at(9) + minutes(after_open_minutes))
    assert outcome.passed is passed
    assert outcome.values["age_intervals"] == pytest.approx((after_open_minutes - 5) / 5)


def test_exactly_ten_percent_without_trades_pass_and_one_more_does_not() -> None:
    have = [i for i in range(20) if i not in (5, 9)]
    two = gaps((5, 6, "no_trades"), (9, 10, "no_trades"))
    assert check_gaps(_series(*have, table=two), 20).passed
    have.remove(12)
    three = gaps((5, 6, "no_trades"), (9, 10, "no_trades"), (12, 13, "no_trades"))
    outcome = check_gaps(_series(*have, table=three), 20)
    assert not outcome.passed
    assert "3 of the last 20 candles had no trades (15.0%)" in outcome.reason


def test_a_range_that_was_never_collected_warns_only_before_the_last_candle() -> None:
    frame = candles([0, 1, 5])
    outcome = check_collected(frame, gaps((2, 5, "not_collected")))
    assert not outcome.passed
    assert not outcome.blocking
    assert "from 2026-03-02T00:10:00+00:00 to 2026-03-02T00:25:00+00:00" in outcome.reason
    assert check_collected(frame, gaps((2, 5, "maintenance"), (6, 9, "not_collected"))).passed


def _closes(*closes: float, skip_after: int | None = None) -> CandleSeries:
    slots = [i + (skip_after is not None and i > skip_after) for i in range(len(closes))]
    prices = np.array(closes)
    frame = candle_frame(
        [at(i) for i in slots],
        open=prices,
        high=prices,
        low=prices,
        close=prices,
        volume=np.ones(len(closes)),
    )
    return regular_series(frame, gaps(), M5)


def test_a_jump_of_thirty_percent_is_quiet_and_more_warns_without_blocking() -> None:
    assert check_jumps(_closes(100.0, 130.0)).passed
    outcome = check_jumps(_closes(100.0, 101.0, 132.0, 133.0))
    assert not outcome.passed
    assert not outcome.blocking
    assert "(101 to 132 at 2026-03-02T00:10:00+00:00)" in outcome.reason


def test_a_jump_over_a_break_is_not_a_jump_between_neighbours() -> None:
    assert check_jumps(_closes(100.0, 900.0, skip_after=0)).passed
