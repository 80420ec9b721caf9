"""The clocks: the real one is UTC, the stepped one moves only when told to."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from trading_assets.clock import SteppedClock, SystemClock, as_utc

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_system_clock_is_aware_utc_and_does_not_run_backwards() -> None:
    clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert first.tzinfo is UTC
    assert first <= second


def test_the_system_clock_takes_a_negative_sleep_as_none() -> None:
    SystemClock().sleep(-1.0)


def test_a_stepped_clock_stands_still_until_it_is_moved() -> None:
    clock = SteppedClock(START)
    assert clock.now() == clock.now() == START
    clock.advance(timedelta(seconds=1.5))
    assert clock.now() == datetime(2026, 1, 2, 3, 4, 6, 500000, tzinfo=UTC)


def test_sleeping_on_a_stepped_clock_moves_it_and_a_negative_sleep_does_not() -> None:
    clock = SteppedClock(START)
    clock.sleep(30)
    clock.sleep(-5)
    assert clock.now() == START + timedelta(seconds=30)


def test_a_stepped_clock_refuses_to_go_back() -> None:
    clock = SteppedClock(START)
    with pytest.raises(ValueError, match="only moves forward"):
        clock.advance(timedelta(microseconds=-1))
    clock.advance(timedelta(0))
    assert clock.now() == START


def test_korean_time_becomes_the_same_moment_in_utc() -> None:
    kst = datetime(2026, 1, 2, 12, 4, 5, tzinfo=timezone(timedelta(hours=9)))
    assert as_utc(kst) == START
    assert as_utc(kst).tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a time zone"):
        as_utc(START.replace(tzinfo=None))
    with pytest.raises(ValueError, match="needs a time zone"):
        SteppedClock(START.replace(tzinfo=None))
