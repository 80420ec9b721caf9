"""What Dagster is told about trading. Stays light: no pandas, no numpy, no exchange client.

Trading reads signals from the database and shares no code location with research: nothing that
happens there may delay a stop-loss.
"""

from collections.abc import Mapping

import dagster as dg

from trading_assets.orchestration.shared.resources import shared_resources
from trading_assets.orchestration.trading.assets import trading_assets
from trading_assets.orchestration.trading.jobs import emergency_job, reconcile_job, trade_job
from trading_assets.orchestration.trading.resources import open_floor_resource
from trading_assets.orchestration.trading.schedules import HOURLY
from trading_assets.orchestration.trading.sensors import (
    emergency_sensor,
    reconcile_sensor,
    trading_sensor,
    trading_status_sensor,
)
from trading_assets.settings import Settings, load_settings


def trading_definitions(
    settings: Settings, replaced: Mapping[str, object] | None = None
) -> dg.Definitions:
    """The trading code location under `settings`. replaced: resources by name, for tests."""
    return dg.Definitions(
        assets=trading_assets(settings),
        jobs=[trade_job, reconcile_job, emergency_job],
        sensors=[trading_sensor, emergency_sensor, reconcile_sensor, trading_status_sensor],
        schedules=HOURLY,
        resources={
            **shared_resources(settings),
            "open_floor": open_floor_resource,
            **(replaced or {}),
        },
        executor=dg.in_process_executor,
    )


defs = trading_definitions(load_settings())
