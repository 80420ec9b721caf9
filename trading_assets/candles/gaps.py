"""Which candles are missing, and why: the gap table.

A gap is a run of missing candles, start <= open_time < end. *no_trades*: the exchange was asked
and nobody traded. *maintenance*: the exchange was closed (the other markets lack the same time).
*not_collected*: nobody asked yet. Here: values in, values out. Not here: the file that keeps the
table (store.py) and the questions to the exchange (collection.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

import numpy as np
import pandas as pd

from trading_assets.candles.frame import Int64Array, from_us, step_us
from trading_assets.exchange.model import Interval

GAP_COLUMNS = ("start", "end", "kind")

# Shorter runs happen by chance in quiet minutes; Upbit's closures take an hour and more.
MIN_MAINTENANCE = timedelta(minutes=15)
# With no other market to compare: a break loses rows, a flat fill would invent prices.
MIN_UNEXPLAINED = timedelta(minutes=60)


class GapKind(StrEnum):
    NO_TRADES = "no_trades"
    MAINTENANCE = "maintenance"
    NOT_COLLECTED = "not_collected"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A time range, start <= t < end, in microseconds since the Unix epoch."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ValueError(f"a span must end after it starts, was {self.start}..{self.end}")


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """A span of missing candles and the reason."""

    span: Span
    kind: GapKind


@dataclass(frozen=True, slots=True, order=True)
class Verdict:
    """What the other markets said about a run of missing candles, and how many were asked."""

    span: Span
    kind: GapKind
    markets: int


def union(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same time as sorted spans that neither overlap nor touch."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return tuple(merged)


def outside(span: Span, covered: Iterable[Span]) -> tuple[Span, ...]:
    """The parts of `span` that no span of `covered` contains, oldest first."""
    parts: list[Span] = []
    start = span.start
    for other in union(covered):
        if other.end <= start:
            continue
        if other.start >= span.end:
            break
        if other.start > start:
            parts.append(Span(start, other.start))
        start = max(start, other.end)
    if start < span.end:
        parts.append(Span(start, span.end))
    return tuple(parts)


def inside(span: Span, covered: Iterable[Span]) -> tuple[Span, ...]:
    """The parts of `span` that `covered` contains, oldest first."""
    return tuple(
        Span(max(span.start, c.start), min(span.end, c.end))
        for c in union(covered)
        if c.start < span.end and c.end > span.start
    )


def missing_spans(times: Int64Array, interval: Interval, end: int | None = None) -> list[Span]:
    """The runs of missing candles after the first of `times` (sorted open times, microseconds).

    end: also look up to here (exclusive), beyond the last candle.
    """
    step = step_us(interval)
    if end is not None and len(times) and end > times[-1] + step:
        times = np.append(times, end)
    after = np.flatnonzero(np.diff(times) > step)
    return [Span(int(times[i]) + step, int(times[i + 1])) for i in after]


def classify(
    missing: Iterable[Span], covered: Iterable[Span], verdicts: Iterable[Verdict]
) -> tuple[Gap, ...]:
    """The reason for each missing run, by what was asked and what the other markets said.

    A run that touches a maintenance is maintenance as a whole: markets reopen one by one, so the
    quiet hour beside a closure belongs to it.
    """
    asked = union(covered)
    closures = [v.span for v in verdicts if v.kind is GapKind.MAINTENANCE]
    gaps: list[Gap] = []
    for run in missing:
        gaps.extend(Gap(part, GapKind.NOT_COLLECTED) for part in outside(run, asked))
        for part in inside(run, asked):
            closed = any(c.start < part.end and c.end > part.start for c in closures)
            gaps.append(Gap(part, GapKind.MAINTENANCE if closed else GapKind.NO_TRADES))
    return tuple(sorted(gaps))


def gap_frame(gaps: Iterable[Gap]) -> pd.DataFrame:
    """The gap table: start, end (datetime64[us, UTC]) and kind, oldest first."""
    rows = list(gaps)
    return pd.DataFrame(
        {
            "start": _times([g.span.start for g in rows]),
            "end": _times([g.span.end for g in rows]),
            "kind": pd.Series([g.kind.value for g in rows], dtype="str"),
        }
    )


def _times(microseconds: list[int]) -> pd.DatetimeIndex:
    values = np.array(microseconds, dtype="datetime64[us]")
    return pd.DatetimeIndex(values).tz_localize("UTC")


def describe(span: Span) -> str:
    """The span for a person to read."""
    return f"{from_us(span.start).isoformat()} to {from_us(span.end).isoformat()}"
