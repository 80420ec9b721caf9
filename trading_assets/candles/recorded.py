"""A folder of recorded candles: `<market>-<interval>.parquet`, one file a market.

Columns time, open, high, low, close, volume; UTC, stamped at the start of the candle. Read by the
paper exchange (which moves it in time and serves it) and by every evaluation of recorded candles,
which takes them where they were: `read_recordings`. Not here: candles of a world (store.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from trading_assets.candles.frame import (
    TIMES,
    Int64Array,
    candle_frame,
    from_us,
    open_times_us,
    step_us,
)
from trading_assets.candles.gaps import Gap, GapKind, Span, gap_frame, missing_spans
from trading_assets.candles.recording_files import recording_path
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.errors import CorruptStore, EnvironmentProblem
from trading_assets.exchange.model import Interval

COLUMNS = ("time", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class StoredCandles:
    """What is known of one market and interval: its candles and its gap table, as a store has them.

    frame: checked candles, oldest first. gaps: columns start, end, kind (gaps.py).
    """

    market: str
    interval: Interval
    frame: pd.DataFrame
    gaps: pd.DataFrame

    @property
    def series(self) -> CandleSeries:
        """All of it on the regular grid."""
        return regular_series(self.frame, self.gaps, self.interval)


def read_recordings(
    folder: Path, markets: Sequence[str], interval: Interval
) -> dict[str, StoredCandles]:
    """The candles of `markets` in `folder` at `interval`, made from 1-minute ones where need be.

    What every market lacks was maintenance, what one alone lacks was without trades (so with a
    single market every hole breaks its series). Raises EnvironmentProblem and CorruptStore as
    `read_recording`.
    """
    frames = {market: _frame(folder, market, interval) for market in markets}
    missing = {m: missing_spans(open_times_us(f), interval) for m, f in frames.items()}
    closed = set.intersection(*({*_slots(spans, interval)} for spans in missing.values()))
    return {
        market: StoredCandles(
            market, interval, frame, gap_frame(_gaps(missing[market], closed, interval))
        )
        for market, frame in frames.items()
    }


def read_recording(folder: Path, market: str, interval: Interval) -> pd.DataFrame:
    """The recorded candles as they are in the file, oldest first.

    Raises EnvironmentProblem when there is no file, CorruptStore when it is not such a recording;
    the message names the file and what is wrong.
    """
    path = recording_path(folder, market, interval)
    if not path.is_file():
        raise EnvironmentProblem(
            f"there is no recording {path}: RECORDED must name a folder with one such file for "
            "each of MARKETS"
        )
    frame = pd.read_parquet(path)
    missing = [name for name in COLUMNS if name not in frame.columns]
    if missing:
        raise CorruptStore(f"{path} has no column {', '.join(missing)}")
    if not isinstance(frame["time"].dtype, pd.DatetimeTZDtype):
        raise CorruptStore(f"{path}: time must be UTC with its zone, is {frame['time'].dtype}")
    if frame.empty:
        raise CorruptStore(f"{path} has no candles")
    _check_candles(frame, path, interval)
    return frame


def recorded_times_us(frame: pd.DataFrame) -> Int64Array:
    """The open times of a recording in microseconds since the Unix epoch, shape (n,)."""
    naive = frame["time"].dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(naive.to_numpy().astype(TIMES).astype(np.int64))


def _check_candles(frame: pd.DataFrame, path: Path, interval: Interval) -> None:
    times = recorded_times_us(frame)
    if (np.diff(times) <= 0).any():
        raise CorruptStore(f"{path}: candle times must rise")
    if (times % step_us(interval)).any():
        raise CorruptStore(f"{path}: a candle does not start on a multiple of {interval.value}")
    o, h, lo, c, volume = (frame[name].to_numpy(np.float64) for name in COLUMNS[1:])
    impossible = (
        ~(lo > 0)
        | ~np.isfinite(h)
        | ~(h >= np.maximum(o, c))
        | ~(lo <= np.minimum(o, c))
        | ~(volume >= 0)
    )
    if impossible.any():
        row = int(impossible.argmax())
        raise CorruptStore(f"{path}: impossible candle at {from_us(int(times[row]))}")


def _frame(folder: Path, market: str, interval: Interval) -> pd.DataFrame:
    """The candles of one market as the store would hold them."""
    base = interval
    if not recording_path(folder, market, interval).is_file():
        base = Interval.M1 if recording_path(folder, market, Interval.M1).is_file() else interval
    recorded = read_recording(folder, market, base)
    # Upbit has no candle without a trade, a recorder may have written flat ones.
    traded = recorded[recorded["volume"] > 0]
    times = recorded_times_us(traded)
    columns = {name: traded[name].to_numpy(np.float64) for name in COLUMNS[1:]}
    return (
        candle_frame(times, **columns) if base is interval else _coarser(times, columns, interval)
    )


def _coarser(
    times: Int64Array, columns: Mapping[str, np.ndarray], interval: Interval
) -> pd.DataFrame:
    """1-minute candles as candles of `interval`; a minute without trades changes nothing."""
    frame = pd.DataFrame({**columns, "slot": times // step_us(interval) * step_us(interval)})
    made = frame.groupby("slot").agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    return candle_frame(made.index.to_numpy(), **{n: made[n].to_numpy() for n in made.columns})


def _slots(spans: Iterable[Span], interval: Interval) -> Iterable[int]:
    for span in spans:
        yield from range(span.start, span.end, step_us(interval))


def _gaps(spans: Iterable[Span], closed: set[int], interval: Interval) -> Iterable[Gap]:
    for span in spans:
        quiet = closed.isdisjoint(_slots((span,), interval))
        yield Gap(span, GapKind.NO_TRADES if quiet else GapKind.MAINTENANCE)
