"""Real Upbit candles: the closures of four years are found, and nothing else breaks the series."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_assets.candles.checks import check_store
from trading_assets.candles.collection import collect
from trading_assets.candles.frame import (
    candle_frame,
    check_candles,
    from_us,
    open_times_us,
    to_us,
)
from trading_assets.candles.gaps import GapKind
from trading_assets.candles.series import regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.clock import SteppedClock
from trading_assets.exchange.model import Interval

pytestmark = pytest.mark.real_data

MARKETS = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL")


class Recording:
    """Serves real candles from files as pages."""

    per_second = Decimal(10)

    def __init__(self, folder: Path, interval: Interval) -> None:
        self._interval = interval
        self._frames = {m: _load(folder / f"{m}-{interval}.parquet") for m in MARKETS}

    def end(self) -> datetime:
        """When the last candle of all markets had closed."""
        last = max(int(open_times_us(f)[-1]) for f in self._frames.values())
        return from_us(last) + self._interval.duration

    def markets(self) -> tuple[str, ...]:
        return MARKETS

    def page(
        self, market: str, interval: Interval, *, to: datetime | None = None, count: int = 200
    ) -> pd.DataFrame:
        assert interval is self._interval
        assert to is not None
        frame = self._frames[market]
        stop = int(np.searchsorted(open_times_us(frame), to_us(to)))
        return frame.iloc[max(0, stop - count) : stop].reset_index(drop=True)


def _load(path: Path) -> pd.DataFrame:
    raw = pd.read_parquet(path)
    times = raw["time"].to_numpy(dtype="datetime64[us]")
    numbers = {name: raw[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    return candle_frame(times, **numbers)


@pytest.fixture(scope="module")
def recordings(shared_data: Path) -> dict[Interval, Recording]:
    folder = shared_data / "candles"
    if not folder.is_dir():
        pytest.skip("needs the real candles in ../shared/data/candles, which are not here")
    return {interval: Recording(folder, interval) for interval in (Interval.M60, Interval.M1)}


def _collected(recording: Recording, interval: Interval, folder: Path) -> CandleStore:
    store = CandleStore(folder, "recorded-test")
    clock = SteppedClock(recording.end() + timedelta(seconds=6))
    for market in MARKETS:
        collect(
            market,
            interval,
            pages=recording,
            store=store,
            clock=clock,
            history=None,
            siblings=MARKETS,
        )
    return store


def test_hourly_candles_break_only_at_upbits_closures(
    recordings: dict[Interval, Recording], tmp_path: Path
) -> None:
    recording = recordings[Interval.M60]
    store = _collected(recording, Interval.M60, tmp_path)
    gaps = store.gaps("KRW-BTC", Interval.M60)
    closures = gaps[gaps["kind"] == GapKind.MAINTENANCE.value]
    assert set(gaps["kind"]) == {GapKind.MAINTENANCE.value}
    # Counted by hand in the files: 2022-02-13, 05-23, 06-30, 09-30, 12-31; 2023-03-31, 04-23,
    # 07-11, 08-08, 12-03, 12-31; 2024-03-31, 06-30, 10-13, 12-31; 2025-01-02, 03-31.
    assert len(closures) == 17
    hours = (closures["end"] - closures["start"]).dt.total_seconds().sum() / 3600
    frame = store.read("KRW-BTC", Interval.M60)
    series = regular_series(frame, gaps, Interval.M60)
    # 2022-01-01 to 2025-03-31 are 1186 days of 24 hours; what is missing is closed.
    assert len(frame) + hours == 1186 * 24
    assert len(series) == len(frame)
    assert not series.filled.any()
    assert series.segment[-1] == 17
    check_candles(frame, Interval.M60)
    outcomes = check_store(frame, gaps, series, datetime(2025, 4, 1, 0, 0, 6, tzinfo=UTC))
    assert [o.name for o in outcomes if not o.passed] == []


def test_a_minute_without_a_bitcoin_trade_is_flat_and_not_a_closure(
    recordings: dict[Interval, Recording], tmp_path: Path
) -> None:
    recording = recordings[Interval.M1]
    store = _collected(recording, Interval.M1, tmp_path)
    # Bitcoin traded in all but two of 20,160 minutes, Solana in all but five.
    for market, quiet in (("KRW-BTC", 2), ("KRW-SOL", 5), ("KRW-ETH", 0)):
        gaps = store.gaps(market, Interval.M1)
        assert (gaps["kind"] == GapKind.NO_TRADES.value).sum() == len(gaps) == quiet
        series = regular_series(store.read(market, Interval.M1), gaps, Interval.M1)
        assert len(series) == 14 * 1440
        assert series.filled.sum() == quiet
        assert series.segment[-1] == 0
