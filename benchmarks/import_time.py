"""What importing each code location costs, in units of `import dagster`.

CPU seconds (user + system) of fresh interpreters, medians; the interpreter's own start is taken
off. A trade process is the body of the job `trade` on an empty ledger, from the import of the
trading location to the answer of its first request (the account's balances), which is a refusal:
all that the job imports until then (SQLAlchemy, the ledger, upbit-sdk) and what it does. Dagster's
own work of starting a run is not in it.

Run: python benchmarks/import_time.py [--repeats 7]
Goals: trading <= 1.3, a trade process up to its first request <= 1.8.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

from trading_assets.database import connect, prepare
from trading_assets.world import World

GOALS = {"trading location": 1.3, "trade process up to its first request": 1.8}

FIRST_REQUEST = """
import trading_assets.orchestration.trading as trading
from trading_assets.orchestration.trading.jobs import TradeConfig, hold_trade
from trading_assets.settings import load_settings
from trading_assets.clock import SystemClock
def run(url, ledger):
    from trading_assets.database import connect
    from trading_assets.errors import CredentialsRefused
    from trading_assets.trading.floor import floor_of
    settings = load_settings({{"exchange_url": url}})
    engine, clock = connect(ledger), SystemClock()
    class context:
        run_id = "benchmark"
        class log: info = staticmethod(print)
        log_event = staticmethod(print)
        class resources: pass
    context.resources.database, context.resources.clock = engine, clock
    context.resources.open_floor = lambda tell: floor_of(settings, engine, clock, tell=tell)
    try:
        hold_trade.compute_fn.decorated_fn(context, TradeConfig(market="KRW-BTC", signal_id=1))
    except CredentialsRefused:
        return
    raise AssertionError("the first request was not refused")
run({url!r}, {ledger!r})
"""


class _Answer(BaseHTTPRequestHandler):
    """Refuses every request, as /v1/accounts does an expired key."""

    def do_GET(self) -> None:
        body = json.dumps({"error": {"name": "expired_access_key", "message": "no"}}).encode()
        self.send_response(401)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet: the figures are the output."""


@contextmanager
def local_server() -> Iterator[str]:
    """A server on a free port of this machine; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def cpu_seconds(program: str) -> float:
    """User and system CPU seconds of a fresh interpreter that runs `program`.

    It writes .pyc files whatever the environment says, and ends without tearing down: neither
    compiling nor taking apart is importing.
    """
    program = f"{program}\nimport os\nos._exit(0)"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def measure(programs: dict[str, str], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each program, interleaved so that a busy moment meets all of them alike."""
    for program in programs.values():
        cpu_seconds(program)  # compiles .pyc files, fills the page cache
    taken: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(repeats):
        for name, program in programs.items():
            taken[name].append(cpu_seconds(program))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    repeats = parser.parse_args().repeats
    with local_server() as url, tempfile.TemporaryDirectory() as home:
        os.environ["TRADING_ASSETS_HOME"] = home
        ledger = f"sqlite:///{home}/ledger.sqlite"
        engine = connect(ledger)
        prepare(engine, World("sandbox-benchmark", Path(home), Path(home)))
        engine.dispose()
        taken = measure(
            {
                "bare interpreter": "pass",
                "import dagster": "import dagster",
                "trading location": "import trading_assets.orchestration.trading",
                "trade process up to its first request": FIRST_REQUEST.format(
                    url=url, ledger=ledger
                ),
                "research location": "import trading_assets.orchestration.research",
            },
            repeats,
        )
    bare = median(taken.pop("bare interpreter"))
    unit = median(taken["import dagster"]) - bare
    print(f"CPU seconds, median of {repeats} (interpreter start {bare:.2f} s taken off)\n")
    print(f"{'what':<40}{'CPU s':>8}{'x dagster':>11}{'goal':>7}")
    missed = []
    for name, seconds in taken.items():
        ratio = (median(seconds) - bare) / unit
        goal = GOALS.get(name)
        shown = "" if goal is None else f"{goal:.1f}"
        print(f"{name:<40}{median(seconds) - bare:>8.2f}{ratio:>11.2f}{shown:>7}")
        if goal is not None and ratio > goal:
            missed.append(f"{name}: {ratio:.2f} > {goal}")
    if missed:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    main()
