"""The numbers of a simulated account, by hand."""

import math
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from trading_assets.backtest import measure as m
from trading_assets.backtest.inputs import TradeEnd
from trading_assets_tests.backtest.simulations import (
    START,
    random_account,
    simulation,
    trades,
)
from trading_assets_tests.backtest.test_variants import COSTS, path

TAKE, STOP, TIME = TradeEnd.TAKE_PROFIT, TradeEnd.STOP_LOSS, TradeEnd.TIME_LIMIT
NONE = trades([], [], [])


def flat(days: int, krw: float = 1e7) -> list[float]:
    return [krw] * (24 * days)


def test_an_account_of_three_trades() -> None:
    made = trades([1, 30, 200], [100, -50, 10], [TAKE, STOP, TIME])
    equity = flat(14)
    for hour, earned in ((3, 1e4), (32, -5e3), (202, 1e3)):  # 1,000,000 KRW x 100, -50, 10 bp
        for later in range(hour, len(equity)):
            equity[later] += earned
    account = simulation(equity, made, exposure=[5e5] * len(equity))
    found = m.measure(account, m.blocks_of(account), seed=1)
    assert found.trades == 3
    assert found.net_bp.value == pytest.approx(20)  # (100 - 50 + 10) / 3
    assert found.gross_bp.value == pytest.approx(36)
    assert found.hit_rate.value == pytest.approx(2 / 3)
    assert found.trades_a_day.value == pytest.approx(3 / 14, rel=1e-6)
    # Two weeks: (100 - 50) / 2 = 25 and 10.
    assert (found.net_bp.low, found.net_bp.high) == (10, 25)
    assert found.account_return == pytest.approx(0.0006)  # 6,000 of 10,000,000
    assert found.max_drawdown == pytest.approx(5e3 / 1.001e7)
    # A tenth of the account, three times for two hours, of the hours from the first mark on.
    assert found.mean_exposure == pytest.approx(0.1 * 6 / (14 * 24 - 1), rel=1e-3)
    assert found.ends == {"stop_loss": 1, "take_profit": 1, "time_limit": 1}
    assert found.refusals == {"resting": 3}  # codes that never happened are left out


def test_an_account_without_trades_is_measured_and_knows_nothing() -> None:
    account = simulation(flat(14), NONE)
    found = m.measure(account, m.blocks_of(account), seed=1)
    assert (found.trades, found.trades_a_day.value, found.account_return) == (0, 0.0, 0.0)
    assert math.isnan(found.net_bp.value)
    assert math.isnan(found.sharpe.value)
    assert math.isnan(m.best_weeks(account, m.blocks_of(account)).net_bp)


def test_a_simulation_without_candles_is_refused() -> None:
    with pytest.raises(ValueError, match="without candles"):
        m.blocks_of(simulation([], NONE))


def test_the_first_day_begins_with_the_starting_capital_and_a_mark_at_midnight_ends_a_day() -> None:
    # Marks at 01:00, ..., 24:00 of the first day; then one hour of the second.
    account = simulation([1.1e7] * 24 + [0.99e7], NONE)
    days, returns = m.account_days(account)
    assert days.astype("datetime64[D]").astype(str).tolist() == ["2024-01-01", "2024-01-02"]
    assert returns == pytest.approx([0.1, -0.1])
    assert m.blocks_of(account).start == START


def test_the_best_weeks_are_left_out_by_what_they_earned() -> None:
    # Week by week: 60, 5 + 5, 20, -10. Without the best two: (5 + 5 - 10) / 3 = 0.
    made = trades([1, 170, 171, 340, 510], [60, 5, 5, 20, -10], [TIME] * 5)
    account = simulation(flat(28), made)
    found = m.best_weeks(account, m.blocks_of(account), weeks=2)
    assert (found.weeks, found.trades, found.net_bp) == (2, 3, 0.0)


def test_the_months_multiply_to_the_whole() -> None:
    account = random_account(days=60)
    found = m.months(account)
    assert [month.first for month in found] == [date(2024, 1, 1), date(2024, 2, 1)]
    growth = np.prod([1 + month.account_return for month in found]) - 1
    assert growth == pytest.approx(account.equity[-1] / account.starting_krw - 1)
    assert sum(month.trades for month in found) == len(account.trades)


def test_the_curve_ends_where_the_account_does() -> None:
    account = random_account(days=60)
    found = m.curve(account)
    assert (found.days[0], found.days[-1], len(found.days)) == (
        date(2024, 1, 1),
        date(2024, 2, 29),
        60,
    )
    assert found.equity[-1] == pytest.approx(account.equity[-1])
    assert found.invested == pytest.approx([0.1] * 60)


def test_the_histogram_holds_every_trade_once() -> None:
    made = trades([1, 2, 3, 4], [-900, -500, 12, 5000], [STOP, STOP, TIME, TAKE])
    found = m.histogram(simulation(flat(1), made))
    assert found.edges[0] == -500
    assert found.edges[-1] == 500
    assert found.counts["stop_loss"][0] == 2
    assert found.counts["take_profit"][-1] == 1
    assert found.counts["time_limit"][20] == 1  # 0 to 25
    assert sum(sum(c) for c in found.counts.values()) == 4


def test_buy_and_hold_is_the_mean_of_all_markets_less_one_round_trip() -> None:
    up, down = path([], n=4), path([], n=4)
    up.series.close[:] = [100, 150, 120, 200]
    down.series.close[:] = [100, 50, 50, 40]
    found = m.buy_and_hold([up, down], COSTS)
    # 2.0 and 0.4 are 1.2 on average; 8 bp a side: 1.2 x 0.9992^2 - 1
    assert found.account_return == pytest.approx(1.2 * 0.9992**2 - 1)
    # 1.0, 1.0, 0.85, 1.2
    assert found.max_drawdown == pytest.approx(0.15)


def test_a_market_without_a_candle_is_held_at_its_last_close() -> None:
    whole, late = path([], n=4), path([], n=4)
    whole.series.close[:] = [100, 100, 100, 100]
    late.series.close[:] = [100, 80, 80, 100]
    cut = replace(late, series=late.series.slice(0, 2), **{
        name: getattr(late, name)[:2]
        for name in ("buy", "sell", "p_buy", "ev_net", "min_ev_net", "stop_loss", "take_profit")
    })  # fmt: skip
    found = m.buy_and_hold([whole, cut], COSTS)
    assert found.account_return == pytest.approx(0.9 * 0.9992**2 - 1)
