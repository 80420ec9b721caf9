"""The trading code location: `dagster ... -m trading_assets.orchestration.trading`."""

from trading_assets.exchange.light_imports import uncollected

with uncollected():
    from trading_assets.orchestration.trading.definitions import defs

__all__ = ["defs"]
