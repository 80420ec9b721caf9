"""What a candle may be, and that numpy and pandera say the same."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.errors
import pytest

from trading_assets.candles.frame import (
    CANDLE_COLUMNS,
    candle_frame,
    candle_schema,
    check_candles,
    empty_candles,
    floor_to,
)
from trading_assets.errors import ImpossibleCandle
from trading_assets.exchange.model import Interval
from trading_assets_tests.candles.tables import at, candles, minutes

M5 = Interval.M5


def test_good_candles_pass_both_ways_and_so_does_an_empty_table() -> None:
    for frame in (candles([0, 1, 5]), empty_candles()):
        check_candles(frame, M5)
        candle_schema(M5).validate(frame)


def test_an_unknown_value_is_allowed() -> None:
    frame = candle_frame([at(0)], open=[2.0], high=[3.0], low=[1.0], close=[2.0], volume=[1.0])
    assert np.isnan(frame["value"].iloc[0])
    check_candles(frame, M5)
    candle_schema(M5).validate(frame)


WRONG = [
    ("close", 1, np.nan, "close = nan must be finite and above 0"),
    ("open", 1, np.inf, "open = inf must be finite and above 0"),
    ("low", 1, -3.0, "low = -3.0 must be finite and above 0"),
    ("low", 1, 0.0, "low = 0.0 must be finite and above 0"),
    ("high", 1, 5.0, "high = 5.0 is below the low"),
    ("open", 1, 99999.0, "open = 99999.0 is above the high"),
    ("close", 1, 1.0, "close = 1.0 is below the low"),
    ("volume", 1, -1.0, "volume = -1.0 must be finite, not negative"),
    ("value", 1, np.inf, "value = inf must be finite, not negative"),
    ("open_time", 1, pd.Timestamp(at(1)) + pd.Timedelta(seconds=1), "is off the 5m grid"),
    ("open_time", 1, pd.Timestamp(at(0)), "is not after the candle before it"),
    ("open_time", 1, pd.Timestamp(at(9)), "is not after the candle before it"),
]


@pytest.mark.parametrize(("column", "row", "value", "message"), WRONG)
def test_an_impossible_candle_is_refused_with_its_value(
    column: str, row: int, value: Any, message: str
) -> None:
    frame = candles([0, 1, 2])
    frame.loc[row, column] = value
    with pytest.raises(ImpossibleCandle, match="candle 2026-03-02T00:") as refused:
        check_candles(frame, M5)
    assert message in str(refused.value)
    with pytest.raises(pandera.errors.SchemaErrors):
        candle_schema(M5).validate(frame, lazy=True)


def test_missing_columns_and_wrong_types_are_refused() -> None:
    with pytest.raises(ImpossibleCandle, match="candles need the columns"):
        check_candles(candles([0]).drop(columns="low"), M5)
    with pytest.raises(ImpossibleCandle, match="close must be float64, was int64"):
        check_candles(candles([0]).astype({"close": "int64"}), M5)
    naive = candles([0])
    naive["open_time"] = naive["open_time"].dt.tz_localize(None)
    with pytest.raises(ImpossibleCandle, match="open_time must be datetime64"):
        check_candles(naive, M5)


def test_a_moment_is_floored_to_the_candle_it_lies_in() -> None:
    assert floor_to(at(3) + minutes(4.99), M5) == at(3)
    assert floor_to(at(3), M5) == at(3)
    assert tuple(candles([0]).columns) == CANDLE_COLUMNS
