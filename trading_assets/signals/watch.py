"""The live checks that need candles and models: confidence steps and drift of the inputs.

They are measured here, once an hour, and kept as verdict rows, which trading (sizes) and everybody
who asks for the health of the signals read. Not here: the rules (`matured`, `features.checks`) and
the checks that need only the database (`health`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Engine

from trading_assets.candles.frame import floor_to
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.exchange.model import Interval
from trading_assets.features.anchors import history_start
from trading_assets.features.checks import DRIFT_ROWS, check_drift
from trading_assets.features.matrix import latest_features
from trading_assets.features.sequences import SEQUENCE_LENGTH
from trading_assets.models.champions import ChampionStore
from trading_assets.models.profiles import costs
from trading_assets.models.profiles import profile as profile_of
from trading_assets.models.verdicts import (
    Verdict,
    VerdictKind,
    latest_verdict,
    record_verdict,
)
from trading_assets.rules.check import CheckOutcome, Level
from trading_assets.rules.profile import Profile
from trading_assets.rules.steps import ALL_MARKETS, Outcome
from trading_assets.settings import ProfileName, Settings
from trading_assets.signals import recent
from trading_assets.signals.findings import Finding
from trading_assets.signals.health import (
    LEVEL,
    Subject,
    alert_findings,
    check_signals,
    subject_of,
)
from trading_assets.signals.matured import LOOKED_AT, by_step, judge_steps, matured_outcomes

# An unchanged verdict is written anew after this long, so that its age says that it was looked at.
REPEATED_AFTER = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Watch:
    """Where the numbers of one profile come from. now: aware UTC. run_id: Dagster's, if any."""

    settings: Settings
    engine: Engine
    store: CandleStore
    champions: ChampionStore
    profile: Profile
    subject: Subject
    now: datetime
    run_id: str | None = None

    def series(self, market: str, oldest: datetime) -> CandleSeries:
        """The closed candles of `market`, as far back as the rows from `oldest` on need."""
        interval = Interval.of_minutes(self.profile.interval_minutes)
        start = history_start(floor_to(oldest, interval), interval)
        frame = self.store.read(market, interval, start=start)
        return regular_series(frame, self.store.gaps(market, interval), interval).until(self.now)


def watch_signals(
    settings: Settings,
    engine: Engine,
    store: CandleStore,
    champions: ChampionStore,
    *,
    name: ProfileName,
    now: datetime,
    run_id: str | None = None,
) -> list[Finding]:
    """Measure, keep the verdicts, check everything and write the alerts: all findings of `name`."""
    subject = subject_of(settings, engine, name)
    chosen = profile_of(settings, name)
    watch = Watch(settings, engine, store, champions, chosen, subject, now, run_id)
    for verdict in (steps_verdict(watch), *drift_verdicts(watch)):
        _keep(engine, verdict, now)
    findings = check_signals(engine, subject, now)
    alert_findings(engine, chosen.name, findings, now)
    return findings


def steps_verdict(watch: Watch) -> Verdict:
    """Which confidence steps pay, by the BUY signals of the last 90 days."""
    engine, chosen, rule = watch.engine, watch.profile, watch.subject.rule
    rows = recent.decided(
        engine,
        chosen.name,
        watch.subject.markets,
        watch.now - LOOKED_AT,
        watch.now,
        least_p_buy=rule.min_confidence,
    )
    outcomes: list[Outcome] = []
    for market in watch.subject.markets:
        bought = [
            r
            for r in rows
            if r.predicted.market == market and rule.says_buy(r.predicted.p_buy, r.ev_net, r.close)
        ]
        if bought:
            series = watch.series(market, bought[0].predicted.candle_time)
            outcomes += matured_outcomes(bought, series, chosen, costs(watch.settings))
    last = latest_verdict(engine, VerdictKind.CONFIDENCE_STEPS, ALL_MARKETS, chosen.name)
    return judge_steps(chosen.name, by_step(outcomes), last, now=watch.now, run_id=watch.run_id)


def drift_verdicts(watch: Watch) -> Iterator[Verdict]:
    """How far the features of each market with a champion are from its training data."""
    rows = DRIFT_ROWS + SEQUENCE_LENGTH
    for market in watch.subject.markets:
        champion = watch.champions.current(market, watch.profile.name)
        if champion is None:
            continue
        series = watch.series(market, watch.now - rows * watch.profile.interval)
        if len(series):
            outcome = check_drift(latest_features(series, rows), champion.reference)
            yield _drift_verdict(market, watch, outcome)


def _drift_verdict(market: str, watch: Watch, outcome: CheckOutcome) -> Verdict:
    level = Level.OK if outcome.passed else Level.FAIL if outcome.blocking else Level.WARN
    return Verdict(
        kind=VerdictKind.INPUT_DRIFT,
        market=market,
        profile=watch.profile.name,
        passed=outcome.passed,
        reasons=(outcome.reason,),
        decided_at=watch.now,
        details={LEVEL: level.value, **outcome.values},
        run_id=watch.run_id,
    )


def _keep(engine: Engine, verdict: Verdict, now: datetime) -> None:
    """Store `verdict` unless the last one says the same and is young."""
    last = latest_verdict(engine, verdict.kind, verdict.market, verdict.profile)
    if last is not None and now - last.decided_at < REPEATED_AFTER and _same(last, verdict):
        return
    record_verdict(engine, verdict)


def _same(last: Verdict, verdict: Verdict) -> bool:
    names: Sequence[str] = (LEVEL, "unpaid", "most_drifted")
    return all(last.details.get(name) == verdict.details.get(name) for name in names)
