"""How often something is done again, at moments that the calendar fixes.

The moments do not depend on where the data begin or when the program runs, so that a walk-forward
of more data has the same folds as one of less. Not here: what is done then (`walk_forward`).
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT = re.compile(r"([1-9]\d{0,3})(d|mo)")


class CadenceUnit(StrEnum):
    DAYS = "d"
    MONTHS = "mo"


@dataclass(frozen=True, slots=True)
class Cadence:
    """Every `count` days (counted from 1970-01-01) or calendar months (from January), 00:00 UTC."""

    count: int
    unit: CadenceUnit

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"a cadence must be of at least 1 {self.unit}, was {self.count}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `10d` or `3mo`. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"a cadence must be like 10d or 3mo, was {text!r}")
        return cls(int(found[1]), CadenceUnit(found[2]))

    def __str__(self) -> str:
        word = "day" if self.unit is CadenceUnit.DAYS else "month"
        return f"every {word}" if self.count == 1 else f"every {self.count} {word}s"

    def moments(self, first: datetime, last: datetime) -> tuple[datetime, ...]:
        """Those from `first` to `last`, both aware and included."""
        after_first = itertools.dropwhile(lambda m: m < first, self._from(first))
        return tuple(itertools.takewhile(lambda m: m <= last, after_first))

    def _from(self, moment: datetime) -> Iterator[datetime]:
        """All moments from the last one at or before `moment` on."""
        if self.unit is CadenceUnit.DAYS:
            step = timedelta(days=self.count)
            start = _EPOCH + (moment - _EPOCH) // step * step
            return (start + n * step for n in itertools.count())
        utc = moment.astimezone(UTC)
        months = utc.year * 12 + utc.month - 1
        return (
            datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
            for month in itertools.count(months - months % self.count, self.count)
        )
