"""How long a walk-forward of four markets takes: from nothing, and for one more day.

`swing` with its shipped plan over the recorded hourly candles, each market in turn, by one process:
first all candles but the last day's into an empty folder, then all of them into the same folder. A
daily run is the second: features of all candles, digests of what every stored fold has learnt from,
the new day's predictions, calibrations, saving. Where a refit falls on that day (four times a year)
it fits one fold a market too; the last line says what a fold takes.

The limit is measured in the same run: the time inside `lightgbm.train`, which no bookkeeping can go
below while five seeds a fold are asked for. The result of both steps must be what one step from
nothing gives; `test_walk_forward.py` has it to the bit, here the folds are counted.

    python benchmarks/walk_forward.py [--folder ../shared/data/candles] [--days-less 1]
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from inputs.recordings import SHARED, hourly, is_missing

from trading_assets.backtest.candidates import Candidates
from trading_assets.backtest.predictions import PredictionStore
from trading_assets.backtest.walk_forward import WalkForwardReport, plan_of, walk_forward
from trading_assets.candles.frame import from_us
from trading_assets.candles.series import CandleSeries
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.models.profiles import costs, profile
from trading_assets.settings import ProfileName, Settings

FROM_NOTHING_SECONDS = 600.0
ONE_DAY_SECONDS = 30.0
MOST_OF_LIGHTGBM = 1.5  # from nothing, times what lightgbm.train alone takes


@dataclass(slots=True)
class Trained:
    """Calls of lightgbm.train and the seconds in them."""

    calls: int = 0
    wall: float = 0.0
    cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class Took:
    """One step over all markets. inputs: features and labels of them, seconds of `wall`."""

    wall: float
    cpu: float
    inputs: float
    trained: Trained
    reports: tuple[WalkForwardReport, ...]

    @property
    def folds(self) -> str:
        return (
            f"{sum(r.fitted for r in self.reports)} folds fitted, "
            f"{sum(r.reused for r in self.reports)} used again"
        )


def main() -> None:
    chosen = _options()
    if is_missing(chosen.folder):
        return
    settings = Settings()
    series = hourly(chosen.folder, settings.markets)
    end = min(from_us(int(s.open_time[-1].astype(np.int64))) for s in series.values())
    end += timedelta(hours=1)
    yesterday = {m: s.until(end - timedelta(days=chosen.days_less)) for m, s in series.items()}
    walk_short(series, settings)
    with tempfile.TemporaryDirectory() as folder:
        store = PredictionStore(Path(folder), "benchmark")
        nothing = walked(yesterday, settings, store)
        one_day = walked(series, settings, store)
    hours = sum(len(s) for s in series.values())
    print(f"walk-forward of swing, {len(series)} markets, {hours:,} hours, until {end:%Y-%m-%d}")
    tell("from nothing", nothing, FROM_NOTHING_SECONDS)
    tell(f"more days: {chosen.days_less}", one_day, ONE_DAY_SECONDS)
    inside, whole = nothing.trained, nothing.wall
    ratio = whole / inside.wall
    print(
        f"  limit: lightgbm.train {inside.wall:.1f} s in {inside.calls} calls; from nothing takes "
        f"{ratio:.2f} x that   goal <= {MOST_OF_LIGHTGBM} {verdict(ratio <= MOST_OF_LIGHTGBM)}"
    )
    print(f"  one more day takes {one_day.wall / whole:.1%} of from nothing")
    folds = sum(r.fitted for r in nothing.reports)
    print(f"  a fold takes {whole / folds:.1f} s on average")


def walk_short(series: Mapping[str, CandleSeries], settings: Settings) -> None:
    """Compile and import what is compiled and imported at the first call."""
    market, candles = next(iter(series.items()))
    with tempfile.TemporaryDirectory() as folder:
        few = candles.slice(0, 24 * 480)
        walked({market: few}, settings, PredictionStore(Path(folder), "benchmark"))


def walked(series: Mapping[str, CandleSeries], settings: Settings, store: PredictionStore) -> Took:
    """Every market walked forward into `store`, as a daily run does it."""
    shipped = profile(settings, ProfileName.SWING)
    plan = plan_of(settings, shipped)
    trained, inputs, reports = Trained(), 0.0, []
    train = lgb.train
    lgb.train = _timed(train, trained)
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        for market, candles in series.items():
            began = time.perf_counter()
            candidates = Candidates.of(
                market,
                shipped,
                candles,
                make_sequences(feature_matrix(candles), candles),
                costs=costs(settings),
                view=settings.sequence_view,
            )
            inputs += time.perf_counter() - began
            reports.append(walk_forward(candidates, plan, store)[1])
    finally:
        lgb.train = train
    return Took(
        time.perf_counter() - wall, time.process_time() - cpu, inputs, trained, tuple(reports)
    )


def _timed(train: Callable[..., Any], trained: Trained) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return train(*args, **kwargs)
        finally:
            trained.calls += 1
            trained.wall += time.perf_counter() - wall
            trained.cpu += time.process_time() - cpu

    return timed


def tell(name: str, took: Took, goal: float) -> None:
    print(
        f"  {name:14} {took.wall:7.1f} s wall, {took.cpu:7.1f} s CPU ({took.inputs:.1f} s of it "
        f"features and labels, {took.trained.wall:.1f} s lightgbm.train); {took.folds}   "
        f"goal < {goal:g} s {verdict(took.wall < goal)}"
    )
    for report in took.reports:
        for why in report.anew:
            print(f"    {why}")


def verdict(met: bool) -> str:
    return "met" if met else "MISSED"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=SHARED)
    parser.add_argument("--days-less", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
