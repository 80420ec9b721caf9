"""A day of recorded 1-minute candles traded twice: by the trader at the paper exchange, and by the
account simulation.

The trader is the real one (entry, order desk, ledger, guard) and speaks HTTP to a real paper
exchange that plays the recording; one stepped clock drives both. Only its price stream is made
here, because a real one waits in seconds of the machine: it moves the clock on to the next trade.

The books are pinned: bid at the last trade, ask a tick above, more than enough of both. With the
exchange's own books, several basis points wide in most markets, a barrier is often touched by the
bid in another minute than by the candle; then every later rest shifts, and nothing can be compared
trade by trade. Not here: what has to be the same (`test_replay.py`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import cast

import numpy as np
from sqlalchemy.engine import Engine

from trading_assets.backtest.account.records import OUTCOMES
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import AccountRules, MarketPath, Simulation
from trading_assets.candles.frame import from_us
from trading_assets.candles.recorded import read_recordings
from trading_assets.clock import SteppedClock
from trading_assets.database import read, signals, write
from trading_assets.exchange.api import Price, PriceSource, PriceStream, StreamHealth
from trading_assets.exchange.model import Interval, Quote
from trading_assets.exchange.price_units import tick_size
from trading_assets.exchange.upbit import quotation, trading
from trading_assets.paper_exchange.application import PaperExchange
from trading_assets.paper_exchange.markets import from_ms, to_ms
from trading_assets.paper_exchange.quotation import number
from trading_assets.paper_exchange.recordings import Move, RecordedMarkets
from trading_assets.rules.costs import Costs
from trading_assets.rules.funnel import FunnelCode
from trading_assets.settings import Settings, load_settings
from trading_assets.trading import records
from trading_assets.trading.floor import Floor, at_once
from trading_assets.trading.funnel import candidates, end_missed_candidates, outcomes
from trading_assets.trading.reconcile import open_books
from trading_assets.trading.records import Position
from trading_assets.trading.rules import limits, size_rules
from trading_assets.trading.trade import trade
from trading_assets_tests.conftest import MakeExchange
from trading_assets_tests.trading.ledger_world import prepared

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
CAPITAL = Decimal(10_000_000)
# Half a tick a side, as the pinned books are a tick wide.
COSTS = Costs(fee_rate=Decimal("0.0005"), min_slippage_rate=Decimal(0))
TIMEOUT = timedelta(minutes=12)
_DEEP = "100000"


@dataclass(frozen=True, slots=True)
class Replay:
    """One market's day. trades: the simulation's; positions: the trader's, by the signal's time."""

    path: MarketPath
    simulation: Simulation
    positions: dict[datetime, Position]
    traded: dict[datetime, FunnelCode]

    @property
    def simulated(self) -> dict[datetime, FunnelCode]:
        """How each BUY ended in the simulation, by the signal's time."""
        found = self.simulation.candidates
        times = found.signal_time.astype(np.int64).tolist()
        ends = [OUTCOMES[code] for code in found.outcome]
        return {from_us(time): end for time, end in zip(times, ends, strict=True)}


def recorded_markets(folder: Path, market: str) -> RecordedMarkets:
    """The recording where it was: not moved in time."""
    move = Move(0, folder.name, Interval.M1.value, "2100-01-01T00:00:00+00:00", "never")
    return RecordedMarkets(folder, Interval.M1, (market,), move, "test")


def day_of(folder: Path, markets: tuple[str, ...], market: str, start: datetime) -> MarketPath:
    """The candles of one day with BUY and SELL at random even minutes, seeded.

    Even minutes, because a position that is left at a close rests an odd number of minutes from
    then on: a second more or less of the clock must not decide about the next signal. None in the
    last hour, so that every position ends by itself.
    """
    series = read_recordings(folder, markets, Interval.M1)[market].series
    first = int(np.searchsorted(series.open_time, np.datetime64(start.replace(tzinfo=None))))
    series = series.slice(first, first + 1440)
    n = len(series)
    rng = np.random.default_rng(int(start.timestamp()))
    closes = series.open_time.astype(np.int64) // 60_000_000 + 1
    calm = np.std(np.diff(np.log(series.close)))
    chance = np.where((closes % 2 == 0) & (np.arange(n) < n - 60), rng.random(n), 1.0)
    barriers = np.round(calm * rng.uniform(1.5, 4.0, (2, n)), 5)
    return MarketPath(
        market=market,
        series=series,
        buy=chance < 0.08,
        sell=(chance >= 0.08) & (chance < 0.15),
        p_buy=rng.choice([0.55, 0.65, 0.75, 0.85], n),
        ev_net=np.full(n, 0.02),  # so high that no ask is too high: prices are compared, not EV
        min_ev_net=np.zeros(n),
        stop_loss=barriers[0],
        take_profit=barriers[1],
        timeout=TIMEOUT,
    )


def replay(
    folder: Path, markets: tuple[str, ...], market: str, start: datetime, make: MakeExchange
) -> Replay:
    """Trade the day of `market` that begins at `start` both ways."""
    path = day_of(folder, markets, market, start)
    settings = load_settings({"min_slippage_rate": COSTS.min_slippage_rate, "trading": _KNOBS})
    rules = AccountRules(
        size=size_rules(settings),
        limits=limits(settings),
        starting_krw=CAPITAL,
        min_notional=Decimal(5000),
        max_slippage=settings.trading.max_entry_slippage,
        resume_after=None,
    )
    day = _Day(path, SteppedClock(start))
    exchange = make(clock=day.clock, markets=recorded_markets(folder, market))
    engine = prepared(f"sqlite:///{settings.home / 'ledger.sqlite'}", settings.home)
    try:
        day.play(settings, exchange.url, exchange.app, engine)
        with read(engine) as connection:
            positions = {day.said[p.signal_id]: p for p in records.all_positions(connection)}
        traded = {day.said[o.signal_id]: o.code for o in outcomes(engine, start)}
    finally:
        engine.dispose()
    return Replay(path, simulate([path], rules, COSTS), positions, traded)


# The lease's length is counted by the stepped clock, the heartbeat by the machine's: nobody else is
# there to take it. Reconciling is not what is compared here, and takes longer than all the rest.
_KNOBS = {"lease_seconds": "60", "heartbeat_seconds": "1", "reconcile_seconds": "600"}


@dataclass(slots=True)
class _Day:
    """The course of the day: signals come when their candles close, then runs as sensors start."""

    path: MarketPath
    clock: SteppedClock
    said: dict[int, datetime] = field(default_factory=dict)
    _rows: Iterator[int] = field(init=False)
    _next: int | None = field(init=False)

    def __post_init__(self) -> None:
        self._rows = iter(range(len(self.path)))
        self._next = next(self._rows)

    def play(self, settings: Settings, url: str, app: PaperExchange, engine: Engine) -> None:
        settings = settings.model_copy(update={"exchange_url": url})
        floor = Floor(
            engine=engine,
            account=trading(settings, self.clock),
            quotation=quotation(settings, self.clock),
            open_prices=lambda _: cast(PriceStream, _SteppedPrices(app, self, engine)),
            clock=self.clock,
            settings=settings,
            aside=at_once,
        )
        open_books(floor, "setup")
        for row in np.flatnonzero(self.path.buy).tolist():
            # What is said in between changes nothing while there is no position.
            self.clock.advance(max(timedelta(0), self._close(row) - self.clock.now()))
            self.speak(engine)
            end_missed_candidates(engine, self.clock.now())
            for wanted in candidates(engine, self.clock.now()):  # as the trading sensor does
                trade(floor, self.path.market, f"run-{wanted}", signal_id=wanted)
        end_missed_candidates(engine, self.clock.now())

    def speak(self, engine: Engine) -> bool:
        """Write the signals of all candles that have closed; whether there were any."""
        rows = []
        while self._next is not None and self._close(self._next) <= self.clock.now():
            rows.append(self._signal(self._next))
            self._next = next(self._rows, None)
        if rows:
            with write(engine) as connection:
                connection.execute(signals.insert(), rows)
        return bool(rows)

    def _close(self, row: int) -> datetime:
        return from_us(int(self.path.series.open_time[row].astype(np.int64))) + MINUTE

    def _signal(self, row: int) -> dict[str, object]:
        path, close = self.path, self._close(row)
        self.said[row + 1] = close
        decision = "BUY" if path.buy[row] else "SELL" if path.sell[row] else "HOLD"
        return {
            "id": row + 1,
            "market": path.market,
            "profile": "scalp",
            "traded": True,
            "created_at": close,
            "expires_at": close + MINUTE,
            "p_buy": float(path.p_buy[row]),
            "decision": decision,
            "reason": decision.lower(),
            "detail": "",
            "ev_net": float(path.ev_net[row]),
            "close": Decimal(repr(float(path.series.close[row]))),
            "stop_loss": Decimal(repr(float(path.stop_loss[row]))),
            "take_profit": Decimal(repr(float(path.take_profit[row]))),
            "timeout_seconds": int(path.timeout.total_seconds()),
            "model_version": "v1",
            "model_confirmed_at": close,
        }


@dataclass(slots=True)
class _SteppedPrices:
    """The exchange's book, pinned whenever its market trades; to wait is to move the clock.

    Between two trades the best prices stay as they are, so nothing is missed. A wait ends at a
    candle's close too, and the one after it lasts no longer than asked: a signal has come then.
    """

    app: PaperExchange
    day: _Day
    engine: Engine
    _price: Price | None = None
    _just_spoken: bool = True

    def start(self) -> None:
        self._look()

    def stop(self) -> None:
        return None

    def latest(self, market: str) -> Price | None:
        del market
        return self._price

    def wait_for_next(self, market: str, after: int, timeout_seconds: float) -> Price | None:
        del after
        clock = self.day.clock
        now = clock.now()
        until = now.replace(second=0, microsecond=0) + MINUTE
        if self._just_spoken or timeout_seconds < 1.0:  # the deadline is near
            until = min(until, now + timedelta(seconds=timeout_seconds))
        traded = self.app.markets.trades(market, to_ms(now) + 1, to_ms(until)).time_ms
        clock.advance((from_ms(int(traded[0])) if len(traded) else until) - now)
        self._just_spoken = self.day.speak(self.engine)
        self._look()
        return self._price

    def health(self) -> StreamHealth:
        return StreamHealth(
            connected=True,
            running=True,
            connections=1,
            frames=0,
            refused_frames=0,
            rest_answers=0,
            lag=None,
            last_problem="",
        )

    def _look(self) -> None:
        now = self.day.clock.now()
        market = self.day.path.market
        bid = Decimal(str(number(self.app.markets.last_trades(market, to_ms(now) + 1, 1).price[0])))
        ask = bid + tick_size(bid)
        self.app.liquidity.pin(market, [(f"{bid:f}", _DEEP)], [(f"{ask:f}", _DEEP)], to_ms(now))
        quote = Quote(market, bid, Decimal(_DEEP), ask, Decimal(_DEEP), now, now)
        count = 1 if self._price is None else self._price.number + 1
        self._price = Price(quote, count, now, PriceSource.STREAM)
