"""The one partition dimension: market, from the settings."""

import dagster as dg

from trading_assets.settings import Settings


def market_partitions(settings: Settings) -> dg.StaticPartitionsDefinition:
    """One partition per market, in the order of the settings."""
    return dg.StaticPartitionsDefinition(list(settings.markets))
