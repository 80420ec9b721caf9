"""What asks for evaluations: the first of a profile, those that grow old, and their conclusions.

When a market's profile was evaluated last is said by its verdict row, as with retrainings. A first
evaluation waits until no market has its first training of that profile before it, so that the first
signals are never later for it. Run keys carry what made them true and the hour, or a failed run
would never be tried again.
"""

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import dagster as dg
from sqlalchemy.engine import Engine

from trading_assets.clock import Clock
from trading_assets.models.staleness import is_stale
from trading_assets.models.verdicts import (
    Verdict,
    VerdictKind,
    is_too_little_history,
    latest_verdict,
)
from trading_assets.orchestration.research.jobs import conclusion_request, evaluation_request
from trading_assets.orchestration.research.keys import EVALUATE_JOB, RETRAIN_JOB, profile_key
from trading_assets.orchestration.research.runs import UNDER_WAY, is_under_way, was_attempted
from trading_assets.orchestration.shared import tags
from trading_assets.settings import ProfileName, Settings
from trading_assets.signals.choices import leading_profile, traded_profile

_NEVER = "never"


@dg.sensor(
    job_name=EVALUATE_JOB,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Evaluates profiles whose last evaluation is too long ago, then draws conclusions.",
)
def evaluation_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    database: dg.ResourceParam[Engine],
) -> list[dg.RunRequest] | dg.SkipReason:
    now = clock.now()
    watch = _Watch(context.instance, settings, database, now)
    due = {m: watch.attempts_due(m) for m in settings.markets}
    leading = leading_profile(traded_profile(database, settings, now), settings)
    requests = [_request(market, one) for market, one in _in_turn(leading, due)]
    busy = {profile for attempts in due.values() for profile in attempts}
    conclusion = watch.conclusion_due(busy)
    if conclusion is not None:
        requests.append(conclusion)
    return requests or dg.SkipReason("every evaluation is young enough or being made")


class _Watch:
    """What is known at one tick."""

    def __init__(
        self, instance: dg.DagsterInstance, settings: Settings, engine: Engine, now: datetime
    ) -> None:
        self._instance = instance
        self._settings = settings
        self._engine = engine
        self._now = now

    def attempts_due(self, market: str) -> dict[ProfileName, str]:
        """The profiles of `market` to evaluate now, each with the name of this attempt."""
        return {
            profile: attempt
            for profile in self._settings.active_profiles
            if (attempt := self._attempt(market, profile)) is not None
        }

    def conclusion_due(self, busy: set[ProfileName]) -> dg.RunRequest | None:
        """The conclusions over every profile that is not being evaluated, if they are new."""
        running = {p for p in self._settings.active_profiles if self._is_being_evaluated(p)}
        unfinished = busy | running
        evaluated = {
            (market, profile): verdict.decided_at
            for profile in self._settings.active_profiles
            if profile not in unfinished
            for market in self._settings.markets
            if (verdict := self._latest(VerdictKind.EVALUATION, market, profile)) is not None
        }
        if not evaluated:
            return None
        state = _digest(evaluated)
        runs = self._instance.get_runs(dg.RunsFilter(tags={tags.CONCLUSION: state}))
        if any(r.status is dg.DagsterRunStatus.SUCCESS or r.status in UNDER_WAY for r in runs):
            return None
        return conclusion_request(
            run_key=f"{state}|{self._now:%Y-%m-%dT%H}", state=state, being_evaluated=unfinished
        )

    def _attempt(self, market: str, profile: ProfileName) -> str | None:
        """The name of the attempt that is due, None when none is."""
        trained = self._latest(VerdictKind.PROMOTION, market, profile)
        if trained is None or is_too_little_history(trained):
            return None
        verdict = self._latest(VerdictKind.EVALUATION, market, profile)
        evaluated = None if verdict is None else verdict.decided_at
        every = timedelta(hours=float(self._settings.evaluate_after_hours))
        attempt = f"{evaluated.isoformat() if evaluated else _NEVER}|{self._now:%Y-%m-%dT%H}"
        if (
            not is_stale(evaluated, self._now, every)
            or (evaluated is None and self._is_first_training(profile))
            or self._is_evaluated(market, profile)
            or was_attempted(self._instance, market, tags.evaluation_attempt(profile), attempt)
        ):
            return None
        return attempt

    def _is_first_training(self, profile: ProfileName) -> bool:
        """Whether a market without any verdict on `profile` is being trained."""
        return any(
            self._latest(VerdictKind.PROMOTION, market, profile) is None
            and is_under_way(self._instance, RETRAIN_JOB, market, profile_key(profile, "champion"))
            for market in self._settings.markets
        )

    def _is_being_evaluated(self, profile: ProfileName) -> bool:
        return any(self._is_evaluated(market, profile) for market in self._settings.markets)

    def _is_evaluated(self, market: str, profile: ProfileName) -> bool:
        """Whether a run evaluates `profile` in `market` just now, or waits to."""
        key = profile_key(profile, "walk_forward")
        return is_under_way(self._instance, EVALUATE_JOB, market, key)

    def _latest(self, kind: VerdictKind, market: str, profile: ProfileName) -> Verdict | None:
        return latest_verdict(self._engine, kind, market, profile)


Attempts = Mapping[ProfileName, str]


def _in_turn(
    leading: ProfileName, due: Mapping[str, Attempts]
) -> list[tuple[str, dict[ProfileName, str]]]:
    """(market, attempts) of each run, in order.

    A market's profiles share a run; but what was never evaluated gets runs of its own, profile by
    profile, the leading one first: what a profile earns is known when all its markets are through.
    """
    profiles = sorted(
        {p for attempts in due.values() for p in attempts}, key=lambda p: (p != leading, p)
    )
    firsts = [
        (market, {profile: attempts[profile]})
        for profile in profiles
        for market, attempts in due.items()
        if attempts.get(profile, "").startswith(_NEVER)
    ]
    again = {
        market: {p: a for p, a in attempts.items() if not a.startswith(_NEVER)}
        for market, attempts in due.items()
    }
    return [*firsts, *((market, attempts) for market, attempts in again.items() if attempts)]


def _request(market: str, attempts: Attempts) -> dg.RunRequest:
    return evaluation_request(
        market,
        list(attempts),
        run_key="|".join([market, *(f"{p}|{attempt}" for p, attempt in attempts.items())]),
        attempts={tags.evaluation_attempt(p): attempt for p, attempt in attempts.items()},
    )


def _digest(evaluated: Mapping[tuple[str, ProfileName], datetime]) -> str:
    """A short name of which markets and profiles were evaluated when."""
    text = "|".join(f"{m}.{p}={moment.isoformat()}" for (m, p), moment in evaluated.items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]
