"""Does collection reach the configured request rate? Goal: at least 95 % of it.

A paper exchange in a process of its own with Upbit's limits (10 a second), one market of 5-minute
candles (150 pages) at the sandbox's rate of 10/s and at 8/s, the rate against Upbit. The rate
counts from the first page to the last; parts and gap table are written meanwhile. Latency here is
that of the loopback; from far away one market alone is bound by the round trip instead.

    python benchmarks/collection.py [pages]
"""

import multiprocessing
import sys
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path

GOAL = 0.95
MARKET = "KRW-BTC"
DEFAULT_PAGES = 150


@dataclass(frozen=True, slots=True)
class Result:
    """One run: requests a second as configured and as reached, and the candles per second."""

    configured: float
    achieved: float
    candles_per_second: float
    refused: int

    @property
    def share(self) -> float:
        return self.achieved / self.configured


def _serve(ready: Connection) -> None:
    """A limited paper exchange on a free port; sends the port, counts refusals, ends on request."""
    import threading

    import uvicorn

    from trading_assets.clock import SystemClock
    from trading_assets.paper_exchange.server import create_app
    from trading_assets.paper_exchange.synthetic import SyntheticMarkets, SyntheticParameters

    markets = SyntheticMarkets(SyntheticParameters(), (MARKET,))
    app = create_app(markets, SystemClock(), limited=True)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    clock = SystemClock()
    while not server.started:
        clock.sleep(0.01)
    ready.send(server.servers[0].sockets[0].getsockname()[1])
    ready.recv()
    ready.send(app.requests)
    server.should_exit = True
    thread.join()


def measure(rate: Decimal, pages: int) -> Result:
    """Collect about `pages` pages at `rate` requests a second from a fresh exchange."""
    from trading_assets.candles.collection import Progress, collect
    from trading_assets.candles.store import CandleStore
    from trading_assets.clock import SystemClock
    from trading_assets.exchange.candle_pages import CandlePages
    from trading_assets.exchange.model import Interval
    from trading_assets.exchange.rate_limit import RateLimiter

    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs,))
    process.start()
    clock = SystemClock()
    seen: list[tuple[float, Progress]] = []
    try:
        url = f"http://127.0.0.1:{ours.recv()}"
        with tempfile.TemporaryDirectory() as folder:
            limiter = RateLimiter(Path(folder) / "limits", "candle", rate, clock)
            source = CandlePages(url, limiter, clock, 5.0)
            source.page(MARKET, Interval.M5, count=1)  # the exchange makes its history once
            collect(
                MARKET,
                Interval.M5,
                pages=source,
                store=CandleStore(Path(folder) / "candles", "benchmark"),
                clock=clock,
                history=timedelta(minutes=5 * 200 * pages),
                on_progress=lambda p: seen.append((clock.now().timestamp(), p)),
            )
        ours.send("done")
        served = ours.recv()
    finally:
        process.join(timeout=10)
        if process.is_alive():
            process.kill()
    (start, first), (end, last) = seen[0], seen[-1]
    return Result(
        configured=float(rate),
        achieved=(last.pages_done - first.pages_done) / (end - start),
        candles_per_second=(last.rows - first.rows) / (end - start),
        # Two requests are not pages of the collection: market/all and the first one.
        refused=served - last.pages_done - 2,
    )


def main() -> int:
    pages = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_PAGES
    missed = False
    print("configured/s  achieved/s  share  goal  candles/s  refused (429)")
    for rate in (Decimal(10), Decimal(8)):
        result = measure(rate, pages)
        missed |= result.share < GOAL
        print(
            f"{result.configured:12.1f}  {result.achieved:10.2f}  {result.share:5.1%}  {GOAL:.0%}"
            f"  {result.candles_per_second:9.0f}  {result.refused:13d}"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
