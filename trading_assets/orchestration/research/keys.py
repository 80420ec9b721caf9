"""Asset keys, in one place: what the graph, the jobs and the sensors call the same thing."""

from collections.abc import Sequence

import dagster as dg

from trading_assets.exchange.model import Interval
from trading_assets.settings import ProfileName, Settings

SIGNALS = dg.AssetKey("signals")
# What comes of the models, minute by minute; none of it belongs to the job `retrain`.
SIGNALS_GROUP = "signals"
SIGNAL_HEALTH = dg.AssetKey("signal_health")
RETRAIN_JOB = "retrain"
SIGNALS_JOB = "produce_signals"
LIVE_CHECKS_JOB = "check_signals"
EVALUATE_JOB = "evaluate"
# Every asset of this group belongs to the job `evaluate`, and none of it to `retrain`: those of a
# profile, one partition a market, and the conclusions over everything, which have no partitions.
EVALUATION_GROUP = "evaluation"
EVALUATION_NAMES = ("walk_forward", "shadow")
PROFILE_CHOICE = dg.AssetKey("profile_choice")
FORECAST = dg.AssetKey("forecast")
MODEL_COMPARISON = dg.AssetKey("model_comparison")
REPORT = dg.AssetKey("report")
CONCLUSIONS: tuple[dg.AssetKey, ...] = (PROFILE_CHOICE, FORECAST, MODEL_COMPARISON, REPORT)


def candles_key(interval_minutes: int) -> dg.AssetKey:
    return dg.AssetKey(["candles", Interval.of_minutes(interval_minutes).key])


def features_key(interval_minutes: int) -> dg.AssetKey:
    return dg.AssetKey(["features", Interval.of_minutes(interval_minutes).key])


def profile_key(profile: str, name: str) -> dg.AssetKey:
    """The profile's asset `name`: sequences, labels, challenger, champion, walk_forward, shadow."""
    return dg.AssetKey([str(profile), name])


def retraining_keys(settings: Settings, profile: ProfileName) -> Sequence[dg.AssetKey]:
    """Everything that makes a new champion of `profile`, from candles on, in that order."""
    interval_minutes = settings.profile_interval_minutes(profile)
    return [
        candles_key(interval_minutes),
        features_key(interval_minutes),
        *(profile_key(profile, name) for name in ("sequences", "labels", "challenger", "champion")),
    ]


def evaluation_keys(profile: str) -> Sequence[dg.AssetKey]:
    """Everything that evaluates `profile` in one market."""
    return [profile_key(profile, name) for name in EVALUATION_NAMES]
