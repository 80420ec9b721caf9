"""What the simulation refuses to be given, each refusal with the row and the value."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from trading_assets_tests.backtest.paths import RULES, path_of, series_of

FLAT = (1000.0, 1010.0, 990.0, 1000.0)


def test_a_row_cannot_be_buy_and_sell() -> None:
    with pytest.raises(ValueError, match="row 1 asks for both BUY and SELL"):
        path_of(series_of([FLAT] * 3), buy=[1], sell=[1])


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("p_buy", 1.01, "p_buy of a BUY must be between 0 and 1, row 1 has 1.01"),
        ("p_buy", np.nan, "p_buy of a BUY"),
        ("ev_net", np.inf, "ev_net of a BUY must be finite"),
        ("min_ev_net", np.nan, "min_ev_net of a BUY must be finite"),
        ("stop_loss", 1.0, "stop_loss of a BUY must be above 0 and below 1"),
        ("stop_loss", 0.0, "stop_loss of a BUY"),
        ("take_profit", 0.0, "take_profit of a BUY must be finite and above 0"),
        ("take_profit", np.inf, "take_profit of a BUY"),
    ],
)
def test_the_numbers_of_a_buy_are_checked_and_no_others(name: str, value: float, rule: str) -> None:
    changed: dict[str, Any] = {name: np.full(3, value)}
    with pytest.raises(ValueError, match=rule):
        replace(path_of(series_of([FLAT] * 3), buy=[1]), **changed)
    replace(path_of(series_of([FLAT] * 3), sell=[1]), **changed)


@pytest.mark.parametrize(
    ("candle", "rule"),
    [
        ((0.0, 1010.0, 0.0, 1000.0), "open must be above 0, row 1 has 0.0"),
        ((1000.0, np.nan, 990.0, 1000.0), "high must be above 0, row 1 has nan"),
        ((1000.0, 999.0, 990.0, 995.0), "row 1 leaves the range from its low to its high"),
        ((1000.0, 1010.0, 1001.0, 1005.0), "row 1 leaves the range from its low to its high"),
    ],
)
def test_impossible_candles_are_refused(
    candle: tuple[float, float, float, float], rule: str
) -> None:
    with pytest.raises(ValueError, match=rule):
        path_of(series_of([FLAT, candle, FLAT]))


def test_candles_must_come_in_order_and_each_once() -> None:
    series = series_of([FLAT] * 3)
    twice = replace(series, open_time=series.open_time[[0, 1, 1]])
    with pytest.raises(ValueError, match="row 2 opens 0 microseconds after the one before"):
        path_of(twice)


def test_arrays_need_the_length_and_the_type_of_the_series() -> None:
    path = path_of(series_of([FLAT] * 3))
    with pytest.raises(ValueError, match=r"buy must be bool of shape \(3,\), was float64"):
        replace(path, buy=np.zeros(3))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"p_buy must be float64 of shape \(3,\), was float64 of"):
        replace(path, p_buy=np.zeros(2))


def test_other_exits_make_the_path_that_the_constructor_would_make() -> None:
    path = path_of(series_of([FLAT] * 4), buy=[1, 2])
    stop, take = np.array([np.nan, 0.02, 0.03, np.nan]), np.full(4, 0.05)
    changed, made = path.with_exits(stop, take), replace(path, stop_loss=stop, take_profit=take)
    for name in ("buy", "sell", "p_buy", "ev_net", "min_ev_net", "stop_loss", "take_profit"):
        np.testing.assert_array_equal(getattr(changed, name), getattr(made, name))
    np.testing.assert_array_equal(changed.signals, made.signals)
    assert (changed.market, changed.series, changed.timeout) == (
        path.market,
        path.series,
        path.timeout,
    )
    assert not np.isin([0.03, 0.05], path.stop_loss).any()
    assert path.signals["take_profit"].tolist() == path.take_profit[[1, 2]].tolist()


@pytest.mark.parametrize(
    ("stop", "take", "rule"),
    [
        (np.full(3, 1.0), np.full(3, 0.1), "stop_loss of a BUY must be above 0 and below 1"),
        (np.full(3, 0.1), np.full(3, np.nan), "take_profit of a BUY must be finite and above 0"),
        (np.full(2, 0.1), np.full(3, 0.1), r"stop_loss must be float64 of shape \(3,\)"),
        (np.full(3, 0.1), np.full(3, 1), "take_profit must be float64"),
    ],
)
def test_other_exits_are_checked(stop: Any, take: Any, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        path_of(series_of([FLAT] * 3), buy=[1]).with_exits(stop, take)


def test_a_position_needs_time() -> None:
    with pytest.raises(ValueError, match="timeout must be above 0, was 0:00:00"):
        path_of(series_of([FLAT]), timeout=timedelta(0))


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("starting_krw", Decimal(0), "starting_krw must be above 0 KRW, was 0"),
        ("min_notional", Decimal("NaN"), "min_notional must be above 0 KRW, was NaN"),
        ("max_slippage", Decimal(1), "max_slippage must be from 0 to below 1, was 1"),
        ("resume_after", timedelta(-1), "resume_after must not be negative"),
    ],
)
def test_account_rules_refuse_nonsense(name: str, value: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        replace(RULES, **{name: value})  # type: ignore[arg-type]
