"""What the account simulation takes and what it gives back: values, checked when they are made.

Here: the shapes. Not here: the simulation (`engine`), how a decision is made of a prediction
(`decisions`), and what is computed from the trades (statistics, reports).
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Self
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest.account.records import OUTCOMES, SIGNAL, Records
from trading_assets.candles.frame import BoolArray, FloatArray, TimeArray
from trading_assets.candles.series import CandleSeries
from trading_assets.rules.exits import ExitReason
from trading_assets.rules.funnel import FunnelCode
from trading_assets.rules.limits import Limits
from trading_assets.rules.sizing import SizeRules


class EntryAt(StrEnum):
    """Where a BUY is filled: at the close of its candle, or at the open of the next one."""

    CLOSE = "close"
    NEXT_OPEN = "next_open"


class TradeEnd(StrEnum):
    """Why a simulated position was left."""

    STOP_LOSS = ExitReason.STOP_LOSS.value
    TAKE_PROFIT = ExitReason.TAKE_PROFIT.value
    TIME_LIMIT = ExitReason.TIME_LIMIT.value
    SELL_SIGNAL = "sell_signal"
    HALT = "halt"
    END_OF_DATA = "end_of_data"  # still held when its market's candles ended; sold at that close


TRADE_ENDS = tuple(TradeEnd)  # what `Trades.reason` counts

_RULES_OF_A_BUY: dict[str, tuple[str, Callable[[FloatArray], BoolArray]]] = {
    "p_buy": ("between 0 and 1", lambda x: (x >= 0) & (x <= 1)),
    "ev_net": ("finite", np.isfinite),
    "min_ev_net": ("finite", np.isfinite),
    "stop_loss": ("above 0 and below 1", lambda x: (x > 0) & (x < 1)),
    "take_profit": ("finite and above 0", lambda x: (x > 0) & np.isfinite(x)),
}
# Of each series that was found good, while it lives: a grid of settings makes many paths of it.
_CLOSES: WeakKeyDictionary[CandleSeries, TimeArray] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, eq=False)
class MarketPath:
    """One market: its candles and, per candle t, what was decided at its close. Arrays (n,).

    buy, sell: the decisions (`rules.decision`), False where there was no prediction, never both.
    p_buy: sizes the entry. ev_net, min_ev_net: ratios; the entry rule asks for the expected value
    again at the ask. stop_loss, take_profit: the signal's exit terms, ratios. timeout: counted from
    the entry. The numbers may be NaN where `buy` is False.
    """

    market: str
    series: CandleSeries
    buy: BoolArray
    sell: BoolArray
    p_buy: FloatArray
    ev_net: FloatArray
    min_ev_net: FloatArray
    stop_loss: FloatArray
    take_profit: FloatArray
    timeout: timedelta
    signals: Records = field(init=False, repr=False)  # SIGNAL, of each BUY

    def __post_init__(self) -> None:
        _check_arrays(self)
        close_times(self.market, self.series)
        if self.timeout <= timedelta(0):
            raise ValueError(f"{self.market}: timeout must be above 0, was {self.timeout}")
        rows = np.flatnonzero(self.buy)
        both = self.sell[rows]
        if both.any():
            raise ValueError(
                f"{self.market}: row {rows[np.argmax(both)]} asks for both BUY and SELL"
            )
        signals = np.empty(len(rows), SIGNAL)
        signals["row"] = rows
        for name in _RULES_OF_A_BUY:
            _note(self, signals, name)
        object.__setattr__(self, "signals", signals)

    def __len__(self) -> int:
        return len(self.series)

    def with_exits(self, stop_loss: FloatArray, take_profit: FloatArray) -> Self:
        """This path with other exit terms: as `dataclasses.replace`, which checks all of it again.

        Raises ValueError as the constructor does.
        """
        made = copy(self)
        # As whole numbers of 8 bytes, all at once: numpy copies records one by one.
        signals = self.signals.view(np.int64).copy().view(SIGNAL)
        for name, values in (("stop_loss", stop_loss), ("take_profit", take_profit)):
            object.__setattr__(made, name, values)
            _check_array(made, name, len(self), np.dtype(np.float64))
            _note(made, signals, name)
        object.__setattr__(made, "signals", signals)
        return made


@dataclass(frozen=True, slots=True)
class AccountRules:
    """The rules of one account, and what it begins with.

    starting_krw: the bot's capital. min_notional: the exchange's smallest order, KRW. max_slippage:
    how far above the ask the limit price of an entry may lie, a ratio. resume_after: when a person
    resumes after a peak-loss halt; None: never.
    """

    size: SizeRules
    limits: Limits
    starting_krw: Decimal
    min_notional: Decimal
    max_slippage: Decimal
    resume_after: timedelta | None

    def __post_init__(self) -> None:
        for name in ("starting_krw", "min_notional"):
            amount: Decimal = getattr(self, name)
            if not (amount.is_finite() and amount > 0):
                raise ValueError(f"{name} must be above 0 KRW, was {amount}")
        if not 0 <= self.max_slippage < 1:
            raise ValueError(f"max_slippage must be from 0 to below 1, was {self.max_slippage}")
        if self.resume_after is not None and self.resume_after < timedelta(0):
            raise ValueError(f"resume_after must not be negative, was {self.resume_after}")


@dataclass(frozen=True, slots=True, eq=False)
class Trades:
    """Positions that were opened and left, in the order of their ends; arrays (n_trades,).

    market: index into `Simulation.markets`. signal_time: close of the candle whose decision it
    was. entry_time, exit_time: UTC; an exit inside a candle is known at its close and stamped so.
    entry_price, exit_price: KRW per coin, slippage in it. stop_price, take_price: the barriers.
    volume: coins. funds_krw: paid for them, without fee. fees_krw: of both sides. net_krw: after
    everything. gross_bp: move of the candles' prices between entry and exit, before slippage and
    fees. net_bp: net_krw over funds_krw. Both in 1e-4. reason: index into TRADE_ENDS. share: of
    equity, the size step's.
    """

    market: NDArray[np.int16]
    signal_time: TimeArray
    entry_time: TimeArray
    exit_time: TimeArray
    entry_price: FloatArray
    exit_price: FloatArray
    stop_price: FloatArray
    take_price: FloatArray
    volume: FloatArray
    funds_krw: FloatArray
    fees_krw: FloatArray
    net_krw: FloatArray
    gross_bp: FloatArray
    net_bp: FloatArray
    reason: NDArray[np.int8]
    p_buy: FloatArray
    share: FloatArray

    def __post_init__(self) -> None:
        if len({len(getattr(self, name)) for name in self.__slots__}) > 1:
            lengths = {name: len(getattr(self, name)) for name in self.__slots__}
            raise ValueError(f"all arrays of trades must have one length, were {lengths}")

    def __len__(self) -> int:
        return len(self.market)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Every BUY that could have been traded on and how it ended; market after market, (n,).

    market: index into `Simulation.markets`. signal_time: close of its candle, UTC. outcome: index
    into OUTCOMES. A BUY whose market has no candle left to trade on is no candidate.
    """

    market: NDArray[np.int16]
    signal_time: TimeArray
    outcome: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.market)


@dataclass(frozen=True, slots=True, eq=False)
class Simulation:
    """What became of the account.

    times: the closes of all candles, UTC, each once, oldest first. equity, exposure: KRW
    at those times, after everything that happened there; positions at the bid. halts: when equity
    had fallen too far from its peak.
    """

    markets: tuple[str, ...]
    starting_krw: float
    trades: Trades
    candidates: Candidates
    times: TimeArray
    equity: FloatArray
    exposure: FloatArray
    halts: TimeArray

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("times", "equity", "exposure")}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"times, equity and exposure must have one length, were {lengths}")

    @property
    def refusals(self) -> dict[FunnelCode, int]:
        """How many candidates ended under each code but TRADED; codes that none ended under are
        left out."""
        counts = np.bincount(self.candidates.outcome, minlength=len(OUTCOMES))
        named = zip(OUTCOMES, counts.tolist(), strict=True)
        return {code: n for code, n in named if n and code is not FunnelCode.TRADED}


def _note(path: MarketPath, signals: Records, name: str) -> None:
    """Writes what `path` says of `name` at each of its BUYs into `signals`. Raises ValueError."""
    rule, is_good = _RULES_OF_A_BUY[name]
    array: FloatArray = getattr(path, name)
    values = array[signals["row"]]
    good = is_good(values)
    if not good.all():
        bad = int(np.argmin(good))
        raise ValueError(
            f"{path.market}: {name} of a BUY must be {rule}, row {signals['row'][bad]} has "
            f"{values[bad]}"
        )
    signals[name] = values


def _check_arrays(path: MarketPath) -> None:
    n = len(path.series)
    for name in ("buy", "sell"):
        _check_array(path, name, n, np.dtype(np.bool_))
    for name in ("p_buy", "ev_net", "min_ev_net", "stop_loss", "take_profit"):
        _check_array(path, name, n, np.dtype(np.float64))


def _check_array(path: MarketPath, name: str, n: int, dtype: np.dtype[np.generic]) -> None:
    array: NDArray[np.generic] = getattr(path, name)
    if array.shape != (n,) or array.dtype != dtype:
        raise ValueError(
            f"{path.market}: {name} must be {dtype} of shape ({n},), was {array.dtype} of shape "
            f"{array.shape}"
        )


def close_times(market: str, series: CandleSeries) -> TimeArray:
    """When each candle closes, UTC, (n,), read-only; one array for all who ask about this series.

    Raises ValueError, naming the market: a position could not be judged on it, because it does not
    go forward in time or has prices that cannot be.
    """
    known = _CLOSES.get(series)
    if known is None:
        _check_candles(market, series)
        known = series.open_time + np.timedelta64(series.interval.duration)
        known.flags.writeable = False
        _CLOSES[series] = known
    return known


def _check_candles(market: str, series: CandleSeries) -> None:
    step = np.timedelta64(series.interval.duration)
    ahead = np.diff(series.open_time)
    if (ahead < step).any():
        row = int(np.argmax(ahead < step)) + 1
        raise ValueError(
            f"{market}: candles must be at least {series.interval.value} apart, row {row} opens "
            f"{ahead[row - 1]} after the one before"
        )
    for name in ("open", "high", "low", "close"):
        prices: FloatArray = getattr(series, name)
        good = (prices > 0) & np.isfinite(prices)
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(f"{market}: {name} must be above 0, row {row} has {prices[row]}")
    spans = (series.low <= np.minimum(series.open, series.close)) & (
        series.high >= np.maximum(series.open, series.close)
    )
    if not spans.all():
        row = int(np.argmin(spans))
        raise ValueError(f"{market}: row {row} leaves the range from its low to its high")
