"""Whatever sees a later candle is found and named; what does not, passes to the bit."""

import numpy as np
import pytest

from trading_assets.backtest.lookahead import LookaheadFinding, lookahead
from trading_assets.backtest.quantities import Family, FloatArray, families, features, labels
from trading_assets.errors import NotEnoughHistory
from trading_assets.features import indicators
from trading_assets.features.indicators import Candles, Columns
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import make_labels
from trading_assets.settings import SequenceView
from trading_assets_tests.backtest.leaks import (
    COSTS,
    SCALP,
    SWING,
    Column,
    broken_history,
    centred_mean,
    family,
    filled_from_behind,
    lagged_return,
    next_return,
    running_mean,
    scaled_by_whole_series,
    slow_average,
    small_model,
    stored_of,
    synthetic_history,
)
from trading_assets_tests.features.candle_series import series_of


def failed(findings: tuple[LookaheadFinding, ...]) -> list[str]:
    return [f.name for f in findings if not f.passed]


@pytest.mark.parametrize(
    "leak", [centred_mean, scaled_by_whole_series, next_return, filled_from_behind]
)
def test_a_value_that_sees_later_candles_is_named(leak: Column) -> None:
    given = (family("honest", lagged_return), family(leak.__name__, leak))
    honest, leaky = lookahead(broken_history(), given, cuts=8)
    assert honest.passed
    assert honest.compared > 5000
    assert (leaky.name, leaky.passed) == (leak.__name__, False)
    assert "with the candles until 2024-" in leaky.first
    assert leaky.largest > 0


def test_a_value_that_remembers_for_ever_is_no_look_ahead() -> None:
    given = (family("running_mean", running_mean), family("slow_average", slow_average))
    assert failed(lookahead(broken_history(), given, cuts=8)) == []


def test_a_value_that_is_missing_on_one_side_is_infinitely_wrong() -> None:
    # shift(-1): the newest row of a shorter history has no value, on the whole history it has.
    (finding,) = lookahead(broken_history(), (family("next_return", next_return),), cuts=8)
    assert finding.largest == np.inf


def test_a_value_that_never_exists_has_not_passed() -> None:
    nothing = family("nothing", lambda close: np.full(len(close), np.nan))
    (finding,) = lookahead(broken_history(), (nothing,), cuts=4)
    assert (finding.compared, finding.differing, finding.passed) == (0, 0, False)


def test_a_difference_of_one_bit_is_found() -> None:
    def last_bit(close: FloatArray) -> FloatArray:
        out = close.copy()
        out[:-1] = np.nextafter(close[:-1], np.inf)
        return out

    (finding,) = lookahead(broken_history(), (family("last_bit", last_bit),), cuts=4)
    assert finding.differing >= 4
    assert 0 < finding.largest < 1e-7


def test_too_few_candles_are_told() -> None:
    short = stored_of(series_of(np.full(124, 100.0)))
    with pytest.raises(NotEnoughHistory, match=r"KRW-BTC: 124 candles of 60m are too few"):
        lookahead(short, (features(),))


@pytest.mark.parametrize("view", list(SequenceView))
def test_nothing_of_a_profile_looks_ahead_on_broken_candles(view: SequenceView) -> None:
    findings = lookahead(broken_history(), families(SWING, COSTS, view, None), cuts=8)
    assert failed(findings) == []
    assert {f.group for f in findings} == {
        "candle",
        "feature",
        "model input",
        "label input",
        "label",
    }


def test_nothing_from_candles_to_signals_looks_ahead_in_the_sandbox() -> None:
    made = families(SCALP, COSTS, SequenceView.SUMMARY, small_model())
    findings = lookahead(synthetic_history(), made, cuts=8)
    assert failed(findings) == []
    signals = [f for f in findings if f.group == "signal"]
    assert [f.name for f in signals][:3] == ["p_sell", "p_hold", "p_buy"]
    assert all(f.compared >= 8 for f in signals)


def test_a_leak_in_one_feature_is_followed_into_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """body_share of the next candle, as a shift(-1) in the catalogue's code would make it."""
    honest = indicators._shape

    def leaky(c: Candles, rows: int) -> Columns:
        columns = honest(c, rows)
        columns["body_share"] = np.append(columns["body_share"][1:], 0.0)
        return columns

    monkeypatch.setattr(
        indicators, "_WINDOWED", tuple(leaky if f is honest else f for f in indicators._WINDOWED)
    )
    made = families(SCALP, COSTS, SequenceView.SUMMARY, small_model())
    findings = lookahead(synthetic_history(), made, cuts=8)
    by_group = {
        group: failed(tuple(f for f in findings if f.group == group))
        for group in ("candle", "feature", "model input", "label input", "label", "signal")
    }
    assert by_group["feature"] == ["body_share"]
    # The minimum and the maximum of 24 only where the missing value is the greatest or the least.
    assert {"body_share_mean", "body_share_last"} <= set(by_group["model input"])
    assert all(name.startswith("body_share_") for name in by_group["model input"])
    assert "p_buy" in by_group["signal"]
    assert by_group["candle"] == by_group["label input"] == by_group["label"] == []


def test_a_label_may_see_its_horizon_and_not_one_candle_more() -> None:
    stored = broken_history()
    assert failed(lookahead(stored, (labels(SWING, COSTS),), cuts=8)) == []
    longer = labels(SWING, COSTS)
    # The same labels, said to be known one candle earlier than they are.
    too_early = Family(
        "label", longer.names, longer.training, longer.live, reach=SWING.horizon_candles - 1
    )
    assert "valid" in failed(lookahead(stored, (too_early,), cuts=8))


def test_candles_that_a_later_gap_table_fills_are_the_same_when_cut() -> None:
    # Hours 300 to 303 without trades: a flat stretch that each cut must end in the same way.
    series = series_of((100.0 + np.arange(600) % 7).astype(np.float64))
    series.filled[300:304] = True
    quiet = stored_of(series)
    assert quiet.series.filled.sum() == 4
    assert (quiet.series.close[300:304] == series.close[299]).all()
    findings = lookahead(quiet, families(SWING, COSTS, SequenceView.LAST, None), cuts=40, seed=3)
    assert failed(findings) == []


def test_the_labels_compared_are_those_of_training() -> None:
    """The family's numbers are the labels' own, so that a finding is about them."""
    series = broken_history().series
    made = make_labels(series, SWING, COSTS, ewm_sigma(series))
    rows = np.arange(len(series))
    values = labels(SWING, COSTS).training(series, rows)
    np.testing.assert_array_equal(values[:, 1], made.long_net)
