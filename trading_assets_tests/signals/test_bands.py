"""Predictions of the last hours against the walk-forward's: quiet at the bound, loud beyond it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trading_assets.rules.check import Level
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.signals.bands import (
    FAILS_AFTER,
    Predicted,
    check_predictions,
    statistic,
    window,
)
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.forecast import Forecast, Statistic
from trading_assets_tests.signals.expected import (
    BTC,
    CONFIDENCE,
    ENTROPY,
    ETH,
    HOLD,
    expected,
    market_forecast,
)

NEWEST = datetime(2026, 1, 5, 11, tzinfo=UTC)
HOUR = timedelta(hours=1)
SURE, FLAT = (0.0, 1.0, 0.0), (1 / 3, 1 / 3, 1 / 3)


def rows(
    *probabilities: tuple[float, float, float], market: str = BTC, newest: datetime = NEWEST
) -> list[Predicted]:
    """Hourly predictions, oldest first, the last one of the candle `newest`."""
    start = newest - (len(probabilities) - 1) * HOUR
    return [Predicted(market, start + i * HOUR, *p) for i, p in enumerate(probabilities)]


def found(
    predictions: Sequence[Predicted], check: Check, forecast: Forecast | None = None
) -> Finding:
    """What `check` found of BTC."""
    (finding,) = (
        f
        for f in check_predictions(predictions, forecast or expected())
        if f.check is check and f.market == BTC
    )
    return finding


# --- the statistics -----------------------------------------------------------------------------


def test_entropy_is_0_for_certainty_and_1_for_ignorance() -> None:
    (sure, flat, half) = rows(SURE, FLAT, (0.5, 0.5, 0.0))
    assert sure.entropy == 0
    assert flat.entropy == pytest.approx(1)
    # log 2 / log 3 = 0.6309.
    assert half.entropy == pytest.approx(0.6309, abs=1e-4)


def test_of_equal_probabilities_hold_is_predicted_as_by_the_rule() -> None:
    (flat, sell, buy) = rows(FLAT, (0.4, 0.2, 0.4), (0.2, 0.2, 0.6))
    assert (flat.predicted_class, sell.predicted_class, buy.predicted_class) == (
        "HOLD",
        "SELL",
        "BUY",
    )
    assert [r.holds for r in (flat, sell, buy)] == [True, False, False]


def test_a_statistic_is_the_mean_of_its_rows() -> None:
    two = rows((0.5, 0.3, 0.2), (0.1, 0.8, 0.1))
    assert statistic(Statistic.HOLD_SHARE, two) == 0.5
    assert statistic(Statistic.CONFIDENCE, two) == pytest.approx(0.65)  # (0.5 + 0.8) / 2


# --- windows ------------------------------------------------------------------------------------


def test_a_window_ends_with_the_newest_candle_and_counts_candles() -> None:
    every = rows(*[FLAT] * 10)
    assert window(every, 3, expected()) == tuple(every[-3:])
    assert window(every, 1, expected()) == (every[-1],)
    # 5-minute candles: an hour has twelve of them.
    assert len(window(every, 1, expected(interval=timedelta(minutes=5)))) == 0


def test_a_window_may_lack_a_tenth_of_its_candles_and_no_more() -> None:
    every = rows(*[FLAT] * 21)
    # 19 of 21 are 90.5 %, 18 are 85.7 %; the first and the last stay.
    assert len(window(every[:1] + every[3:], 21, expected())) == 19
    assert window(every[:1] + every[4:], 21, expected()) == ()
    assert window([], 21, expected()) == ()


# --- the checks ---------------------------------------------------------------------------------


def mixture(hold_share: float) -> list[Predicted]:
    """20 hourly predictions, so many of them HOLD: a window of 21 h lacks one of its candles."""
    holds = round(20 * hold_share)
    return rows(*[(0.6, 0.2, 0.2)] * (20 - holds), *[(0.2, 0.6, 0.2)] * holds)


@pytest.mark.parametrize(("hold_share", "level"), [(0.90, Level.OK), (0.95, Level.WARN)])
def test_too_much_hold_is_odd_beyond_the_bounds_and_not_at_them(
    hold_share: float, level: Level
) -> None:
    # Only the window of 21 h is judged: the shorter ones end with HOLD alone.
    only = replace(market_forecast(), bands={Statistic.HOLD_SHARE: {21: HOLD}})
    finding = found(mixture(hold_share), Check.HOLD_SHARE, expected(only))
    assert finding.level is level
    assert f"hold share {hold_share:.3f} in 21 h" in finding.text
    assert "usual 0.600" in finding.text


def test_hold_alone_fails_when_it_has_lasted() -> None:
    only = replace(market_forecast(), bands={Statistic.HOLD_SHARE: {21: HOLD}})
    # 21 hours, and 21 that ended an hour before.
    finding = found(rows(*[(0.2, 0.6, 0.2)] * 22), Check.HOLD_SHARE, expected(only))
    assert finding.level is Level.FAIL
    assert finding.text == "too much HOLD: hold share 1.000 in 21 h, 1 % bound 0.950, usual 0.600"


@pytest.mark.parametrize(
    ("confidence", "level"),
    [(0.39, Level.OK), (0.3899, Level.WARN), (0.36, Level.WARN), (0.3599, Level.FAIL)],
)
def test_flat_probabilities_are_odd_beyond_the_bounds_and_not_at_them(
    confidence: float, level: Level
) -> None:
    hours = rows(*[(confidence, (1 - confidence) / 2, (1 - confidence) / 2)] * FAILS_AFTER)
    only = replace(market_forecast(), bands={Statistic.CONFIDENCE: {1: CONFIDENCE}})
    finding = found(hours, Check.CONFIDENCE, expected(only))
    assert finding.level is level
    assert finding.text.startswith("flat: ") is (level is not Level.OK)
    assert bool(finding.fix) is (level is not Level.OK)


def test_a_model_that_is_always_sure_of_the_same_has_too_little_entropy() -> None:
    only = replace(market_forecast(), bands={Statistic.ENTROPY: {1: ENTROPY}})
    # (0, 1/2, 1/2) has 0.631, above 0.5; (0, 0.9, 0.1) has 0.296, below 0.3.
    assert found(rows((0.0, 0.5, 0.5)), Check.ENTROPY, expected(only)).level is Level.OK
    finding = found(rows(*[(0.0, 0.9, 0.1)] * FAILS_AFTER), Check.ENTROPY, expected(only))
    assert finding.level is Level.FAIL
    assert finding.text == ("too sure: entropy 0.296 in 1 h, 1 % bound 0.300, usual 0.900")
    # (0, 0.8, 0.2) has 0.455: between the two.
    assert found(rows((0.0, 0.8, 0.2)), Check.ENTROPY, expected(only)).level is Level.WARN


def test_the_worst_window_speaks_and_of_equal_ones_the_longest() -> None:
    # The last two hours are flat, the 20 before are not.
    recent = rows(*[(0.6, 0.2, 0.2)] * 20, *[FLAT] * FAILS_AFTER)
    short = found(recent, Check.CONFIDENCE)
    assert short.level is Level.FAIL
    assert "in 1 h" in short.text
    everywhere = found(rows(*[FLAT] * 21), Check.CONFIDENCE)
    assert everywhere.level is Level.FAIL
    assert "in 21 h" in everywhere.text


SURE_ENOUGH = (0.6, 0.2, 0.2)


@pytest.mark.parametrize(
    ("hours", "level"),
    [
        ([SURE_ENOUGH, FLAT, FLAT], Level.FAIL),
        ([FLAT, SURE_ENOUGH, FLAT], Level.WARN),
        ([FLAT, FLAT, SURE_ENOUGH], Level.OK),
        ([FLAT, FLAT], Level.FAIL),
        ([FLAT], Level.WARN),
    ],
)
def test_a_failure_takes_two_hours_in_a_row(
    hours: list[tuple[float, float, float]], level: Level
) -> None:
    only = replace(market_forecast(), bands={Statistic.CONFIDENCE: {1: CONFIDENCE}})
    finding = found(rows(*hours), Check.CONFIDENCE, expected(only))
    assert finding.level is level
    assert finding.text.endswith("; fails if it lasts 2 h") is (level is Level.WARN)


def test_an_hour_that_was_not_decided_on_does_not_count_as_a_flat_one() -> None:
    only = replace(market_forecast(), bands={Statistic.CONFIDENCE: {1: CONFIDENCE}})
    every = rows(*[FLAT] * 3)
    assert found([every[0], every[2]], Check.CONFIDENCE, expected(only)).level is Level.WARN


def test_hours_in_a_row_are_hours_whatever_the_candle() -> None:
    only = replace(market_forecast(), bands={Statistic.CONFIDENCE: {1: CONFIDENCE}})
    minutes = timedelta(minutes=5)
    # 12 candles an hour: the window that ended an hour ago needs 11 of the oldest 12.
    every = [Predicted(BTC, NEWEST - i * minutes, *FLAT) for i in range(24)]
    of_minutes = expected(only, interval=minutes)
    assert found(every, Check.CONFIDENCE, of_minutes).level is Level.FAIL
    assert found(every[:-2], Check.CONFIDENCE, of_minutes).level is Level.WARN
    # Candles of four hours: two of them.
    four = 4 * HOUR
    slow = [Predicted(BTC, NEWEST - i * four, *FLAT) for i in range(2)]
    of_four = expected(only, interval=four)
    assert found(slow, Check.CONFIDENCE, of_four).level is Level.FAIL
    told = found(slow[:1], Check.CONFIDENCE, of_four)
    assert told.level is Level.WARN
    assert told.text.endswith("fails if it lasts 8 h")


def test_a_bound_at_the_end_of_what_is_possible_never_rings() -> None:
    never = replace(HOLD, five=1.0, one=1.0, warn=1.0, error=1.0)
    only = replace(market_forecast(), bands={Statistic.HOLD_SHARE: {21: never}})
    assert found(rows(*[SURE] * 21), Check.HOLD_SHARE, expected(only)).level is Level.OK


def test_all_markets_together_are_one_window_of_their_mean() -> None:
    forecast = expected(market_forecast(BTC), market_forecast(ETH), market_forecast(ALL_MARKETS))
    # 0.36 and 0.40 make 0.38: below 0.39, not below 0.36.
    both = [*rows((0.36, 0.32, 0.32)), *rows((0.40, 0.30, 0.30), market=ETH)]
    (together,) = (
        f
        for f in check_predictions(both, forecast)
        if f.market == ALL_MARKETS and f.check is Check.CONFIDENCE
    )
    assert "confidence 0.380 in 1 h" in together.text
    assert together.level is Level.WARN
    # With one of the two markets missing there is no window.
    (alone,) = (
        f
        for f in check_predictions(both[:1], forecast)
        if f.market == ALL_MARKETS and f.check is Check.CONFIDENCE
    )
    assert alone.level is Level.OK
    assert "no whole window" in alone.text


def test_a_market_without_predictions_has_nothing_to_compare() -> None:
    finding = found([], Check.ENTROPY)
    assert finding.level is Level.OK
    assert finding.text == "no whole window of 1 h or longer to compare"
