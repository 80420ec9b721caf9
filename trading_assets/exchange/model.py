"""The exchange as we see it: intervals and market codes now, orders and balances later.

Values only. What fetches them lives in the other files of this room.
"""

from datetime import timedelta
from enum import StrEnum


class Interval(StrEnum):
    """A candle interval that Upbit serves and the project uses."""

    M1 = "1m"
    M3 = "3m"
    M5 = "5m"
    M10 = "10m"
    M15 = "15m"
    M30 = "30m"
    M60 = "60m"
    M240 = "240m"
    D1 = "1d"

    @property
    def minutes(self) -> int:
        return 1440 if self is Interval.D1 else int(self.value[:-1])

    @property
    def duration(self) -> timedelta:
        return timedelta(minutes=self.minutes)

    @property
    def key(self) -> str:
        """The name in asset keys and folders: `m5`, `m60`, `d1`."""
        return "d1" if self is Interval.D1 else f"m{self.minutes}"

    @classmethod
    def of_minutes(cls, minutes: int) -> "Interval":
        """The interval of so many minutes. Raises ValueError when Upbit has none."""
        for interval in cls:
            if interval.minutes == minutes:
                return interval
        raise ValueError(
            f"Upbit has no {minutes}-minute candles; there are {[i.minutes for i in cls]}"
        )
