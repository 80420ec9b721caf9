"""What a table of candles is: columns, types and the rules that each row obeys.

Here: the columns, the pandera schema of the asset check, and `check_candles`, the same rules in
numpy for every merge (pandera takes 1.7 s to import, too long for the signal path). Not here:
where candles are kept (store.py), which are missing (gaps.py) and the regular grid (series.py).
"""

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trading_assets.errors import ImpossibleCandle
from trading_assets.exchange.model import Interval
from trading_assets.exchange.raw_candles import RawCandle

if TYPE_CHECKING:
    import pandera.pandas as pa

PRICE_COLUMNS = ("open", "high", "low", "close")
NUMBER_COLUMNS = (*PRICE_COLUMNS, "volume", "value")
CANDLE_COLUMNS = tuple(f.name for f in fields(RawCandle))
TIME_DTYPE = "datetime64[us, UTC]"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TIMES = np.dtype("datetime64[us]")
Int64Array = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
TimeArray = NDArray[np.datetime64]


def step_us(interval: Interval) -> int:
    """The length of `interval` in microseconds."""
    return interval.minutes * 60_000_000


def to_us(moment: datetime) -> int:
    """`moment` (aware) in microseconds since the Unix epoch, exact."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(microseconds: int) -> datetime:
    """The aware UTC datetime of `microseconds` since the Unix epoch."""
    return _EPOCH + timedelta(microseconds=microseconds)


def floor_to(moment: datetime, interval: Interval) -> datetime:
    """The start of the candle that `moment` lies in: everything before it is closed."""
    step = step_us(interval)
    return from_us(to_us(moment) // step * step)


def open_times_us(frame: pd.DataFrame) -> Int64Array:
    """The open times in microseconds since the Unix epoch, shape (n,)."""
    return frame["open_time"].to_numpy(dtype=TIMES).astype(np.int64)


def candle_frame(
    open_time: TimeArray | Int64Array | Iterable[datetime],
    **columns: FloatArray | Iterable[float],
) -> pd.DataFrame:
    """A table of candles from arrays; `value` may be left out (NaN: not known)."""
    times = pd.DatetimeIndex(pd.to_datetime(np.asarray(open_time), utc=True, unit="us"))
    data = {name: np.asarray(columns[name], dtype=np.float64) for name in NUMBER_COLUMNS[:-1]}
    value = columns.get("value")
    data["value"] = (
        np.full(len(times), np.nan) if value is None else np.asarray(value, dtype=np.float64)
    )
    return pd.DataFrame({"open_time": times.as_unit("us"), **data})[list(CANDLE_COLUMNS)]


def empty_candles() -> pd.DataFrame:
    """A table of candles without rows, with the right types."""
    return candle_frame(np.empty(0, TIMES), **{c: np.empty(0) for c in NUMBER_COLUMNS})


def check_candles(frame: pd.DataFrame, interval: Interval) -> None:
    """Return when `frame` (oldest first) may be stored.

    Raises ImpossibleCandle naming the first candle that breaks a rule, its value and the rule:
    columns and types, times on the grid, strictly rising, finite prices above 0, open and close
    between low and high, volume and value not negative (value may be NaN: not known).
    """
    _check_columns(frame)
    if frame.empty:
        return
    times = open_times_us(frame)
    _refuse(frame, times % step_us(interval) != 0, "open_time", f"is off the {interval} grid")
    rising = np.concatenate(([True], np.diff(times) > 0))
    _refuse(frame, ~rising, "open_time", "is not after the candle before it")
    for name in PRICE_COLUMNS:
        prices = frame[name].to_numpy()
        _refuse(frame, ~(np.isfinite(prices) & (prices > 0)), name, "must be finite and above 0")
    volume = frame["volume"].to_numpy()
    _refuse(frame, ~(np.isfinite(volume) & (volume >= 0)), "volume", "must be finite, not negative")
    value = frame["value"].to_numpy()
    _refuse(frame, np.isinf(value) | (value < 0), "value", "must be finite, not negative")
    high, low = frame["high"].to_numpy(), frame["low"].to_numpy()
    _refuse(frame, high < low, "high", "is below the low", beside="low")
    for name in ("open", "close"):
        prices = frame[name].to_numpy()
        _refuse(frame, prices > high, name, "is above the high", beside="high")
        _refuse(frame, prices < low, name, "is below the low", beside="low")


def _check_columns(frame: pd.DataFrame) -> None:
    if tuple(frame.columns) != CANDLE_COLUMNS:
        raise ImpossibleCandle(
            f"candles need the columns {CANDLE_COLUMNS}, had {tuple(frame.columns)}"
        )
    wanted = {"open_time": TIME_DTYPE} | dict.fromkeys(NUMBER_COLUMNS, "float64")
    for name, dtype in wanted.items():
        if str(frame[name].dtype) != dtype:
            raise ImpossibleCandle(f"{name} must be {dtype}, was {frame[name].dtype}")


def _refuse(
    frame: pd.DataFrame, wrong: BoolArray, name: str, rule: str, *, beside: str | None = None
) -> None:
    if not wrong.any():
        return
    row = frame.iloc[int(np.argmax(wrong))]
    more = "" if beside is None else f" ({beside} = {row[beside]})"
    raise ImpossibleCandle(
        f"candle {row['open_time'].isoformat()}: {name} = {row[name]} {rule}{more}"
    )


@cache
def candle_schema(interval: Interval) -> "pa.DataFrameSchema":
    """The rules of `check_candles` as a pandera schema, for the asset check's table of failures."""
    import pandera.pandas as pa

    price = pa.Column("float64", [pa.Check.gt(0), pa.Check(np.isfinite, error="finite")])
    amount = [pa.Check.ge(0), pa.Check(np.isfinite, error="finite")]
    on_grid = pa.Check(
        lambda times: times.dt.as_unit("us").astype("int64") % step_us(interval) == 0,
        error=f"on the {interval} grid",
    )
    rising = pa.Check(lambda times: times.is_monotonic_increasing, error="oldest first")
    return pa.DataFrameSchema(
        {
            "open_time": pa.Column(
                pd.DatetimeTZDtype("us", "UTC"), [on_grid, rising], unique=True, nullable=False
            ),
            **dict.fromkeys(PRICE_COLUMNS, price),
            "volume": pa.Column("float64", amount),
            "value": pa.Column("float64", amount, nullable=True),
        },
        checks=[
            pa.Check(lambda f: f["high"] >= f["low"], error="high is not below low"),
            pa.Check(lambda f: f["open"].between(f["low"], f["high"]), error="open in low..high"),
            pa.Check(lambda f: f["close"].between(f["low"], f["high"]), error="close in low..high"),
        ],
        strict=True,
        ordered=True,
        name=f"candles {interval}",
    )
