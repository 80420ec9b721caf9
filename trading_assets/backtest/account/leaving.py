"""Leaving a simulated position: at which price, why, and what it brings, compiled.

`rules.exits` on candles. Not here: which candles are looked at when (`run`).
"""

from trading_assets.backtest.account.compiled import compiled
from trading_assets.backtest.account.limits import note_stop
from trading_assets.backtest.account.prices import band_at, bid_at
from trading_assets.backtest.account.records import (
    END_OF_DATA,
    ENTRY_PRICE,
    ENTRY_TIME,
    EXIT_PRICE,
    EXIT_TIME,
    FEES_KRW,
    FUNDS_KRW,
    GROSS_BP,
    HALT,
    NET_BP,
    NET_KRW,
    P_BUY,
    SELL_SIGNAL,
    SHARE,
    SIGNAL_TIME,
    STAYS,
    STOP_LOSS,
    STOP_PRICE,
    TAKE_PRICE,
    TAKE_PROFIT,
    TIME_LIMIT,
    VOLUME,
    Account,
    Record,
)


@compiled
def leave(account: Account, position: Record, at: int, level: float, reason: int) -> None:
    """Sell the position, one slippage below `level`; its market rests."""
    state, rules = account.state, account.rules
    position.band = band_at(level, rules, position.band)
    price = bid_at(level, rules, position.band)
    book(account, position, level, price)
    account.trades.times[EXIT_TIME, state.trades] = at
    account.trades.reason[state.trades] = reason
    state.cash += position.volume * price * (1 - rules.fee_rate)
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
def book(account: Account, position: Record, level: float, price: float) -> None:
    trades, place = account.trades, account.state.trades
    proceeds = position.volume * price
    fees = account.rules.fee_rate * (position.funds + proceeds)
    net = proceeds - position.funds - fees
    trades.market[place] = position.market
    trades.times[SIGNAL_TIME, place] = position.signal_time
    trades.times[ENTRY_TIME, place] = position.entry_time
    numbers = trades.numbers
    numbers[ENTRY_PRICE, place] = position.entry_price
    numbers[EXIT_PRICE, place] = price
    numbers[STOP_PRICE, place] = position.stop_price
    numbers[TAKE_PRICE, place] = position.take_price
    numbers[VOLUME, place] = position.volume
    numbers[FUNDS_KRW, place] = position.funds
    numbers[FEES_KRW, place] = fees
    numbers[NET_KRW, place] = net
    numbers[GROSS_BP, place] = (level / position.level - 1) * 1e4
    numbers[NET_BP, place] = net / position.funds * 1e4
    numbers[P_BUY, place] = position.p_buy
    numbers[SHARE, place] = position.share


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
