"""The live checks of signals: the asset `signal_health` and its checks, an hourly job of their own.

Not in the run of the signals: they must also be made when that run failed, and must not hold it up.
Not checks on `signals`: Dagster shows a check as not evaluated as soon as its asset is made again,
which `signals` is every few minutes.
"""

from typing import TYPE_CHECKING

import dagster as dg
from sqlalchemy.engine import Engine

from trading_assets.candles.store import CandleStore
from trading_assets.clock import Clock
from trading_assets.models.champions import ChampionStore
from trading_assets.orchestration.research import metadata
from trading_assets.orchestration.research.keys import (
    FORECAST,
    LIVE_CHECKS_JOB,
    SIGNAL_HEALTH,
    SIGNALS,
    SIGNALS_GROUP,
)
from trading_assets.orchestration.research.results import Result, check_results, check_specs
from trading_assets.orchestration.shared import tags
from trading_assets.orchestration.shared.tags import Research
from trading_assets.settings import Settings
from trading_assets.signals.choices import leading_profile, traded_profile
from trading_assets.signals.findings import Check, as_outcome
from trading_assets.signals.watch import watch_signals

if TYPE_CHECKING:
    # What `define_asset_job` returns; dagster exports the function and not the type.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

LIVE_CHECKS_SECONDS = 600


def signal_health_asset() -> dg.AssetsDefinition:
    """What the live checks found, and each as a check."""

    @dg.asset(
        key=SIGNAL_HEALTH,
        deps=[SIGNALS, FORECAST],
        group_name=SIGNALS_GROUP,
        kinds={"sql"},
        check_specs=check_specs(SIGNAL_HEALTH, [c.value for c in Check], None, blocking=False),
        freshness_policy=metadata.live_checks_freshness(),
        description="The signals of the profile that comes first against the forecast of its "
        "evaluation; all markets in one.",
    )
    def signal_health(  # noqa: PLR0917  # Dagster sees positional parameters only
        context: dg.AssetExecutionContext,
        settings: dg.ResourceParam[Settings],
        clock: dg.ResourceParam[Clock],
        database: dg.ResourceParam[Engine],
        candle_store: dg.ResourceParam[CandleStore],
        champions: dg.ResourceParam[ChampionStore],
    ) -> Result:
        now = clock.now()
        profile = leading_profile(traded_profile(database, settings, now), settings)
        findings = watch_signals(
            settings,
            database,
            candle_store,
            champions,
            name=profile,
            now=now,
            run_id=context.run.run_id,
        )
        return Result(
            metadata={"profile": profile.value, **metadata.of_findings(findings)},
            check_results=check_results([as_outcome(check, findings) for check in Check]),
        )

    return signal_health


def live_checks_job() -> "UnresolvedAssetJobDefinition":
    """`check_signals`: all of them, for all markets."""
    return dg.define_asset_job(
        LIVE_CHECKS_JOB,
        selection=dg.AssetSelection.assets(SIGNAL_HEALTH),
        tags={tags.RESEARCH: Research.CHECK.value, tags.MAX_RUNTIME: str(LIVE_CHECKS_SECONDS)},
        description="Compares live signals with what the evaluation expects; stops nothing.",
    )


live_checks_schedule = dg.ScheduleDefinition(
    name="live_checks_schedule",
    # A little after the hour: by then the closes of all intervals have their signals.
    cron_schedule="3 * * * *",
    execution_timezone="UTC",
    job_name=LIVE_CHECKS_JOB,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Compares live signals with the forecast once an hour.",
)
