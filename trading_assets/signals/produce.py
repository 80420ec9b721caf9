"""Signals of all markets and profiles: the newest closed candle through the champions, to a row.

One call per candle close. A market that fails gets a HOLD that says why and is reported, the
others go on; the caller fails the run at the end. What stands on old candles says so and has
expired already: an old signal is never dressed as new. Never imports mlflow.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
from sqlalchemy.engine import Engine

from trading_assets.candles.checks import check_collected, check_gaps, check_jumps
from trading_assets.candles.collection import Pages, top_up
from trading_assets.candles.frame import floor_to, from_us
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.clock import Clock
from trading_assets.errors import (
    ExchangeUnavailable,
    IpBlocked,
    MarketNotFound,
    NotEnoughHistory,
    RateLimited,
)
from trading_assets.exchange.model import Interval
from trading_assets.features.anchors import history_start
from trading_assets.features.checks import DRIFT_ROWS, check_features
from trading_assets.features.matrix import latest_features
from trading_assets.features.sequences import SEQUENCE_LENGTH
from trading_assets.models.champions import Champion, ChampionStore
from trading_assets.models.checks import check_label_rule
from trading_assets.models.profiles import active_profiles, costs
from trading_assets.models.staleness import age_hours, confirmed_at
from trading_assets.models.verdicts import (
    VerdictKind,
    is_too_little_history,
    latest_verdict,
)
from trading_assets.rules.check import CheckOutcome, blocking_failures
from trading_assets.rules.decision import (
    Action,
    Reason,
    confidence,
    expire,
    predicted_class,
    withhold,
)
from trading_assets.rules.profile import Profile
from trading_assets.settings import Settings
from trading_assets.signals.choices import Traded, traded_profile
from trading_assets.signals.prediction import latest_sigma, predict, rule
from trading_assets.signals.store import Signal, decided_signal, insert_signal
from trading_assets.world import World

_MAX_DETAIL = 2000


@dataclass(frozen=True, slots=True)
class Failure:
    """A market and profile whose signal could not be made, and why."""

    market: str
    profile: str
    message: str


@dataclass(frozen=True, slots=True)
class SignalsReport:
    """What one run did.

    rows: one signal per market and profile, in the order made; inserted: those that were new.
    failures: to fail the run with, once everything is written.
    """

    rows: tuple[Signal, ...]
    inserted: tuple[Signal, ...]
    failures: tuple[Failure, ...]


def produce_signals(  # noqa: PLR0917  # what a run of signals is made of
    settings: Settings,
    world: World,
    clock: Clock,
    pages: Pages,
    store: CandleStore,
    champions: ChampionStore,
    engine: Engine,
    run_id: str | None = None,
) -> SignalsReport:
    """One signal per market and active profile, the traded profile first.

    While no profile has an edge to trade on (PROFILE=auto), and in a market that the evaluation
    does not cover, entries become HOLD with the reason `no_edge`; SELL goes on closing positions,
    under whichever profile they were opened.
    Waits until the closing candle may be there, then asks each market for it. Safe to repeat: what
    a model version decided on a candle is neither decided nor written again.
    """
    del world  # the stores belong to it and have refused others
    traded = traded_profile(engine, settings, clock.now())
    shop = _Producer(settings, clock, pages, store, champions, engine, traded, run_id)
    rows: list[Signal] = []
    inserted: list[Signal] = []
    for profile in _traded_first(settings, traded):
        shop.wait_for_close(profile)
        for market in settings.markets:
            signal, is_new = shop.signal(market, profile)
            rows.append(signal)
            if is_new:
                inserted.append(signal)
    return SignalsReport(tuple(rows), tuple(inserted), tuple(shop.failures))


def _traded_first(settings: Settings, traded: Traded) -> Iterator[Profile]:
    yield from sorted(active_profiles(settings), key=lambda p: p.name != traded.profile)


@dataclass(slots=True)
class _Producer:
    """One run: its inputs, and what has failed so far."""

    settings: Settings
    clock: Clock
    pages: Pages
    store: CandleStore
    champions: ChampionStore
    engine: Engine
    traded: Traded
    run_id: str | None
    failures: list[Failure] = field(default_factory=list)
    _blocked: IpBlocked | None = None

    def wait_for_close(self, profile: Profile) -> None:
        """Sleep until the candle that closed last has had its few seconds to appear."""
        now = self.clock.now()
        close = floor_to(now, Interval.of_minutes(profile.interval_minutes))
        ready = close + timedelta(seconds=float(self.settings.closing_candle_delay_seconds))
        if now < ready:
            self.clock.sleep((ready - now).total_seconds())

    def signal(self, market: str, profile: Profile) -> tuple[Signal, bool]:
        """The signal of one market and profile, and whether it is a new row."""
        interval = Interval.of_minutes(profile.interval_minutes)
        slot_start = floor_to(self.clock.now(), interval)
        blank = self._blank(market, profile, slot_start + interval.duration)
        try:
            version = self.champions.current_version(market, profile.name)
            if version is not None:
                known = decided_signal(
                    self.engine, market, profile.name, slot_start - interval.duration, version
                )
                # A model that has expired since must say so, and so must another choice of profile.
                if (
                    known is not None
                    and known.traded == blank.traded
                    and not (
                        known.decision is Action.BUY and self.traded.withheld(profile.name, market)
                    )
                    and not self._has_expired(known.model_confirmed_at)
                ):
                    return known, False
            made = self._make(blank, profile, interval, slot_start)
        except Exception as exc:  # noqa: BLE001  # the one edge: it becomes a row and a failed run
            self.failures.append(Failure(market, profile.name, f"{type(exc).__name__}: {exc}"))
            made = _hold(blank, _reason_of(exc), f"{type(exc).__name__}: {exc}")
        made = replace(made, created_at=self.clock.now(), detail=made.detail[:_MAX_DETAIL])
        return made, insert_signal(self.engine, made, slot_start)

    def _make(
        self, blank: Signal, profile: Profile, interval: Interval, slot_start: datetime
    ) -> Signal:
        market = blank.market
        series, candle_checks = self._candles(market, interval, slot_start)
        if len(series) == 0:
            return _hold(blank, Reason.NOT_ENOUGH_HISTORY, "there are no candles yet")
        signal = _on_candle(blank, series)
        champion = self.champions.current(market, profile.name)
        if champion is None:
            return self._without_champion(signal)
        signal = self._with_model(signal, champion)
        closing = slot_start - interval.duration
        if signal.candle_time != closing:
            return _hold(
                signal,
                Reason.STALE_CANDLES,
                f"the newest closed candle starts {_iso(signal.candle_time)}, it should be "
                f"{_iso(closing)}",
            )
        try:
            return self._decide(signal, profile, champion, series, candle_checks)
        except NotEnoughHistory as exc:
            return _hold(signal, Reason.NOT_ENOUGH_HISTORY, str(exc))

    def _without_champion(self, signal: Signal) -> Signal:
        """HOLD, with what the last training said of itself, if there was one."""
        verdict = latest_verdict(self.engine, VerdictKind.PROMOTION, signal.market, signal.profile)
        if verdict is None:
            return _hold(signal, Reason.NO_CHAMPION, "no model has been trained yet")
        said = "; ".join(verdict.reasons)
        if is_too_little_history(verdict):
            return _hold(signal, Reason.NOT_ENOUGH_HISTORY, said)
        return _hold(signal, Reason.NO_CHAMPION, f"no model has passed the gate yet: {said}")

    def _decide(
        self,
        signal: Signal,
        profile: Profile,
        champion: Champion,
        series: CandleSeries,
        candle_checks: tuple[CheckOutcome, ...],
    ) -> Signal:
        failed = blocking_failures(
            (
                *candle_checks,
                check_label_rule(champion.served.metadata, profile, costs(self.settings)),
                *check_features(
                    latest_features(series, DRIFT_ROWS + SEQUENCE_LENGTH), champion.reference
                ),
            )
        )
        if failed:
            reasons = "; ".join(f"{o.name}: {o.reason}" for o in failed)
            return _hold(signal, Reason.CHECKS_FAILED, reasons)
        prediction, sigma = predict(champion.served, series), latest_sigma(series)
        p = prediction.probabilities
        ruling = rule(
            profile,
            costs(self.settings),
            prediction,
            close=float(series.close[-1]),
            sigma=sigma,
        )
        decision = ruling.decision
        withheld = self.traded.withheld(signal.profile, signal.market)
        if withheld:
            decision = withhold(decision, withheld)
        decision = expire(
            decision,
            age_hours(signal.model_confirmed_at, self.clock.now()),
            float(self.settings.entries_stop_after_hours),
        )
        return replace(
            signal,
            decision=decision.action,
            reason=decision.reason,
            detail=decision.detail,
            p_sell=p.p_sell,
            p_hold=p.p_hold,
            p_buy=p.p_buy,
            predicted_class=predicted_class(p),
            confidence=confidence(p),
            ev_net=prediction.ev_short if decision.action is Action.SELL else prediction.ev_long,
            sigma=sigma,
            stop_loss=ruling.terms.stop_loss,
            take_profit=ruling.terms.take_profit,
            timeout_seconds=int(ruling.terms.timeout.total_seconds()),
        )

    def _candles(
        self, market: str, interval: Interval, slot_start: datetime
    ) -> tuple[CandleSeries, tuple[CheckOutcome, ...]]:
        """The newest candles, topped up, as far back as features look, and their checks."""
        if self._blocked is not None:
            raise self._blocked
        wait = timedelta(seconds=float(self.settings.closing_candle_wait_seconds))
        try:
            top_up(
                market,
                interval,
                pages=self.pages,
                store=self.store,
                clock=self.clock,
                siblings=tuple(m for m in self.settings.markets if m != market),
                wait=wait,
            )
        except IpBlocked as exc:
            # Each further request makes the block longer.
            self._blocked = exc
            raise
        rows = DRIFT_ROWS + SEQUENCE_LENGTH
        start = history_start(slot_start - interval.duration, interval, rows)
        frame = self.store.read(market, interval, start=start)
        gaps = self.store.gaps(market, interval)
        series = regular_series(frame, gaps, interval).until(slot_start)
        # Neither the schema (checked at every merge and read; pandera costs 2.5 s of import here)
        # nor freshness (the newest candle must be the closing one, see `_make`).
        return series, (check_gaps(series), check_collected(frame, gaps), check_jumps(series))

    def _with_model(self, signal: Signal, champion: Champion) -> Signal:
        return replace(
            signal,
            model_version=champion.version,
            model_trained_at=champion.trained_at,
            model_confirmed_at=confirmed_at(self.engine, champion.market, champion.profile),
            skill=champion.skill,
        )

    def _has_expired(self, confirmed: datetime | None) -> bool:
        age = age_hours(confirmed, self.clock.now())
        return age is None or age > float(self.settings.entries_stop_after_hours)

    def _blank(self, market: str, profile: Profile, expires_at: datetime) -> Signal:
        return Signal(
            market=market,
            profile=profile.name,
            traded=profile.name == self.traded.profile,
            candle_time=None,
            created_at=self.clock.now(),
            expires_at=expires_at,
            decision=Action.HOLD,
            reason=Reason.ERROR,
            detail="",
            run_id=self.run_id,
        )


def _on_candle(blank: Signal, series: CandleSeries) -> Signal:
    """`blank` on the last candle of `series`; it expires one interval after that candle's close."""
    candle_time = from_us(int(series.open_time[-1].astype(np.int64)))
    return replace(
        blank,
        candle_time=candle_time,
        expires_at=candle_time + 2 * series.interval.duration,
        close=Decimal(repr(float(series.close[-1]))),
    )


def _hold(signal: Signal, reason: Reason, detail: str) -> Signal:
    return replace(signal, decision=Action.HOLD, reason=reason, detail=detail)


def _reason_of(error: Exception) -> Reason:
    if isinstance(error, MarketNotFound):
        return Reason.MARKET_MISSING
    if isinstance(error, ExchangeUnavailable | RateLimited | IpBlocked):
        return Reason.EXCHANGE_UNAVAILABLE
    return Reason.ERROR


def _iso(moment: datetime | None) -> str:
    return "never" if moment is None else moment.isoformat()
