"""Steps in which nothing can happen, compiled: most of them.

The same marks as `run` makes, without asking at every step what might be due. Whatever is not sure
to be quiet is left to `run`; a property test holds both to the same rules.
"""

from trading_assets.backtest.account.compiled import compiled
from trading_assets.backtest.account.leaving import hold
from trading_assets.backtest.account.limits import (
    has_lost,
    korean_day_end,
    mark,
    resume_if_due,
)
from trading_assets.backtest.account.memory import (
    fetch_early,
    flag_at,
    float_at,
    go_forward,
    open_time_at,
)
from trading_assets.backtest.account.prices import band_at
from trading_assets.backtest.account.records import NEVER, Account, Record


@compiled
def pass_quiet_steps(account: Account) -> None:
    """Mark all steps up to the first that may not be quiet."""
    time = earliest_time(account)
    steps = quiet_steps(account, time)
    if steps <= 0:
        return
    state = account.state
    before = state.steps
    if state.positions == 0:
        stand_by(account, time, steps)
    elif state.positions == 1:
        hold_one(account, time, steps)
    else:
        hold_all(account, time, steps)
    passed = state.steps - before
    for m in range(len(account.positions)):
        position = account.positions[m]
        if position.next_time == time:
            go_forward(position, passed, account.rules.step)


@compiled
def earliest_time(account: Account) -> int:
    """The earliest candle time that is left, or NEVER."""
    earliest = NEVER
    for m in range(len(account.positions)):
        earliest = min(earliest, account.positions[m].next_time)
    return earliest


@compiled
def quiet_steps(account: Account, start: int) -> int:
    """From `start`, for how many steps no signal, deadline, barrier or SELL is due and no break.

    Markets that are in a break at `start` are left out; their next candle ends the quiet.
    """
    if start == NEVER:
        return 0
    steps = NEVER
    for m in range(len(account.positions)):
        position = account.positions[m]
        if position.next_time == NEVER:
            continue
        if position.next_time > start:
            if position.is_open:
                return 0
            steps = min(steps, (position.next_time - start) // account.rules.step)
        else:
            steps = min(steps, steps_of_market(account, position, start, steps))
    return steps


@compiled
def steps_of_market(account: Account, position: Record, start: int, most: int) -> int:
    """The same for one market that has a candle at `start`; at most `most`."""
    step, row = account.rules.step, position.row
    steps = min(most, position.row_end - row)
    if position.signal < position.signal_end:
        steps = min(steps, account.signals[position.signal].row + account.rules.lag - row)
    if position.is_open:
        if account.state.halted or start - open_time_at(position, row - 1, step) > step:
            return 0
        steps = min(steps, position.row_end - row - 1)
        until_deadline = position.deadline - 1 - start
        if steps * step > until_deadline:
            steps = until_deadline // step
    # Candles are a step apart or more, so as many steps as rows means that none is missing.
    if not position.unbroken:
        while steps > 1 and open_time_at(position, row + steps - 1, step) - start > (
            (steps - 1) * step
        ):
            steps //= 2
    if position.is_open:
        steps = min(steps, calm_rows(position, account.rules.delay, steps))
    return int(steps)


@compiled
def calm_rows(position: Record, delay: int, most: int) -> int:
    """How many of the next `most` candles touch no barrier and tell nobody to sell.

    What was seen once is remembered: another market may end the quiet earlier.
    """
    highs, lows, sells = position.highs, position.lows, position.sells
    stop, take = position.stop_price, position.take_price
    row, end = max(position.calm_end, position.row), position.row + most
    while row < end:
        if float_at(lows, row) <= stop or float_at(highs, row) >= take:
            break
        if flag_at(sells, row - delay):
            break
        row += 1
    fetch_early(position.opens, row)  # a barrier that is touched is compared with the open
    position.calm_end = row
    return int(row - position.row)


@compiled
def stand_by(account: Account, time: int, steps: int) -> None:
    """Nothing is held: nothing changes."""
    state, length = account.state, account.rules.step
    first = state.steps
    if len(account.equity):
        account.equity[first : first + steps] = account.rules.capital + state.pnl
    if len(account.times):
        for i in range(steps):
            account.times[first + i] = time + (i + 1) * length
    state.steps = first + steps
    resume_if_due(state, account.rules, time + steps * length)


@compiled
def hold_one(account: Account, time: int, steps: int) -> None:
    """One position: up to the first candle that costs too much.

    As `hold_all` does it, with everything that changes in variables of its own: what stands in a
    record is read and written anew for each candle.
    """
    for m in range(len(account.positions)):
        if account.positions[m].is_open:
            hold_position(account, account.positions[m], time, steps)


@compiled
def hold_position(account: Account, position: Record, time: int, steps: int) -> None:
    state, rules = account.state, account.rules
    capital, cash, volume, band = rules.capital, state.cash, position.volume, position.band
    pnl, peak_pnl, exposure = state.pnl, state.peak_pnl, state.exposure
    day_start_pnl, day_low_pnl, day_end = state.day_start_pnl, state.day_low_pnl, state.day_end
    prices, row, at, writes = position.closes, position.row, time, len(account.equity) > 0
    kept = 1 - rules.min_slippage
    from_price, to_price = rules.tick_from[band], rules.tick_from[band + 1]
    half_tick = rules.tick_size[band] / 2
    first, passed = state.steps, 0
    while passed < steps:
        price = float_at(prices, row + passed)
        if price < from_price or price >= to_price:
            band = band_at(price, rules, band)
            from_price, to_price = rules.tick_from[band], rules.tick_from[band + 1]
            half_tick = rules.tick_size[band] / 2
        value = volume * min(price * kept, price - half_tick)
        now = cash + value - capital
        peak = max(peak_pnl, now)
        if has_lost(peak, now, capital, rules.max_peak_loss):
            break
        at += rules.step
        if at >= day_end:
            day_start_pnl, day_low_pnl, day_end = pnl, min(pnl, now), korean_day_end(at)
        else:
            day_low_pnl = min(day_low_pnl, now)
        pnl, peak_pnl, exposure = now, peak, value
        if writes:
            account.equity[first + passed] = capital + now
            account.exposures[first + passed] = value
        passed += 1
    if len(account.times):
        for i in range(passed):
            account.times[first + i] = time + (i + 1) * rules.step
    state.pnl, state.peak_pnl, state.exposure = pnl, peak_pnl, exposure
    state.day_start_pnl, state.day_low_pnl, state.day_end = day_start_pnl, day_low_pnl, day_end
    state.steps = first + passed
    position.band, position.value = band, exposure


@compiled
def hold_all(account: Account, time: int, steps: int) -> None:
    """Several positions: up to the first candle that costs too much."""
    state, rules = account.state, account.rules
    for i in range(steps):
        exposure = value_of_all(account, i)
        pnl = state.cash + exposure - rules.capital
        peak = max(state.peak_pnl, pnl)
        if has_lost(peak, pnl, rules.capital, rules.max_peak_loss):
            return
        at = time + (i + 1) * rules.step
        state.exposure = exposure
        mark(state, rules, at)
        write_step(account, at)


@compiled
def value_of_all(account: Account, ahead: int) -> float:
    """What is held, at the bid, so many candles ahead."""
    exposure = 0.0
    for m in range(len(account.positions)):
        position = account.positions[m]
        if position.is_open:
            hold(position, account.rules, float_at(position.closes, position.row + ahead))
            exposure += position.value
    return exposure


@compiled
def write_step(account: Account, at: int) -> None:
    """The end of a step, where somebody asks for it."""
    state = account.state
    if len(account.times):
        account.times[state.steps] = at
    if len(account.equity):
        account.equity[state.steps] = account.rules.capital + state.pnl
        account.exposures[state.steps] = state.exposure
    state.steps += 1
