"""Candles on disk: Parquet parts by month per market and interval, and what is known about gaps.

The store keeps only what the exchange sent. Writers hold a file lock around read-merge-swap and
swap whole files in; readers take no lock. Data is swapped in before the record that claims it, so
after a kill the record may know too little (the next run asks again), never too much. Not here:
what to ask the exchange (collection.py) and how a gap is judged (gaps.py, maintenance.py).
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from trading_assets.candles.frame import (
    CANDLE_COLUMNS,
    NUMBER_COLUMNS,
    TIMES,
    Int64Array,
    check_candles,
    empty_candles,
    from_us,
    open_times_us,
    to_us,
)
from trading_assets.candles.gaps import (
    Gap,
    GapKind,
    Span,
    Verdict,
    classify,
    gap_frame,
    inside,
    missing_spans,
    union,
)
from trading_assets.candles.held import Held
from trading_assets.errors import CorruptStore, NotReadyYet
from trading_assets.exchange.model import Interval
from trading_assets.world import claim

_LOCK_TIMEOUT_SECONDS = 60.0
_RECORD = "record.json"
_MOST_HELD = 8  # files; a month of 5-minute candles is half a MB
_SCHEMA = pa.schema(
    [pa.field("open_time", pa.timestamp("us", tz="UTC"), nullable=False)]
    + [pa.field(name, pa.float64(), nullable=name == "value") for name in NUMBER_COLUMNS]
)


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge changed. corrected: open times (aware UTC) of candles whose values changed."""

    added: int
    corrected: tuple[datetime, ...]
    unchanged: int


@dataclass(frozen=True, slots=True)
class Record:
    """What is known about one market and interval beside its candles.

    covered: where the exchange was asked; a candle missing inside does not exist there.
    listed_from: microseconds; the exchange has nothing before it. None: not known yet.
    verdicts: what the other markets said about long gaps. gaps: the gap table.
    """

    covered: tuple[Span, ...] = ()
    listed_from: int | None = None
    verdicts: tuple[Verdict, ...] = ()
    gaps: tuple[Gap, ...] = ()


class CandleStore:
    """The candles of `world` below `root`. Raises WrongWorld when the folder is another world's."""

    def __init__(self, root: Path, world: str) -> None:
        claim(root, world)
        self._root = root
        self._world = world
        # One signal asks for a market's newest parts eight times and for its record four times.
        self._parts_held = Held[pd.DataFrame](_MOST_HELD)
        self._records_held = Held[Record](_MOST_HELD)

    def folder(self, market: str, interval: Interval) -> Path:
        """Where the parts of `market` and `interval` lie."""
        return self._root / market / interval.key

    def read(
        self,
        market: str,
        interval: Interval,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pd.DataFrame:
        """The candles with start <= open_time < end, oldest first; none stored: an empty table.

        Raises CorruptStore naming the part that cannot be read or contradicts itself.
        """
        first = None if start is None else to_us(start)
        last = None if end is None else to_us(end)
        parts = [
            self._read_part(path, market, interval)
            for path in self._parts(market, interval)
            if _may_hold(path, first, last)
        ]
        if not parts:
            return empty_candles()
        frame = pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
        times = open_times_us(frame)
        low = 0 if first is None else int(np.searchsorted(times, first))
        high = len(times) if last is None else int(np.searchsorted(times, last))
        return frame.iloc[low:high].reset_index(drop=True)

    def merge(
        self,
        market: str,
        interval: Interval,
        frame: pd.DataFrame,
        *,
        covered: tuple[datetime, datetime] | None = None,
        listed_from: datetime | None = None,
    ) -> MergeReport:
        """Add the candles of `frame`; a candle that is already there takes the new values.

        covered: the time (start <= t < end) for which `frame` is all the exchange has.
        listed_from: the exchange has nothing before this. Both become facts of the gap table.
        Raises ImpossibleCandle (nothing is stored then), CorruptStore, and NotReadyYet when another
        process holds the lock for longer than a minute.
        """
        check_candles(frame, interval)
        span = None if covered is None else Span(to_us(covered[0]), to_us(covered[1]))
        with self._locked(market, interval):
            record = self.record(market, interval)
            report, window = self._merge_parts(market, interval, frame)
            after = replace(
                record,
                covered=union([*record.covered, *([span] if span else [])]),
                listed_from=record.listed_from if listed_from is None else to_us(listed_from),
            )
            windows = [w for w in (window, span) if w is not None]
            self._write_record(market, interval, self._with_gaps(market, interval, after, windows))
        return report

    def judge(self, market: str, interval: Interval, verdicts: Iterable[Verdict]) -> None:
        """Keep what the other markets said about long gaps; the gap table follows.

        An earlier verdict about the same time (a gap that has grown since) is replaced.
        """
        found = list(verdicts)
        if not found:
            return
        with self._locked(market, interval):
            record = self.record(market, interval)
            judged = union(v.span for v in found)
            kept = [v for v in record.verdicts if not inside(v.span, judged)]
            after = replace(record, verdicts=tuple(sorted([*kept, *found])))
            windows = [v.span for v in found]
            self._write_record(market, interval, self._with_gaps(market, interval, after, windows))

    def gaps(self, market: str, interval: Interval) -> pd.DataFrame:
        """The gap table: start, end (datetime64[us, UTC]), kind (GapKind), oldest first."""
        return gap_frame(self.record(market, interval).gaps)

    def record(self, market: str, interval: Interval) -> Record:
        """What is known beside the candles. Raises CorruptStore naming the file."""
        path = self.folder(market, interval) / _RECORD
        return self._records_held.get(path, lambda: self._parsed_record(path, market, interval))

    def _parsed_record(self, path: Path, market: str, interval: Interval) -> Record:
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return Record()
        try:
            return _record_from(json.loads(text), self._world, market, interval)
        except (ValueError, TypeError, KeyError, LookupError) as exc:
            raise CorruptStore(f"{path} cannot be read: {exc}") from exc

    def content_hash(
        self,
        market: str,
        interval: Interval,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> str:
        """SHA-256 of the candles with start <= open_time < end, whatever parts they lie in."""
        return frame_hash(self.read(market, interval, start, end))

    def first_open_time(self, market: str, interval: Interval) -> datetime | None:
        """The oldest stored candle, None when there is none."""
        return self._edge(market, interval, newest=False)

    def last_open_time(self, market: str, interval: Interval) -> datetime | None:
        """The newest stored candle, None when there is none."""
        return self._edge(market, interval, newest=True)

    # --- parts --------------------------------------------------------------------------------

    def _parts(self, market: str, interval: Interval) -> list[Path]:
        folder = self.folder(market, interval)
        return sorted(folder.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9].parquet"))

    def _edge(self, market: str, interval: Interval, *, newest: bool) -> datetime | None:
        paths = self._parts(market, interval)
        if not paths:
            return None
        times = self._read_part(paths[-1 if newest else 0], market, interval)["open_time"]
        return from_us(int(times.iloc[-1 if newest else 0].value) // 1000)

    def _read_part(self, path: Path, market: str, interval: Interval) -> pd.DataFrame:
        return self._parts_held.get(path, lambda: self._parsed_part(path, market, interval))

    def _parsed_part(self, path: Path, market: str, interval: Interval) -> pd.DataFrame:
        try:
            # `read_table` goes through the dataset machinery: several times slower for one file.
            with pq.ParquetFile(path) as file:
                table = file.read(use_threads=False)
        except (OSError, pa.ArrowException) as exc:
            raise CorruptStore(
                f"{path} cannot be read ({exc}): move it away and collect again"
            ) from exc
        self._check_part(path, table, market, interval)
        return pd.DataFrame(
            {
                "open_time": pd.DatetimeIndex(
                    table["open_time"].to_numpy().astype(TIMES)
                ).tz_localize("UTC"),
                **{name: table[name].to_numpy() for name in NUMBER_COLUMNS},
            }
        )

    def _check_part(self, path: Path, table: pa.Table, market: str, interval: Interval) -> None:
        wanted = _labels(self._world, market, interval)
        found = table.schema.metadata or {}
        wrong = [k.decode() for k, v in wanted.items() if found.get(k) != v]
        if tuple(table.column_names) != CANDLE_COLUMNS or wrong:
            raise CorruptStore(
                f"{path} is not a part of {self._world} {market} {interval}: "
                f"columns {table.column_names}, labels {found}"
            )
        times = table["open_time"].to_numpy().astype(TIMES)
        month = np.datetime64(path.stem, "M")
        if not len(times) or (times.astype("datetime64[M]") != month).any():
            raise CorruptStore(f"{path} holds candles outside of {path.stem}, or none")
        if (np.diff(times.astype(np.int64)) <= 0).any():
            raise CorruptStore(f"{path} holds candles that are not in order")

    def _merge_parts(
        self, market: str, interval: Interval, frame: pd.DataFrame
    ) -> tuple[MergeReport, Span | None]:
        """Swap the new parts in, newest month first; the report and the time they touch."""
        if frame.empty:
            return MergeReport(0, (), 0), None
        folder = self.folder(market, interval)
        months = frame["open_time"].to_numpy(dtype="datetime64[M]")
        added, unchanged = 0, 0
        corrected: list[int] = []
        swaps: list[tuple[Path, pd.DataFrame]] = []
        for month in np.unique(months)[::-1]:
            path = folder / f"{month}.parquet"
            new = frame[months == month].reset_index(drop=True)
            old = self._read_part(path, market, interval) if path.exists() else empty_candles()
            both, changed = merged(old, new)
            added += len(both) - len(old)
            corrected += changed
            unchanged += len(new) - (len(both) - len(old)) - len(changed)
            if len(both) > len(old) or changed:
                swaps.append((path, both))
        for path, both in swaps:
            self._write_part(path, both, market, interval)
        times = open_times_us(frame)
        report = MergeReport(added, tuple(from_us(t) for t in sorted(corrected)), unchanged)
        return report, Span(int(times[0]), int(times[-1]) + 1)

    def _write_part(self, path: Path, frame: pd.DataFrame, market: str, interval: Interval) -> None:
        arrays = [pa.array(open_times_us(frame), pa.timestamp("us", tz="UTC"))]
        arrays += [pa.array(frame[name].to_numpy()) for name in NUMBER_COLUMNS]
        schema = _SCHEMA.with_metadata(_labels(self._world, market, interval))
        table = pa.Table.from_arrays(arrays, schema=schema)
        _swap(path, lambda draft: pq.write_table(table, draft, compression="zstd"))
        # The lock is held, so the file there is this one.
        self._parts_held.put(path, frame)

    # --- record -------------------------------------------------------------------------------

    def _with_gaps(
        self, market: str, interval: Interval, record: Record, windows: Sequence[Span]
    ) -> Record:
        """`record` with the gap table brought up to date around `windows`.

        Only the candles around them are read: a gap changes only when its neighbours do.
        """
        if not windows:
            return record
        low, high = min(w.start for w in windows), max(w.end for w in windows)
        times, at_end = self._times_around(market, interval, low, high)
        if not len(times):
            return record
        first, last = int(times[0]), int(times[-1])
        known_to = max((c.end for c in record.covered), default=None) if at_end else None
        fresh = classify(missing_spans(times, interval, known_to), record.covered, record.verdicts)
        kept = [
            gap
            for gap in record.gaps
            if gap.span.start < first or (gap.span.start > last and not at_end)
        ]
        return replace(record, gaps=tuple(sorted([*kept, *fresh])))

    def _times_around(
        self, market: str, interval: Interval, low: int, high: int
    ) -> tuple[Int64Array, bool]:
        """Open times from the last candle before `low` to the first at or after `high`.

        Also whether they end with the newest candle of the store.
        """
        paths = self._parts(market, interval)
        within = [i for i, path in enumerate(paths) if _may_hold(path, low, high)]
        before = sum(_month_us(path) < low for path in paths)
        first, last = (within[0], within[-1]) if within else (before, before - 1)
        near = range(max(0, first - 1), min(len(paths), last + 2))
        arrays = [open_times_us(self._read_part(paths[i], market, interval)) for i in near]
        if not arrays:
            return np.empty(0, np.int64), False
        times = np.concatenate(arrays)
        start = max(0, int(np.searchsorted(times, low)) - 1)
        stop = min(len(times), int(np.searchsorted(times, high)) + 1)
        return times[start:stop], near.stop == len(paths) and stop == len(times)

    def _write_record(self, market: str, interval: Interval, record: Record) -> None:
        content = _record_to(record, self._world, market, interval)
        text = json.dumps(content, indent=1) + "\n"
        path = self.folder(market, interval) / _RECORD
        if path.exists() and path.read_text(encoding="utf-8") == text:
            return
        _swap(path, lambda draft: draft.write_text(text, encoding="utf-8"))

    @contextmanager
    def _locked(self, market: str, interval: Interval) -> Iterator[None]:
        folder = self.folder(market, interval)
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", _LOCK_TIMEOUT_SECONDS, poll_interval=0.01)
        try:
            lock.acquire()
        except Timeout as exc:
            raise NotReadyYet(
                f"{lock.lock_file} has been held by another process for "
                f"{_LOCK_TIMEOUT_SECONDS:.0f} s"
            ) from exc
        try:
            # What a killed writer left: never swapped in, so never part of the store.
            for draft in folder.glob(".*.tmp"):
                draft.unlink()
            yield
        finally:
            lock.release()


def merged(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, list[int]]:
    """Both tables as one, the new values winning, and the open times (us) whose values changed.

    A value that the new table does not know (NaN) does not overwrite one that is known.
    """
    # All but the end of a part stays as it is when the newest candles are added.
    first = int(np.searchsorted(open_times_us(old), open_times_us(new)[0])) if len(new) else 0
    end, changed = _merged(old.iloc[first:].reset_index(drop=True), new)
    return pd.concat([old.iloc[:first], end], ignore_index=True) if first else end, changed


def _merged(old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, list[int]]:
    before, after = open_times_us(old), open_times_us(new)
    again = np.isin(after, before)
    rows = np.searchsorted(before, after[again])
    old_numbers = old[list(NUMBER_COLUMNS)].to_numpy()[rows]
    new_numbers = new.loc[again, list(NUMBER_COLUMNS)].to_numpy()
    wanted = np.where(np.isnan(new_numbers), old_numbers, new_numbers)
    differs = ~((wanted == old_numbers) | (np.isnan(wanted) & np.isnan(old_numbers))).all(axis=1)
    both = old.copy()
    both.loc[rows[differs], list(NUMBER_COLUMNS)] = wanted[differs]
    added = new[~again]
    if old.empty:
        both = added
    elif len(added):
        both = pd.concat([both, added]).sort_values("open_time", kind="stable")
    return both.reset_index(drop=True), after[again][differs].tolist()


def frame_hash(frame: pd.DataFrame) -> str:
    """SHA-256 over the open times and numbers of `frame`, column by column."""
    digest = hashlib.sha256()
    digest.update(open_times_us(frame).astype("<i8").tobytes())
    for name in NUMBER_COLUMNS:
        numbers = frame[name].to_numpy().astype("<f8")
        # All NaN alike, and no difference between 0.0 and -0.0.
        digest.update((np.where(np.isnan(numbers), np.nan, numbers) + 0.0).tobytes())
    return digest.hexdigest()


def _month_us(path: Path) -> int:
    return int(np.datetime64(path.stem, "M").astype(TIMES).astype(np.int64))


def _may_hold(path: Path, first: int | None, last: int | None) -> bool:
    """Whether a part's month meets first <= t < last (microseconds, None: open)."""
    month = np.datetime64(path.stem, "M")
    ends = int((month + 1).astype(TIMES).astype(np.int64))
    return (first is None or ends > first) and (last is None or _month_us(path) < last)


def _labels(world: str, market: str, interval: Interval) -> dict[bytes, bytes]:
    pairs = {"world": world, "market": market, "interval": interval.value}
    return {k.encode(): v.encode() for k, v in pairs.items()}


def _swap(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file and swap it in whole; survives a power cut too."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    write(draft)
    with draft.open("rb") as written:
        os.fsync(written.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _record_to(record: Record, world: str, market: str, interval: Interval) -> dict[str, Any]:
    def text(microseconds: int) -> str:
        return from_us(microseconds).isoformat()

    def pair(span: Span) -> list[str]:
        return [text(span.start), text(span.end)]

    return {
        "world": world,
        "market": market,
        "interval": interval.value,
        "listed_from": None if record.listed_from is None else text(record.listed_from),
        "covered": [pair(s) for s in record.covered],
        "verdicts": [[*pair(v.span), v.kind.value, v.markets] for v in record.verdicts],
        "gaps": [[*pair(g.span), g.kind.value] for g in record.gaps],
    }


def _record_from(found: Any, world: str, market: str, interval: Interval) -> Record:
    for name, wanted in (("world", world), ("market", market), ("interval", interval.value)):
        if found[name] != wanted:
            raise ValueError(f"{name} must be {wanted}, was {found[name]}")

    def time(text: str) -> int:
        return to_us(datetime.fromisoformat(text))

    return Record(
        covered=tuple(Span(time(a), time(b)) for a, b in found["covered"]),
        listed_from=None if found["listed_from"] is None else time(found["listed_from"]),
        verdicts=tuple(
            Verdict(Span(time(a), time(b)), GapKind(kind), int(n))
            for a, b, kind, n in found["verdicts"]
        ),
        gaps=tuple(Gap(Span(time(a), time(b)), GapKind(kind)) for a, b, kind in found["gaps"]),
    )
