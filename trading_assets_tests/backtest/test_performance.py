"""Sharpe, Sortino, draw-down and daily returns, with the arithmetic beside them."""

import math

import numpy as np
import pytest

from trading_assets.backtest.performance import (
    daily_returns,
    drawdowns,
    max_drawdown,
    sharpe_interval,
    sharpe_ratio,
    sortino_interval,
    sortino_ratio,
    total_return,
)
from trading_assets.backtest.statistics import Blocks, statistic_interval


def times(*texts: str) -> np.ndarray:
    return np.array([np.datetime64(t, "us") for t in texts])


def test_daily_returns_go_from_the_last_mark_of_one_day_to_the_last_of_the_next() -> None:
    marks = times(
        "2024-01-01T01:00",
        "2024-01-01T23:00",
        "2024-01-02T00:00",  # the close of the day's last candle: still 1 January
        "2024-01-02T12:00",
        "2024-01-04T12:00",
    )
    days, found = daily_returns(marks, np.array([100.0, 105.0, 110.0, 99.0, 198.0]))
    assert days.astype(str).tolist() == ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"]
    # 110/100 - 1, 99/110 - 1, no mark on the 3rd, 198/99 - 1
    assert found == pytest.approx([0.10, -0.10, 0.0, 1.0])


def test_no_marks_are_no_returns() -> None:
    days, found = daily_returns(times(), np.empty(0))
    assert len(days) == len(found) == 0
    assert total_return(np.empty(0)) == max_drawdown(np.empty(0)) == 0.0


def test_drawdown_is_measured_from_the_highest_peak_so_far() -> None:
    equity = np.array([100.0, 120.0, 90.0, 130.0, 117.0])
    assert drawdowns(equity) == pytest.approx([0, 0, 0.25, 0, 0.1])  # 30/120, 13/130
    assert max_drawdown(equity) == 0.25
    assert total_return(equity) == pytest.approx(0.17)


def test_sharpe_of_four_days_by_hand() -> None:
    # mean 0.01; deviations 0.01, -0.03, 0.01, 0.01: variance (1+9+1+1)e-4 / 3 = 4e-4, sd 0.02;
    # 0.01 / 0.02 x sqrt(365) = 9.5525
    found = sharpe_ratio(np.array([0.02, -0.02, 0.02, 0.02]))
    assert found == pytest.approx(0.5 * math.sqrt(365))


def test_sortino_of_four_days_by_hand() -> None:
    # mean 0.01; downside: sqrt(0.02^2 / 4) = 0.01; 1 x sqrt(365)
    assert sortino_ratio(np.array([0.02, -0.02, 0.02, 0.02])) == pytest.approx(math.sqrt(365))


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01, 0.01]])
def test_a_ratio_of_nothing_is_not_a_number(returns: list[float]) -> None:
    assert math.isnan(sharpe_ratio(np.array(returns)))
    assert math.isnan(sortino_ratio(np.array(returns)))


def test_the_intervals_of_both_ratios_agree_with_days_laid_out_draw_by_draw() -> None:
    start = np.datetime64("2024-01-01", "us")
    days = start + np.arange(280) * np.timedelta64(1, "D")
    returns = np.random.default_rng(1).normal(0.001, 0.01, 280)
    blocks = Blocks(start, start + np.timedelta64(280, "D"))
    for fast, ratio in ((sharpe_interval, sharpe_ratio), (sortino_interval, sortino_ratio)):
        found = fast(days, returns, blocks, 1)
        slow = statistic_interval(lambda rows, r=ratio: r(returns[rows]), days, blocks, 2)  # type: ignore[misc]
        assert found.value == pytest.approx(ratio(returns))
        # Ends of an interval about 4 to 6 wide, from 2,000 draws each.
        assert found.low == pytest.approx(slow.low, abs=0.35)
        assert found.high == pytest.approx(slow.high, abs=0.35)


def test_an_account_that_never_moved_has_no_ratio() -> None:
    days = times("2024-01-01", "2024-01-02", "2024-01-09")
    blocks = Blocks(days[0], np.datetime64("2024-01-15", "us"))
    assert math.isnan(sharpe_interval(days, np.zeros(3), blocks, 1).value)
    assert math.isnan(sortino_interval(days, np.zeros(3), blocks, 1).value)
