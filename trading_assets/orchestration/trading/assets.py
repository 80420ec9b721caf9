"""Orders, fills and positions as assets: the lineage from a signal to what became of it.

Trade runs report them as they happen; they are written by `trading`, not materialized on request.
"""

import dagster as dg

from trading_assets.orchestration.shared.partitions import market_partitions
from trading_assets.settings import Settings

# The key that research gives the asset; the two locations share no code.
SIGNALS = dg.AssetKey("signals")
ORDERS = dg.AssetKey("orders")
FILLS = dg.AssetKey("fills")
POSITIONS = dg.AssetKey("positions")

_GROUP = "trading"


def trading_assets(settings: Settings) -> list[dg.AssetSpec]:
    """Signal -> order -> fill -> position, by market."""
    markets = market_partitions(settings)
    chain = (
        (ORDERS, SIGNALS, "Each order of a trade, when it has ended: why, what was asked, sold."),
        (FILLS, ORDERS, "Each fill of an order, exact to the last digit."),
        (POSITIONS, FILLS, "Each trade when it is held with its barriers, and when it was left."),
    )
    return [
        dg.AssetSpec(
            key, deps=[source], partitions_def=markets, group_name=_GROUP, description=description
        )
        for key, source, description in chain
    ]
