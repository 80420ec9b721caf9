"""Collecting candles: the first time, after a kill, and every time after.

One procedure for all: what was never asked for is asked from the newest to the oldest, page by page
with an explicit `to`; the last few candles are read again and corrected; only closed candles are
kept; long gaps are put to the other markets. Progress is stored every few pages, so a kill costs at
most those. Not here: requests (exchange/candle_pages.py) and files (store.py).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import pandas as pd

from trading_assets.candles.frame import (
    empty_candles,
    floor_to,
    from_us,
    open_times_us,
    step_us,
    to_us,
)
from trading_assets.candles.gaps import GapKind, Span, outside
from trading_assets.candles.maintenance import MAX_WITNESS_PAGES, judge_long_gaps
from trading_assets.candles.store import CandleStore, MergeReport, Record
from trading_assets.clock import Clock
from trading_assets.errors import MalformedAnswer, MarketNotFound
from trading_assets.exchange.model import Interval

# The last candles are read again: Upbit may still have counted a late trade into them.
REREAD_CANDLES = 5

_PAGE = 200
_PAGES_PER_MERGE = 10
_POLL_SECONDS = 1.0
_TOP_UP_WITNESS_PAGES = 2  # a signal waits for it; what is left is judged by the next collection


class Pages(Protocol):
    """Where pages come from; `exchange.candle_pages.CandlePages` says what they raise."""

    @property
    def per_second(self) -> Decimal:
        """The configured rate of requests."""

    def page(
        self, market: str, interval: Interval, *, to: datetime | None = None, count: int = 200
    ) -> pd.DataFrame:
        """The newest `count` candles that start before `to`, oldest first."""

    def markets(self) -> tuple[str, ...]:
        """All markets of the exchange."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a collection is. pages_expected: None while the start of the listing is unknown."""

    market: str
    interval: Interval
    pages_done: int
    pages_expected: int | None
    rows: int
    oldest: datetime | None
    pages_per_second: float


@dataclass(frozen=True, slots=True)
class CollectionReport:
    """What one collection did. corrected: open times of candles whose values had changed.

    closing_candle: whether the candle that closed last is stored; False also when nobody traded.
    """

    market: str
    interval: Interval
    pages: int
    added: int
    corrected: tuple[datetime, ...]
    rows: int
    first: datetime | None
    last: datetime | None
    seconds: float
    pages_per_second: float
    configured_per_second: float
    gaps: dict[str, int]
    closing_candle: bool


def collect(
    market: str,
    interval: Interval,
    *,
    pages: Pages,
    store: CandleStore,
    clock: Clock,
    history: timedelta | None,
    siblings: Sequence[str] = (),
    on_progress: Callable[[Progress], None] | None = None,
) -> CollectionReport:
    """Bring the store up to date with all closed candles of the last `history` (None: all).

    siblings: other markets of the exchange, witnesses for its maintenance. What a killed run had
    stored is kept and only the rest is asked. Raises MarketNotFound when the exchange no longer
    lists the market (renamed, delisted), and what `page` and `merge` raise; nothing of a page that
    was refused is stored.
    """
    if market not in pages.markets():
        raise MarketNotFound(
            f"the exchange does not list {market} (any more): it may be renamed or delisted"
        )
    run = _Run(market, interval, pages=pages, store=store, clock=clock, on_progress=on_progress)
    start = None if history is None else to_us(floor_to(clock.now() - history, interval))
    run.fetch_missing(start)
    run.judge_gaps(siblings)
    return run.report()


def top_up(
    market: str,
    interval: Interval,
    *,
    pages: Pages,
    store: CandleStore,
    clock: Clock,
    siblings: Sequence[str] = (),
    wait: timedelta = timedelta(seconds=20),
) -> CollectionReport:
    """The newest page only, for signals: one request when the closing candle is already there.

    The candle that closed last is asked for until `wait` after its close; then nobody traded in it.
    siblings: as for `collect`, asked by at most two pages. A hole longer than one page stays
    *not collected* for `collect`. Raises what `page` and `merge`
    raise.
    """
    run = _Run(market, interval, pages=pages, store=store, clock=clock)
    deadline = from_us(run.end) + wait
    while True:
        asked_at = clock.now()
        page = run.newest_page()
        found = len(page) > 0 and int(open_times_us(page)[-1]) == run.closing
        if found or asked_at >= deadline:
            break
        clock.sleep(min(_POLL_SECONDS, (deadline - asked_at).total_seconds()))
    run.keep_newest(page)
    run.judge_gaps(siblings, _TOP_UP_WITNESS_PAGES)
    return run.report()


class _Run:
    """One collection of one market: counts, and the pages not yet merged."""

    def __init__(
        self,
        market: str,
        interval: Interval,
        *,
        pages: Pages,
        store: CandleStore,
        clock: Clock,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self.market = market
        self.interval = interval
        self.pages = 0
        self._source = pages
        self._store = store
        self._clock = clock
        self._on_progress = on_progress
        self._started = clock.now()
        self._step = step_us(interval)
        # Everything before this moment is closed; nothing at or after it is asked for.
        self.end = to_us(floor_to(self._started, interval))
        self.closing = self.end - self._step
        self._expected: int | None = None
        self._rows = 0
        self._added = 0
        self._corrected: list[datetime] = []

    def fetch_missing(self, start: int | None) -> None:
        """Ask for all that was never asked for since `start` (None: the start of the listing)."""
        record = self._store.record(self.market, self.interval)
        to_the_listing = start is None and record.listed_from is None
        wanted = self._wanted(start, record)
        if not to_the_listing:
            self._expected = sum(
                math.ceil((s.end - s.start) / (self._step * _PAGE)) for s in wanted
            )
        for span in reversed(wanted):
            self._fetch(span, open_ended=to_the_listing and span == wanted[0])

    def judge_gaps(self, siblings: Sequence[str], max_pages: int = MAX_WITNESS_PAGES) -> None:
        self.pages += judge_long_gaps(
            self.market,
            self.interval,
            siblings=siblings,
            pages=self._source,
            store=self._store,
            max_pages=max_pages,
        )

    def _wanted(self, start: int | None, record: Record) -> tuple[Span, ...]:
        """Never asked for, and the last few candles again; oldest first."""
        oldest = min((c.start for c in record.covered), default=self.end)
        first = oldest - self._step if start is None else start
        if record.listed_from is not None:
            first = max(first, record.listed_from)
        if first >= self.end:
            return ()
        # After a pause the candles before it were the last ones: those are read again.
        newest = self._store.last_open_time(self.market, self.interval)
        last = self.end if newest is None else min(self.end, to_us(newest) + self._step)
        again = Span(max(first, last - REREAD_CANDLES * self._step), self.end)
        known = [part for c in record.covered for part in outside(c, [again])]
        return outside(Span(first, self.end), known)

    def _fetch(self, span: Span, *, open_ended: bool) -> None:
        """All candles of `span`, newest first; open_ended: also everything before it."""
        waiting: list[pd.DataFrame] = []
        to, merged_to = span.end, span.end
        while open_ended or to > span.start:
            slots = (to - span.start) // self._step
            count = _PAGE if open_ended else min(_PAGE, slots)
            page = self._ask(to, count)
            if page.empty:
                page = self._ask_again_before_believing(to, count)
            if page.empty:
                self._merge(waiting, to, merged_to, listed_from=to)
                return
            waiting.append(_closed(page, self.interval, self._clock.now()))
            to = int(open_times_us(page)[0])
            self._rows += len(page)
            self._tell(to)
            if len(waiting) >= _PAGES_PER_MERGE:
                self._merge(waiting, to, merged_to)
                waiting, merged_to = [], to
        # A page may reach further back than asked when hours went by without trades.
        if to < merged_to:
            self._merge(waiting, to, merged_to)

    def _ask(self, to: int, count: int) -> pd.DataFrame:
        page = self._source.page(self.market, self.interval, to=from_us(to), count=count)
        self.pages += 1
        return page

    def newest_page(self) -> pd.DataFrame:
        """From the last few stored candles up to the closing one, one page at most."""
        newest = self._store.last_open_time(self.market, self.interval)
        count = _PAGE
        if newest is not None:
            new = (self.closing - to_us(newest)) // self._step
            count = max(REREAD_CANDLES, min(_PAGE, new + REREAD_CANDLES))
        return self._ask(self.end, count)

    def keep_newest(self, page: pd.DataFrame) -> None:
        if page.empty:
            self._refuse_empty(self.end)
        start = int(open_times_us(page)[0])
        self._rows += len(page)
        self._merge([_closed(page, self.interval, self._clock.now())], start, self.end)

    def report(self) -> CollectionReport:
        seconds = (self._clock.now() - self._started).total_seconds()
        kinds = self._store.gaps(self.market, self.interval)["kind"]
        last = self._store.last_open_time(self.market, self.interval)
        return CollectionReport(
            market=self.market,
            interval=self.interval,
            pages=self.pages,
            added=self._added,
            corrected=tuple(self._corrected),
            rows=self._rows,
            first=self._store.first_open_time(self.market, self.interval),
            last=last,
            seconds=seconds,
            pages_per_second=self.pages / seconds if seconds > 0 else 0.0,
            configured_per_second=float(self._source.per_second),
            gaps={kind.value: int((kinds == kind.value).sum()) for kind in GapKind},
            closing_candle=last is not None and to_us(last) == self.closing,
        )

    def _ask_again_before_believing(self, to: int, count: int) -> pd.DataFrame:
        """An empty page says that the market was listed at `to`; one hiccup must not say so."""
        page = self._ask(to, count)
        if page.empty:
            self._refuse_empty(to)
        return page

    def _refuse_empty(self, to: int) -> None:
        """Raise MalformedAnswer when an empty answer before `to` contradicts what is stored."""
        first = self._store.first_open_time(self.market, self.interval)
        if first is not None and to_us(first) < to:
            raise MalformedAnswer(
                f"{self.market} {self.interval}: the exchange has no candle before "
                f"{from_us(to).isoformat()}, the store has them from {first.isoformat()}"
            )
        if to == self.end:
            raise MalformedAnswer(
                f"{self.market} {self.interval}: the exchange lists the market and has no candle "
                f"before {from_us(to).isoformat()}"
            )

    def _merge(
        self, pages: list[pd.DataFrame], start: int, end: int, *, listed_from: int | None = None
    ) -> None:
        newest_last = [page for page in reversed(pages) if not page.empty]
        frame = pd.concat(newest_last, ignore_index=True) if newest_last else empty_candles()
        report: MergeReport = self._store.merge(
            self.market,
            self.interval,
            frame,
            covered=(from_us(start), from_us(end)) if start < end else None,
            listed_from=None if listed_from is None else from_us(listed_from),
        )
        self._added += report.added
        self._corrected += report.corrected

    def _tell(self, oldest: int) -> None:
        if self._on_progress is None:
            return
        seconds = (self._clock.now() - self._started).total_seconds()
        self._on_progress(
            Progress(
                market=self.market,
                interval=self.interval,
                pages_done=self.pages,
                pages_expected=self._expected,
                rows=self._rows,
                oldest=from_us(oldest),
                pages_per_second=self.pages / seconds if seconds > 0 else 0.0,
            )
        )


def _closed(page: pd.DataFrame, interval: Interval, now: datetime) -> pd.DataFrame:
    """The candles whose time is over: by start + interval <= now, never by their place."""
    return page[open_times_us(page) + step_us(interval) <= to_us(now)]
