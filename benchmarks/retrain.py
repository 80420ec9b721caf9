"""A whole warm retrain against the `lgb.train` and Dataset calls that it makes itself.

From candles in memory to a saved challenger: features, sequences, labels, data set, rounds,
calibration folds, twin, served model, baselines, evaluation, saving. MLflow is not part of it. The
calls are timed in place, by wrapping them. CPU seconds of this process, one thread, one market a
profile on the synthetic market at the size the sandbox trains (2.5 years of hourly, 120 days of
5-minute candles), five seeds.

    python benchmarks/retrain.py [MARKET]
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightgbm as lgb

from trading_assets.candles.frame import open_times_us
from trading_assets.candles.gaps import Gap, GapKind, gap_frame, missing_spans
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.exchange.model import Interval
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.dataset import make_dataset
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.models.training import train
from trading_assets.paper_exchange.synthetic import EPOCH, SyntheticMarkets, SyntheticParameters
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, Settings

GOAL = 1.15
DAYS = {ProfileName.SCALP: 120, ProfileName.SWING: 912}


def main() -> None:
    market = sys.argv[1] if len(sys.argv) > 1 else "KRW-BTC"
    settings = Settings()
    warm_up(market, settings)
    print(f"{market}, synthetic, {settings.seeds} seeds, {settings.recipe.value}; CPU seconds")
    missed = False
    for name, days in DAYS.items():
        chosen = profile(settings, name)
        series = candles(market, chosen, days)
        steps: dict[str, float] = {}
        with lightgbm_time() as lightgbm:
            start = time.process_time()
            rows = retrain(market, series, chosen, settings, steps)
            total = time.process_time() - start
        ratio = total / lightgbm[0]
        missed |= ratio > GOAL
        print(f"{chosen.name}: {len(series):,} candles, {rows:,} rows")
        for step, seconds in steps.items():
            print(f"  {step:34}{seconds:8.2f}")
        print(f"  {'whole retrain':34}{total:8.2f}")
        print(f"  {'its lgb.train and Dataset calls':34}{lightgbm[0]:8.2f}")
        print(f"  {'ratio':34}{ratio:8.3f}   goal <= {GOAL}{'  MISSED' if ratio > GOAL else ''}")
    sys.exit(1 if missed else 0)


def retrain(
    market: str, series: CandleSeries, chosen: Profile, settings: Settings, steps: dict[str, float]
) -> int:
    """What a retrain computes, each step's CPU seconds into `steps`; the number of rows."""
    charges = costs(settings)
    with step(steps, "features, sequences"):
        sequences = make_sequences(feature_matrix(series), series)
    with step(steps, "labels"):
        labels = make_labels(series, chosen, charges, ewm_sigma(series))
    with step(steps, "data set"):
        dataset = make_dataset(
            market, chosen, sequences, labels, costs=charges, view=settings.sequence_view
        )
    seeds = range(settings.base_seed, settings.base_seed + settings.seeds)
    trained = train(dataset, chosen, settings.recipe, seeds)
    steps.update({f"training: {part}": seconds for part, seconds in trained.timings.items()})
    folder = Path(tempfile.mkdtemp())
    with step(steps, "saving"):
        trained.save(folder / "challenger")
    shutil.rmtree(folder)
    return len(dataset)


def candles(market: str, chosen: Profile, days: int) -> CandleSeries:
    interval = Interval.of_minutes(chosen.interval_minutes)
    source = SyntheticMarkets(SyntheticParameters(), [market])
    frame = source.candles(market, interval, EPOCH, EPOCH + timedelta(days=days))
    missing = missing_spans(open_times_us(frame), interval)
    return regular_series(
        frame, gap_frame(Gap(span, GapKind.NO_TRADES) for span in missing), interval
    )


def warm_up(market: str, settings: Settings) -> None:
    """Imports and first calls are not a retrain's work: scikit-learn alone takes seconds."""
    small = settings.model_copy(update={"seeds": 1})
    chosen = profile(settings, ProfileName.SCALP)
    retrain(market, candles(market, chosen, 62), chosen, small, {})


@contextmanager
def step(steps: dict[str, float], name: str) -> Iterator[None]:
    start = time.process_time()
    yield
    steps[name] = time.process_time() - start


@contextmanager
def lightgbm_time() -> Iterator[list[float]]:
    """A list whose one number grows by the CPU seconds of every lgb.train and Dataset call.

    A Dataset is built by `construct`, also from inside `lgb.train`: nested calls count once.
    """
    spent, depth = [0.0], [0]

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            depth[0] += 1
            start = time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                depth[0] -= 1
                if depth[0] == 0:
                    spent[0] += time.process_time() - start

        return wrapped

    places = ((lgb, "train"), (lgb.Dataset, "construct"), (lgb.Dataset, "__init__"))
    originals = [getattr(owner, name) for owner, name in places]
    for (owner, name), original in zip(places, originals, strict=True):
        setattr(owner, name, timed(original))
    try:
        yield spent
    finally:
        for (owner, name), original in zip(places, originals, strict=True):
            setattr(owner, name, original)


if __name__ == "__main__":
    main()
