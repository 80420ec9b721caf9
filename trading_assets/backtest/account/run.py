"""The simulation itself, compiled: step by step through the candles of all markets.

A step is one candle time. Within it: opens (what a break made due, then entries at the open), what
happens inside the candles, closes, the mark and the halt, entries at the close. Not here: steps in
which nothing can happen (`quiet`), and what an exit or an entry does.
"""

from collections.abc import Callable

from trading_assets.backtest.account.compiled import compiled, compiled_on_disk, source_digest
from trading_assets.backtest.account.entering import enter
from trading_assets.backtest.account.leaving import (
    hold,
    leave,
    reason_at_close,
    reason_at_open,
)
from trading_assets.backtest.account.limits import halt_begins, mark
from trading_assets.backtest.account.memory import (
    fetch_early,
    flag_at,
    float_at,
    go_forward,
    open_time_at,
)
from trading_assets.backtest.account.quiet import (
    earliest_time,
    pass_quiet_steps,
    write_step,
)
from trading_assets.backtest.account.records import (
    HALT,
    NEVER,
    STAYS,
    STOP_LOSS,
    TAKE_PROFIT,
    Account,
    Record,
)


@compiled
def step_through(account: Account) -> int:
    """Runs to the end of all candles and returns the number of steps."""
    state, rules = account.state, account.rules
    while True:
        pass_quiet_steps(account)
        time = earliest_time(account)
        if time == NEVER:
            return int(state.steps)
        at = time + rules.step
        begin_candles(account, time)
        if state.positions:
            leave_after_breaks(account, time)
        if rules.at_open:
            enter_all(account, time)
        if state.positions:
            hold_or_leave(account, at)
        mark(state, rules, at)
        if halt_begins(state, rules, at):
            sell_all(account, at)
        if not rules.at_open:
            enter_all(account, at)
        write_step(account, at)


@compiled
def begin_candles(account: Account, time: int) -> None:
    """Each market's candle of this time, if it has one, is `here`."""
    for m in range(len(account.positions)):
        position = account.positions[m]
        position.here = -1
        if position.next_time == time:
            position.here = position.row
            go_forward(position, 1, account.rules.step)


@compiled
def leave_after_breaks(account: Account, time: int) -> None:
    step = account.rules.step
    for m in range(len(account.positions)):
        position = account.positions[m]
        row = position.here
        if not position.is_open or row < 0:
            continue
        # It was entered at an earlier candle of its market, so row - 1 is there.
        if time - open_time_at(position, row - 1, step) > step:
            level = float_at(position.opens, row)
            reason = reason_at_open(position, level, time, account.state.halted)
            if reason != STAYS:
                leave(account, position, time, level, reason)


@compiled
def hold_or_leave(account: Account, at: int) -> None:
    """Inside each candle the stop, then the take; at its close what is due."""
    for m in range(len(account.positions)):
        position = account.positions[m]
        if position.is_open and position.here >= 0:
            judge_candle(account, position, at)
    account.state.exposure = 0.0
    for m in range(len(account.positions)):
        account.state.exposure += account.positions[m].value


@compiled
def judge_candle(account: Account, position: Record, at: int) -> None:
    """A candle that opens beyond a barrier is left at its open."""
    row = position.here
    level, reason = float_at(position.closes, row), STAYS
    if float_at(position.lows, row) <= position.stop_price:
        level, reason = min(position.stop_price, float_at(position.opens, row)), STOP_LOSS
    elif float_at(position.highs, row) >= position.take_price:
        level, reason = max(position.take_price, float_at(position.opens, row)), TAKE_PROFIT
    else:
        reason = reason_at_close(position, at, sells_at(account, position, row))
    if reason == STAYS:
        hold(position, account.rules, level)
    else:
        leave(account, position, at, level, reason)


@compiled
def sells_at(account: Account, position: Record, row: int) -> bool:
    """Whether a SELL is acted on at the close of `row`; a break has outlived it."""
    rules, said = account.rules, row - account.rules.delay
    if not flag_at(position.sells, said):
        return False
    waited = open_time_at(position, row, rules.step) - open_time_at(position, said, rules.step)
    return bool(waited == rules.delay * rules.step)


@compiled
def sell_all(account: Account, at: int) -> None:
    """A halt sells what has a candle now; the rest goes at its next open."""
    account.halts[account.state.halts - 1] = at
    for m in range(len(account.positions)):
        position = account.positions[m]
        if position.is_open and position.here >= 0:
            leave(account, position, at, float_at(position.closes, position.here), HALT)
    mark(account.state, account.rules, at)


@compiled
def enter_all(account: Account, at: int) -> None:
    """What is acted on now, in the order of the markets."""
    for m in range(len(account.positions)):
        position = account.positions[m]
        s = position.signal
        if position.here < 0 or s == position.signal_end:
            continue
        if account.signals[s].row + account.rules.lag != position.here:
            continue
        position.signal += 1
        if position.signal < position.signal_end:
            fetch_entry(account, position)
        # After a market's last candle nothing can be traded, nor judged.
        if account.rules.at_open or position.row < position.row_end:
            account.outcome[s] = enter(account, position, account.signals[s], at)


@compiled
def fetch_entry(account: Account, position: Record) -> None:
    """What is read of the candle of the market's next signal and of the candle after it."""
    row = account.signals[position.signal].row + account.rules.lag
    fetch_early(position.opens if account.rules.at_open else position.closes, row)
    fetch_early(position.lows, row + 1)
    fetch_early(position.highs, row + 1)


def _on_disk() -> Callable[[Account], int]:
    version = source_digest()

    def simulate_account(account: Account) -> int:
        version  # noqa: B018  numba's key on disk covers what a function closes over
        return step_through(account)

    return compiled_on_disk(simulate_account)


simulate_account = _on_disk()
