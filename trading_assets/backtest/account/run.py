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
from trading_assets.backtest.account.quiet import earliest_time, pass_quiet_steps
from trading_assets.backtest.account.records import (
    HALT,
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
        if time < 0:
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
        row = position.row
        position.here = -1
        if row < position.row_end and account.candles.open_time[row] == time:
            position.here = row
            position.row = row + 1


@compiled
def leave_after_breaks(account: Account, time: int) -> None:
    candles = account.candles
    for m in range(len(account.positions)):
        position = account.positions[m]
        row = position.here
        # It was entered at an earlier candle of its market, so row - 1 is there.
        after_break = row > 0 and time - candles.open_time[row - 1] > account.rules.step
        if position.is_open and after_break:
            reason = reason_at_open(position, candles.open[row], time, account.state.halted)
            if reason != STAYS:
                leave(account, position, time, candles.open[row], reason)


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
    candles, row = account.candles, position.here
    if candles.low[row] <= position.stop_price:
        leave(account, position, at, min(position.stop_price, candles.open[row]), STOP_LOSS)
        return
    if candles.high[row] >= position.take_price:
        leave(account, position, at, max(position.take_price, candles.open[row]), TAKE_PROFIT)
        return
    said = row - account.rules.delay
    waited = candles.open_time[row] - candles.open_time[said]
    sells = candles.sell[said] and waited == account.rules.delay * account.rules.step
    reason = reason_at_close(position, at, sells)
    if reason == STAYS:
        hold(position, account.rules, candles.close[row])
    else:
        leave(account, position, at, candles.close[row], reason)


@compiled
def sell_all(account: Account, at: int) -> None:
    """A halt sells what has a candle now; the rest goes at its next open."""
    account.halts[account.state.halts - 1] = at
    for m in range(len(account.positions)):
        position = account.positions[m]
        if position.is_open and position.here >= 0:
            leave(account, position, at, account.candles.close[position.here], HALT)
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
        # After a market's last candle nothing can be traded, nor judged.
        if account.rules.at_open or position.row < position.row_end:
            account.outcome[s] = enter(account, position, account.signals[s], at)


@compiled
def write_step(account: Account, at: int) -> None:
    state = account.state
    if len(account.times):
        account.times[state.steps] = at
    account.equity[state.steps] = account.rules.capital + state.pnl
    account.exposures[state.steps] = state.exposure
    state.steps += 1


def _on_disk() -> Callable[[Account], int]:
    version = source_digest()

    def simulate_account(account: Account) -> int:
        version  # noqa: B018  numba's key on disk covers what a function closes over
        return step_through(account)

    return compiled_on_disk(simulate_account)


simulate_account = _on_disk()
