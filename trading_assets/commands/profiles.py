"""`trading-assets profiles`: what the last evaluation says of each profile, and which is traded."""

from datetime import datetime

from trading_assets.database import open_database
from trading_assets.settings import Settings
from trading_assets.signals import choice_table
from trading_assets.world import world_of


def profiles(settings: Settings, now: datetime) -> str:
    """The table of the world of `settings`, or the sentence that says why there is none.

    Raises MigrationNeeded when the world was never prepared.
    """
    engine = open_database(settings, world_of(settings))
    try:
        return choice_table.as_text(settings, engine, now)
    finally:
        engine.dispose()
