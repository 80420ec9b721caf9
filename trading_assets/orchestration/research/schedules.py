"""When research runs by the clock: retraining and evaluation at night, signals at each close."""

from collections.abc import Iterator
from datetime import datetime

import dagster as dg
from sqlalchemy.engine import Engine

from trading_assets.clock import Clock
from trading_assets.orchestration.research.jobs import (
    evaluation_request,
    retrain_request,
    signals_request,
)
from trading_assets.orchestration.research.keys import EVALUATE_JOB, RETRAIN_JOB, SIGNALS_JOB
from trading_assets.settings import Settings
from trading_assets.signals.choices import due_profiles


@dg.schedule(
    cron_schedule="0 3 * * *",
    execution_timezone="Asia/Seoul",
    job_name=RETRAIN_JOB,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Retrains every market at 03:00 in Seoul.",
)
def daily_retrain(
    context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.RunRequest]:
    day = context.scheduled_execution_time.date().isoformat()
    for market in settings.markets:
        yield retrain_request(market, run_key=f"{day}|{market}")


@dg.schedule(
    cron_schedule="0 4 * * *",
    execution_timezone="Asia/Seoul",
    job_name=EVALUATE_JOB,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Evaluates every profile at 04:00 in Seoul, an hour after the retraining.",
)
def daily_evaluation(
    context: dg.ScheduleEvaluationContext, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.RunRequest]:
    day = context.scheduled_execution_time.date().isoformat()
    for market in settings.markets:
        yield evaluation_request(market, settings.active_profiles, run_key=f"{day}|{market}")


def signal_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule at each candle close of a profile that is in use.

    It ticks at every close of the shortest interval, since which profile is in use may change while
    it runs. The domain waits for the closing candle itself, so that the wait is measured from the
    close and not from the start of the run.
    """
    intervals = {p: settings.profile_interval_minutes(p) for p in settings.active_profiles}

    @dg.schedule(
        name="signal_schedule",
        cron_schedule=cron_at_close(min(intervals.values())),
        execution_timezone="UTC",
        job_name=SIGNALS_JOB,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Signals for all markets as a candle closes of the traded profile, or of one "
        "under which a position is held.",
    )
    def at_candle_close(
        context: dg.ScheduleEvaluationContext,
        clock: dg.ResourceParam[Clock],
        database: dg.ResourceParam[Engine],
    ) -> dg.RunRequest | dg.SkipReason:
        close = context.scheduled_execution_time
        due = due_profiles(database, settings, clock.now())
        if not any(closes_at(close, intervals[profile]) for profile in due):
            return dg.SkipReason(f"no candle of {', '.join(due)} closes at {close:%H:%M} UTC")
        return signals_request(settings, run_key=close.isoformat())

    return at_candle_close


def closes_at(moment: datetime, interval_minutes: int) -> bool:
    """Whether a candle of so many minutes closes at `moment` (aware, to the second)."""
    return moment.timestamp() % (interval_minutes * 60) == 0


def cron_at_close(interval_minutes: int) -> str:
    """The cron line (UTC) of the candle closes of an interval that divides a day.

    Raises ValueError for an interval that cron cannot say, such as 7 minutes.
    """
    if interval_minutes < 60 and 60 % interval_minutes == 0:
        return "* * * * *" if interval_minutes == 1 else f"*/{interval_minutes} * * * *"
    hours, rest = divmod(interval_minutes, 60)
    if hours == 24 and rest == 0:
        return "0 0 * * *"
    if rest == 0 and 24 % hours == 0:
        return "0 * * * *" if hours == 1 else f"0 */{hours} * * *"
    raise ValueError(f"an interval of {interval_minutes} minutes does not divide an hour or a day")
