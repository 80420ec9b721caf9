"""The research location with injected settings, clock, world and database."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy.engine import Engine

from trading_assets.clock import SteppedClock
from trading_assets.database import connect as connect_database
from trading_assets.database import database_url, open_database, prepare
from trading_assets.models.verdicts import Verdict, VerdictKind, record_verdict
from trading_assets.orchestration.research.definitions import research_definitions
from trading_assets.settings import Settings, load_settings
from trading_assets.world import World, world_of

START = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Location:
    """A research location of one test; everything in it lies in the test's own folder."""

    settings: Settings
    world: World
    clock: SteppedClock
    engine: Engine
    instance: dg.DagsterInstance
    defs: dg.Definitions

    def sensor_context(self) -> dg.SensorEvaluationContext:
        return dg.build_sensor_context(
            instance=self.instance,
            definitions=self.defs,
            resources={
                "settings": self.settings,
                "world": self.world,
                "clock": self.clock,
                "database": self.engine,
            },
        )

    def confirm(self, market: str, profile: str, *, promoted: bool = True) -> None:
        """A retraining of `market` and `profile` reaches its verdict now."""
        record_verdict(
            self.engine,
            Verdict(
                VerdictKind.PROMOTION, market, profile, promoted, ("by the test",), self.clock.now()
            ),
        )

    def confirm_all(self) -> None:
        for market in self.settings.markets:
            for profile in self.settings.active_profiles:
                self.confirm(market, profile)


@pytest.fixture
def location(isolated_settings: Path) -> Iterator[Location]:
    """Two markets, both profiles, nothing trained yet; the clock stands at START."""
    settings = load_settings({"markets": ("KRW-BTC", "KRW-ETH"), "profile": "auto"})
    world, clock = world_of(settings), SteppedClock(START)
    setup = connect_database(database_url(settings, world))
    prepare(setup, world)
    setup.dispose()
    engine = open_database(settings, world)
    defs = research_definitions(settings, {"clock": clock, "world": world, "database": engine})
    with dg.DagsterInstance.ephemeral() as instance:
        yield Location(settings, world, clock, engine, instance, defs)
    engine.dispose()
