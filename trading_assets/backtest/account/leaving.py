"""Leaving a simulated position: at which price, why, and what it brings, compiled.

`rules.exits` on candles. Not here: which candles are looked at when (`run`).
"""

from trading_assets.backtest.account.compiled import compiled
from trading_assets.backtest.account.limits import note_stop
from trading_assets.backtest.account.prices import band_at, bid_at
from trading_assets.backtest.account.records import (
    END_OF_DATA,
    HALT,
    SELL_SIGNAL,
    STAYS,
    STOP_LOSS,
    TAKE_PROFIT,
    TIME_LIMIT,
    Account,
    Record,
)


@compiled
def leave(account: Account, position: Record, at: int, level: float, reason: int) -> None:
    """Sell the position, one slippage below `level`; its market rests."""
    state, rules = account.state, account.rules
    trade = account.trades[state.trades]
    position.band = band_at(level, rules, position.band)
    book(trade, position, rules.fee_rate, level, bid_at(level, rules, position.band))
    trade.exit_time = at
    trade.reason = reason
    state.cash += trade.volume * trade.exit_price * (1 - rules.fee_rate)
    state.exposure -= position.value
    state.trades += 1
    state.positions -= 1
    position.is_open = 0
    position.value = 0.0
    rest = rules.rest_after_stop if reason == STOP_LOSS else rules.rest
    position.rest_end = max(position.rest_end, at + rest)
    if reason == STOP_LOSS:
        note_stop(state, rules, account.trades, at)


@compiled
def book(trade: Record, position: Record, fee_rate: float, level: float, price: float) -> None:
    proceeds = position.volume * price
    fees = fee_rate * (position.funds + proceeds)
    net = proceeds - position.funds - fees
    trade.market = position.market
    trade.signal_time = position.signal_time
    trade.entry_time = position.entry_time
    trade.entry_price = position.entry_price
    trade.exit_price = price
    trade.stop_price = position.stop_price
    trade.take_price = position.take_price
    trade.volume = position.volume
    trade.funds_krw = position.funds
    trade.fees_krw = fees
    trade.net_krw = net
    trade.gross_bp = (level / position.level - 1) * 1e4
    trade.net_bp = net / position.funds * 1e4
    trade.p_buy = position.p_buy
    trade.share = position.share


@compiled
def reason_at_open(position: Record, price: float, at: int, halted: int) -> int:
    """After a break the open is judged first, as the trader judges the present bid first."""
    if price <= position.stop_price:
        return STOP_LOSS
    if price >= position.take_price:
        return TAKE_PROFIT
    if at >= position.deadline:
        return TIME_LIMIT
    return HALT if halted else STAYS


@compiled
def hold(position: Record, rules: Record, close: float) -> None:
    """The position stays: what it is worth at the close."""
    position.band = band_at(close, rules, position.band)
    position.value = position.volume * bid_at(close, rules, position.band)


@compiled
def reason_at_close(position: Record, at: int, sells: bool) -> int:
    """What makes a position end at a close that no barrier was touched before."""
    if at >= position.deadline:
        return TIME_LIMIT
    if sells:
        return SELL_SIGNAL
    return END_OF_DATA if position.row == position.row_end else STAYS
