"""The request limiter: the rate is reached, never exceeded, and shared by all processes."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from trading_assets.clock import SteppedClock, SystemClock
from trading_assets.errors import IpBlocked
from trading_assets.exchange.rate_limit import RateLimiter

START = datetime(2026, 3, 2, 12, 0, 0, 250_000, tzinfo=UTC)


def _limiter(folder: Path, clock: SteppedClock, rate: str = "10") -> RateLimiter:
    return RateLimiter(folder, "candle", Decimal(rate), clock)


def _grants(limiter: RateLimiter, clock: SteppedClock, n: int, work: float) -> list[float]:
    """Times of `n` grants in seconds after START, each followed by `work` seconds of work."""
    times = []
    for _ in range(n):
        limiter.acquire()
        times.append((clock.now() - START).total_seconds())
        clock.sleep(work)
    return times


def _most_in_any_second(times: list[float]) -> int:
    t = np.array(times)
    # Half-open windows [t, t + 1) that begin at a grant hold the most.
    return int(np.max(np.searchsorted(t, t + 1.0 - 1e-9) - np.arange(len(t))))


@pytest.mark.parametrize(("rate", "at_most"), [("10", 10), ("8", 8), ("1", 1), ("8.5", 9)])
def test_the_rate_is_reached_and_never_exceeded_in_any_second(
    tmp_path: Path, rate: str, at_most: int
) -> None:
    clock = SteppedClock(START)
    times = _grants(_limiter(tmp_path, clock, rate), clock, 200, work=0.03)
    achieved = (len(times) - 1) / (times[-1] - times[0])
    assert achieved >= 0.95 * float(rate)
    assert _most_in_any_second(times) <= at_most


def test_half_a_request_a_second_is_one_every_two_seconds(tmp_path: Path) -> None:
    clock = SteppedClock(START)
    times = _grants(_limiter(tmp_path, clock, "0.5"), clock, 4, work=0.0)
    assert np.diff(times).tolist() == pytest.approx([2.04, 2.04, 2.04], abs=1e-3)


def test_a_slow_caller_catches_up_without_a_burst(tmp_path: Path) -> None:
    clock = SteppedClock(START)
    limiter = _limiter(tmp_path, clock)
    limiter.acquire()
    clock.sleep(0.5)
    times = _grants(limiter, clock, 9, work=0.0)
    # Half a second lost: the next ones come at 0.07 s (0.7 of an even step), not all at once.
    assert np.diff(times).min() == pytest.approx(0.07, abs=1e-3)


def test_a_pause_holds_for_every_limiter_of_the_group_and_no_other(tmp_path: Path) -> None:
    clock = SteppedClock(START)
    one, two = _limiter(tmp_path, clock), _limiter(tmp_path, clock)
    one.pause(3.0)
    one.for_group("market").acquire()
    assert clock.now() == START
    two.acquire()
    assert clock.now() >= START + timedelta(seconds=3)


def test_the_next_window_of_the_exchange_is_the_next_whole_second(tmp_path: Path) -> None:
    clock = SteppedClock(START)
    limiter = _limiter(tmp_path, clock)
    limiter.pause_until_next_second()
    limiter.acquire()
    assert clock.now() >= START.replace(second=1, microsecond=0)
    assert clock.now() < START.replace(second=1, microsecond=10)


def test_a_block_is_refused_for_everyone_until_it_ends(tmp_path: Path) -> None:
    clock = SteppedClock(START)
    _limiter(tmp_path, clock).block(60.0, "Blocked for 60 seconds.")
    other = _limiter(tmp_path, clock)
    with pytest.raises(IpBlocked, match=r"until about 2026-03-02T12:01:00.*Blocked for 60 seconds"):
        other.acquire()
    clock.advance(timedelta(seconds=60))
    other.acquire()


def test_a_shorter_block_does_not_take_a_longer_one_back(tmp_path: Path) -> None:
    """Two requests were under way: one is told of ten minutes, the other of nothing, so 60 s."""
    clock = SteppedClock(START)
    limiter = _limiter(tmp_path, clock)
    limiter.block(600.0, "Blocked for 600 seconds.")
    limiter.block(60.0, "blocked")
    clock.advance(timedelta(seconds=599))
    with pytest.raises(IpBlocked, match="Blocked for 600 seconds"):
        limiter.acquire()
    clock.advance(timedelta(seconds=1))
    limiter.acquire()


def test_a_clock_that_was_set_back_does_not_stop_the_requests(tmp_path: Path) -> None:
    ahead = SteppedClock(START + timedelta(days=1))
    limiter = _limiter(tmp_path, ahead)
    limiter.acquire()
    limiter.pause(5.0)
    clock = SteppedClock(START)
    _limiter(tmp_path, clock).acquire()
    assert clock.now() == START


def test_a_block_lasts_as_long_as_it_was_told_although_the_clock_was_set_back(
    tmp_path: Path,
) -> None:
    ahead = SteppedClock(START + timedelta(days=1))
    _limiter(tmp_path, ahead).block(60.0, "Blocked for 60 seconds.")
    clock = SteppedClock(START)
    limiter = _limiter(tmp_path, clock)
    with pytest.raises(IpBlocked, match="until about 2026-03-02T12:01:00"):
        limiter.acquire()
    clock.advance(timedelta(seconds=59))
    with pytest.raises(IpBlocked, match="until about 2026-03-02T12:01:00"):
        _limiter(tmp_path, clock).acquire()
    clock.advance(timedelta(seconds=1))
    limiter.acquire()


def test_a_block_that_was_told_before_the_clock_was_set_back_gives_way_to_a_longer_one(
    tmp_path: Path,
) -> None:
    _limiter(tmp_path, SteppedClock(START + timedelta(days=1))).block(60.0, "old")
    clock = SteppedClock(START)
    limiter = _limiter(tmp_path, clock)
    limiter.block(120.0, "new")
    clock.advance(timedelta(seconds=119))
    with pytest.raises(IpBlocked, match="418: new"):
        limiter.acquire()
    clock.advance(timedelta(seconds=1))
    limiter.acquire()


def test_a_block_that_an_earlier_version_wrote_down_holds(tmp_path: Path) -> None:
    clock = SteppedClock(START)
    limiter = _limiter(tmp_path, clock)
    limiter.block(60.0, "Blocked for 60 seconds.")
    path = tmp_path / "candle.json"
    stored = json.loads(path.read_text())
    del stored["blocked_at"]
    path.write_text(json.dumps(stored))
    with pytest.raises(IpBlocked, match="Blocked for 60 seconds"):
        limiter.acquire()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"granted": 3}', '{"granted": [true], "paused_until": 0}']
)
def test_an_unreadable_state_costs_one_second(tmp_path: Path, text: str) -> None:
    clock = SteppedClock(START)
    limiter = _limiter(tmp_path, clock)
    (tmp_path / "candle.json").write_text(text)
    limiter.acquire()
    assert timedelta(seconds=1) <= clock.now() - START < timedelta(seconds=1, milliseconds=1)
    assert json.loads((tmp_path / "candle.json").read_text())["granted"]


def test_a_rate_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="per_second must be above 0, was 0"):
        _limiter(tmp_path, SteppedClock(START), "0")


_WORKER = """
import sys
from decimal import Decimal
from pathlib import Path
from trading_assets.clock import SystemClock
from trading_assets.exchange.rate_limit import RateLimiter
limiter = RateLimiter(Path(sys.argv[1]), "candle", Decimal(20), SystemClock())
for _ in range(20):
    limiter.acquire()
    print(SystemClock().now().timestamp(), flush=True)
"""


def test_two_processes_and_two_threads_share_one_rate(tmp_path: Path) -> None:
    children = [
        subprocess.Popen([sys.executable, "-c", _WORKER, str(tmp_path)], stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    limiter = RateLimiter(tmp_path, "candle", Decimal(20), SystemClock())
    granted: list[float] = []

    def ask() -> None:
        for _ in range(10):
            limiter.acquire()
            granted.append(SystemClock().now().timestamp())

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for child in children:
        out, _ = child.communicate(timeout=60)
        assert child.returncode == 0
        granted += [float(line) for line in out.split()]
    # The file holds the grants themselves; what is printed is later by the scheduler's whim.
    recorded = json.loads((tmp_path / "candle.json").read_text())["granted"]
    assert len(granted) == 60
    assert recorded == sorted(recorded)
    assert np.diff(recorded).min() >= 0.7 / 20 - 1e-6
    assert recorded[-1] - recorded[0] >= 19 * 0.7 / 20


_HOLDER = """
import sys, time
from filelock import FileLock, Timeout
lock = FileLock(sys.argv[1])
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


@contextmanager
def lock_held(lock: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """By another process, which lives as long as the block."""
    child = subprocess.Popen([sys.executable, "-c", _HOLDER, str(lock)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(Timeout):
            FileLock(lock, blocking=False).acquire()
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_process_killed_while_it_holds_the_lock_blocks_nobody(tmp_path: Path) -> None:
    clock = SteppedClock(START)
    limiter = _limiter(tmp_path, clock)
    with lock_held(tmp_path / "candle.lock") as child:
        child.kill()
        child.wait()
        limiter.acquire()
    assert clock.now() == START


def test_a_process_that_keeps_the_lock_only_slows_the_others_down(tmp_path: Path) -> None:
    """It was stopped with the lock in its hand. The state is kept all the same: 0.8 of the second
    that was paused before are left, and the grant is written down."""
    clock = SteppedClock(START)
    limiter = RateLimiter(tmp_path, "candle", Decimal(10), clock, lock_timeout=0.01)
    limiter.pause(1.0)
    clock.advance(timedelta(seconds=0.2))
    with lock_held(tmp_path / "candle.lock"):
        limiter.acquire()
    assert clock.now() == START + timedelta(seconds=1, microseconds=1)
    assert json.loads((tmp_path / "candle.json").read_text())["granted"] == [
        pytest.approx(clock.now().timestamp(), abs=1e-5)
    ]
