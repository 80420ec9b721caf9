"""Checks of stored candles: schema, freshness, gaps, continuity. Pure: values in, outcomes out.

`check_store` is what a Dagster asset check and a verdict row both call. Not here: reading the
store, and what a failed check stops.
"""

from datetime import datetime

import numpy as np
import pandas as pd

from trading_assets.candles.frame import (
    TIMES,
    candle_schema,
    check_candles,
    open_times_us,
    step_us,
    to_us,
)
from trading_assets.candles.gaps import GapKind
from trading_assets.candles.series import CandleSeries
from trading_assets.errors import ImpossibleCandle
from trading_assets.exchange.model import Interval
from trading_assets.rules.check import CheckOutcome

# Intervals since the newest candle closed: up to 1 passes before the next one closes, and that one
# may still settle; from 2 on nobody collects. Signals ask for less than 1: the very last candle.
MAX_AGE_INTERVALS = 2.0
# More flat candles than this in a window: no training row, no entry (docs/architecture.md).
MAX_FILLED_SHARE = 0.10
FILLED_WINDOW = 200
# A neighbour that is 30 % away is a re-listing, a redenomination or a wrong digit: look at it.
MAX_JUMP = 0.30


def check_store(
    frame: pd.DataFrame,
    gaps: pd.DataFrame,
    series: CandleSeries,
    now: datetime,
    *,
    max_age_intervals: float = MAX_AGE_INTERVALS,
    filled_window: int = FILLED_WINDOW,
    with_pandera: bool = True,
) -> tuple[CheckOutcome, ...]:
    """All candle checks. frame, gaps: from the store. series: regular_series of both.

    with_pandera: False takes the same rules in numpy, which name the first failure only; importing
    pandera takes 1.7 s, too long between a candle's close and its signal.
    """
    schema = check_schema if with_pandera else check_rules
    return (
        schema(frame, series.interval),
        check_freshness(series, now, max_age_intervals),
        check_gaps(series, filled_window),
        check_collected(frame, gaps),
        check_jumps(series),
    )


def check_schema(frame: pd.DataFrame, interval: Interval) -> CheckOutcome:
    """Every stored candle obeys the pandera schema; the reason names the first failures."""
    import pandera.errors

    if frame.empty:
        return CheckOutcome("candle_schema", passed=False, reason="there are no candles")
    try:
        candle_schema(interval).validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as exc:
        cases = exc.failure_cases
        shown = "; ".join(
            f"{case['column']} = {case['failure_case']} at row {case['index']} breaks "
            f"{case['check']}"
            for case in cases.head(3).to_dict("records")
        )
        return CheckOutcome(
            "candle_schema",
            passed=False,
            reason=f"{len(cases)} values break the schema: {shown}",
            values={"failures": len(cases), "rows": len(frame)},
        )
    reason = f"all {len(frame)} candles obey the schema"
    return CheckOutcome("candle_schema", passed=True, reason=reason, values={"rows": len(frame)})


def check_rules(frame: pd.DataFrame, interval: Interval) -> CheckOutcome:
    """`check_schema` without pandera."""
    if frame.empty:
        return CheckOutcome("candle_schema", passed=False, reason="there are no candles")
    try:
        check_candles(frame, interval)
    except ImpossibleCandle as exc:
        return CheckOutcome(
            "candle_schema", passed=False, reason=str(exc), values={"rows": len(frame)}
        )
    reason = f"all {len(frame)} candles obey the schema"
    return CheckOutcome("candle_schema", passed=True, reason=reason, values={"rows": len(frame)})


def check_freshness(
    series: CandleSeries, now: datetime, max_age_intervals: float = MAX_AGE_INTERVALS
) -> CheckOutcome:
    """The newest candle closed less than `max_age_intervals` ago (below 1: it is the last one)."""
    if not len(series):
        return CheckOutcome("candle_freshness", passed=False, reason="there are no candles")
    step = step_us(series.interval)
    last_close = int(series.open_time[-1].astype(np.int64)) + step
    age = (to_us(now) - last_close) / step
    closed_at = pd.Timestamp(last_close, unit="us", tz="UTC").isoformat()
    return CheckOutcome(
        "candle_freshness",
        passed=age < max_age_intervals,
        reason=f"the newest {series.interval} candle closed at {closed_at}, {age:.2f} intervals "
        f"ago; it must be below {max_age_intervals:g}",
        values={"age_intervals": age, "closed_at": closed_at},
    )


def check_gaps(series: CandleSeries, window: int = FILLED_WINDOW) -> CheckOutcome:
    """At most 10 % of the last `window` candles are flat ones in which nobody traded."""
    if not len(series):
        return CheckOutcome("candle_gaps", passed=False, reason="there are no candles")
    tail = series.tail(window)
    filled = int(tail.filled.sum())
    share = filled / len(tail)
    return CheckOutcome(
        "candle_gaps",
        passed=share <= MAX_FILLED_SHARE,
        reason=f"{filled} of the last {len(tail)} candles had no trades ({share:.1%}); the limit "
        f"is {MAX_FILLED_SHARE:.0%}",
        values={
            "filled_share": share,
            "filled": filled,
            "window": len(tail),
            "breaks": int(series.segment[-1] - series.segment[0]),
        },
    )


def check_collected(frame: pd.DataFrame, gaps: pd.DataFrame) -> CheckOutcome:
    """No time between the first and the last candle that the exchange was never asked about."""
    if frame.empty:
        return CheckOutcome(
            "candle_continuity", passed=False, blocking=False, reason="there are no candles"
        )
    times = open_times_us(frame)
    starts = gaps["start"].to_numpy(dtype=TIMES).astype(np.int64)
    never = (gaps["kind"] == GapKind.NOT_COLLECTED.value) & (starts < times[-1])
    holes = gaps[never]
    reason = "everything between the first and the last candle was collected"
    if len(holes):
        first = holes.iloc[0]
        reason = (
            f"{len(holes)} ranges were never collected, the first from "
            f"{first['start'].isoformat()} to {first['end'].isoformat()}: collect again"
        )
    return CheckOutcome(
        "candle_continuity",
        passed=not len(holes),
        blocking=False,
        reason=reason,
        values={"not_collected": len(holes)},
    )


def check_jumps(series: CandleSeries) -> CheckOutcome:
    """Warns of a close more than 30 % away from the close before it, within a segment."""
    if len(series) < 2:
        return CheckOutcome(
            "candle_jumps", passed=True, blocking=False, reason="fewer than two candles"
        )
    jump = np.abs(np.diff(series.close)) / series.close[:-1]
    jump[np.diff(series.segment) != 0] = 0.0
    worst = int(np.argmax(jump))
    when = pd.Timestamp(series.open_time[worst + 1], tz="UTC").isoformat()
    return CheckOutcome(
        "candle_jumps",
        passed=bool(jump[worst] <= MAX_JUMP),
        blocking=False,
        reason=f"the largest step between neighbouring closes is {jump[worst]:.1%} "
        f"({series.close[worst]:g} to {series.close[worst + 1]:g} at {when}); the limit is "
        f"{MAX_JUMP:.0%}",
        values={"largest_jump": float(jump[worst]), "above": int((jump > MAX_JUMP).sum())},
    )
