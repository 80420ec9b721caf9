"""A trade through the real Dagster daemon: its run ends, another holds on, the stop fires."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._grpc.client import DagsterGrpcClient

from trading_assets.commands import groups
from trading_assets.commands.ports import free_ports
from trading_assets.commands.unguarded import unguarded
from trading_assets.database import heartbeats, read
from trading_assets.orchestration.trading.jobs import TRADE_JOB
from trading_assets.orchestration.trading.watch import pause_before
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
        # A Dagster server believes an `.env` where it starts more than its environment.
        cwd=log.parent,
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


@dataclass(slots=True)
class Served:
    """A trading world whose code server and daemon run."""

    world: TradingWorld
    instance: dg.DagsterInstance
    port: int
    start_server: Callable[[], "subprocess.Popen[bytes]"]
    server: "subprocess.Popen[bytes]"

    def lease(self) -> LeaseStatus:
        with read(self.world.engine) as connection:
            found = leases.status_of(connection, MARKET)
        assert found is not None
        return found

    def trades(self) -> Sequence[dg.RunRecord]:
        """The runs of `trade`, newest first."""
        return self.instance.get_run_records(dg.RunsFilter(job_name=TRADE_JOB))

    def reload(self) -> None:
        """What the button beside a location does: its code is loaded anew, in another process."""
        DagsterGrpcClient(host="127.0.0.1", port=self.port).reload_code(timeout=120)

    def wait_out_the_pause(self) -> None:
        """What follows too many takeovers in a row is not part of a takeover's time."""
        newest, *rest = self.trades()
        if rest:
            done = self.world.clock.now() - newest.create_timestamp
            time.sleep(max(0.0, (pause_before(len(rest)) - done).total_seconds()))

    # --- the ends of a run ----------------------------------------------------------------------

    def kill_the_run(self) -> None:
        victims = trade_processes(self.server.pid)
        assert victims
        for pid in victims:
            os.kill(pid, signal.SIGKILL)

    def terminate(self) -> None:
        """What the button in Dagster's pages does."""
        assert self.instance.run_coordinator.cancel_run(self.trades()[0].dagster_run.run_id)

    def kill_the_code_server(self) -> None:
        """All of its group; the supervisor of `run` starts it again after a second."""
        groups.send({self.server.pid}, signal.SIGKILL)
        time.sleep(1)
        self.server = self.start_server()

    def stop_and_start(self) -> None:
        """What Ctrl-C of `run` does to the code server and its runs, and then a start."""
        assert groups.end({self.server.pid}, patience_seconds=20) == ()
        assert self.lease().released_at is not None, "the run gives its lease back"
        now = self.world.clock.now()
        assert "is now UNGUARDED" in "".join(unguarded(self.world.settings, self.world.engine, now))
        self.server = self.start_server()


@pytest.fixture
def served(
    tmp_path: Path, make_exchange: MakeExchange, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Served]:
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

        def start_server() -> "subprocess.Popen[bytes]":
            return started(
                *(stack, tmp_path / "code_server.log", "dagster", "code-server", "start"),
                *("-m", "trading_assets.orchestration.trading"),
                *("-h", "127.0.0.1", "-p", str(port), "--location-name", "trading"),
            )

        server = start_server()
        started(stack, tmp_path / "daemon.log", "dagster._daemon", "run", "-w", str(workspace))
        instance = stack.enter_context(dg.DagsterInstance.from_config(str(dagster_home)))
        yield Served(world, instance, port, start_server, server)


def is_alive(world: TradingWorld) -> bool:
    with read(world.engine) as connection:
        return connection.execute(sa.select(heartbeats)).first() is not None


def held_again(served: Served, end: Callable[[], None]) -> float:
    """Seconds from right before `end` until another holder has judged a price."""
    served.wait_out_the_pause()
    before, begun = served.lease(), time.monotonic()
    end()

    def held() -> bool:
        lease = served.lease()
        judged = lease.progress_at is not None and lease.progress_at >= lease.taken_at
        return lease.token > before.token and judged

    wait_for(held, "the takeover")
    assert served.lease().holder != before.holder
    return time.monotonic() - begun


def _outlives_a_reload(served: Served) -> None:
    """Even of the trade's own location; research's is another server."""
    before = served.lease()
    served.reload()
    reloaded = served.world.clock.now()

    def judged() -> bool:
        progress = served.lease().progress_at
        return progress is not None and progress > reloaded

    wait_for(judged, "a price judged after the reload")
    assert (served.lease().holder, served.lease().token) == (before.holder, before.token)


@pytest.mark.slow
def test_a_trade_outlives_every_end_of_its_run_through_the_daemon_and_its_stop_fires(
    served: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    world = served.world
    wait_for(lambda: is_alive(world), "the location's first tick")
    world.give_signal()
    took = {"signal to guarded": wait_for(world.is_guarded, "the position")}
    _outlives_a_reload(served)
    for name, end in (
        ("killed run to guarded again", served.kill_the_run),
        ("Terminate to guarded again", served.terminate),
        ("killed code server to guarded again", served.kill_the_code_server),
        ("stop and start to guarded again", served.stop_and_start),
    ):
        took[name] = held_again(served, end)

    def is_sold() -> bool:
        position = world.position()
        return position is not None and position.state is PositionState.CLOSED

    world.fall()
    took["fall to booked exit"] = wait_for(is_sold, "the stop")
    position = world.position()
    assert position is not None
    assert position.exit_reason is OrderReason.STOP_LOSS
    with capsys.disabled():
        sys.stdout.write("\ntakeovers through the Dagster daemon (goal 30 s when idle):\n")
        for name, seconds in took.items():
            sys.stdout.write(f"  {name:<37}{seconds:6.2f} s\n")
        sys.stdout.write(f"  load average {os.getloadavg()[0]:.1f}\n")
