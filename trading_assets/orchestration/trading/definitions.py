"""What Dagster is told about trading. Stays light: no pandas, no numpy, no exchange client.

Trading reads signals from the database and shares no code location with research: nothing that
happens there may delay a stop-loss.
"""

from collections.abc import Mapping

import dagster as dg

from trading_assets.orchestration.shared.resources import shared_resources
from trading_assets.orchestration.trading.sensors import trading_status_sensor
from trading_assets.settings import Settings, load_settings


def trading_definitions(
    settings: Settings, replaced: Mapping[str, object] | None = None
) -> dg.Definitions:
    """The trading code location under `settings`. replaced: resources by name, for tests."""
    return dg.Definitions(
        sensors=[trading_status_sensor],
        resources={**shared_resources(settings), **(replaced or {})},
        executor=dg.in_process_executor,
    )


defs = trading_definitions(load_settings())
