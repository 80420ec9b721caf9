"""A stop and the next start with a position open: real guard processes under a real supervisor."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from trading_assets.commands import services
from trading_assets.commands.first_guard import LONGEST_WAIT, NAME, first_guard
from trading_assets.commands.supervisor import Service, Supervisor
from trading_assets.commands.unguarded import left_open, unguarded
from trading_assets.database import read
from trading_assets.trading import leases
from trading_assets.trading.leases import LeaseStatus
from trading_assets.trading.states import OrderReason, PositionState
from trading_assets_tests.commands.children import SLEEPS, python, until
from trading_assets_tests.conftest import MakeExchange
from trading_assets_tests.orchestration.trading_world import (
    MARKET,
    WAITS,
    TradingWorld,
    open_world,
)


@pytest.fixture
def abandoned(
    isolated_settings: Path, make_exchange: MakeExchange, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TradingWorld]:
    """A world whose position nobody holds; children find it by their environment."""
    exchange = make_exchange()
    monkeypatch.setenv("EXCHANGE_URL", exchange.url)
    monkeypatch.setenv("MARKETS", MARKET)
    for name, value in WAITS.items():
        monkeypatch.setenv(f"TRADING__{name.upper()}", value)
    with dg.DagsterInstance.ephemeral() as instance:
        world = open_world(exchange, instance)
        world.enter_and_die()
        yield world
        world.engine.dispose()


class Start:
    """A start that has an exchange, its first guard, and the trading code server as one sleeper."""

    def __init__(self, world: TradingWorld, folder: Path) -> None:
        guard = first_guard(world.settings, world.engine, world.clock)
        assert guard is not None
        self.said: list[str] = []
        self.supervisor = Supervisor(
            [
                Service(services.EXCHANGE, python(SLEEPS), lambda: True),
                guard,
                Service(services.TRADING, python(SLEEPS), lambda: True, needs=(NAME,)),
            ],
            logs=folder / "logs",
            folder=folder,
            environment=os.environ,
            clock=world.clock,
            say=self.said.append,
        )

    def step_until(self, condition: Callable[[], object]) -> None:
        def stepped() -> object:
            self.supervisor.step()
            return condition()

        until(stepped)


def lease_of(world: TradingWorld) -> LeaseStatus:
    with read(world.engine) as connection:
        found = leases.status_of(connection, MARKET)
    assert found is not None
    return found


def test_a_start_without_open_positions_has_no_first_guard(
    isolated_settings: Path, make_exchange: MakeExchange
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        world = open_world(make_exchange(), instance)
        assert first_guard(world.settings, world.engine, world.clock) is None
        assert list(left_open(world.engine)) == []
        world.engine.dispose()


def test_a_stop_gives_back_and_the_next_start_guards_before_anything_else(
    abandoned: TradingWorld, tmp_path: Path
) -> None:
    assert list(left_open(abandoned.engine)) == [
        f"still open: {MARKET}. Guarded before anything else starts"
    ]
    first = Start(abandoned, tmp_path)
    try:
        first.step_until(lambda: first.supervisor.pid(services.TRADING) is not None)
        assert abandoned.is_guarded()
    finally:
        assert first.supervisor.stop(20) == ()
    # The guard gave its lease back itself, sold nothing, and the stop says what is left.
    assert lease_of(abandoned).released_at is not None
    position = abandoned.position()
    assert position is not None
    assert position.state is PositionState.OPEN
    now = abandoned.clock.now()
    assert f"{MARKET}: {position.held_volume:f} is now UNGUARDED" in next(
        iter(unguarded(abandoned.settings, abandoned.engine, now))
    )

    second = Start(abandoned, tmp_path)
    try:
        second.step_until(lambda: second.supervisor.pid(services.TRADING) is not None)
        assert abandoned.is_guarded()
        abandoned.fall()
        second.step_until(lambda: f"{NAME} has done its work" in second.said)
    finally:
        assert second.supervisor.stop(20) == ()
    position = abandoned.position()
    assert position is not None
    assert position.exit_reason is OrderReason.STOP_LOSS
    assert not any(line.startswith("!!") for line in second.said)


def test_an_exchange_that_does_not_answer_holds_the_servers_up_for_half_a_minute_at_most(
    isolated_settings: Path, make_exchange: MakeExchange
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        world = open_world(make_exchange(), instance)
        world.hold_abandoned_position()
        clock = world.stepped_clock()
        guard = first_guard(world.settings, world.engine, clock)
        assert guard is not None
        assert not guard.is_ready()
        clock.advance(LONGEST_WAIT)
        assert guard.is_ready()
        world.engine.dispose()
