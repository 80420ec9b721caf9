"""A folder of recorded candles as candles and gap tables, without a world."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trading_assets.candles.recorded import read_recordings
from trading_assets.errors import CorruptStore, EnvironmentProblem
from trading_assets.exchange.model import Interval

HOUR = pd.Timedelta(hours=1)
START = pd.Timestamp("2024-01-01", tz="UTC")


def write(
    folder: Path, market: str, slots: list[int], *, interval: str = "60m", **changes: Any
) -> None:
    """Candles at these places of the grid: price 100 + place, volume 1."""
    step = pd.Timedelta(minutes=int(interval[:-1]))
    price = 100.0 + np.array(slots)
    frame = pd.DataFrame(
        {
            "time": [START + n * step for n in slots],
            "open": price,
            "high": price + 0.5,
            "low": price - 0.5,
            "close": price + 0.25,
            "volume": 1.0,
        }
    ).assign(**changes)
    frame.to_parquet(folder / f"{market}-{interval}.parquet")


def test_what_every_market_lacks_breaks_the_series_and_what_one_lacks_is_filled(
    tmp_path: Path,
) -> None:
    write(tmp_path, "KRW-BTC", [0, 1, 3, 4, 7, 8])  # lacks 2 alone, 5 and 6 with the other
    write(tmp_path, "KRW-ETH", [0, 1, 2, 3, 4, 7, 8])
    read = read_recordings(tmp_path, ("KRW-BTC", "KRW-ETH"), Interval.M60)
    assert read["KRW-BTC"].gaps["kind"].tolist() == ["no_trades", "maintenance"]
    series = read["KRW-BTC"].series
    assert series.filled.tolist() == [False, False, True, False, False, False, False]
    assert series.close[:4].tolist() == [100.25, 101.25, 101.25, 103.25]
    assert series.segment.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert not read["KRW-ETH"].series.filled.any()


def test_a_recorded_candle_without_trades_is_no_candle(tmp_path: Path) -> None:
    write(tmp_path, "KRW-BTC", [0, 1, 2], volume=[1.0, 0.0, 2.0])
    write(tmp_path, "KRW-ETH", [0, 1, 2])
    read = read_recordings(tmp_path, ("KRW-BTC", "KRW-ETH"), Interval.M60)
    assert len(read["KRW-BTC"].frame) == 2
    assert read["KRW-BTC"].series.filled.tolist() == [False, True, False]


def test_five_minute_candles_are_made_of_one_minute_ones(tmp_path: Path) -> None:
    # Minutes 0, 1, 4 of the first five, nothing in the second, minute 12 of the third.
    write(tmp_path, "KRW-BTC", [0, 1, 4, 12], interval="1m")
    write(tmp_path, "KRW-ETH", [0, 6, 12], interval="1m")
    frame = read_recordings(tmp_path, ("KRW-BTC", "KRW-ETH"), Interval.M5)["KRW-BTC"].frame
    assert frame["open_time"].tolist() == [START, START + pd.Timedelta(minutes=10)]
    first = frame[["open", "high", "low", "close", "volume"]].to_numpy()[0]
    assert first.tolist() == [100.0, 104.5, 99.5, 104.25, 3.0]


def test_a_folder_without_the_market_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "KRW-BTC", [0, 1])
    with pytest.raises(EnvironmentProblem, match=r"no recording .*KRW-ETH-60m\.parquet"):
        read_recordings(tmp_path, ("KRW-BTC", "KRW-ETH"), Interval.M60)


def test_a_candle_off_the_grid_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "KRW-BTC", [0, 1])
    late = [START, START + HOUR + pd.Timedelta(minutes=1)]
    write(tmp_path, "KRW-BTC", [0, 1], time=late)
    with pytest.raises(CorruptStore, match="does not start on a multiple of 60m"):
        read_recordings(tmp_path, ("KRW-BTC",), Interval.M60)
