"""The same signals under other circumstances, and signals that know nothing."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.backtest.inputs import MarketPath, TradeEnd
from trading_assets.backtest.variants import costs_of, random_entries, rolled, shifts
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.rules.costs import Costs
from trading_assets_tests.backtest.simulations import HOUR, START, trades

COSTS = Costs(fee_rate=Decimal("0.0005"), min_slippage_rate=Decimal("0.0003"))
NAN = np.nan


def path(buy: list[int], n: int = 8, unknown: tuple[int, ...] = ()) -> MarketPath:
    """n quiet hourly candles; BUY at the given rows with p_buy 0.50, 0.51, ... by row."""
    flat = np.full(n, 100.0)
    asked = np.isin(np.arange(n), buy)
    stop = np.where(np.isin(np.arange(n), unknown), NAN, 0.01 + 0.001 * np.arange(n))
    return MarketPath(
        market="KRW-BTC",
        series=CandleSeries(
            Interval.M60,
            START + np.arange(n) * HOUR,
            flat,
            flat,
            flat,
            flat,
            flat,
            np.zeros(n, dtype=np.bool_),
            np.zeros(n, dtype=np.int64),
        ),
        buy=asked,
        sell=np.zeros(n, dtype=np.bool_),
        p_buy=np.asarray(0.5 + 0.01 * np.arange(n), dtype=np.float64),
        ev_net=np.where(asked, 0.01, NAN),
        min_ev_net=np.where(asked, 0.0016, NAN),
        stop_loss=stop,
        take_profit=stop,
        timeout=timedelta(hours=2),
    )


def test_a_rolled_signal_keeps_its_probability_and_takes_the_exits_where_it_lands() -> None:
    moved = rolled(path([1, 6]), 3)
    assert np.flatnonzero(moved.buy).tolist() == [1, 4]  # 6 + 3 comes back as 9 - 8
    assert moved.p_buy[[4, 1]].tolist() == [0.51, 0.56]
    assert moved.ev_net[4] == 0.01
    assert moved.stop_loss[4] == pytest.approx(0.014)  # of row 4, not of row 1


def test_a_signal_that_lands_where_nothing_was_predicted_falls_away() -> None:
    assert np.flatnonzero(rolled(path([1, 6], unknown=(4,)), 3).buy).tolist() == [1]


def test_sells_are_rolled_with_the_buys() -> None:
    sells = replace(path([1]), sell=np.isin(np.arange(8), [2]))
    assert np.flatnonzero(rolled(sells, 3).sell).tolist() == [5]


def test_shifts_are_20_to_120_days_and_each_another() -> None:
    found = shifts(24 * 800, timedelta(hours=1), 40, np.random.default_rng(1))
    assert len(set(found)) == 40
    assert min(found) >= 20 * 24
    assert max(found) < 120 * 24


def test_shifts_on_a_short_stretch_stay_away_from_its_ends() -> None:
    found = shifts(24 * 40, timedelta(hours=1), 40, np.random.default_rng(1))
    assert min(found) >= 240  # a quarter of 960
    assert max(found) < 720
    with pytest.raises(ValueError, match="too few"):
        shifts(1, timedelta(hours=1), 40, np.random.default_rng(1))


def test_random_entries_are_as_many_as_were_traded_and_of_the_same_sizes() -> None:
    traded = trades([1, 2, 3], [1, 2, 3], [TradeEnd.TIME_LIMIT] * 3)
    traded.p_buy[:] = [0.5, 0.6, 0.7]
    found = random_entries(path([], n=100, unknown=(3, 4)), traded, 0, seed=1)
    assert found.buy.sum() == 3
    assert sorted(found.p_buy[found.buy]) == [0.5, 0.6, 0.7]
    assert not found.buy[[3, 4]].any()
    assert random_entries(path([]), traded, 1, seed=1).buy.sum() == 0  # another market


def test_random_entries_reach_every_candle_with_a_prediction_and_no_other() -> None:
    traded = trades([1], [1], [TradeEnd.TIME_LIMIT])
    sells = replace(path([], unknown=(3,)), sell=np.isin(np.arange(8), [5]))
    reached = {
        int(np.flatnonzero(random_entries(sells, traded, 0, seed).buy)[0]) for seed in range(200)
    }
    assert reached == {0, 1, 2, 4, 6, 7}


@pytest.mark.parametrize(("bp", "slippage"), [(16, "0.0003"), (20, "0.0005"), (40, "0.0015")])
def test_a_round_trip_is_two_fees_and_two_slippages(bp: int, slippage: str) -> None:
    # 16 bp = 2 x (5 bp fee + 3 bp slippage)
    assert costs_of(COSTS, bp) == replace(COSTS, min_slippage_rate=Decimal(slippage))


def test_a_round_trip_below_the_fees_is_refused() -> None:
    with pytest.raises(ValueError, match="9 bp is less than two fees"):
        costs_of(COSTS, 9)


@given(st.sets(st.integers(0, 19)), st.integers(0, 40))
def test_rolling_there_and_back_changes_nothing(buys: set[int], candles: int) -> None:
    start = path(sorted(buys), n=20)
    back = rolled(rolled(start, candles), -candles)
    np.testing.assert_array_equal(back.buy, start.buy)
    np.testing.assert_array_equal(back.p_buy, start.p_buy)
    np.testing.assert_array_equal(back.ev_net, start.ev_net)
