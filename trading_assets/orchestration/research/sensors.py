"""What research watches: models that grow old, champions and choices that have no signals yet.

Both run by default. A run key is used once for ever, so each carries what made it true; the key of
a retraining also carries the hour, or a failed one would never be tried again.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta

import dagster as dg
from sqlalchemy.engine import Engine

from trading_assets.clock import Clock
from trading_assets.models.champions import ChampionStore
from trading_assets.models.staleness import confirmed_at, is_stale
from trading_assets.orchestration.research.jobs import retrain_request, signals_request
from trading_assets.orchestration.research.keys import (
    RETRAIN_JOB,
    SIGNALS_JOB,
    profile_key,
    retraining_keys,
)
from trading_assets.orchestration.research.runs import UNDER_WAY, is_under_way, was_attempted
from trading_assets.orchestration.shared import tags
from trading_assets.settings import ProfileName, Settings
from trading_assets.signals.choices import Traded, leading_profile, traded_profile
from trading_assets.signals.store import Signal, latest_signals

_NEVER = "never"


@dg.sensor(
    job_name=RETRAIN_JOB,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Retrains a market's profiles whose last verdict is too long ago, hour by hour.",
)
def stale_models_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    database: dg.ResourceParam[Engine],
) -> list[dg.RunRequest] | dg.SkipReason:
    now = clock.now()
    leading = leading_profile(traded_profile(database, settings, now), settings)
    requests, later = [], []
    for market in settings.markets:
        attempts = _attempts_due(context.instance, settings, database, market, now)
        first, rest = _in_turn(leading, attempts)
        if first:
            requests.append(_request(settings, market, first))
        if rest:
            later.append(_request(settings, market, rest))
    return [*requests, *later] or dg.SkipReason("every model is young enough or being retrained")


@dg.sensor(
    job_name=SIGNALS_JOB,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Asks for signals as soon as a new champion of the traded profile serves, or "
    "another profile is traded.",
)
def champion_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    clock: dg.ResourceParam[Clock],
    champions: dg.ResourceParam[ChampionStore],
    database: dg.ResourceParam[Engine],
) -> dg.RunRequest | dg.SkipReason:
    now = clock.now()
    traded, made = traded_profile(database, settings, now), latest_signals(database, now)
    waiting = [
        *_champions_without_signals(settings, champions, traded, made),
        *_signals_of_another_choice(settings, traded, made),
    ]
    if not waiting:
        return dg.SkipReason("every champion has signals, of the profile that is traded")
    if context.instance.get_runs_count(dg.RunsFilter(job_name=SIGNALS_JOB, statuses=UNDER_WAY)):
        return dg.SkipReason("a run of signals is under way")
    return signals_request(settings, run_key=f"champions|{_digest(waiting)}")


def _champions_without_signals(
    settings: Settings, champions: ChampionStore, traded: Traded, made: Iterable[Signal]
) -> list[str]:
    """Each champion of the traded profile (of all while none is) without a signal of its own."""
    used = {(s.market, s.profile, s.model_version) for s in made}
    profiles = settings.active_profiles if traded.profile is None else (traded.profile,)
    served = [(m, p, champions.current_version(m, p)) for p in profiles for m in settings.markets]
    return [f"{m}.{p}={v}" for m, p, v in served if v is not None and (m, p, v) not in used]


def _signals_of_another_choice(
    settings: Settings, traded: Traded, made: Iterable[Signal]
) -> list[str]:
    """Each newest signal that counts and should not any more, or should and does not."""
    return [
        f"{s.market}.{s.profile} of {s.created_at.isoformat()}"
        for s in made
        if s.market in settings.markets
        and s.profile in settings.active_profiles
        and s.traded != (s.profile == traded.profile)
    ]


def _digest(names: list[str]) -> str:
    """A short run key for any number of markets."""
    return hashlib.sha256("|".join(names).encode()).hexdigest()[:16]


def _attempts_due(
    instance: dg.DagsterInstance, settings: Settings, engine: Engine, market: str, now: datetime
) -> dict[ProfileName, str]:
    """The profiles of `market` to retrain now, each with the name of this attempt."""
    retrain_after = timedelta(hours=float(settings.retrain_after_hours))
    due = {}
    for profile in settings.active_profiles:
        confirmed = confirmed_at(engine, market, profile)
        attempt = f"{confirmed.isoformat() if confirmed else _NEVER}|{now:%Y-%m-%dT%H}"
        if (
            is_stale(confirmed, now, retrain_after)
            and not is_under_way(instance, RETRAIN_JOB, market, profile_key(profile, "champion"))
            and not was_attempted(instance, market, tags.attempt(profile), attempt)
        ):
            due[profile] = attempt
    return due


def _in_turn(
    leading: ProfileName, attempts: dict[ProfileName, str]
) -> tuple[dict[ProfileName, str], dict[ProfileName, str]]:
    """`attempts` as (now, after all markets' first ones).

    A market's profiles share a run, but where the leading profile was never trained it gets one of
    its own, ahead of every other profile: nothing can be signalled until it is there.
    """
    if leading not in attempts or not attempts[leading].startswith(_NEVER):
        return attempts, {}
    return {leading: attempts[leading]}, {p: a for p, a in attempts.items() if p is not leading}


def _request(settings: Settings, market: str, attempts: dict[ProfileName, str]) -> dg.RunRequest:
    keys = [key for profile in attempts for key in retraining_keys(settings, profile)]
    return retrain_request(
        market,
        run_key="|".join([market, *(f"{p}|{attempt}" for p, attempt in attempts.items())]),
        asset_selection=list(dict.fromkeys(keys)),
        attempts={tags.attempt(p): attempt for p, attempt in attempts.items()},
    )
