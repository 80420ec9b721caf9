"""The shapes that the compiled simulation reads and writes, and the codes in them.

Structured arrays, because numba changes their fields in place and by name. Not here: what a code or
a field means to a person (`inputs`, `rules.funnel`).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trading_assets.candles.frame import FloatArray, Int64Array
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
# highest first, padded with the last. tick_from: price bands, lowest first, and where they end.
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
        ("tick_from", "f8", (len(KRW_TICKS) + 1,)),
        ("tick_size", "f8", (len(KRW_TICKS),)),
    ]
)
# A candle whose decision asks for an entry; row: among its market's candles.
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
NEVER = 1 << 62
# One for each market. open_times to sells: where these columns of its candles begin (`memory`).
# first_time: the first of its open times; unbroken: no candle is missing behind it. row, signal:
# the market's next, row_end, signal_end: behind its last; next_time: when `row` opens, NEVER behind
# the last; here: its candle of this step, or -1.
# calm_end: up to there no candle touches a barrier or tells to sell. band: where its last price was
# found among the ticks. level: the candles' price at the entry. value: of what is held, at the bid.
POSITION = np.dtype(
    [
        ("market", "i8"),
        ("open_times", "i8"),
        ("opens", "i8"),
        ("highs", "i8"),
        ("lows", "i8"),
        ("closes", "i8"),
        ("sells", "i8"),
        ("first_time", "i8"),
        ("unbroken", "i8"),
        ("row", "i8"),
        ("row_end", "i8"),
        ("next_time", "i8"),
        ("here", "i8"),
        ("calm_end", "i8"),
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
# The columns of what is booked when a position is left: rows of `Booked.times`, of `.numbers`.
TRADE_TIMES = ("signal_time", "entry_time", "exit_time")
TRADE_NUMBERS = (
    "entry_price",
    "exit_price",
    "stop_price",
    "take_price",
    "volume",
    "funds_krw",
    "fees_krw",
    "net_krw",
    "gross_bp",
    "net_bp",
    "p_buy",
    "share",
)
SIGNAL_TIME, ENTRY_TIME, EXIT_TIME = range(len(TRADE_TIMES))
(
    ENTRY_PRICE,
    EXIT_PRICE,
    STOP_PRICE,
    TAKE_PRICE,
    VOLUME,
    FUNDS_KRW,
    FEES_KRW,
    NET_KRW,
    GROSS_BP,
    NET_BP,
    P_BUY,
    SHARE,
) = range(len(TRADE_NUMBERS))


class Booked(NamedTuple):
    """Room for n trades. times, numbers: (columns, n), those of TRADE_TIMES and TRADE_NUMBERS."""

    times: NDArray[np.int64]
    numbers: NDArray[np.float64]
    market: NDArray[np.int16]
    reason: NDArray[np.int8]


class Account(NamedTuple):
    """Everything that one simulation reads and writes.

    rules, state: one element of RULES and of STATE. positions: POSITION, for each market. signals:
    SIGNAL, one market after the other. outcome: of each signal. trades, halts: as many as `state`
    counts. equity, exposures (zeros before): one for each step, or empty where nobody asks; times:
    likewise, or empty where they are known.
    """

    signals: Records
    rules: Record
    state: Record
    positions: Records
    trades: Booked
    halts: Int64Array
    outcome: NDArray[np.int8]
    times: Int64Array
    equity: FloatArray
    exposures: FloatArray
