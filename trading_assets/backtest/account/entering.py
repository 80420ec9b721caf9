"""Whether a signal becomes a position, at what price and how large, compiled: `rules.entry`."""

from trading_assets.backtest.account.compiled import compiled
from trading_assets.backtest.account.limits import day_loss, mark, peak_loss
from trading_assets.backtest.account.memory import float_at, open_time_at
from trading_assets.backtest.account.prices import (
    ask_at,
    band_at,
    bid_at,
    price_of,
    slippage_rate,
    tick_at,
    whole_at_least,
    whole_at_most,
)
from trading_assets.backtest.account.records import (
    ACCOUNT_TOO_SMALL,
    DAY_LOSS,
    EXPIRED,
    HALTED,
    MAX_EXPOSURE,
    MAX_POSITIONS,
    NO_CASH,
    PEAK_LOSS,
    POSITION_OPEN,
    PRICE_MOVED,
    RESTING,
    STOP_STREAK,
    TRADED,
    Account,
    Record,
)

_UNITS = 1e8  # of volume in one coin


@compiled
def enter(account: Account, position: Record, signal: Record, at: int) -> int:
    """`decide_entry` at the open or the close of the market's candle `here`, and the purchase.

    Returns TRADED, or the first rule that forbids it.
    """
    state, rules = account.state, account.rules
    row, said = position.here, signal.row
    said_time = open_time_at(position, said, rules.step)
    mark(state, rules, at)
    # A break between the decision and now has outlived the signal.
    expired = open_time_at(position, row, rules.step) - said_time != rules.lag * rules.step
    code = refusal(state, position, rules, at, expired)
    if code != TRADED:
        return code
    level = float_at(position.opens if rules.at_open else position.closes, row)
    position.band = band_at(level, rules, position.band)
    ask = ask_at(level, rules, position.band)
    close = float_at(position.closes, said)
    if not ev_at_ask(signal.ev_net, close, ask, rules, position.band) > signal.min_ev_net:
        return PRICE_MOVED
    code, units = sized(state, rules, signal, limit_price(ask, rules, position.band))
    if code != TRADED:
        return code
    position.signal_time = said_time + rules.step
    position.entry_time = at
    position.calm_end = position.row
    position.level = level
    fill(position, signal, rules, ask, units)
    position.value = position.volume * bid_at(level, rules, position.band)
    state.cash -= position.funds + rules.fee_rate * position.funds
    state.exposure += position.value
    state.positions += 1
    mark(state, rules, at)
    return TRADED


@compiled
def fill(position: Record, signal: Record, rules: Record, ask: float, units: float) -> None:
    """A position of so many units at `ask`, with its barriers: `rules.exits.exit_plan`."""
    position.is_open = 1
    position.entry_price = ask
    position.volume = units / _UNITS
    position.funds = position.volume * ask
    position.p_buy = signal.p_buy
    position.share = rules.size_share[size_step(signal.p_buy, rules)]
    position.deadline = position.entry_time + position.timeout
    stop, take = ask * (1 - signal.stop_loss), ask * (1 + signal.take_profit)
    stop_tick = tick_at(stop, rules, position.band)
    take_tick = tick_at(take, rules, position.band)
    position.stop_price = price_of(whole_at_least(stop / stop_tick), stop_tick)
    position.take_price = price_of(whole_at_most(take / take_tick), take_tick)


@compiled
def refusal(state: Record, position: Record, rules: Record, at: int, expired: bool) -> int:
    """The rules that need no price, the first that forbids; or TRADED."""
    code = TRADED
    if state.halted:
        code = HALTED
    elif expired:
        code = EXPIRED
    elif position.is_open:
        code = POSITION_OPEN
    elif peak_loss(state, rules):
        code = PEAK_LOSS
    elif day_loss(state, rules):
        code = DAY_LOSS
    elif at < state.pause_end:
        code = STOP_STREAK
    elif at < position.rest_end:
        code = RESTING
    elif state.positions >= rules.max_positions:
        code = MAX_POSITIONS
    return code


@compiled
def ev_at_ask(ev_net: float, close: float, ask: float, rules: Record, band: int) -> float:
    """`rules.entry.ev_at_ask`. close: of the signal's candle."""
    slippage = slippage_rate(close, rules, band)
    round_trip = 2 * (rules.fee_rate + slippage)
    return float((1 + ev_net + round_trip) * (close / ask) - 1 - round_trip + slippage)


@compiled
def limit_price(ask: float, rules: Record, band: int) -> float:
    """`rules.entry.entry_limit_price`."""
    bound = ask * (1 + rules.max_slippage)
    tick = tick_at(bound, rules, band)
    return max(ask, price_of(whole_at_most(bound / tick), tick))


@compiled
def size_step(p_buy: float, rules: Record) -> int:
    step = 0
    while p_buy < rules.size_from[step]:
        step += 1
    return step


@compiled
def sized(state: Record, rules: Record, signal: Record, price: float) -> tuple[int, float]:
    """`rules.sizing.size_entry`: (TRADED or the refusal, volume in units of 1e-8 coins)."""
    equity = rules.capital + state.pnl
    # max_exposure x equity - exposure: with nothing but cash left it is that cash to the bit.
    room = rules.max_exposure * state.cash - (1 - rules.max_exposure) * state.exposure
    affordable = state.cash / (1 + rules.fee_rate)
    step = size_step(signal.p_buy, rules)
    least = whole_at_least(rules.least_order / (1 - signal.stop_loss))
    smallest = whole_at_least(least / price * _UNITS)
    units = whole_at_most(rules.size_share[step] * equity / price * _UNITS)
    if units < smallest:
        above = rules.size_share[step - 1] if step > 0 else 0.0
        if not (rules.raise_to_minimum and smallest / _UNITS * price <= above * equity):
            return ACCOUNT_TOO_SMALL, 0.0
        units = smallest
    units = min(units, whole_at_most(min(room, affordable) / price * _UNITS))
    if units < smallest:
        return (MAX_EXPOSURE if room <= affordable else NO_CASH), 0.0
    return TRADED, units
