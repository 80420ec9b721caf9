"""Labels: the outcome of the trade the bot would make, after costs, by `rules`.

The long trade of row t enters at the close C of candle t and is judged on candles t+1 .. t+h
(h = the profile's horizon), each by its low first and its high second: it ends at the stop
(or at the open, if the candle opens beyond it), at the take, or at the close of candle t+h.

Its *mirror image* is that same trade in prices reflected at C (x -> 2 C - x): it sells at C first,
stops at C (1 + stop_loss), takes at C (1 - take_profit), both rounded towards C, each to the tick
grid of its own price band, and is judged by the high first and the low second. Both pay one
round-trip cost; `long_net` and `short_net` are what is left of C.

NET_OUTCOME: BUY if the long trade ends above 0, SELL if its mirror image does, else HOLD.
TRIPLE_BARRIER: BUY if the long trade ends at the take, SELL at the stop, HOLD at the time limit.

numpy on whole series; a property test holds it to a plain loop over `rules.exits` in Decimal.
"""

from dataclasses import dataclass, fields
from decimal import Decimal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.price_units import KRW_TICKS
from trading_assets.models.model import BUY, HOLD, SELL
from trading_assets.rules.costs import Costs
from trading_assets.rules.exits import ExitReason, FixedExits, VolatilityExits
from trading_assets.rules.profile import LabelKind, Profile

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

UNLABELLED = -1
EXIT_REASONS = (ExitReason.STOP_LOSS, ExitReason.TAKE_PROFIT, ExitReason.TIME_LIMIT)
_STOP, _TAKE, _TIME = 0, 1, 2
MAX_FILLED_SHARE = 0.1

_TICK_STARTS = np.array([float(start) for start, _ in reversed(KRW_TICKS)])
_TICK_SIZES = np.array([float(tick) for _, tick in reversed(KRW_TICKS)])
_ON_GRID = 1e-11
# Exactly break-even is common on a price grid (one tick up, one tick of cost) and is not a gain;
# binary arithmetic leaves it at +-1e-17.
_ABOVE_ZERO = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """One row per candle of the series, (n,) each.

    open_time: of candle t; the trade enters at its close. label: 0 SELL, 1 HOLD, 2 BUY, -1 where
    not valid. end_time: entry + timeout; nothing after it is looked at. long_net, short_net: net
    returns of the long trade and its mirror image (ratio, NaN where not valid). stop_loss,
    take_profit: the terms of the exit, ratios. exit_reason: of the long trade, index into
    EXIT_REASONS, -1 where not valid. valid: the whole path exists in the row's segment, at most
    10 % of it is filled, and the volatility the exits need is known.
    """

    open_time: NDArray[np.datetime64]
    label: NDArray[np.int8]
    end_time: NDArray[np.datetime64]
    long_net: FloatArray
    short_net: FloatArray
    stop_loss: FloatArray
    take_profit: FloatArray
    exit_reason: NDArray[np.int8]
    valid: BoolArray

    def __len__(self) -> int:
        return len(self.open_time)

    def take(self, rows: NDArray[np.intp]) -> "Labels":
        """Only these rows, in this order."""
        return Labels(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def to_frame(self) -> pd.DataFrame:
        """One column per field; the two times are datetime64[us, UTC]."""
        frame = pd.DataFrame({f.name: getattr(self, f.name) for f in fields(self)})
        for name in ("open_time", "end_time"):
            frame[name] = frame[name].dt.tz_localize("UTC")
        return frame

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "Labels":
        """The inverse of `to_frame`, to the bit."""
        columns = {f.name: frame[f.name] for f in fields(cls)}
        for name in ("open_time", "end_time"):
            columns[name] = columns[name].dt.tz_convert("UTC").dt.tz_localize(None)
        return cls(**{name: column.to_numpy() for name, column in columns.items()})


def make_labels(series: CandleSeries, profile: Profile, costs: Costs, sigma: FloatArray) -> Labels:
    """The labels of every candle of `series` under `profile`.

    sigma: (n,) standard deviation of log returns per candle, known at the candle's close
    (`features.volatility.ewm_sigma`); FixedExits do not use it. Raises ValueError when the series
    has another interval than the profile or sigma another length.
    """
    if series.interval.duration != profile.interval:
        raise ValueError(
            f"profile {profile.name} needs {profile.interval_minutes}-minute candles, "
            f"the series has {series.interval.value}"
        )
    if len(sigma) != len(series.open_time):
        raise ValueError(f"sigma must have {len(series.open_time)} values, has {len(sigma)}")
    h = profile.horizon_candles
    entry = series.close
    tick = tick_sizes(entry)
    cost = round_trip_costs(costs, entry, tick)
    stop_loss, take_profit = exit_ratios(profile, sigma, cost)
    valid = _whole_paths(series, h) & (stop_loss > 0) & (stop_loss < 1) & np.isfinite(take_profit)

    long_exit, long_reason = _exits(
        entry,
        stop=ceil_to_grid(entry * (1 - stop_loss)),
        take=floor_to_grid(entry * (1 + take_profit)),
        series=series,
        h=h,
        mirrored=False,
    )
    short_exit, _ = _exits(
        entry,
        stop=floor_to_grid(entry * (1 + stop_loss)),
        take=ceil_to_grid(entry * (1 - take_profit)),
        series=series,
        h=h,
        mirrored=True,
    )
    long_net = np.where(valid, long_exit / entry - 1 - cost, np.nan)
    short_net = np.where(valid, 1 - short_exit / entry - cost, np.nan)
    label = _classes(profile.label, long_net, short_net, long_reason)
    step = np.timedelta64(profile.interval)
    return Labels(
        open_time=series.open_time,
        label=np.where(valid, label, UNLABELLED).astype(np.int8),
        end_time=series.open_time + step + h * step,
        long_net=long_net,
        short_net=short_net,
        stop_loss=np.where(valid, stop_loss, np.nan),
        take_profit=np.where(valid, take_profit, np.nan),
        exit_reason=np.where(valid, long_reason, UNLABELLED).astype(np.int8),
        valid=valid,
    )


def tick_sizes(price: FloatArray) -> FloatArray:
    """`price_units.tick_size` of each price, (n,) KRW; prices above 0."""
    place = np.searchsorted(_TICK_STARTS, price, side="right") - 1
    return _TICK_SIZES[np.maximum(place, 0)]


def round_trip_costs(costs: Costs, price: FloatArray, tick: FloatArray) -> FloatArray:
    """`Costs.round_trip` of each price, (n,) ratios."""
    slippage = np.maximum(float(costs.min_slippage_rate), tick / (2 * price))
    return np.asarray(2 * (float(costs.fee_rate) + slippage))


def ceil_to_grid(price: FloatArray) -> FloatArray:
    """`price_units.ceil_to_tick` of each price, (n,) KRW; NaN stays NaN."""
    tick = tick_sizes(price)
    ticks = price / tick
    return _prices(np.where(_is_whole(ticks), np.rint(ticks), np.ceil(ticks)), tick)


def floor_to_grid(price: FloatArray) -> FloatArray:
    """`price_units.floor_to_tick` of each price, (n,) KRW; NaN stays NaN."""
    tick = tick_sizes(price)
    ticks = price / tick
    return _prices(np.where(_is_whole(ticks), np.rint(ticks), np.floor(ticks)), tick)


def _prices(ticks: FloatArray, tick: FloatArray) -> FloatArray:
    """So many ticks as a price, the same bits as the decimal number read from a candle.

    3 x 0.1 is not 0.3 in binary, 3 / 10 is: ticks below 1 are whole parts of 1.
    """
    return np.asarray(np.where(tick < 1, ticks / np.maximum(np.rint(1 / tick), 1), ticks * tick))


def _is_whole(ticks: FloatArray) -> BoolArray:
    """Whole but for the rounding of binary numbers: 0.98 x 100 000 / 50 must be 1960, not 1961."""
    return np.asarray(np.abs(ticks - np.rint(ticks)) <= _ON_GRID * np.maximum(1, np.abs(ticks)))


def exit_ratios(
    profile: Profile, sigma: FloatArray, cost: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(stop_loss, take_profit) of each row, NaN where the volatility is not known.

    sigma: volatility per candle. cost: of a round trip, ratio. All (n,).
    """
    exits = profile.exits
    if isinstance(exits, FixedExits):
        n = len(sigma)
        return np.full(n, float(exits.stop_loss)), np.full(n, float(exits.take_profit))
    return _volatility_terms(exits, sigma, cost)


def _volatility_terms(
    exits: VolatilityExits, sigma: FloatArray, cost: FloatArray
) -> tuple[FloatArray, FloatArray]:
    known = np.where(sigma > 0, sigma, np.nan)
    scale = float(exits.k * Decimal(exits.periods).sqrt())
    barrier = np.maximum(scale * known, float(exits.floor_costs) * cost)
    return barrier, barrier


def _whole_paths(series: CandleSeries, h: int) -> BoolArray:
    """Rows whose h path candles exist in the row's own segment, at most 10 % of them filled."""
    n = len(series.open_time)
    valid = np.zeros(n, dtype=np.bool_)
    if n <= h:
        return valid
    same_segment = series.segment[h:] == series.segment[:-h]
    filled = np.concatenate([[0], np.cumsum(series.filled)])
    in_path = filled[h + 1 :] - filled[1 : n - h + 1]
    valid[: n - h] = same_segment & (in_path <= MAX_FILLED_SHARE * h)
    return valid


def _exits(
    entry: FloatArray,
    *,
    stop: FloatArray,
    take: FloatArray,
    series: CandleSeries,
    h: int,
    mirrored: bool,
) -> tuple[FloatArray, NDArray[np.int8]]:
    """(exit price, reason) of each row's trade; meaningless where the path is not whole."""
    n = len(entry)
    price = np.full(n, np.nan)
    price[: max(n - h, 0)] = series.close[h:]
    reason = np.full(n, _TIME, dtype=np.int8)
    worse, better = (np.maximum, np.minimum) if mirrored else (np.minimum, np.maximum)
    # From the path's last candle to its first, the stop after the take: what is written last is
    # what happened first.
    for j in range(min(h, n - 1), 0, -1):
        opened, high, low, rows = series.open[j:], series.high[j:], series.low[j:], slice(n - j)
        if mirrored:
            stopped, taken = high >= stop[rows], low <= take[rows]
        else:
            stopped, taken = low <= stop[rows], high >= take[rows]
        for end, touched, barrier, fill in (
            (_TAKE, taken, take, better),
            (_STOP, stopped, stop, worse),
        ):
            at = np.flatnonzero(touched)
            price[at] = fill(barrier[at], opened[at])
            reason[at] = end
    return price, reason


def _classes(
    kind: LabelKind, long_net: FloatArray, short_net: FloatArray, reason: NDArray[np.int8]
) -> NDArray[np.int8]:
    if kind is LabelKind.TRIPLE_BARRIER:
        return np.array([SELL, BUY, HOLD], dtype=np.int8)[reason]
    # Both can end above 0 only when the stop is wider than the take; then the better one counts.
    buys = (long_net > _ABOVE_ZERO) & (long_net > short_net)
    sells = (short_net > _ABOVE_ZERO) & (short_net > long_net)
    return np.where(buys, BUY, np.where(sells, SELL, HOLD)).astype(np.int8)
