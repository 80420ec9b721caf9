"""What an account would have earned: the trader's own rules on candles and decisions.

Here: from paths and rules to the compiled simulation (`account`) and back to values. Not here: how
a decision is made (`decisions`), walk-forward, statistics. What is simulated in which order, and
what is not: docs/backtest.md.
"""

from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest.account.records import (
    MAX_SIZE_STEPS,
    NOT_A_CANDIDATE,
    POSITION,
    RULES,
    STATE,
    TRADE,
    Account,
    Candles,
    Record,
    Records,
)
from trading_assets.backtest.account.run import simulate_account
from trading_assets.backtest.inputs import (
    AccountRules,
    Candidates,
    EntryAt,
    MarketPath,
    Simulation,
    Trades,
    close_times,
)
from trading_assets.candles.frame import TIMES, FloatArray, Int64Array, TimeArray, step_us
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.price_units import KRW_TICKS
from trading_assets.rules.costs import Costs

_TICKS = KRW_TICKS[::-1]  # lowest band first
_Prices = tuple[Int64Array, FloatArray, FloatArray, FloatArray, FloatArray]
# What was joined last for a first series while it lives, and with which others: most studies
# simulate the same candles again and again.
_JOINED: WeakKeyDictionary[CandleSeries, tuple[tuple[ref[CandleSeries], ...], _Prices]] = (
    WeakKeyDictionary()
)


def simulate(
    paths: Sequence[MarketPath],
    rules: AccountRules,
    costs: Costs,
    *,
    entry: EntryAt = EntryAt.CLOSE,
    delay_candles: int = 0,
) -> Simulation:
    """The account of `rules` trading `paths`, all markets at once.

    entry: where a BUY is filled. delay_candles: how much later every decision is acted on. Raises
    ValueError: no market, a market twice, candles of different intervals, or too many size steps.
    """
    _check(paths, rules, delay_candles)
    numbers = _rules(step_us(paths[0].series.interval), rules, costs, entry, delay_candles)
    times = _common_times(paths)
    account = _account(paths, numbers, writes_times=times is None)
    simulate_account(account)
    return _simulation(paths, rules, account, times)


def _check(paths: Sequence[MarketPath], rules: AccountRules, delay_candles: int) -> None:
    if not paths:
        raise ValueError("a simulation needs at least one market, there was none")
    markets = [path.market for path in paths]
    if len(set(markets)) < len(markets):
        raise ValueError(f"every market may come once, were {markets}")
    intervals = {path.series.interval.value for path in paths}
    if len(intervals) > 1:
        raise ValueError(f"all markets need candles of one interval, were {sorted(intervals)}")
    if delay_candles < 0:
        raise ValueError(f"delay_candles must not be negative, was {delay_candles}")
    if len(rules.size.steps) > MAX_SIZE_STEPS:
        raise ValueError(
            f"a simulation takes at most {MAX_SIZE_STEPS} size steps, were {len(rules.size.steps)}"
        )


def _common_times(paths: Sequence[MarketPath]) -> TimeArray | None:
    """The closes that all markets have, None when they differ."""
    first = close_times(paths[0].market, paths[0].series)
    others = (close_times(path.market, path.series) for path in paths[1:])
    return first if all(np.array_equal(first, closes) for closes in others) else None


def _account(paths: Sequence[MarketPath], numbers: Record, *, writes_times: bool) -> Account:
    """Room for the most that can happen; memory that is not written to is never taken."""
    rows, most_trades = sum(map(len, paths)), sum(len(path.signals) for path in paths)
    most_steps = rows if writes_times else len(paths[0])
    state = np.zeros(1, STATE)[0]
    state["cash"] = numbers["capital"]
    return Account(
        candles=_candles(paths),
        signals=_signals(paths),
        rules=numbers,
        state=state,
        positions=_positions(paths),
        trades=np.empty(most_trades, TRADE),
        halts=np.empty(2 * most_trades, np.int64),  # each takes an entry or an exit of its own
        outcome=np.full(most_trades, NOT_A_CANDIDATE, np.int8),
        times=np.empty(most_steps if writes_times else 0, np.int64),
        equity=np.empty(most_steps),
        exposures=np.zeros(most_steps),
    )


def _candles(paths: Sequence[MarketPath]) -> Candles:
    prices = _prices(tuple(path.series for path in paths))
    return Candles(*prices, _joined([path.sell for path in paths]))


def _prices(series: tuple[CandleSeries, ...]) -> _Prices:
    """Open times, opens, highs, lows and closes; joined once for all who simulate these series."""
    others, joined = _JOINED.get(series[0], ((), None))
    if joined is None or tuple(other() for other in others) != series[1:]:
        joined = (
            _joined([s.open_time.view(np.int64) for s in series]),
            _joined([s.open for s in series]),
            _joined([s.high for s in series]),
            _joined([s.low for s in series]),
            _joined([s.close for s in series]),
        )
        _JOINED[series[0]] = (tuple(map(ref, series[1:])), joined)
    return joined


def _signals(paths: Sequence[MarketPath]) -> Records:
    """The BUYs of all markets, one market after the other, each with its row in `Candles`."""
    if len(paths) == 1:
        return _read_only(paths[0].signals)
    signals = np.concatenate([path.signals for path in paths])
    counts = [len(path.signals) for path in paths]
    signals["row"] += np.repeat(np.cumsum([0, *map(len, paths[:-1])]), counts)
    return _read_only(signals)


def _positions(paths: Sequence[MarketPath]) -> Records:
    positions = np.zeros(len(paths), POSITION)
    row = signal = 0
    for m, path in enumerate(paths):
        position = positions[m]
        position["market"], position["timeout"] = m, _us(path.timeout)
        position["row"], position["signal"] = row, signal
        row, signal = row + len(path), signal + len(path.signals)
        position["row_end"], position["signal_end"] = row, signal
    return positions


@lru_cache(maxsize=16)
def _rules(step: int, rules: AccountRules, costs: Costs, entry: EntryAt, delay: int) -> Record:
    limits, size = rules.limits, rules.size
    numbers = np.zeros(1, RULES)[0]
    at_open = entry is EntryAt.NEXT_OPEN
    steps = (*size.steps, *size.steps[-1:] * (MAX_SIZE_STEPS - len(size.steps)))
    for name, value in {
        "step": step,
        "delay": delay,
        "lag": delay + at_open,
        "at_open": at_open,
        "fee_rate": costs.fee_rate,
        "min_slippage": costs.min_slippage_rate,
        "max_slippage": rules.max_slippage,
        "capital": rules.starting_krw,
        "least_order": rules.min_notional * (1 + size.minimum_buffer),
        "raise_to_minimum": size.raise_to_minimum,
        "max_exposure": limits.max_exposure,
        "max_positions": limits.max_positions,
        "rest": _us(limits.rest),
        "rest_after_stop": _us(limits.rest_after_stop),
        "max_stops": limits.max_stops,
        "stop_window": _us(limits.stop_window),
        "stop_pause": _us(limits.stop_pause),
        "max_day_loss": limits.max_day_loss,
        "max_peak_loss": limits.max_peak_loss,
        "resume_after": -1 if rules.resume_after is None else _us(rules.resume_after),
        "size_from": [step.p_buy for step in steps],
        "size_share": [step.share for step in steps],
        "tick_from": [start for start, _ in _TICKS],
        "tick_size": [tick for _, tick in _TICKS],
    }.items():
        numbers[name] = value
    return numbers


def _simulation(
    paths: Sequence[MarketPath], rules: AccountRules, account: Account, times: TimeArray | None
) -> Simulation:
    state, steps = account.state, account.state["steps"]
    return Simulation(
        markets=tuple(path.market for path in paths),
        starting_krw=float(rules.starting_krw),
        trades=_trades(account.trades[: state["trades"]]),
        candidates=_candidates(account),
        times=_cut(account.times, steps).view(TIMES) if times is None else times,
        equity=_cut(account.equity, steps),
        exposure=_cut(account.exposures, steps),
        halts=account.halts[: state["halts"]].copy().view(TIMES),
    )


def _trades(booked: Records) -> Trades:
    columns = {name: np.ascontiguousarray(booked[name]) for name in TRADE.names or ()}
    for name in ("signal_time", "entry_time", "exit_time"):
        columns[name] = columns[name].view(TIMES)
    return Trades(**columns)


def _candidates(account: Account) -> Candidates:
    signals = account.signals
    counts = np.diff(account.positions["signal_end"], prepend=0)
    market = np.repeat(np.arange(len(counts), dtype=np.int16), counts)
    closes = account.candles.open_time[signals["row"]] + account.rules["step"]
    kept = account.outcome != NOT_A_CANDIDATE
    return Candidates(market[kept], closes[kept].view(TIMES), account.outcome[kept])


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    """One after the other, read-only: numba compiles for what may be written and what may not.

    A single one is not copied.
    """
    joined = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return _read_only(np.ascontiguousarray(joined))


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _cut(array: NDArray[Any], rows: int) -> NDArray[Any]:
    return array if len(array) == rows else array[:rows].copy()


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
