"""Resources both code locations use: shells that only build the project's plain objects.

An asset or sensor asks for `settings`, `clock`, `world` or `database` and gets the plain object, so
that a test hands in its own. Everything is built from the resource `settings`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from trading_assets.clock import SystemClock
from trading_assets.orchestration.shared.dagster_home import require_dagster_home
from trading_assets.settings import Settings
from trading_assets.world import World, world_of

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine


@dg.resource(required_resource_keys={"settings"}, description="The world that this run belongs to.")
def world_resource(context: dg.InitResourceContext) -> World:
    world = world_of(context.resources.settings)
    assert context.instance is not None, "a run or a tick has an instance"
    require_dagster_home(Path(context.instance.root_directory), world)
    return world


@dg.resource(required_resource_keys={"settings", "world"}, description="The database of the world.")
def database_resource(context: dg.InitResourceContext) -> "Iterator[Engine]":
    # A third of dagster's own import time, which loading the trading location need not wait for.
    from trading_assets.database import open_database

    engine = open_database(context.resources.settings, context.resources.world)
    try:
        yield engine
    finally:
        engine.dispose()


def shared_resources(settings: Settings) -> Mapping[str, object]:
    """The resources `settings`, `clock`, `world` and `database`."""
    return {
        "settings": settings,
        "clock": SystemClock(),
        "world": world_resource,
        "database": database_resource,
    }
