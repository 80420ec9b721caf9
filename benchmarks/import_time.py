"""What importing each code location costs, in units of `import dagster`.

CPU seconds (user + system) of fresh interpreters, medians; the interpreter's own start is taken
off. A trade process is: import the trading location, import upbit-sdk as the function that builds
the client does, and get one answer from a server on this machine.

Run: python benchmarks/import_time.py [--repeats 7]
Goals: trading <= 1.3, a trade process up to its first request <= 1.8.
"""

import argparse
import json
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median

GOALS = {"trading location": 1.3, "trade process up to its first request": 1.8}

FIRST_REQUEST = """
import trading_assets.orchestration.trading
def ask(url):
    from upbit import Upbit
    return Upbit(base_url=url, max_retries=0, timeout=5.0).trading_pairs.list()
assert ask({url!r})[0].market == "KRW-BTC"
"""


class _Answer(BaseHTTPRequestHandler):
    """Answers every request with one market, as /v1/market/all does."""

    def do_GET(self) -> None:
        body = json.dumps(
            [{"market": "KRW-BTC", "korean_name": "비트코인", "english_name": "Bitcoin"}]
        ).encode()
        self.send_response(200)
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
    """User and system CPU seconds of a fresh interpreter that runs `program`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", program], check=True)
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
    with local_server() as url:
        taken = measure(
            {
                "bare interpreter": "pass",
                "import dagster": "import dagster",
                "trading location": "import trading_assets.orchestration.trading",
                "trade process up to its first request": FIRST_REQUEST.format(url=url),
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
