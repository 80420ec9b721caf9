"""From one simulated account to its numbers: per trade, per day, per month, with intervals.

Not here: which variants are simulated (`variants.py`, `assess.py`), the simulation (`engine.py`).
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date

import numpy as np

from trading_assets.backtest.inputs import TRADE_ENDS, MarketPath, Simulation
from trading_assets.backtest.performance import (
    daily_returns,
    max_drawdown,
    sharpe_interval,
    sortino_interval,
)
from trading_assets.backtest.report import BestWeeks, Curve, Held, Histogram, Measured, Month
from trading_assets.backtest.statistics import (
    WEEK,
    Blocks,
    FloatArray,
    TimeArray,
    mean_interval,
    rate_interval,
    without_best_blocks,
)
from trading_assets.rules.costs import Costs

BEST_WEEKS = 5
HISTOGRAM_STEP_BP = 25.0
HISTOGRAM_REACH_BP = 500.0

_DAY = np.timedelta64(1, "D")
_NEXT = np.timedelta64(1, "us")


def blocks_of(simulation: Simulation, length: np.timedelta64 = WEEK) -> Blocks:
    """Blocks over the simulated stretch, from the midnight (UTC) before its first mark."""
    times = simulation.times
    if len(times) == 0:
        raise ValueError("a simulation without candles has nothing to measure")
    return Blocks(_first_midnight(times), times[-1] + _NEXT, length)


def measure(simulation: Simulation, blocks: Blocks, seed: int) -> Measured:
    """The numbers of one account. seed: of the resampling."""
    trades = simulation.trades
    days, returns = account_days(simulation)
    at = trades.signal_time
    return Measured(
        trades=len(trades),
        trades_a_day=rate_interval(at, blocks, seed),
        hit_rate=mean_interval(at, (trades.net_bp > 0).astype(np.float64), blocks, seed),
        gross_bp=mean_interval(at, trades.gross_bp, blocks, seed),
        net_bp=mean_interval(at, trades.net_bp, blocks, seed),
        account_return=float(simulation.equity[-1] / simulation.starting_krw - 1),
        max_drawdown=max_drawdown(_from_start(simulation)),
        mean_exposure=mean_invested(simulation),
        sharpe=sharpe_interval(days, returns, blocks, seed),
        sortino=sortino_interval(days, returns, blocks, seed),
        ends=dict(sorted(Counter(TRADE_ENDS[r].value for r in trades.reason).items())),
        refusals={code.value: count for code, count in simulation.refusals.items() if count},
        halts=len(simulation.halts),
    )


def mean_invested(simulation: Simulation) -> float:
    """Mean share of the account in positions, at what was paid for them, over the time they were
    held: marks at closes alone would miss what is bought at an open and sold at that close."""
    trades, times = simulation.trades, simulation.times
    if len(times) < 2:
        return 0.0
    before = np.searchsorted(times, trades.entry_time, side="right") - 1
    equity = np.where(before < 0, simulation.starting_krw, simulation.equity[np.maximum(before, 0)])
    held = (trades.exit_time - trades.entry_time) / (times[-1] - times[0])
    return float((trades.funds_krw / equity * held).sum())


def account_days(simulation: Simulation) -> tuple[TimeArray, FloatArray]:
    """(days, returns) of the account; the first day begins with the starting capital."""
    times = simulation.times
    marks = np.concatenate([[_first_midnight(times) + _NEXT], times])
    days, returns = daily_returns(marks, _from_start(simulation))
    return days.astype(times.dtype), returns


def best_weeks(simulation: Simulation, blocks: Blocks, weeks: int = BEST_WEEKS) -> BestWeeks:
    """What is left without the most profitable weeks."""
    trades = simulation.trades
    stays = without_best_blocks(trades.signal_time, trades.net_bp, blocks, weeks)
    left = trades.net_bp[stays]
    return BestWeeks(weeks, len(left), mean_net(left))


def mean_net(net_bp: FloatArray) -> float:
    """The mean, NaN without a trade."""
    return float(net_bp.mean()) if len(net_bp) else float("nan")


def curve(simulation: Simulation) -> Curve:
    """Equity and mean invested share of each UTC day."""
    days, returns = account_days(simulation)
    equity = simulation.starting_krw * np.cumprod(1 + returns)
    day = (
        (simulation.times - _NEXT).astype("datetime64[D]") - days[0].astype("datetime64[D]")
    ) // (_DAY)
    marks = np.bincount(day, minlength=len(days))
    share = np.bincount(day, simulation.exposure / simulation.equity, minlength=len(days))
    return Curve(
        tuple(_date(d) for d in days),
        tuple(float(e) for e in equity),
        tuple(float(s) for s in share / np.maximum(marks, 1)),
    )


def months(simulation: Simulation) -> tuple[Month, ...]:
    """Each calendar month (UTC): the account's return, and the trades whose signal was in it."""
    days, returns = account_days(simulation)
    trades = simulation.trades
    month, traded = days.astype("datetime64[M]"), trades.signal_time.astype("datetime64[M]")
    found = []
    for first in np.unique(month):
        net = trades.net_bp[traded == first]
        growth = float(np.prod(1 + returns[month == first]) - 1)
        found.append(Month(_date(first.astype("datetime64[D]")), growth, len(net), mean_net(net)))
    return tuple(found)


def histogram(simulation: Simulation) -> Histogram:
    """Trades by net basis points in steps of 25, by how they ended; the last hold all beyond."""
    edges = np.arange(
        -HISTOGRAM_REACH_BP, HISTOGRAM_REACH_BP + HISTOGRAM_STEP_BP, HISTOGRAM_STEP_BP
    )
    trades = simulation.trades
    inside = np.clip(trades.net_bp, edges[0], np.nextafter(edges[-1], 0))
    counts = {
        TRADE_ENDS[r].value: tuple(
            int(c) for c in np.histogram(inside[trades.reason == r], edges)[0]
        )
        for r in np.unique(trades.reason)
    }
    return Histogram(tuple(float(e) for e in edges), counts)


def buy_and_hold(paths: Sequence[MarketPath], costs: Costs) -> Held:
    """Equal amounts of every market at its first close, held to its last; one round trip paid.

    A market is at its last close while it has no candle. Slippage is the least of `costs`.
    """
    times = np.unique(np.concatenate([path.series.open_time for path in paths]))
    worth = np.zeros(len(times))
    for path in paths:
        last = np.searchsorted(path.series.open_time, times, side="right") - 1
        worth += path.series.close[np.maximum(last, 0)] / path.series.close[0] / len(paths)
    one_side = float(costs.fee_rate + costs.min_slippage_rate)
    worth *= 1 - one_side
    return Held(
        account_return=float(worth[-1] * (1 - one_side) - 1), max_drawdown=max_drawdown(worth)
    )


def _first_midnight(times: TimeArray) -> np.datetime64:
    """The beginning of the day (UTC) that the first mark belongs to; one at 00:00 ends a day."""
    midnight: np.datetime64 = (times[0] - _NEXT).astype("datetime64[D]").astype(times.dtype)
    return midnight


def _from_start(simulation: Simulation) -> FloatArray:
    return np.concatenate([[simulation.starting_krw], simulation.equity])


def _date(day: np.datetime64) -> date:
    value = day.astype("datetime64[D]").item()
    assert isinstance(value, date)
    return value
