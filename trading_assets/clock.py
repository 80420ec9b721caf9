"""The clock: the only place that reads the time or sleeps.

Everything else is handed a `Clock`, so that a test can stand still, jump a day, or drive the
exchange and the trader by one stepped clock.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Something that knows the time and can wait."""

    def now(self) -> datetime:
        """The present moment, aware UTC."""

    def sleep(self, seconds: float) -> None:
        """Return after `seconds` have passed on this clock. Negative values count as 0."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


class SteppedClock:
    """A clock that moves only when told to; `sleep` moves it and returns at once."""

    def __init__(self, start: datetime) -> None:
        self._now = as_utc(start)

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += timedelta(seconds=max(0.0, seconds))

    def advance(self, by: timedelta) -> None:
        """Move forward. Raises ValueError for a negative step: time does not run backwards."""
        if by < timedelta(0):
            raise ValueError(f"a clock only moves forward, was asked to move by {by}")
        self._now += by


def as_utc(moment: datetime) -> datetime:
    """`moment` in UTC. Raises ValueError when it has no time zone: its meaning would be a guess."""
    if moment.tzinfo is None:
        raise ValueError(f"a time needs a time zone, was {moment.isoformat()} without one")
    return moment.astimezone(UTC)
