"""SIGKILL in the middle of collection and of a swap: the next run heals, nothing is half there."""

import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock

from trading_assets.candles.frame import check_candles
from trading_assets.candles.store import CandleStore
from trading_assets.exchange.model import Interval
from trading_assets_tests.candles.killed_collection import MARKET, WORLD, exchange, run

M60 = Interval.M60


def _start(folder: Path, point: str, number: int) -> "subprocess.Popen[bytes]":
    module = "trading_assets_tests.candles.killed_collection"
    return subprocess.Popen([sys.executable, "-m", module, str(folder), point, str(number)])


def _tree(folder: Path) -> dict[str, bytes]:
    """Every file of a store but the lock."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.name != ".lock"
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    run(CandleStore(folder, WORLD), exchange())
    return folder


@pytest.mark.parametrize(
    ("point", "number"),
    [
        ("page", 3),  # nothing merged yet
        ("page", 14),  # ten pages merged, four waiting
        # The first merge writes August, July, June and May of 2026, then the record.
        ("draft", 1),  # half of the first part ever
        ("draft", 3),  # half of a part, others of the same merge swapped in
        ("swap", 2),  # a whole draft, not swapped in
        ("swapped", 4),  # all data swapped in, the record does not know yet
        ("draft", 5),  # half of the record
    ],
)
def test_a_killed_collection_is_healed_by_the_next_run(
    point: str, number: int, uninterrupted: Path, tmp_path: Path
) -> None:
    child = _start(tmp_path, point, number)
    assert child.wait(timeout=120) == -signal.SIGKILL
    # What a reader sees after the kill is whole: every candle is one of the exchange's.
    store = CandleStore(tmp_path, WORLD)
    seen = store.read(MARKET, M60)
    check_candles(seen, M60)
    truth = exchange().all_candles(MARKET)
    assert seen.merge(truth).shape == seen.shape
    # The record never claims a time whose candles are not there.
    for covered in store.record(MARKET, M60).covered:
        inside = truth["open_time"].astype("int64").between(covered.start, covered.end - 1)
        assert truth[inside]["open_time"].isin(seen["open_time"]).all()
    run(store, exchange())
    pd.testing.assert_frame_equal(store.read(MARKET, M60), truth)
    assert _tree(tmp_path) == _tree(uninterrupted)


def test_two_processes_collecting_the_same_market_agree(
    uninterrupted: Path, tmp_path: Path
) -> None:
    children = [_start(tmp_path, "never", 0) for _ in range(2)]
    assert [child.wait(timeout=120) for child in children] == [0, 0]
    assert _tree(tmp_path) == _tree(uninterrupted)


_HOLDER = """
import sys, time
from filelock import FileLock
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_lock_held_by_a_killed_process_is_free(tmp_path: Path) -> None:
    store = CandleStore(tmp_path, WORLD)
    folder = store.folder(MARKET, M60)
    folder.mkdir(parents=True)
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder / ".lock")], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    child.kill()
    child.wait()
    child.stdout.close()
    FileLock(folder / ".lock", blocking=False).acquire().lock.release()
    store.merge(MARKET, M60, exchange().all_candles(MARKET).head(3))
    assert len(store.read(MARKET, M60)) == 3
