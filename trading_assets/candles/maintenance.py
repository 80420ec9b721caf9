"""Telling an exchange that was closed from a market in which nobody traded.

A long gap is put to the other markets: where none of them traded either, the exchange was closed.
Their stores answer when they cover the time, otherwise a page of theirs is asked for. Not here: the
kinds of gaps and how they break a series (gaps.py, series.py).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

import numpy as np
import pandas as pd

from trading_assets.candles.frame import Int64Array, from_us, open_times_us, step_us
from trading_assets.candles.gaps import (
    MIN_MAINTENANCE,
    MIN_UNEXPLAINED,
    GapKind,
    Span,
    Verdict,
    inside,
)
from trading_assets.candles.store import CandleStore, Record
from trading_assets.errors import MarketNotFound
from trading_assets.exchange.model import Interval

MAX_WITNESS_PAGES = 200  # at 8 requests a second 25 s; what is left waits for the next run

_MAX_COUNT = 200
_PAGES_PER_GAP = 2


class Witnesses(Protocol):
    """Where candles of the other markets come from; raises like `CandlePages.page`."""

    def page(
        self, market: str, interval: Interval, *, to: datetime | None = None, count: int = 200
    ) -> pd.DataFrame:
        """The newest `count` candles that start before `to`, oldest first."""


def judge_long_gaps(
    market: str,
    interval: Interval,
    *,
    siblings: Sequence[str],
    pages: Witnesses,
    store: CandleStore,
    max_pages: int = MAX_WITNESS_PAGES,
) -> int:
    """Judge the gaps of `market` that nobody has been asked about; returns the pages it took.

    A sibling that the exchange does not know is no witness. Raises what `page` raises.
    """
    others = [sibling for sibling in siblings if sibling != market]
    record = store.record(market, interval)
    asked = 0
    verdicts = []
    for span in unjudged(record, bool(others)):
        budget = min(_PAGES_PER_GAP, max_pages - asked)
        heard = _Hearing(span, interval, others, pages=pages, store=store, budget=budget)
        verdicts.append(verdict(span, interval, list(heard.testimonies())))
        asked += heard.asked
    store.judge(market, interval, verdicts)
    return asked


def unjudged(record: Record, have_witnesses: bool) -> list[Span]:
    """The long gaps without a verdict, newest first; one without witnesses counts as none."""
    judged = {v.span for v in record.verdicts if v.markets > 0 or not have_witnesses}
    shortest = MIN_MAINTENANCE.total_seconds() * 1e6
    return [
        gap.span
        for gap in reversed(record.gaps)
        if gap.kind is not GapKind.NOT_COLLECTED
        and gap.span.end - gap.span.start >= shortest
        and gap.span not in judged
    ]


def verdict(span: Span, interval: Interval, traded: Sequence[Int64Array]) -> Verdict:
    """What the witnesses say about a gap: maintenance when all lack 15 minutes in a row.

    traded: for each other market the open times (microseconds) of its candles within the gap.
    Without any, an hour and more is taken for maintenance: a break only loses rows.
    """
    step = step_us(interval)
    if not traded:
        long = span.end - span.start >= MIN_UNEXPLAINED.total_seconds() * 1e6
        return Verdict(span, GapKind.MAINTENANCE if long else GapKind.NO_TRADES, 0)
    dead = np.ones((span.end - span.start) // step, dtype=bool)
    for times in traded:
        dead[(times - span.start) // step] = False
    quiet = _longest_run(dead) * interval.duration
    kind = GapKind.MAINTENANCE if quiet >= MIN_MAINTENANCE else GapKind.NO_TRADES
    return Verdict(span, kind, len(traded))


def _longest_run(flags: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int:
    ends = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return int(np.max(ends[1::2] - ends[::2], initial=0))


class _Hearing:
    """The questions to the other markets about one gap."""

    def __init__(
        self,
        span: Span,
        interval: Interval,
        others: Sequence[str],
        *,
        pages: Witnesses,
        store: CandleStore,
        budget: int,
    ) -> None:
        self.asked = 0
        self._span = span
        self._interval = interval
        self._others = others
        self._pages = pages
        self._store = store
        self._budget = budget

    def testimonies(self) -> Iterator[Int64Array]:
        """Open times within the gap, per market that could say; stores first, they cost nothing."""
        silent = []
        for other in self._others:
            covered = self._store.record(other, self._interval).covered
            if inside(self._span, covered) == (self._span,):
                yield self._stored(other)
            else:
                silent.append(other)
        if len(silent) == len(self._others):
            yield from self._by_page(silent)

    def _stored(self, other: str) -> Int64Array:
        start, end = from_us(self._span.start), from_us(self._span.end)
        return open_times_us(self._store.read(other, self._interval, start, end))

    def _by_page(self, others: Sequence[str]) -> Iterator[Int64Array]:
        slots = (self._span.end - self._span.start) // step_us(self._interval)
        for other in others:
            if self.asked >= self._budget:
                return
            self.asked += 1
            try:
                page = self._pages.page(
                    other,
                    self._interval,
                    to=from_us(self._span.end),
                    count=min(_MAX_COUNT, slots + 1),
                )
            except MarketNotFound:
                continue
            times = open_times_us(page)
            # Nothing at all before the gap's end: not listed yet, so no witness.
            if len(times):
                yield times[times >= self._span.start]
