"""Resources of research: shells that only build the domain's plain objects from the settings."""

import os
from collections.abc import Callable

import dagster as dg
from upath import UPath

from trading_assets.candles.store import CandleStore
from trading_assets.exchange.candle_pages import CandlePages, candle_pages
from trading_assets.features.matrix import FeatureMatrix
from trading_assets.features.sequences import Sequences
from trading_assets.models.champions import ChampionStore
from trading_assets.models.labels import Labels
from trading_assets.models.retrain import Workshop
from trading_assets.orchestration.research.storage import (
    Codec,
    WorldIOManager,
    frame_codec,
    table_codec,
)
from trading_assets.settings import Settings
from trading_assets.signals.choices import awaits_first_choice
from trading_assets.world import World

# Linux gives a process of this niceness about a tenth of what one of 0 gets beside it.
BACKGROUND_NICENESS = 10

CODECS: dict[type, Codec] = {
    FeatureMatrix: table_codec(FeatureMatrix.to_table, FeatureMatrix.from_table),
    Sequences: table_codec(Sequences.to_table, Sequences.from_table),
    Labels: frame_codec(Labels.to_frame, Labels.from_frame),
}


@dg.resource(
    required_resource_keys={"settings", "clock"}, description="Candles of the exchange, by page."
)
def pages_resource(context: dg.InitResourceContext) -> CandlePages:
    return candle_pages(context.resources.settings, context.resources.clock)


@dg.resource(required_resource_keys={"world"}, description="The world's candles on disk.")
def candle_store_resource(context: dg.InitResourceContext) -> CandleStore:
    world: World = context.resources.world
    return CandleStore(world.candles, world.name)


@dg.resource(required_resource_keys={"world"}, description="The models that serve.")
def champions_resource(context: dg.InitResourceContext) -> ChampionStore:
    world: World = context.resources.world
    return ChampionStore(world.champions, world.name)


@dg.io_manager(
    required_resource_keys={"settings", "world"},
    description="Features, sequences and labels, in the world's folder or at ASSETS_URL.",
)
def assets_io_resource(context: dg.InitResourceContext) -> WorldIOManager:
    settings: Settings = context.resources.settings
    world: World = context.resources.world
    base = UPath(settings.assets_url or world.assets)
    return WorldIOManager(base / world.name if settings.assets_url else base, world.name, CODECS)


@dg.resource(
    required_resource_keys={"settings", "world", "clock", "database"},
    description="What a retraining works with, marked with the run that does it.",
)
def workshop_resource(context: dg.InitResourceContext) -> Workshop:
    given = context.resources
    run_id = None if context.run is None else context.run.run_id
    return Workshop(given.settings, given.world, given.clock, given.database, run_id)


def stay_in_the_background() -> None:
    """Lower the priority of this process, for good: a run has a process of its own.

    Signals, trainings and guards are then served first wherever cores are few.
    """
    lowest = max(BACKGROUND_NICENESS, os.getpriority(os.PRIO_PROCESS, 0))
    os.setpriority(os.PRIO_PROCESS, 0, lowest)


@dg.resource(
    required_resource_keys={"settings", "database"},
    description="Makes way for signals and trades, unless those wait for this very run.",
)
def background_resource(context: dg.InitResourceContext) -> Callable[[], None]:
    """What each evaluation calls first. The first one of all is what entries wait for."""
    given = context.resources
    return _stay if awaits_first_choice(given.database, given.settings) else stay_in_the_background


def _stay() -> None:
    """Keep the priority."""


def research_resources() -> dict[str, object]:
    """Research's own resources by name."""
    return {
        "pages": pages_resource,
        "candle_store": candle_store_resource,
        "champions": champions_resource,
        "workshop": workshop_resource,
        "assets_io": assets_io_resource,
        "background": background_resource,
    }
