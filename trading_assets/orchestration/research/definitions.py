"""What Dagster is told about research: candles to signals, the evaluation, and when."""

import warnings
from collections.abc import Mapping

import dagster as dg

from trading_assets.orchestration.research.assets import research_assets
from trading_assets.orchestration.research.evaluation import evaluation_assets
from trading_assets.orchestration.research.evaluation_sensor import evaluation_sensor
from trading_assets.orchestration.research.jobs import research_jobs
from trading_assets.orchestration.research.live_checks import (
    live_checks_job,
    live_checks_schedule,
    signal_health_asset,
)
from trading_assets.orchestration.research.resources import research_resources
from trading_assets.orchestration.research.schedules import (
    daily_evaluation,
    daily_retrain,
    signal_schedule,
)
from trading_assets.orchestration.research.sensors import champion_sensor, stale_models_sensor
from trading_assets.orchestration.shared.resources import shared_resources
from trading_assets.settings import Settings, load_settings
from trading_assets.world import prices, world_of


def research_definitions(
    settings: Settings, replaced: Mapping[str, object] | None = None
) -> dg.Definitions:
    """The research code location under `settings`. replaced: resources by name, for tests."""
    with warnings.catch_warnings():
        # Partitioned checks and single-run backfills: Dagster is pinned, and tests cover both.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)
        assets = _named_after_their_world(
            settings,
            [*research_assets(settings), signal_health_asset(), *evaluation_assets(settings)],
        )
    return dg.Definitions(
        assets=assets,
        jobs=[*research_jobs(), live_checks_job()],
        schedules=[
            daily_retrain,
            daily_evaluation,
            signal_schedule(settings),
            live_checks_schedule,
        ],
        sensors=[stale_models_sensor, champion_sensor, evaluation_sensor],
        resources={**shared_resources(settings), **research_resources(), **(replaced or {})},
        executor=dg.in_process_executor,
    )


def _named_after_their_world(
    settings: Settings, assets: list[dg.AssetsDefinition]
) -> list[dg.AssetsDefinition]:
    """`assets`, each saying on its page which world it shows and whose prices those are."""
    shown = {"world": world_of(settings).name, "prices": prices(settings)}
    return list(dg.map_asset_specs(lambda spec: spec.merge_attributes(metadata=shown), assets))


defs = research_definitions(load_settings())
