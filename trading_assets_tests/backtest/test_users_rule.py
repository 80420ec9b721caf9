"""The user's rule as it is: its numbers by hand, on minutes and on hours."""

from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from trading_assets.backtest.users_rule import every_candle, hourly_proxy, minutes_table
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.models.profiles import profile
from trading_assets.settings import ProfileName, Recipe, Settings
from trading_assets_tests.backtest.planted import RULES
from trading_assets_tests.backtest.simulations import START
from trading_assets_tests.backtest.test_variants import COSTS

MINUTE = np.timedelta64(1, "m")
SCALP = profile(Settings(), ProfileName.SCALP)
SWING = profile(Settings(), ProfileName.SWING)
N = 3 * 1440


def minutes(close: np.ndarray) -> CandleSeries:
    n = len(close)
    return CandleSeries(
        Interval.M1,
        START + np.arange(n) * MINUTE,
        close,
        close,
        close,
        close,
        np.ones(n),
        np.zeros(n, dtype=np.bool_),
        np.zeros(n, dtype=np.int64),
    )


def cells(series: CandleSeries) -> list[str]:
    text = minutes_table({"KRW-BTC": series}, SCALP, RULES, COSTS, seed=1)
    return [cell.strip() for cell in text.splitlines()[2].strip("|").split("|")]


def test_in_a_quiet_market_every_minute_is_a_hold_that_costs_one_round_trip() -> None:
    market, entries, hold, timeouts, every, trades, account = cells(
        minutes(np.full(N, 50_000_000.0))
    )
    assert market == "KRW-BTC"
    # All but the last 30 minutes, whose outcome is not known.
    assert int(entries) == 3 * 1440 - 30
    assert (hold, timeouts) == ("100.0 %", "100.0 %")
    # 2 x (5 bp fee + 3 bp slippage); half a tick of 1,000 KRW is 0.1 bp.
    assert every == "-16.0 [-16.0, -16.0]"
    assert account == "-16.0"
    # One position at a time, in again at the close that ended the last: 4,290 / 30.
    assert int(trades) == 143


def test_a_minute_that_rises_by_three_percent_is_taken() -> None:
    """One jump of +3 % in three days: the 30 minutes before it take, all others time out."""
    close = np.full(N, 50_000_000.0)
    close[2000:] *= 1.03
    _, entries, hold, timeouts, *_ = cells(minutes(close))
    reached = 30 / int(entries)
    assert hold == f"{100 * (1 - reached):.1f} %"
    assert timeouts == hold


def test_every_candle_is_bought_whatever_is_expected() -> None:
    rows = np.array([3, 5])
    path = every_candle("KRW-BTC", minutes(np.full(10, 100.0)), SCALP, rows)
    assert np.flatnonzero(path.buy).tolist() == [3, 5]
    assert (path.ev_net > path.min_ev_net).all()
    assert path.stop_loss[3] == path.take_profit[3] == pytest.approx(0.02)


def test_the_proxy_learns_twelve_hours_and_trades_one() -> None:
    study = hourly_proxy(SWING)
    assert study.recipe is Recipe.LOGISTIC
    assert study.learnt.exits.timeout == timedelta(hours=12)
    assert study.traded.exits.timeout == timedelta(hours=1)
    assert study.traded.min_confidence == Decimal("0.4")
    # The threshold alone decides: no expected value is low enough to stop an entry.
    assert study.traded.min_ev_costs < -1000
