"""Intervals by resampled weeks, by hand and against a loop that resamples as one would on paper."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.backtest.statistics import (
    Blocks,
    FloatArray,
    Interval,
    TimeArray,
    mean_difference_interval,
    mean_interval,
    paired_interval,
    rate_interval,
    ratio_interval,
    statistic_interval,
    without_best_blocks,
)

START = np.datetime64("2024-01-01T00:00:00", "us")
DAY = np.timedelta64(1, "D")
HOUR = np.timedelta64(1, "h")


def weeks(n: int) -> Blocks:
    return Blocks(START, START + 7 * n * DAY)


def days(*numbers: float) -> TimeArray:
    return np.array([START + round(24 * n) * HOUR for n in numbers], dtype="datetime64[us]")


def test_blocks_count_from_the_start_and_the_last_may_be_shorter() -> None:
    blocks = Blocks(START, START + 17 * DAY)
    assert blocks.count == 3
    assert blocks.days.tolist() == [7, 7, 3]
    assert blocks.of(days(0, 6.9, 7, 16.9)).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("day", [-0.1, 21.0])
def test_a_time_outside_of_the_blocks_is_refused(day: float) -> None:
    with pytest.raises(ValueError, match="lies outside of the blocks"):
        weeks(3).of(days(day))


def test_an_empty_stretch_is_refused() -> None:
    with pytest.raises(ValueError, match="need an end after"):
        Blocks(START, START)


def test_the_mean_interval_of_two_weeks_is_their_two_means() -> None:
    # Week 0 earns 1 and 3, week 1 earns 10. Drawn: both from week 0 (1 of 4 draws) 8/4 = 2, one of
    # each (2 of 4) 14/3 = 4.67, both from week 1 (1 of 4) 10. The 2.5 % and 97.5 % points of that
    # distribution are its ends.
    found = mean_interval(days(0, 1, 8), np.array([1.0, 3.0, 10.0]), weeks(2), seed=1)
    assert found.value == pytest.approx(14 / 3)
    assert (found.low, found.high) == (2.0, 10.0)
    assert found.blocks == 2


def test_one_block_says_nothing_about_its_own_uncertainty() -> None:
    found = mean_interval(days(0, 1), np.array([1.0, 3.0]), weeks(1), seed=1)
    assert found.value == 2.0
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_without_trades_nothing_is_known() -> None:
    found = mean_interval(days(), np.empty(0), weeks(3), seed=1)
    assert math.isnan(found.value)
    assert rate_interval(days(), weeks(3), seed=1) == Interval(0.0, 0.0, 0.0, 3)


def test_trades_a_day_count_weeks_without_a_trade() -> None:
    # 7 trades in the first of two weeks: 7 / 14 = 0.5 a day, between 0 and 1.
    found = rate_interval(days(0, 1, 2, 3, 4, 5, 6), weeks(2), seed=1)
    assert (found.value, found.low, found.high) == (0.5, 0.0, 1.0)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    rng = np.random.default_rng(3)
    times, values = days(*np.sort(rng.uniform(0, 140, 60))), rng.normal(size=60)
    first = mean_interval(times, values, weeks(20), seed=1)
    assert first == mean_interval(times, values, weeks(20), seed=1)
    assert first != mean_interval(times, values, weeks(20), seed=2)


def resampled_by_hand(
    times: TimeArray, values: FloatArray, n_weeks: int, draws: int
) -> tuple[float, float]:
    """An independent implementation: lists of trades by week, drawn one week after another."""
    by_week: list[list[float]] = [[] for _ in range(n_weeks)]
    for time, value in zip(times, values, strict=True):
        by_week[int((time - START) / DAY) // 7].append(float(value))
    rng = np.random.default_rng(99)
    means = []
    for _ in range(draws):
        trades = [v for w in rng.choice(n_weeks, n_weeks) for v in by_week[w]]
        means.append(sum(trades) / len(trades))
    means.sort()
    return means[int(0.025 * draws)], means[int(0.975 * draws) - 1]


def test_the_interval_agrees_with_weeks_drawn_one_by_one() -> None:
    rng = np.random.default_rng(5)
    times = days(*np.sort(rng.uniform(0, 70 * 7, 400)))
    shock = rng.normal(0, 30, 70)  # shared by all trades of a week
    week = ((times - START) / DAY).astype(int) // 7
    values = 10 + shock[week] + rng.normal(0, 50, 400)
    ours = mean_interval(times, values, weeks(70), seed=1, draws=4000)
    low, high = resampled_by_hand(times, values, 70, draws=4000)
    # 4,000 draws each: the ends of an interval about 18 wide are known to about 0.4.
    assert ours.low == pytest.approx(low, abs=0.8)
    assert ours.high == pytest.approx(high, abs=0.8)
    # Drawn trade by trade (the wrong way) the interval would be narrower by a third or more.
    naive = 2 * 1.96 * values.std() / math.sqrt(400)
    assert ours.high - ours.low > 1.3 * naive


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    # 300 experiments of 40 weeks with a shock a week; 95 % +- 3 x 1.3 % of sampling, less what a
    # percentile interval of 40 blocks is known to lack.
    covered = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        week = np.repeat(np.arange(40), 5)
        values = rng.normal(0, 1, 40)[week] + rng.normal(0, 1, 200)
        found = mean_interval(START + 7 * week * DAY, values, weeks(40), seed, draws=500)
        covered += found.low <= 0 <= found.high
    assert 0.89 <= covered / 300 <= 0.98


def test_any_statistic_of_rows_agrees_with_the_ratio_of_sums() -> None:
    rng = np.random.default_rng(7)
    times, values = days(*np.sort(rng.uniform(0, 210, 200))), rng.normal(5, 20, 200)
    fast = mean_interval(times, values, weeks(30), seed=1, draws=4000)
    slow = statistic_interval(
        lambda rows: float(values[rows].mean()), times, weeks(30), seed=2, draws=4000
    )
    assert slow.value == pytest.approx(fast.value)
    assert slow.low == pytest.approx(fast.low, abs=0.4)
    assert slow.high == pytest.approx(fast.high, abs=0.4)


def test_a_statistic_keeps_the_rows_of_a_week_together() -> None:
    seen: list[tuple[int, ...]] = []

    def remember(rows: np.ndarray) -> float:
        seen.append(tuple(rows.tolist()))
        return 0.0

    # Rows 0 and 2 lie in week 0, row 1 in week 1.
    statistic_interval(remember, days(0, 8, 1), weeks(2), seed=1, draws=50)
    assert seen[-1] == (0, 2, 1)  # the whole, week after week
    assert set(seen[:-1]) == {(0, 2, 0, 2), (0, 2, 1), (1, 0, 2), (1, 1)}


def test_pairing_cancels_what_both_series_share() -> None:
    rng = np.random.default_rng(11)
    times = START + np.arange(210) * DAY
    common = rng.normal(0, 100, 210)
    first, second = common + 1 + rng.normal(0, 1, 210), common
    paired = paired_interval(times, first, second, weeks(30), seed=1)
    assert paired.low > 0.7
    assert paired.high < 1.3
    alone = mean_interval(times, first, weeks(30), seed=1)
    assert alone.low < 0 < alone.high


def test_paired_series_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one length, were 2 and 1"):
        paired_interval(days(0, 1), np.zeros(2), np.zeros(1), weeks(2), seed=1)


def test_the_difference_of_two_means_draws_the_same_weeks_of_both() -> None:
    # First: 6 in week 0, 2 in week 1. Second: 5 in week 0, and 1 and 1 in week 1.
    # Drawn: week 0 twice 6 - 5 = 1; one of each 4 - 7/3 = 1.67; week 1 twice 2 - 1 = 1. As they
    # are: 8/2 - 7/3 = 1.67.
    first = days(0, 8), np.array([6.0, 2.0])
    second = days(1, 9, 10), np.array([5.0, 1.0, 1.0])
    found = mean_difference_interval(first, second, weeks(2), seed=1)
    assert found.value == pytest.approx(5 / 3)
    assert found.low == pytest.approx(1)
    assert found.high == pytest.approx(5 / 3)
    turned = mean_difference_interval(second, first, weeks(2), seed=1)
    assert turned.value == pytest.approx(-5 / 3)
    assert turned.high == pytest.approx(-1)


def test_a_draw_without_events_of_one_of_the_two_says_nothing() -> None:
    # The second has an event in week 1 only: draws of week 0 twice are left out.
    found = mean_difference_interval(
        (days(0, 8), np.array([4.0, 6.0])), (days(9), np.array([1.0])), weeks(2), seed=1
    )
    assert found.value == pytest.approx(4)  # 5 - 1
    assert found.low == pytest.approx(4)  # one of each
    assert found.high == pytest.approx(5)  # week 1 twice: 6 - 1
    nothing = mean_difference_interval(
        (days(0), np.array([4.0])), (days(), np.array([])), weeks(2), seed=1
    )
    assert math.isnan(nothing.value)
    assert math.isnan(nothing.low)


def test_a_narrower_coverage_gives_a_narrower_interval() -> None:
    values = np.arange(40.0)
    wide, narrow = (
        mean_interval(days(*range(0, 280, 7)), values, weeks(40), seed=1, coverage=coverage)
        for coverage in (0.9, 0.5)
    )
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (wide.coverage, narrow.coverage) == (0.9, 0.5)


def test_the_best_weeks_go_by_their_sum() -> None:
    # Sums: week 0 is 5, week 1 is 6 (two trades of 3), week 2 is 4, week 3 is -1.
    times, values = days(0, 7, 8, 14, 21), np.array([5.0, 3.0, 3.0, 4.0, -1.0])
    stays = without_best_blocks(times, values, weeks(4), dropped=2)
    assert stays.tolist() == [False, False, False, True, True]


@given(
    st.lists(st.tuples(st.floats(0, 69.9), st.floats(-1e3, 1e3)), min_size=1, max_size=50),
    st.floats(0.1, 10),
)
def test_a_ratio_is_between_the_least_and_the_greatest_of_its_weeks(
    trades: list[tuple[float, float]], unit: float
) -> None:
    times, values = days(*(day for day, _ in trades)), np.array([v for _, v in trades])
    denominator = np.full(len(values), unit)
    found = ratio_interval(times, values, denominator, weeks(10), seed=1, draws=200)
    assert found.value == pytest.approx(values.sum() / denominator.sum())
    if not math.isnan(found.low):
        assert values.min() / unit - 1e-6 <= found.low <= found.high <= values.max() / unit + 1e-6
