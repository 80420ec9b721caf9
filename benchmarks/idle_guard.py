"""What a quiet guard costs: memory and CPU of one process that holds a `swing` position.

A real trade in a process of its own, as cold as a Dagster run's: it imports the trading location,
enters at the paper exchange over HTTP and its stream, and holds; the barriers lie too far away to
be reached. The paper exchange runs in another process at real time and shows a new order book ten
times a second, about what Upbit's stream sends of a busy market. Beside it a process that has only
imported Dagster, which every run has.

    python benchmarks/idle_guard.py [--seconds 60] [--books 10]
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the harness of the crash tests is not installed

from trading_assets.clock import SystemClock  # noqa: E402
from trading_assets.database import read  # noqa: E402
from trading_assets.paper_exchange.markets import to_ms  # noqa: E402
from trading_assets.trading import leases  # noqa: E402
from trading_assets.trading.leases import LeaseStatus  # noqa: E402
from trading_assets_tests.trading.crash_trader import MARKET  # noqa: E402
from trading_assets_tests.trading.crash_world import (  # noqa: E402
    CrashWorld,
    announce,
    exchange_app,
    fork_server,
    give_signal,
    wait_for,
)
from trading_assets_tests.trading.ledger_world import prepared  # noqa: E402

SETTLE_SECONDS = 10.0
HOLD = """
import trading_assets.orchestration.trading
from trading_assets.orchestration.trading.story import Story
from trading_assets.clock import SystemClock
from trading_assets.database import connect
from trading_assets.settings import load_settings
from trading_assets.trading.floor import floor_of
from trading_assets.trading.trade import trade
settings = load_settings({{"exchange_url": {url!r}}})
floor = floor_of(settings, connect("sqlite:///{folder}/ledger.sqlite"), SystemClock())
trade(floor, {market!r}, "idle-guard", signal_id={signal_id})
"""
BARE = "import time, dagster; print('ready', flush=True); time.sleep(3600)"


def serve(books_a_second: float, folder: Path, port_file: Path) -> None:
    """The exchange's process; its book's best sizes change all the time, its prices do not."""
    app = exchange_app(folder)

    def tick() -> None:
        for number in itertools.count(1):
            time.sleep(1 / books_a_second)
            size = str(50 + number % 10)
            now_ms = to_ms(SystemClock().now())
            app.liquidity.pin(MARKET, [("99900", size)], [("100000", size)], now_ms)

    threading.Thread(target=tick, daemon=True).start()
    announce(app, port_file)


@dataclass(frozen=True, slots=True)
class Cost:
    """rss, pss: MB of memory, shared pages whole and by share. cpu: seconds so far."""

    rss: float
    pss: float
    cpu: float


def cost_of(pid: int) -> Cost:
    """What a process has and has used (Linux)."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in rollup[1:]}
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime and stime; the state is field 0
    return Cost(kilobytes["Rss"] / 1024, kilobytes["Pss"] / 1024, ticks / os.sysconf("SC_CLK_TCK"))


def lease_of(world: CrashWorld) -> LeaseStatus:
    with read(world.engine) as connection:
        found = leases.status_of(connection, MARKET)
    assert found is not None
    return found


def enter_and_hold(world: CrashWorld) -> "subprocess.Popen[bytes]":
    """A process that holds the position of a swing signal."""
    world.signal_id = give_signal(
        world.engine,
        profile="swing",
        stop_loss=Decimal("0.5"),
        take_profit=Decimal("0.5"),
        timeout_seconds=12 * 3600,
    )
    program = HOLD.format(
        url=world.url, folder=world.folder, market=MARKET, signal_id=world.signal_id
    )
    begun = SystemClock().now()
    process = subprocess.Popen([sys.executable, "-c", program])
    wait_for(lambda: world.is_guarded(begun), "the guard")
    return process


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--books", type=float, default=10.0, help="order books a second")
    chosen = parser.parse_args()
    seconds = chosen.seconds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["TRADING_ASSETS_HOME"] = name
        prepared(f"sqlite:///{folder / 'template.sqlite'}", folder).dispose()
        world = CrashWorld(folder, fork_server(), serve=partial(serve, chosen.books))
        bare = subprocess.Popen([sys.executable, "-c", BARE], stdout=subprocess.PIPE)
        started: list[subprocess.Popen[bytes]] = [bare]
        try:
            assert bare.stdout is not None
            bare.stdout.readline()
            world.open(folder / "template.sqlite")
            guard = enter_and_hold(world)
            started.append(guard)
            time.sleep(SETTLE_SECONDS)  # the first minute's look is not the quiet that follows
            begun, before, judged = time.monotonic(), cost_of(guard.pid), lease_of(world)
            time.sleep(seconds)
            took, after, last = time.monotonic() - begun, cost_of(guard.pid), lease_of(world)
            assert guard.poll() is None, "the guard ended"
            assert last.progress_at is not None
            assert judged.progress_at is not None
            assert last.progress_at > judged.progress_at, "the guard judged no price"
            plain = cost_of(bare.pid)
        finally:
            for process in started:
                process.kill()
                process.wait()
            world.close()
    cpu = 100 * (after.cpu - before.cpu) / took
    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    print(
        f"{os.cpu_count()} cores, load average {load}; "
        f"{took:.0f} s of holding {MARKET}, {chosen.books:g} order books a second\n"
    )
    print(f"{'process':<32}{'RSS MB':>10}{'PSS MB':>10}{'CPU %':>10}")
    print(f"{'import dagster, asleep':<32}{plain.rss:>10.0f}{plain.pss:>10.0f}{'-':>10}")
    print(f"{'a guard that holds':<32}{after.rss:>10.0f}{after.pss:>10.0f}{cpu:>10.2f}")
    print(f"\nmemory of the guard: {after.rss / plain.rss:.2f} x `import dagster`")


if __name__ == "__main__":
    main()
