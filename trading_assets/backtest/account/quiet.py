"""Steps in which nothing can happen, compiled: most of them.

The same marks as `run` makes, without asking at every step what might be due. Whatever is not sure
to be quiet is left to `run`; a property test holds both to the same rules.
"""

from trading_assets.backtest.account.compiled import compiled
from trading_assets.backtest.account.leaving import hold
from trading_assets.backtest.account.limits import has_lost, mark, resume_if_due
from trading_assets.backtest.account.records import Account, Record


@compiled
def pass_quiet_steps(account: Account) -> None:
    """Mark all steps up to the first that may not be quiet."""
    time = earliest_time(account)
    steps = quiet_steps(account, time)
    if steps <= 0:
        return
    state = account.state
    before = state.steps
    if state.positions:
        hold_all(account, time, steps)
    else:
        stand_by(account, time, steps)
    for m in range(len(account.positions)):
        position = account.positions[m]
        if position.row < position.row_end and account.candles.open_time[position.row] == time:
            position.row += state.steps - before


@compiled
def earliest_time(account: Account) -> int:
    """The earliest candle time that is left, -1 when there is none (none lies before 1970)."""
    earliest = -1
    for m in range(len(account.positions)):
        position = account.positions[m]
        if position.row < position.row_end:
            time = account.candles.open_time[position.row]
            if earliest < 0 or time < earliest:
                earliest = time
    return earliest


@compiled
def quiet_steps(account: Account, start: int) -> int:
    """From `start`, for how many steps no signal is due, no deadline and no break of the candles.

    Markets that are in a break at `start` are left out; their next candle ends the quiet.
    """
    if start < 0:
        return 0
    steps = len(account.candles.open_time)
    for m in range(len(account.positions)):
        position = account.positions[m]
        if position.row == position.row_end:
            continue
        wait = account.candles.open_time[position.row] - start
        if wait > 0:
            if position.is_open:
                return 0
            steps = min(steps, wait // account.rules.step)
        else:
            steps = min(steps, steps_of_market(account, position, start, steps))
    return steps


@compiled
def steps_of_market(account: Account, position: Record, start: int, most: int) -> int:
    """The same for one market that has a candle at `start`; at most `most`."""
    open_time, step = account.candles.open_time, account.rules.step
    row = position.row
    steps = min(most, position.row_end - row)
    if position.signal < position.signal_end:
        steps = min(steps, account.signals[position.signal].row + account.rules.lag - row)
    if position.is_open:
        if account.state.halted or start - open_time[row - 1] > step:
            return 0
        until_deadline = (position.deadline - 1 - start) // step
        steps = min(steps, position.row_end - row - 1, until_deadline)
    # Candles are a step apart or more, so as many steps as rows means that none is missing.
    while steps > 1 and open_time[row + steps - 1] - start > (steps - 1) * step:
        steps //= 2
    return int(steps)


@compiled
def stand_by(account: Account, time: int, steps: int) -> None:
    """Nothing is held: nothing changes."""
    state, length = account.state, account.rules.step
    equity = account.rules.capital + state.pnl
    first = state.steps
    account.equity[first : first + steps] = equity
    if len(account.times):
        for i in range(steps):
            account.times[first + i] = time + (i + 1) * length
    state.steps = first + steps
    resume_if_due(state, account.rules, time + steps * length)


@compiled
def hold_all(account: Account, time: int, steps: int) -> None:
    """Up to the first candle that touches a barrier, tells to sell, or costs too much."""
    state, rules = account.state, account.rules
    first = state.steps
    for i in range(steps):
        exposure = value_of_all(account, i)
        if exposure < 0:
            return
        pnl = state.cash + exposure - rules.capital
        peak = max(state.peak_pnl, pnl)
        if has_lost(peak, pnl, rules.capital, rules.max_peak_loss):
            return
        at = time + (i + 1) * rules.step
        state.exposure = exposure
        mark(state, rules, at)
        if len(account.times):
            account.times[first + i] = at
        account.equity[first + i] = rules.capital + pnl
        account.exposures[first + i] = exposure
        state.steps += 1


@compiled
def value_of_all(account: Account, ahead: int) -> float:
    """What is held, at the bid, so many candles ahead; below 0 when something may happen there."""
    candles = account.candles
    exposure = 0.0
    for m in range(len(account.positions)):
        position = account.positions[m]
        if not position.is_open:
            continue
        row = position.row + ahead
        if candles.low[row] <= position.stop_price or candles.high[row] >= position.take_price:
            return -1.0
        if candles.sell[row - account.rules.delay]:
            return -1.0
        hold(position, account.rules, candles.close[row])
        exposure += position.value
    return exposure
