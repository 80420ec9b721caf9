"""All live checks of the signals of one profile, from the database alone.

The same findings for Dagster's checks, the doctor and `why-hold`. Standard library and SQLAlchemy
only: what needs candles and models (confidence steps, drift of inputs) is measured in `watch` and
read here as verdict rows. Not here: the checks themselves.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Engine

from trading_assets.alerts import Severity, write_alert
from trading_assets.database import write
from trading_assets.models.profiles import costs
from trading_assets.models.profiles import profile as profile_of
from trading_assets.models.verdicts import Verdict, VerdictKind, latest_verdict
from trading_assets.rules.check import Level
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.settings import ProfileName, Settings
from trading_assets.signals import recent
from trading_assets.signals.bands import FAILS_AFTER, Predicted, check_predictions
from trading_assets.signals.drought import (
    check_decisions_made,
    check_signal_drought,
    check_trade_drought,
)
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.forecast import (
    DROUGHT_HOURS,
    WINDOW_HOURS,
    Forecast,
    latest_forecast,
)
from trading_assets.signals.recent import BuyRule
from trading_assets.signals.regime import check_market_regime

# A signal is there at the latest this long after its candle's close.
SIGNAL_DUE_AFTER = timedelta(minutes=2)
LEVEL = "level"
_DROUGHT = timedelta(hours=DROUGHT_HOURS)


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose signals are judged. forecast: None before the first evaluation."""

    profile: str
    interval: timedelta
    markets: Sequence[str]
    rule: BuyRule
    forecast: Forecast | None


def subject_of(settings: Settings, engine: Engine, name: ProfileName) -> Subject:
    """The signals of the profile `name`, with what is expected of them."""
    chosen = profile_of(settings, name)
    return Subject(
        profile=chosen.name,
        interval=chosen.interval,
        markets=settings.markets,
        rule=BuyRule(chosen.min_confidence, chosen.min_ev_costs, costs(settings)),
        forecast=latest_forecast(engine, chosen.name),
    )


def check_signals(engine: Engine, subject: Subject, now: datetime) -> list[Finding]:
    """Every finding, in the order of `Check`."""
    since = now - looked_at(subject.interval)
    rows = recent.predicted(engine, subject.profile, subject.markets, since, now)
    found = [
        *_decisions_made(engine, subject, rows, now),
        *_expected(engine, subject, rows, now),
        check_trade_drought(recent.ends(engine, now), now, subject.forecast),
        *stored_findings(engine, subject),
    ]
    order = list(Check)
    return sorted(found, key=lambda f: order.index(f.check))


def looked_at(interval: timedelta) -> timedelta:
    """How far back predictions are read: the longest window of the forecast, at each of the last
    FAILS_AFTER hours; the newest candle opened up to two intervals ago."""
    longest = timedelta(hours=max(WINDOW_HOURS))
    return longest + (FAILS_AFTER - 1) * max(timedelta(hours=1), interval) + 2 * interval


def _decisions_made(
    engine: Engine, subject: Subject, rows: Sequence[Predicted], now: datetime
) -> Iterator[Finding]:
    for market in subject.markets:
        first = recent.first_signal(engine, subject.profile, market)
        if first is None:
            continue
        closes = _closes_due(first, now, subject.interval)
        mine = {r.candle_time + subject.interval for r in rows if r.market == market}
        start = max(first, now - _DROUGHT)
        reasons = recent.undecided_reasons(engine, subject.profile, market, start, now)
        yield check_decisions_made(market, len(mine & closes), len(closes), reasons)


def _closes_due(first: datetime, now: datetime, interval: timedelta) -> set[datetime]:
    """The last closes, DROUGHT_HOURS of them, that should have a decision by now.

    Those before the first signal of all was made are not among them, but for that signal's own.
    """
    latest = now - SIGNAL_DUE_AFTER
    midnight = latest.replace(hour=0, minute=0, second=0, microsecond=0)
    close = midnight + (latest - midnight) // interval * interval
    earliest = max(close - _DROUGHT, first - interval)
    return {at for n in range(int(_DROUGHT / interval)) if (at := close - n * interval) > earliest}


def _expected(
    engine: Engine, subject: Subject, rows: Sequence[Predicted], now: datetime
) -> Iterator[Finding]:
    """What needs a forecast."""
    forecast = subject.forecast
    if forecast is None:
        return
    # Whoever was not asked for so long has no present predictions; `decisions_made` tells that.
    newest = {row.market: row.candle_time for row in rows}
    asleep = now - _DROUGHT - 2 * subject.interval
    present = [row for row in rows if newest[row.market] >= asleep]
    yield from check_predictions(present, forecast)
    silence = recent.quiet(engine, subject.profile, subject.markets, subject.rule, now)
    yield from check_signal_drought(silence, forecast)
    sigmas = recent.volatilities(engine, subject.profile, subject.markets, now - _DROUGHT, now)
    for market in subject.markets:
        expected = forecast.markets.get(market)
        if market in sigmas and expected is not None and expected.volatility:
            yield check_market_regime(sigmas[market], expected)


def stored_findings(engine: Engine, subject: Subject) -> Iterator[Finding]:
    """What `watch` measured last of confidence steps and of the inputs; nothing before."""
    steps = latest_verdict(engine, VerdictKind.CONFIDENCE_STEPS, ALL_MARKETS, subject.profile)
    if steps is not None:
        yield _stored(Check.CONFIDENCE_STEPS, steps)
    for market in subject.markets:
        drift = latest_verdict(engine, VerdictKind.INPUT_DRIFT, market, subject.profile)
        if drift is not None:
            yield _stored(Check.INPUT_DRIFT, drift)


def _stored(check: Check, verdict: Verdict) -> Finding:
    level = Level(verdict.details[LEVEL])
    text = f"{'; '.join(verdict.reasons)} ({verdict.decided_at:%m-%d %H:%M} UTC)"
    fix = "" if level is Level.OK else f"{check} on `signals` in Dagster"
    return Finding(check, verdict.market, level, text, fix)


def alert_findings(engine: Engine, profile: str, findings: Sequence[Finding], now: datetime) -> int:
    """Put every FAIL into the outbox, each check and market at most once a day; how many new."""
    failed = [f for f in findings if f.level is Level.FAIL]
    if not failed:
        return 0
    with write(engine) as connection:
        return sum(
            write_alert(
                connection,
                severity=Severity.CRITICAL,
                kind=finding.check.value,
                dedupe_key=f"signals-{finding.check}-{profile}-{finding.market}-{now:%Y-%m-%d}",
                message=_message(profile, finding),
                now=now,
            )
            for finding in failed
        )


def _message(profile: str, finding: Finding) -> str:
    market = "all markets" if finding.market == ALL_MARKETS else finding.market
    end = f". {finding.fix}" if finding.fix else ""
    return f"{profile}, {market}: {finding.text}{end}"
