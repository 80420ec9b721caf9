"""What trading does by the clock: look at the account and for emergencies, every hour."""

import dagster as dg

from trading_assets.orchestration.trading.jobs import emergency_job, reconcile_job

HOURLY = [
    dg.ScheduleDefinition(
        name=f"hourly_{job.name}",
        job=job,
        cron_schedule=cron,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"`{job.name}` once an hour; also by hand.",
    )
    for job, cron in ((reconcile_job, "7 * * * *"), (emergency_job, "37 * * * *"))
]
