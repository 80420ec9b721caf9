"""What an account would have earned: the trader's own rules on candles and decisions.

Here: from paths and rules to the compiled simulation (`account`) and back to values. Not here: how
a decision is made (`decisions`), walk-forward, statistics. What is simulated in which order, and
what is not: docs/backtest.md.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest.account.records import (
    MAX_SIZE_STEPS,
    NEVER,
    NOT_A_CANDIDATE,
    POSITION,
    RULES,
    STATE,
    TRADE_NUMBERS,
    TRADE_TIMES,
    Account,
    Booked,
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
from trading_assets.candles.frame import TIMES, TimeArray, step_us
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.price_units import KRW_TICKS
from trading_assets.rules.costs import Costs

_TICKS = KRW_TICKS[::-1]  # lowest band first
_NO_TIMES = np.empty(0, np.int64)
_NO_MONEY = np.empty(0, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """A series as the compiled simulation reads it: where its columns begin, while these live."""

    arrays: tuple[NDArray[Any], ...]
    addresses: tuple[int, ...]
    first_time: int
    unbroken: bool


# Of each series while it lives: most studies simulate the same candles again and again.
_COLUMNS: WeakKeyDictionary[CandleSeries, _Columns] = WeakKeyDictionary()


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
    steps = sum(map(len, paths)) if times is None else len(times)
    # Memory that is not written to is never taken.
    account = _account(
        paths,
        numbers,
        times=np.empty(steps, np.int64) if times is None else _NO_TIMES,
        equity=np.empty(steps),
        exposures=np.zeros(steps),
    )
    _run(account, paths)
    return _simulation(paths, rules, account, times)


def trades_of_each(
    alternatives: Iterable[Sequence[MarketPath]], rules: AccountRules, costs: Costs
) -> Iterator[Trades]:
    """What the account trades in each of `alternatives`: seeds, placebos, a grid of settings.

    The trades of `simulate`, faster, because no curve of the account is made. One after the other
    as they are asked for. Raises ValueError as `simulate` does.
    """
    for paths in alternatives:
        _check(paths, rules, 0)
        step = step_us(paths[0].series.interval)
        account = _account(paths, _rules(step, rules, costs, EntryAt.CLOSE, 0))
        _run(account, paths)
        yield _trades(account)


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


def _account(
    paths: Sequence[MarketPath],
    numbers: Record,
    *,
    times: NDArray[np.int64] = _NO_TIMES,
    equity: NDArray[np.float64] = _NO_MONEY,
    exposures: NDArray[np.float64] = _NO_MONEY,
) -> Account:
    """Room for the most that can happen."""
    most_trades = sum(len(path.signals) for path in paths)
    state = np.zeros(1, STATE)[0]
    state["cash"] = numbers["capital"]
    return Account(
        signals=_signals(paths),
        rules=numbers,
        state=state,
        positions=np.zeros(len(paths), POSITION),
        trades=Booked(
            times=np.empty((len(TRADE_TIMES), most_trades), np.int64),
            numbers=np.empty((len(TRADE_NUMBERS), most_trades)),
            market=np.empty(most_trades, np.int16),
            reason=np.empty(most_trades, np.int8),
        ),
        halts=np.empty(2 * most_trades, np.int64),  # each takes an entry or an exit of its own
        outcome=np.full(most_trades, NOT_A_CANDIDATE, np.int8),
        times=times,
        equity=equity,
        exposures=exposures,
    )


def _signals(paths: Sequence[MarketPath]) -> Records:
    """The BUYs of all markets, one market after the other, read-only.

    numba compiles for what may be written and what may not.
    """
    parts = [path.signals for path in paths]
    signals = parts[0].view() if len(parts) == 1 else np.concatenate(parts)
    signals.flags.writeable = False
    return signals


def _run(account: Account, paths: Sequence[MarketPath]) -> None:
    # What the addresses point to lives in `paths` and in these two lists.
    columns = [_columns(path.series) for path in paths]
    sells = [_column("sell", path.sell, np.bool_, len(path)) for path in paths]
    signal = 0
    for m, path in enumerate(paths):
        position = account.positions[m]
        position["market"], position["timeout"] = m, _us(path.timeout)
        of = columns[m]
        for name, address in zip(_ADDRESSES, of.addresses, strict=True):
            position[name] = address
        position["sells"] = _address(sells[m])
        position["first_time"], position["unbroken"] = of.first_time, of.unbroken
        position["next_time"] = of.first_time if len(path) else NEVER
        position["signal"], position["row_end"] = signal, len(path)
        signal += len(path.signals)
        position["signal_end"] = signal
    simulate_account(account)


_PRICES = ("open", "high", "low", "close")
_ADDRESSES = ("open_times", "opens", "highs", "lows", "closes")  # of a time and of _PRICES


def _columns(series: CandleSeries) -> _Columns:
    known = _COLUMNS.get(series)
    if known is None:
        n = len(series)
        times = _column("open_time", series.open_time.view(np.int64), np.int64, n)
        prices = (_column(p, getattr(series, p), np.float64, n) for p in _PRICES)
        arrays = (times, *prices)
        known = _COLUMNS[series] = _Columns(
            arrays,
            tuple(map(_address, arrays)),
            first_time=int(times[0]) if n else 0,
            # Candles are a step apart or more.
            unbroken=n > 0 and times[-1] - times[0] == (n - 1) * step_us(series.interval),
        )
    return known


def _column(name: str, array: NDArray[Any], dtype: Any, rows: int) -> NDArray[Any]:
    """`array` as it may be read by its address: number after number, each whole in its place.

    Asked here, although the values that hold it ask as well: past its end is other memory.
    """
    column = np.require(array, dtype, ("C_CONTIGUOUS", "ALIGNED"))
    if column.shape != (rows,):
        raise ValueError(f"{name} of {rows} candles must have shape ({rows},), was {column.shape}")
    return column


def _address(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


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
        "tick_from": [*(start for start, _ in _TICKS), np.inf],
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
        trades=_trades(account),
        candidates=_candidates(paths, account),
        times=_first(account.times, steps).view(TIMES) if times is None else times,
        equity=_first(account.equity, steps),
        exposure=_first(account.exposures, steps),
        halts=account.halts[: state["halts"]].copy().view(TIMES),
    )


def _trades(account: Account) -> Trades:
    n = account.state["trades"]
    booked = account.trades
    times = _first(booked.times, n).view(TIMES)
    numbers = _first(booked.numbers, n)
    return Trades(
        market=_first(booked.market, n),
        reason=_first(booked.reason, n),
        **dict(zip(TRADE_TIMES, times, strict=True)),
        **dict(zip(TRADE_NUMBERS, numbers, strict=True)),
    )


def _candidates(paths: Sequence[MarketPath], account: Account) -> Candidates:
    kept = account.outcome != NOT_A_CANDIDATE
    counts = [len(path.signals) for path in paths]
    closes = [close_times(p.market, p.series)[p.signals["row"]] for p in paths]
    return Candidates(
        np.repeat(np.arange(len(counts), dtype=np.int16), counts)[kept],
        np.concatenate(closes)[kept],
        account.outcome[kept],
    )


def _first(array: NDArray[Any], n: int) -> NDArray[Any]:
    """The first `n` along the last axis: in the room that was made for more, if they fill half of
    it; copying them takes longer than the trades."""
    part = array[..., :n]
    return part if 2 * n >= array.shape[-1] else part.copy()


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
