"""How often the drift check warns, and what stops signals, on real hourly candles (../shared/data).

Each month from 2022-07 on is judged against a reference of all months before it, as a champion of
that day would have been. Then faults: a price that stands still for 800 hours, a volume that is
constant, 5-minute candles taken for hourly ones.

    python benchmarks/feature_drift.py [FOLDER]
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from inputs.recordings import SHARED, is_missing

from trading_assets.candles.recorded import read_recordings
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.features.checks import check_drift, feature_reference
from trading_assets.features.matrix import FeatureMatrix, feature_matrix
from trading_assets.rules.check import CheckOutcome
from trading_assets.settings import Settings

FIRST_MONTH = "2022-07"


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED
    if is_missing(folder):
        return
    markets = Settings().markets
    hourly = read_recordings(folder, markets, Interval.M60)
    five = read_recordings(folder, markets, Interval.M5)
    print("market    months  warned  most far features  most times the worst of training")
    for market in markets:
        outcomes = list(monthly(hourly[market].series))
        month, worst = max(outcomes, key=lambda o: o[1].values["times_worst"])
        far = max(int(o.values["far_drifted_columns"]) for _, o in outcomes)
        print(
            f"{market:10}{len(outcomes):6}{sum(not o.passed for _, o in outcomes):8}{far:19}"
            f"  {worst.values['times_worst']:.1f} ({worst.values['most_drifted']}, {month})"
        )
    print("\nmarket    fault                   drifted  far  stops signals")
    for market in markets:
        series = hourly[market].series
        reference = feature_reference(feature_matrix(series))
        for name, broken in faults(series.tail(2000), five[market].series):
            show(market, name, check_drift(feature_matrix(broken), reference))


def monthly(series: CandleSeries) -> Iterator[tuple[np.datetime64, CheckOutcome]]:
    """Each month with its check against all rows before it."""
    matrix = feature_matrix(series)
    last = series.open_time[-1].astype("datetime64[M]")
    for month in np.arange(np.datetime64(FIRST_MONTH, "M"), last + 1):
        start, end = np.searchsorted(series.open_time, [month, month + 1])
        reference = feature_reference(until(matrix, int(start)))
        yield month, check_drift(until(matrix, int(end)), reference)


def until(matrix: FeatureMatrix, rows: int) -> FeatureMatrix:
    """The first `rows` rows."""
    names = ("open_time", "values", "valid", "segment")
    return FeatureMatrix(**{name: getattr(matrix, name)[:rows] for name in names})


def faults(newest: CandleSeries, finer: CandleSeries) -> Iterator[tuple[str, CandleSeries]]:
    still = {n: getattr(newest, n).copy() for n in ("open", "high", "low", "close")}
    for prices in still.values():
        prices[-800:] = newest.close[-801]
    yield "price stands still", replace(newest, **still)
    yield "volume is constant", replace(newest, volume=np.ones(len(newest)))
    yield "5-minute candles", finer


def show(market: str, name: str, outcome: CheckOutcome) -> None:
    drifted, far = outcome.values["drifted_columns"], outcome.values["far_drifted_columns"]
    stops = "yes" if outcome.blocking and not outcome.passed else "no"
    print(f"{market:10}{name:24}{drifted:>7}{far:>5}  {stops}")


if __name__ == "__main__":
    main()
