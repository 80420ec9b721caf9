"""When research runs by the clock: retraining every night, signals at every candle close."""

from collections.abc import Iterator

import dagster as dg

from trading_assets.orchestration.research.jobs import retrain_request, signals_request
from trading_assets.orchestration.research.keys import RETRAIN_JOB, SIGNALS_JOB
from trading_assets.settings import Settings


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


def signal_schedule(settings: Settings) -> dg.ScheduleDefinition:
    """The schedule at each candle close of the traded profile's interval.

    The domain waits for the closing candle itself, so that the wait is measured from the close and
    not from the start of the run.
    """

    @dg.schedule(
        name="signal_schedule",
        cron_schedule=cron_at_close(settings.profile_interval_minutes(settings.profile)),
        execution_timezone="UTC",
        job_name=SIGNALS_JOB,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Signals for all markets as each candle of the traded interval closes.",
    )
    def at_candle_close(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        close = context.scheduled_execution_time
        return signals_request(settings, run_key=close.isoformat())

    return at_candle_close


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
