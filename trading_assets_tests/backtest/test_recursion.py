"""Whatever depends on how far back one reads is found and named; what does not, passes."""

from dataclasses import replace

import numpy as np
import pytest
import talib

from trading_assets.backtest.quantities import (
    LIVE_ROWS,
    Family,
    FloatArray,
    IntArray,
    families,
    features,
    label_inputs,
)
from trading_assets.backtest.recursion import SHORTER, RecursionFinding, recursion
from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.features.catalogue import FEATURES
from trading_assets.settings import SequenceView
from trading_assets_tests.backtest.leaks import (
    COSTS,
    SCALP,
    SWING,
    Column,
    broken_history,
    family,
    lagged_return,
    long_history,
    next_return,
    running_mean,
    slow_average,
    small_model,
    synthetic_history,
)

RECURSIVE = {"ema", "rsi", "macd", "natr", "adx", "plus", "minus"}


def failed(findings: tuple[RecursionFinding, ...]) -> list[str]:
    return [f.name for f in findings if not f.passed]


@pytest.mark.parametrize("leak", [running_mean, slow_average])
def test_a_value_that_depends_on_the_first_candle_read_is_named(leak: Column) -> None:
    given = (family("honest", lagged_return), family(leak.__name__, leak))
    honest, recursive = recursion(long_history(), given, count=4)
    assert honest.passed
    assert honest.compared > LIVE_ROWS
    assert (recursive.name, recursive.passed) == (leak.__name__, False)
    assert "with the candles from 2024-" in recursive.first
    assert recursive.largest > 0


def test_a_value_of_the_next_candle_is_no_recursion() -> None:
    assert failed(recursion(long_history(), (family("next", next_return),), count=4)) == []


def test_an_average_that_forgets_in_time_passes_and_shows_its_memory() -> None:
    """EMA 55 forgets at 2/56 a candle: after 124 it still weighs 1.1 %, after 3,000 nothing."""
    ema = family("ema_55", lambda close: np.asarray(talib.EMA(close, 55)))
    (finding,) = recursion(long_history(), (ema,), count=4)
    assert finding.passed
    differences = [finding.shorter[rows] for rows in SHORTER]
    assert differences == sorted(differences, reverse=True)
    assert differences[0] > 1000 * differences[-1]


def test_nothing_of_a_profile_depends_on_what_is_read_before_it() -> None:
    findings = recursion(
        long_history(), families(SWING, COSTS, SequenceView.SUMMARY, None), count=4
    )
    assert failed(findings) == []
    told = {f.name: f.shorter[2000] for f in findings if f.group == "feature"}
    assert set(told) == {feature.name for feature in FEATURES}


def test_a_feature_with_a_window_needs_no_more_than_a_sequence_has() -> None:
    findings = recursion(long_history(), (features(),), count=4)
    windowed = [f for f in findings if f.name.split("_")[0] not in RECURSIVE]
    assert len(windowed) == 34
    assert all(difference == 0 for f in windowed for difference in f.shorter.values())


def test_nothing_from_candles_to_signals_depends_on_it_in_the_sandbox() -> None:
    made = families(SCALP, COSTS, SequenceView.SUMMARY, small_model())
    findings = recursion(synthetic_history(), made, count=4)
    assert failed(findings) == []
    assert all(f.compared > 0 for f in findings if f.group == "signal")


def test_a_volatility_started_at_the_first_candle_read_is_named() -> None:
    """What `features.anchors` is there to prevent: 1,200 candles back, not at a fixed time."""
    inputs = label_inputs(SWING, COSTS)

    def moving_start(series: CandleSeries, rows: IntArray) -> FloatArray:
        first = max(0, len(series) - 1200)
        return inputs.training(series.slice(first, len(series)), rows - first)

    named = failed(recursion(long_history(), (replace(inputs, live=moving_start),), count=4))
    assert named == ["sigma", "stop_loss", "take_profit"]


def test_the_live_path_itself_is_what_is_compared() -> None:
    """A live path that computes another thing than training is named, however much is read."""
    honest = features()

    def rounded(series: CandleSeries, rows: IntArray) -> FloatArray:
        values = honest.live(series, rows)
        values[:, 0] = np.round(values[:, 0], 4)
        return values

    broken = Family(honest.group, honest.names, honest.training, rounded)
    assert failed(recursion(long_history(), (broken,), count=2)) == ["log_return_1"]


def test_a_history_no_longer_than_a_signal_reads_is_told() -> None:
    with pytest.raises(NotEnoughHistory, match="no more than a signal reads"):
        recursion(broken_history(), (features(),))
