"""Silence: of signals, of decisions, of trades; quiet at each bound and loud beyond it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trading_assets.rules.check import Level
from trading_assets.rules.funnel import KINDS, FunnelCode, FunnelKind
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.signals.drought import (
    Ended,
    Quiet,
    check_decisions_made,
    check_signal_drought,
    check_trade_drought,
)
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.forecast import PROFILE_RULE
from trading_assets.signals.regime import check_market_regime, percentile
from trading_assets_tests.signals.expected import BTC, ETH, RATE, expected, market_forecast

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


# --- signals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("candles", "level"),
    [(80, Level.OK), (81, Level.WARN), (100, Level.WARN), (101, Level.FAIL)],
)
def test_a_silence_of_all_markets_is_a_drought_beyond_the_bounds_and_not_at_them(
    candles: int, level: Level
) -> None:
    (finding,) = check_signal_drought([Quiet(ALL_MARKETS, candles, True)], expected())
    assert finding.level is level
    assert finding.check is Check.SIGNAL_DROUGHT
    assert finding.text.startswith(f"{candles} h since the last BUY")
    assert "0.4 BUY a day expected" in finding.text


def test_one_silent_market_warns_and_never_fails() -> None:
    (finding,) = check_signal_drought([Quiet(BTC, 1000, True)], expected())
    assert finding.level is Level.WARN
    assert "longer than the 5 % bound of 80 h" in finding.text


def test_silence_is_counted_in_candles_that_were_decided_on() -> None:
    # 1,200 candles of 5 minutes are 100 hours, 1,201 a little more.
    scalp = expected(interval=timedelta(minutes=5))
    (at_bound,) = check_signal_drought([Quiet(ALL_MARKETS, 1200, True)], scalp)
    (beyond,) = check_signal_drought([Quiet(ALL_MARKETS, 1201, False)], scalp)
    assert at_bound.level is Level.WARN
    assert beyond.level is Level.FAIL
    assert beyond.text.startswith("100 h and never a BUY")


def test_a_rule_that_never_bought_in_the_walk_forward_warns_from_the_first_hour() -> None:
    never = replace(RATE, signals_a_day=0.0, no_signal=1.0)
    forecast = expected(replace(market_forecast(), rates={PROFILE_RULE: never}))
    (finding,) = check_signal_drought([Quiet(BTC, 1, False)], forecast)
    assert finding.level is Level.WARN
    assert "had none in 18000 candles" in finding.text


def test_a_market_that_the_forecast_does_not_know_is_not_judged() -> None:
    assert check_signal_drought([Quiet(ETH, 500, False)], expected()) == []


# --- trades -------------------------------------------------------------------------------------


def ended(*codes: FunnelCode, hours: float = 1, held: bool = False) -> list[Ended]:
    """Ends an hour apart, the first that many hours ago."""
    return [
        Ended(BTC, code, NOW - timedelta(hours=hours) + i * HOUR / 10, held)
        for i, code in enumerate(codes)
    ]


def judged(ends: list[Ended]) -> Finding:
    return check_trade_drought(ends, NOW, expected())


def test_no_buy_and_a_buy_that_became_a_trade_are_quiet() -> None:
    assert judged([]).level is Level.OK
    assert judged([]).text == "no BUY waits for a trade"
    assert judged(ended(FunnelCode.HALTED, FunnelCode.TRADED)).level is Level.OK


def test_three_broken_ends_since_the_last_trade_fail_and_two_warn() -> None:
    traded, broken = FunnelCode.TRADED, FunnelCode.ACCOUNT_SHORT
    two = judged(ended(broken, traded, broken, FunnelCode.NO_CASH))
    assert two.level is Level.WARN
    assert "2 BUY in 1 h, no trade: 1 account_short, 1 no_cash" in two.text
    three = judged(ended(traded, broken, broken, FunnelCode.NO_CASH))
    assert three.level is Level.FAIL
    assert three.text == ("3 BUY in 1 h, no trade: 2 account_short, 1 no_cash; 3 faults, 2 may be")
    assert three.fix == "trading-assets funnel"


def test_prices_that_ran_away_and_limits_warn_however_many() -> None:
    ends = ended(*[FunnelCode.PRICE_MOVED] * 5, *[FunnelCode.DAY_LOSS] * 5)
    assert judged(ends).level is Level.WARN


def test_a_bot_that_is_busy_with_a_trade_misses_nothing() -> None:
    ends = ended(FunnelCode.TRADED, *[FunnelCode.POSITION_OPEN] * 9, FunnelCode.RESTING)
    assert judged(ends).level is Level.OK


def test_a_signal_nobody_decided_on_is_a_fault_unless_its_market_had_a_position() -> None:
    late = [FunnelCode.SUPERSEDED] * 2 + [FunnelCode.EXPIRED]
    assert judged(ended(*late)).level is Level.FAIL
    assert judged(ended(*late, held=True)).level is Level.OK


@pytest.mark.parametrize(("hours", "level"), [(110, Level.WARN), (110.1, Level.FAIL)])
def test_signals_without_a_trade_for_longer_than_the_walk_forward_ever_was_fail(
    hours: float, level: Level
) -> None:
    finding = judged(ended(FunnelCode.PRICE_MOVED, hours=hours))
    assert finding.level is level
    assert ("longer than the 1 % bound of 110 h" in finding.text) is (level is Level.FAIL)
    # Without a forecast the time alone says nothing.
    alone = check_trade_drought(ended(FunnelCode.PRICE_MOVED, hours=hours), NOW)
    assert alone.level is Level.WARN


def test_every_funnel_code_has_a_kind() -> None:
    assert set(KINDS) == set(FunnelCode)
    # What a person has to look at, by hand: everything that no rule lets go of by itself.
    assert {c.value for c, kind in KINDS.items() if kind is FunnelKind.STOPPED} == {
        "model_unconfirmed",
        "halted",
        "not_enabled",
        "account_short",
        "order_unknown",
        "market_inactive",
        "market_warning",
        "market_caution",
        "price_old",
        "peak_loss",
        "account_too_small",
        "no_cash",
        "rejected",
        "order_lost",
        "stopped",
    }


# --- decisions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("decided", "level"),
    # Of 20: a tenth is 2, half is 10.
    [(20, Level.OK), (18, Level.OK), (17, Level.WARN), (10, Level.WARN), (9, Level.FAIL)],
)
def test_candles_without_a_decision_warn_above_a_tenth_and_fail_above_half(
    decided: int, level: Level
) -> None:
    finding = check_decisions_made(BTC, decided, 20, [("stale_candles", 2), ("error", 1)])
    assert finding.level is level
    assert finding.text.startswith(f"{decided} of 20 candles of the last 21 h")
    assert ("2 stale_candles, 1 error" in finding.text) is (level is not Level.OK)


def test_nothing_is_missing_before_a_candle_was_due() -> None:
    assert check_decisions_made(BTC, 0, 0, []).level is Level.OK


# --- regime -------------------------------------------------------------------------------------


def test_a_percentile_is_linear_between_two_and_the_middle_of_equal_ones() -> None:
    # Four steps: 0, 25, 50, 75 and 100 %.
    grid = (1.0, 2.0, 2.0, 2.0, 5.0)
    assert percentile(0.5, grid) == 0
    assert percentile(1.0, grid) == 0
    assert percentile(1.5, grid) == 12.5
    assert percentile(2.0, grid) == 50  # 25, 50 and 75
    assert percentile(3.5, grid) == 87.5
    assert percentile(5.0, grid) == 100
    assert percentile(9.0, grid) == 100
    with pytest.raises(ValueError, match="at least 2 percentiles, has 1"):
        percentile(1.0, (1.0,))


@pytest.mark.parametrize(
    ("sigma", "level", "word"),
    [
        (0.0005, Level.OK, None),  # the 5th percentile itself
        (0.00049, Level.WARN, "quiet"),
        (0.0095, Level.OK, None),  # the 95th
        (0.00951, Level.WARN, "wild"),
    ],
)
def test_a_market_is_quiet_below_the_5th_and_wild_above_the_95th_percentile(
    sigma: float, level: Level, word: str | None
) -> None:
    finding = check_market_regime(sigma, market_forecast())
    assert finding.level is level
    assert word is None or word in finding.text


def test_the_finding_of_all_markets_is_about_them() -> None:
    assert judged([]).market == ALL_MARKETS
