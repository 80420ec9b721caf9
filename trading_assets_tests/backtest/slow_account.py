"""The account simulation once more, slowly: one loop in Decimal over the trader's own `rules`.

What the engine is held to. Entries are decided by `rules.entry.decide_entry` with everything it
asks for, barriers by `rules.exits`, marks by `rules.limits`; only the path inside a candle and the
order of events within a step stand here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from trading_assets.backtest.inputs import AccountRules, EntryAt, MarketPath, TradeEnd
from trading_assets.candles.frame import from_us
from trading_assets.exchange.price_units import tick_size
from trading_assets.rules.costs import Costs
from trading_assets.rules.decision import Action
from trading_assets.rules.entry import (
    BotView,
    Candidate,
    Entry,
    EntryRules,
    MarketView,
    decide_entry,
)
from trading_assets.rules.exits import ExitPlan, ExitTerms, exit_plan, exit_reason
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.rules.limits import (
    EquityMark,
    PastExit,
    first_mark,
    mark_after_resume,
    next_mark,
)

NOTHING = Decimal(0)
_A_DAY = timedelta(days=1)
_A_MICRO_KRW = Decimal("0.000001")


@dataclass(frozen=True, slots=True)
class Bar:
    """One candle. row: of its path."""

    row: int
    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal


@dataclass(slots=True)
class Held:
    signal_time: datetime
    entry_time: datetime
    level: Decimal
    price: Decimal
    volume: Decimal
    plan: ExitPlan
    p_buy: float
    share: Decimal


@dataclass(frozen=True, slots=True)
class SlowTrade:
    market: str
    held: Held
    exit_time: datetime
    exit_price: Decimal
    reason: TradeEnd
    funds: Decimal
    fees: Decimal
    gross: Decimal

    @property
    def net(self) -> Decimal:
        return self.held.volume * self.exit_price - self.funds - self.fees


@dataclass(slots=True)
class Market:
    """One market's bars, and where in them the account stands."""

    path: MarketPath
    bars: list[Bar]
    next_row: int = 0
    here: Bar | None = None
    held: Held | None = None
    bid: Decimal = NOTHING

    def is_last(self, bar: Bar) -> bool:
        return bar.row == len(self.bars) - 1


@dataclass(slots=True)
class SlowAccount:
    """Run it once; then read what it wrote."""

    paths: Sequence[MarketPath]
    rules: AccountRules
    costs: Costs
    entry: EntryAt = EntryAt.CLOSE
    delay: int = 0
    cash: Decimal = field(init=False)
    markets: list[Market] = field(init=False)
    step: timedelta = field(init=False)
    last: EquityMark | None = field(default=None, init=False)
    halted_at: datetime | None = field(default=None, init=False)
    past_exits: list[PastExit] = field(default_factory=list, init=False)
    trades: list[SlowTrade] = field(default_factory=list, init=False)
    outcomes: dict[tuple[str, datetime], FunnelCode] = field(default_factory=dict, init=False)
    # Entries asked for when all cash was spent: which of two limits is the nearer one is then a
    # matter of the last digit of nothing.
    penniless: set[tuple[str, datetime]] = field(default_factory=set, init=False)
    halts: list[datetime] = field(default_factory=list, init=False)
    times: list[datetime] = field(default_factory=list, init=False)
    equity: list[Decimal] = field(default_factory=list, init=False)
    exposure: list[Decimal] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.cash = self.rules.starting_krw
        self.markets = [Market(path, list(_bars(path))) for path in self.paths]
        self.step = self.paths[0].series.interval.duration

    def run(self) -> "SlowAccount":
        for time in sorted({bar.open_time for m in self.markets for bar in m.bars}):
            for m in self.markets:
                m.here = next((b for b in m.bars[m.next_row :][:1] if b.open_time == time), None)
                m.next_row += m.here is not None
            self._leave_after_breaks(time)
            if self.entry is EntryAt.NEXT_OPEN:
                self._enter_all(time)
            close = time + self.step
            self._judge_candles(close)
            self._mark(close)
            self._halt_or_resume(close)
            if self.entry is EntryAt.CLOSE:
                self._enter_all(close)
            self.times.append(close)
            self.equity.append(self._mark(close).equity)
            self.exposure.append(self._exposure())
        return self

    # --- leaving --------------------------------------------------------------------------------

    def _leave_after_breaks(self, time: datetime) -> None:
        for m in self.markets:
            if m.here is None or m.held is None:
                continue
            if time - m.bars[m.here.row - 1].open_time == self.step:
                continue
            reason = exit_reason(m.held.plan, m.here.open, time)
            if reason is not None:
                self._leave(m, time, m.here.open, TradeEnd(reason.value))
            elif self.halted_at is not None:
                self._leave(m, time, m.here.open, TradeEnd.HALT)

    def _judge_candles(self, close: datetime) -> None:
        for m in self.markets:
            if m.here is None or m.held is None:
                continue
            bar, plan = m.here, m.held.plan
            if bar.low <= plan.stop_price:
                self._leave(m, close, min(plan.stop_price, bar.open), TradeEnd.STOP_LOSS)
            elif bar.high >= plan.take_price:
                self._leave(m, close, max(plan.take_price, bar.open), TradeEnd.TAKE_PROFIT)
            elif close >= plan.deadline:
                self._leave(m, close, bar.close, TradeEnd.TIME_LIMIT)
            elif self._sells(m, bar):
                self._leave(m, close, bar.close, TradeEnd.SELL_SIGNAL)
            elif m.is_last(bar):
                self._leave(m, close, bar.close, TradeEnd.END_OF_DATA)
            else:
                m.bid = self._bid(bar.close)

    def _sells(self, m: Market, bar: Bar) -> bool:
        said = bar.row - self.delay
        if said < 0 or not m.path.sell[said]:
            return False
        return bar.open_time - m.bars[said].open_time == self.delay * self.step

    def _leave(self, m: Market, at: datetime, level: Decimal, reason: TradeEnd) -> None:
        held = m.held
        assert held is not None
        price = self._bid(level)
        funds, proceeds = held.volume * held.price, held.volume * price
        fees = self.costs.fee_rate * (funds + proceeds)
        gross = level / held.level - 1
        self.trades.append(SlowTrade(m.path.market, held, at, price, reason, funds, fees, gross))
        self.cash += proceeds * (1 - self.costs.fee_rate)
        self.past_exits.append(PastExit(m.path.market, at, reason is TradeEnd.STOP_LOSS))
        m.held = None

    # --- the account ----------------------------------------------------------------------------

    def _bid(self, price: Decimal) -> Decimal:
        return price * (1 - self.costs.slippage_rate(price, tick_size(price)))

    def _exposure(self) -> Decimal:
        return sum((m.held.volume * m.bid for m in self.markets if m.held), NOTHING)

    def _mark(self, at: datetime) -> EquityMark:
        pnl = self.cash + self._exposure() - self.rules.starting_krw
        capital = self.rules.starting_krw
        if self.last is None:
            self.last = first_mark(at, capital, pnl)
        else:
            self.last = next_mark(self.last, at, capital, pnl)
        return self.last

    def _halt_or_resume(self, at: datetime) -> None:
        mark = self.last
        assert mark is not None
        wait = self.rules.resume_after
        if self.halted_at is not None and wait is not None and at >= self.halted_at + wait:
            self.halted_at = None
            mark = self.last = mark_after_resume(mark)
        if self.halted_at is not None or not mark.peak_loss_reaches(
            self.rules.limits.max_peak_loss
        ):
            return
        self.halted_at = at
        self.halts.append(at)
        for m in self.markets:
            if m.held is not None and m.here is not None:
                self._leave(m, at, m.here.close, TradeEnd.HALT)
        self._mark(at)

    # --- entering -------------------------------------------------------------------------------

    def _enter_all(self, at: datetime) -> None:
        at_open = self.entry is EntryAt.NEXT_OPEN
        for m in self.markets:
            if m.here is None or (not at_open and m.is_last(m.here)):
                continue
            said = m.here.row - self.delay - at_open
            if said < 0 or not m.path.buy[said]:
                continue
            level = m.here.open if at_open else m.here.close
            decided = self._decide(m, said, level, at)
            signal_time = m.bars[said].open_time + self.step
            if abs(self.cash) < _A_MICRO_KRW:
                self.penniless.add((m.path.market, signal_time))
            if isinstance(decided, Refusal):
                self.outcomes[m.path.market, signal_time] = decided.code
                continue
            self.outcomes[m.path.market, signal_time] = FunnelCode.TRADED
            self._buy(m, said, level, decided, at)

    def _ask(self, level: Decimal) -> Decimal:
        return level * (1 + self.costs.slippage_rate(level, tick_size(level)))

    def _decide(self, m: Market, said: int, level: Decimal, at: datetime) -> Entry | Refusal:
        rules = EntryRules(
            limits=self.rules.limits,
            size=self.rules.size,
            max_price_age=_A_DAY,
            max_model_age=_A_DAY,
            blocking_cautions=frozenset(),
            max_slippage=self.rules.max_slippage,
        )
        market = MarketView(
            ask=self._ask(level),
            confirmed_at=at,
            tick_at=tick_size,
            costs=self.costs,
            min_notional=self.rules.min_notional,
            active=True,
            warning=False,
            cautions=frozenset(),
            newest_signal_id=said,
        )
        bot = BotView(
            halt=None if self.halted_at is None else "peak_loss",
            not_enabled=None,
            missing=None,
            position_open=m.held is not None,
            live_order=False,
            unknown_order=False,
            live_positions=sum(other.held is not None for other in self.markets),
            past_exits=tuple(self.past_exits),
            mark=self._mark(at),
            exposure=self._exposure(),
            available=self.cash,
        )
        return decide_entry(rules, self._candidate(m, said, at), market, bot, at)

    def _candidate(self, m: Market, said: int, at: datetime) -> Candidate:
        path, bar = m.path, m.bars[said]
        return Candidate(
            signal_id=said,
            market=path.market,
            action=Action.BUY,
            # Valid for one candle after it is acted on: whatever lies behind a break is too late.
            expires_at=bar.open_time + self.step * (2 + self.delay),
            p_buy=float(path.p_buy[said]),
            ev_net=float(path.ev_net[said]),
            min_ev_net=float(path.min_ev_net[said]),
            close=bar.close,
            terms=_terms(path, said),
            model_confirmed_at=at,
        )

    def _buy(self, m: Market, said: int, level: Decimal, entry: Entry, at: datetime) -> None:
        ask = self._ask(level)
        m.held = Held(
            signal_time=m.bars[said].open_time + self.step,
            entry_time=at,
            level=level,
            price=ask,
            volume=entry.size.volume,
            plan=exit_plan(_terms(m.path, said), ask, tick_size, at),
            p_buy=float(m.path.p_buy[said]),
            share=entry.size.share,
        )
        m.bid = self._bid(level)
        self.cash -= entry.size.volume * ask * (1 + self.costs.fee_rate)
        self._mark(at)


def _terms(path: MarketPath, row: int) -> ExitTerms:
    return ExitTerms(_decimal(path.stop_loss[row]), _decimal(path.take_profit[row]), path.timeout)


def _bars(path: MarketPath) -> Iterator[Bar]:
    s = path.series
    for row, time in enumerate(s.open_time):
        prices = (_decimal(a[row]) for a in (s.open, s.high, s.low, s.close))
        yield Bar(row, from_us(int(time.astype("int64"))), *prices)


def _decimal(number: float) -> Decimal:
    """The decimal number that was read from a candle or a signal."""
    return Decimal(repr(float(number)))
