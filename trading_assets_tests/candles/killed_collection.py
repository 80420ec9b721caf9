"""A collection that kills its own process at a chosen point: run by test_kills.py.

    python -m trading_assets_tests.candles.killed_collection STORE POINT NUMBER

POINT page: before the NUMBER-th request; draft: when half of the NUMBER-th file is written; swap:
before the NUMBER-th file is swapped in; swapped: right after; never: runs through. The hooks sit
here, around the product's code, never in it.
"""

import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from trading_assets.candles import store as store_module
from trading_assets.candles.collection import collect
from trading_assets.candles.store import CandleStore
from trading_assets.clock import SteppedClock
from trading_assets.exchange.model import Interval
from trading_assets_tests.candles.fake_exchange import FakeExchange
from trading_assets_tests.candles.tables import at

MARKET = "KRW-BTC"
WORLD = "test"
SLOTS = 4100  # hours: 21 pages of 200, three merges, six monthly parts


def exchange() -> FakeExchange:
    """The exchange that all processes of the test see, with some hours without trades."""
    have = [i for i in range(SLOTS) if i % 97 != 5]
    return FakeExchange({MARKET: have}, Interval.M60)


def run(store: CandleStore, pages: FakeExchange) -> None:
    clock = SteppedClock(at(SLOTS, Interval.M60) + timedelta(seconds=6))
    collect(MARKET, Interval.M60, pages=pages, store=store, clock=clock, history=None)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_at(point: str, number: int, pages: FakeExchange) -> None:
    count = 0

    def kill_at_page(asked: int) -> None:
        if asked == number:
            _die()

    def counting(path: Path, write: Callable[[Path], object]) -> None:
        nonlocal count
        count += 1
        if count == number and point == "draft":
            real_swap(path, lambda draft: _write_half(draft, write))
        if count == number and point == "swap":
            real_swap(path, lambda draft: _write_all(draft, write))
        real_swap(path, write)
        if count == number and point == "swapped":
            _die()

    real_swap: Any = store_module._swap
    if point == "page":
        pages.before_page = kill_at_page
    elif point != "never":
        store_module._swap = counting


def _write_half(draft: Path, write: Callable[[Path], object]) -> None:
    write(draft)
    os.truncate(draft, draft.stat().st_size // 2)
    _die()


def _write_all(draft: Path, write: Callable[[Path], object]) -> None:
    write(draft)
    _die()


def main() -> None:
    folder, point, number = sys.argv[1:]
    pages = exchange()
    _kill_at(point, int(number), pages)
    run(CandleStore(Path(folder), WORLD), pages)


if __name__ == "__main__":
    main()
