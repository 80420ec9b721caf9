"""Marks, losses, halts and pauses, compiled: `rules.limits`."""

from trading_assets.backtest.account.compiled import compiled
from trading_assets.backtest.account.records import EXIT_TIME, STOP_LOSS, Booked, Record

_KOREA = 9 * 3_600_000_000
_DAY = 24 * 3_600_000_000


@compiled
def korean_day_end(at: int) -> int:
    return (at + _KOREA) // _DAY * _DAY + _DAY - _KOREA


@compiled
def mark(state: Record, rules: Record, at: int) -> None:
    """`next_mark`, of the account's cash and exposure."""
    pnl = state.cash + state.exposure - rules.capital
    if at >= state.day_end:
        state.day_start_pnl = state.pnl
        state.day_low_pnl = min(state.pnl, pnl)
        state.day_end = korean_day_end(at)
    else:
        state.day_low_pnl = min(state.day_low_pnl, pnl)
    state.peak_pnl = max(state.peak_pnl, pnl)
    state.pnl = pnl


@compiled
def has_lost(start: float, now: float, capital: float, ratio: float) -> bool:
    fall = start - now
    return fall > 0 and fall >= ratio * (capital + start)


@compiled
def peak_loss(state: Record, rules: Record) -> bool:
    return has_lost(state.peak_pnl, state.pnl, rules.capital, rules.max_peak_loss)


@compiled
def day_loss(state: Record, rules: Record) -> bool:
    return has_lost(state.day_start_pnl, state.day_low_pnl, rules.capital, rules.max_day_loss)


@compiled
def resume_if_due(state: Record, rules: Record, at: int) -> None:
    """`mark_after_resume`, when the halt has lasted long enough."""
    if state.halted and 0 <= rules.resume_after <= at - state.halted_at:
        state.halted = 0
        state.peak_pnl = state.pnl


@compiled
def halt_begins(state: Record, rules: Record, at: int) -> bool:
    """After a mark: resume when it is due; True when a halt begins, so far has equity fallen."""
    resume_if_due(state, rules, at)
    if state.halted or not peak_loss(state, rules):
        return False
    state.halted = 1
    state.halted_at = at
    state.halts += 1
    return True


@compiled
def note_stop(state: Record, rules: Record, trades: Booked, at: int) -> None:
    """After a stop-loss: the last of `max_stops` within the window pauses all entries.

    The trades stand in the order of their ends, the present one last.
    """
    seen = 0
    for i in range(state.trades - 1, -1, -1):
        if at - trades.times[EXIT_TIME, i] > rules.stop_window:
            return
        if trades.reason[i] == STOP_LOSS:
            seen += 1
        if seen == rules.max_stops:
            state.pause_end = max(state.pause_end, at + rules.stop_pause)
            return
