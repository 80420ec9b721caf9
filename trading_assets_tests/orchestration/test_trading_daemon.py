"""A trade through the real Dagster daemon: its run is killed, another holds on, the stop fires."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from trading_assets.commands.ports import free_ports
from trading_assets.database import heartbeats, read
from trading_assets.trading import leases
from trading_assets.trading.leases import LeaseStatus
from trading_assets.trading.states import OrderReason, PositionState
from trading_assets_tests.conftest import MakeExchange
from trading_assets_tests.orchestration.trading_world import MARKET, TradingWorld, open_world

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST_SECONDS = 120.0


def wait_for(condition: Callable[[], bool], what: str) -> float:
    """Seconds until `condition` held. Raises TimeoutError."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > _LONGEST_SECONDS:
            raise TimeoutError(f"waited {_LONGEST_SECONDS} s for {what}")
        time.sleep(0.05)
    return time.monotonic() - begun


def started(stack: ExitStack, log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """A server in a session of its own, ended with everything it started when `stack` closes."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=log.open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    stack.callback(_end, process)
    return process


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def trade_processes(server: int) -> list[int]:
    """The processes below the code server that execute a run."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    ).stdout
    rows = [(int(f[0]), int(f[1]), f[2]) for f in (r.split(None, 2) for r in listed.splitlines())]
    family = {server}
    while grown := {pid for pid, parent, _ in rows if parent in family} - family:
        family |= grown
    found = [(pid, args) for pid, _, args in rows if pid in family]
    return [pid for pid, args in found if "spawn_main" in args or "execute_run" in args]


@pytest.fixture
def served_world(
    tmp_path: Path, make_exchange: MakeExchange, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[TradingWorld, int]]:
    """A trading world whose location and daemon run; the code server's session."""
    exchange = make_exchange()
    monkeypatch.setenv("EXCHANGE_URL", exchange.url)
    monkeypatch.setenv("MARKETS", MARKET)
    with ExitStack() as stack:
        home = tmp_path / "home"
        world = open_world(exchange, dg.DagsterInstance.ephemeral())
        dagster_home = world.world.dagster_home
        dagster_home.mkdir(parents=True)
        shutil.copy(_ROOT / "deploy" / "local" / "dagster.yaml", dagster_home)
        (dagster_home / "WORLD").write_text(world.world.name)
        monkeypatch.setenv("DAGSTER_HOME", str(dagster_home))
        stack.callback(world.engine.dispose)
        (port,) = free_ports(1)
        workspace = home / "workspace.yaml"
        workspace.write_text(
            "load_from:\n  - grpc_server:\n      host: 127.0.0.1\n"
            f"      port: {port}\n      location_name: trading\n"
        )
        server = started(
            *(stack, tmp_path / "code_server.log", "dagster", "code-server", "start"),
            *("-m", "trading_assets.orchestration.trading", "-h", "127.0.0.1", "-p", str(port)),
            *("--location-name", "trading"),
        )
        started(stack, tmp_path / "daemon.log", "dagster._daemon", "run", "-w", str(workspace))
        yield world, server.pid


def lease_of(world: TradingWorld) -> LeaseStatus:
    with read(world.engine) as connection:
        found = leases.status_of(connection, MARKET)
    assert found is not None
    return found


def is_alive(world: TradingWorld) -> bool:
    with read(world.engine) as connection:
        return connection.execute(sa.select(heartbeats)).first() is not None


@pytest.mark.slow
def test_a_killed_trade_run_is_replaced_through_the_daemon_and_its_stop_fires(
    served_world: tuple[TradingWorld, int], capsys: pytest.CaptureFixture[str]
) -> None:
    world, session = served_world
    wait_for(lambda: is_alive(world), "the location's first tick")
    world.give_signal()
    entered = wait_for(world.is_guarded, "the position")
    first = lease_of(world)
    victims = trade_processes(session)
    assert victims
    for pid in victims:
        os.kill(pid, signal.SIGKILL)

    def held_again() -> bool:
        lease = lease_of(world)
        judged = lease.progress_at is not None and lease.progress_at >= lease.taken_at
        return lease.token > first.token and judged

    again = wait_for(held_again, "the takeover")
    assert lease_of(world).holder != first.holder

    def is_sold() -> bool:
        position = world.position()
        return position is not None and position.state is PositionState.CLOSED

    world.fall()
    sold = wait_for(is_sold, "the stop")
    position = world.position()
    assert position is not None
    assert position.exit_reason is OrderReason.STOP_LOSS
    with capsys.disabled():
        sys.stdout.write(
            f"\nsignal to guarded {entered:.1f} s, kill to guarded again {again:.1f} s (goal 30 s "
            f"on an idle machine), fall to booked exit {sold:.2f} s\n"
        )
