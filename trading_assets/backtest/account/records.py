"""The shapes that the compiled simulation reads and writes, and the codes in them.

Structured arrays, because numba changes their fields in place and by name. Not here: what a code or
a field means to a person (`inputs`, `rules.funnel`).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trading_assets.candles.frame import BoolArray, FloatArray, Int64Array
from trading_assets.exchange.price_units import KRW_TICKS
from trading_assets.rules.funnel import FunnelCode

Record = Any  # an element of a structured array
Records = Any  # a structured array

# How a candidate entry ends: what `Account.outcome` counts.
OUTCOMES = (
    FunnelCode.TRADED,
    FunnelCode.HALTED,
    FunnelCode.EXPIRED,
    FunnelCode.POSITION_OPEN,
    FunnelCode.PEAK_LOSS,
    FunnelCode.DAY_LOSS,
    FunnelCode.STOP_STREAK,
    FunnelCode.RESTING,
    FunnelCode.MAX_POSITIONS,
    FunnelCode.PRICE_MOVED,
    FunnelCode.ACCOUNT_TOO_SMALL,
    FunnelCode.MAX_EXPOSURE,
    FunnelCode.NO_CASH,
)
(
    TRADED,
    HALTED,
    EXPIRED,
    POSITION_OPEN,
    PEAK_LOSS,
    DAY_LOSS,
    STOP_STREAK,
    RESTING,
    MAX_POSITIONS,
    PRICE_MOVED,
    ACCOUNT_TOO_SMALL,
    MAX_EXPOSURE,
    NO_CASH,
) = range(len(OUTCOMES))
NOT_A_CANDIDATE = -1  # the market's candles end before it could be traded on

# Why a position was left, in the order of inputs.TradeEnd.
STOP_LOSS, TAKE_PROFIT, TIME_LIMIT, SELL_SIGNAL, HALT, END_OF_DATA = range(6)
STAYS = -1

MAX_SIZE_STEPS = 8
# Every number of the rules: times in microseconds, ratios plain, KRW. delay: candles from a
# decision to acting on it; lag: to the candle whose open or close is paid. least_order:
# min_notional x (1 + buffer). resume_after: below 0 for never. size_from: p_buy of the steps,
# highest first, padded with the last. tick_from: price bands, lowest first.
RULES = np.dtype(
    [
        ("step", "i8"),
        ("delay", "i8"),
        ("lag", "i8"),
        ("at_open", "i8"),
        ("fee_rate", "f8"),
        ("min_slippage", "f8"),
        ("max_slippage", "f8"),
        ("capital", "f8"),
        ("least_order", "f8"),
        ("raise_to_minimum", "i8"),
        ("max_exposure", "f8"),
        ("max_positions", "i8"),
        ("rest", "i8"),
        ("rest_after_stop", "i8"),
        ("max_stops", "i8"),
        ("stop_window", "i8"),
        ("stop_pause", "i8"),
        ("max_day_loss", "f8"),
        ("max_peak_loss", "f8"),
        ("resume_after", "i8"),
        ("size_from", "f8", (MAX_SIZE_STEPS,)),
        ("size_share", "f8", (MAX_SIZE_STEPS,)),
        ("tick_from", "f8", (len(KRW_TICKS),)),
        ("tick_size", "f8", (len(KRW_TICKS),)),
    ]
)
# A candle whose decision asks for an entry; row counts as in `Candles`.
SIGNAL = np.dtype(
    [
        ("row", "i8"),
        ("p_buy", "f8"),
        ("ev_net", "f8"),
        ("min_ev_net", "f8"),
        ("stop_loss", "f8"),
        ("take_profit", "f8"),
    ]
)
STATE = np.dtype(
    [
        ("cash", "f8"),
        ("exposure", "f8"),
        ("pnl", "f8"),
        ("peak_pnl", "f8"),
        ("day_start_pnl", "f8"),
        ("day_low_pnl", "f8"),
        ("day_end", "i8"),
        ("steps", "i8"),
        ("positions", "i8"),
        ("trades", "i8"),
        ("halts", "i8"),
        ("halted", "i8"),
        ("halted_at", "i8"),
        ("pause_end", "i8"),
    ]
)
# One for each market. row, signal: the market's next, row_end, signal_end: behind its last; here:
# its candle of this step, or -1. band: where its last price was found among the ticks. level: the
# candles' price at the entry. value: of what is held, at the bid.
POSITION = np.dtype(
    [
        ("market", "i8"),
        ("row", "i8"),
        ("row_end", "i8"),
        ("here", "i8"),
        ("signal", "i8"),
        ("signal_end", "i8"),
        ("timeout", "i8"),
        ("band", "i8"),
        ("rest_end", "i8"),
        ("is_open", "i8"),
        ("signal_time", "i8"),
        ("entry_time", "i8"),
        ("deadline", "i8"),
        ("level", "f8"),
        ("entry_price", "f8"),
        ("volume", "f8"),
        ("funds", "f8"),
        ("stop_price", "f8"),
        ("take_price", "f8"),
        ("value", "f8"),
        ("p_buy", "f8"),
        ("share", "f8"),
    ]
)
TRADE = np.dtype(
    [
        ("signal_time", "i8"),
        ("entry_time", "i8"),
        ("exit_time", "i8"),
        ("entry_price", "f8"),
        ("exit_price", "f8"),
        ("stop_price", "f8"),
        ("take_price", "f8"),
        ("volume", "f8"),
        ("funds_krw", "f8"),
        ("fees_krw", "f8"),
        ("net_krw", "f8"),
        ("gross_bp", "f8"),
        ("net_bp", "f8"),
        ("p_buy", "f8"),
        ("share", "f8"),
        ("market", "i2"),
        ("reason", "i1"),
    ],
    align=True,
)


class Candles(NamedTuple):
    """All markets' candles, one market after the other."""

    open_time: Int64Array
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    sell: BoolArray


class Account(NamedTuple):
    """Everything that one simulation reads and writes.

    rules, state: one element of RULES and of STATE. positions: POSITION, for each market. signals:
    SIGNAL. outcome: of each signal. trades (TRADE), halts: as many as `state` counts. equity,
    exposures (zeros before): one for each step; times: likewise, or empty where they are known.
    """

    candles: Candles
    signals: Records
    rules: Record
    state: Record
    positions: Records
    trades: Records
    halts: Int64Array
    outcome: NDArray[np.int8]
    times: Int64Array
    equity: FloatArray
    exposures: FloatArray
