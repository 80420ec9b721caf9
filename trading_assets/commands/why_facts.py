"""What `why-hold` knows: read from the database and the candle store, never from the network.

Here: reading. Not here: what follows from it (`why_answers`) and the screen (`why_hold`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.commands.only_one import OnlyOne
from trading_assets.database import positions, read
from trading_assets.models.staleness import confirmed_at
from trading_assets.models.verdicts import Verdict, training_verdict
from trading_assets.rules.decision import Reason
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.rules.limits import limit_refusal
from trading_assets.settings import ProfileName, Settings
from trading_assets.signals import recent
from trading_assets.signals.choices import Traded, leading_profile, traded_profile
from trading_assets.signals.findings import Finding
from trading_assets.signals.forecast import DROUGHT_HOURS
from trading_assets.signals.health import Subject, check_signals, subject_of
from trading_assets.signals.recent import Decided
from trading_assets.signals.store import Signal, latest_signals
from trading_assets.trading import books, records
from trading_assets.trading.books import EXITS_LOOKED_AT
from trading_assets.trading.emergency import read_scene
from trading_assets.trading.entry import not_enabled
from trading_assets.trading.rules import limits
from trading_assets.trading.states import IntentState
from trading_assets.world import World

WINDOW = timedelta(hours=DROUGHT_HOURS)
FIRST_TRAINING = timedelta(hours=1)
FIRST_SIGNAL = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class MarketFacts:
    """One market. newest_close: of the stored candles. signal: the newest of the profile. rows:
    judgements of the last 21 hours, oldest first. limit: the limit that refuses an entry now.
    held: whether there is a position or an entry under way. training: how the last one ended, with
    a model or without; None before the first has."""

    market: str
    newest_close: datetime | None
    confirmed_at: datetime | None
    signal: Signal | None
    rows: tuple[Decided, ...]
    limit: Refusal | None
    held: bool
    training: Verdict | None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the questions are answered from.

    profile: whose signals these are, the traded one's where there is one. halt, missing: as the
    books have them. unknown: markets with an order whose outcome is unknown. has_capital: whether
    the ledger knows what the bot works with. last_trade: when a position was last opened.
    started_at: when the `make run` that runs now began, None without one.
    """

    now: datetime
    profile: ProfileName
    subject: Subject
    markets: tuple[MarketFacts, ...]
    findings: Sequence[Finding]
    traded: Traded
    halt: str | None
    missing: str | None
    unknown: tuple[str, ...]
    not_enabled: str | None
    has_capital: bool
    last_trade: datetime | None
    started_at: datetime | None
    retrain_after: timedelta
    entries_stop_after: timedelta

    def awaits_first_model(self, market: MarketFacts) -> bool:
        """Whether the market's first training is under way, or waits for its turn.

        For an hour after the start, as long as a run may take; later it is a failure.
        """
        if self.started_at is None or market.training is not None:
            return False
        return self.now - self.started_at <= FIRST_TRAINING

    def awaits_first_signal(self, market: MarketFacts) -> bool:
        """Whether the first model is there and is to be asked in a moment, by the sensor."""
        training, signal = market.training, market.signal
        if self.started_at is None or training is None or not training.passed:
            return False
        if signal is not None and signal.reason is not Reason.NO_CHAMPION:
            return False
        asked = signal is not None and signal.created_at >= training.decided_at
        return not asked and self.now - training.decided_at <= FIRST_SIGNAL

    @property
    def last_buy(self) -> datetime | None:
        """The close of the newest candle of the last 21 hours on which the rule said BUY."""
        rule, interval = self.subject.rule, self.subject.interval
        return max(
            (
                r.predicted.candle_time + interval
                for m in self.markets
                for r in m.rows
                if rule.says_buy(r.predicted.p_buy, r.ev_net, r.close)
            ),
            default=None,
        )


def facts(settings: Settings, world: World, engine: Engine, now: datetime) -> Facts:
    """Read everything. now: aware UTC."""
    traded = traded_profile(engine, settings, now)
    name = leading_profile(traded, settings)
    subject = subject_of(settings, engine, name)
    scene = read_scene(engine)
    with read(engine) as connection:
        has_capital = books.capital(connection) is not None
        refusals = _limits(connection, settings, now) if has_capital else {}
        last_trade = connection.execute(sa.select(sa.func.max(positions.c.opened_at))).scalar_one()
    newest = _newest_closes(settings, world, subject.interval)
    made = {s.market: s for s in latest_signals(engine, now) if s.profile == name}
    since = now - WINDOW - subject.interval
    rows = recent.decided(engine, name, settings.markets, since, now)
    busy = {p.market for p in scene.positions} | {o.market for o in scene.orders}
    return Facts(
        now=now,
        profile=name,
        subject=subject,
        markets=tuple(
            MarketFacts(
                market=market,
                newest_close=newest[market],
                confirmed_at=confirmed_at(engine, market, name),
                signal=made.get(market),
                rows=tuple(r for r in rows if r.predicted.market == market),
                limit=refusals.get(market),
                held=market in busy,
                training=training_verdict(engine, market, name),
            )
            for market in settings.markets
        ),
        findings=check_signals(engine, subject, now),
        traded=traded,
        halt=None if scene.halt is None else f"{scene.halt.reason}: {scene.halt.detail}",
        missing=scene.missing,
        unknown=tuple(o.market for o in scene.orders if o.state is IntentState.UNKNOWN),
        not_enabled=not_enabled(settings),
        has_capital=has_capital,
        last_trade=last_trade,
        started_at=OnlyOne(world.run).running_since(),
        retrain_after=timedelta(hours=float(settings.retrain_after_hours)),
        entries_stop_after=timedelta(hours=float(settings.entries_stop_after_hours)),
    )


def _newest_closes(
    settings: Settings, world: World, interval: timedelta
) -> dict[str, datetime | None]:
    from trading_assets.candles.store import CandleStore
    from trading_assets.exchange.model import Interval

    store = CandleStore(world.candles, world.name)
    kind = Interval.of_minutes(int(interval / timedelta(minutes=1)))
    opened = {market: store.last_open_time(market, kind) for market in settings.markets}
    return {m: None if at is None else at + interval for m, at in opened.items()}


def _limits(connection: Connection, settings: Settings, now: datetime) -> Mapping[str, Refusal]:
    """The limit that would refuse an entry now, by market; by the books alone."""
    rules = limits(settings)
    mark = books.present_mark(connection, now=now, bids={})
    live = len(records.live_positions(connection))
    exits = records.past_exits(connection, now - EXITS_LOOKED_AT)
    found = {
        market: limit_refusal(
            rules, market=market, mark=mark, live_positions=live, past_exits=exits, now=now
        )
        for market in settings.markets
    }
    return {market: refusal for market, refusal in found.items() if refusal is not None}


# Limits that are the same for every market.
OF_THE_ACCOUNT = frozenset(
    {
        FunnelCode.PEAK_LOSS,
        FunnelCode.DAY_LOSS,
        FunnelCode.STOP_STREAK,
        FunnelCode.MAX_POSITIONS,
    }
)
