"""Labels and training on the real candles beside the repository; skipped where there are none.

The wider table, with both windows of all markets, is benchmarks/real_candles.py.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_assets.candles.frame import candle_frame
from trading_assets.candles.gaps import gap_frame
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.errors import NotEnoughHistory
from trading_assets.exchange.model import Interval
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.checks import check_label_shares, check_too_good
from trading_assets.models.dataset import Dataset, make_dataset
from trading_assets.models.labels import Labels, make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.models.training import train
from trading_assets.settings import ProfileName, Recipe, Settings

pytestmark = pytest.mark.real_data

NUMBERS = ("open", "high", "low", "close", "volume")


def hourly(folder: Path, market: str) -> CandleSeries:
    """All hourly candles; each missing one breaks the series (none is known to be quiet)."""
    return _as_recorded(folder, market, Interval.M60)


def by_minute(folder: Path, market: str) -> CandleSeries:
    """The fortnight of 1-minute candles, likewise."""
    return _as_recorded(folder, market, Interval.M1)


def _as_recorded(folder: Path, market: str, interval: Interval) -> CandleSeries:
    frame = pd.read_parquet(folder / "candles" / f"{market}-{interval.value}.parquet")
    columns = {name: frame[name].to_numpy() for name in NUMBERS}
    return regular_series(
        candle_frame(frame["time"].to_numpy(), **columns), gap_frame([]), interval
    )


def five_minutes(folder: Path, market: str) -> CandleSeries:
    """The fortnight of 1-minute candles as 5-minute ones."""
    frame = pd.read_parquet(folder / "candles" / f"{market}-1m.parquet")
    merged = frame.groupby(frame["time"].dt.floor("5min")).agg(
        {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    )
    columns = {name: merged[name].to_numpy() for name in NUMBERS}
    return regular_series(
        candle_frame(merged.index.to_numpy(), **columns), gap_frame([]), Interval.M5
    )


def labels_and_dataset(
    market: str, series: CandleSeries, name: ProfileName
) -> tuple[Labels, Dataset]:
    settings = Settings()
    chosen, charges = profile(settings, name), costs(settings)
    labels = make_labels(series, chosen, charges, ewm_sigma(series))
    sequences = make_sequences(feature_matrix(series), series)
    return labels, make_dataset(market, chosen, sequences, labels, costs=charges)


@pytest.mark.parametrize(
    ("market", "hold"),
    # Measured before, with other code.
    [("KRW-BTC", 0.75), ("KRW-ETH", 0.52), ("KRW-XRP", 0.51), ("KRW-SOL", 0.37)],
)
def test_scalp_labels_of_a_real_fortnight_hold_as_often_as_measured_before(
    shared_data: Path, market: str, hold: float
) -> None:
    series = five_minutes(shared_data, market)
    labels, dataset = labels_and_dataset(market, series, ProfileName.SCALP)
    shares = np.bincount(labels.label[labels.valid]) / labels.valid.sum()
    assert shares[1] == pytest.approx(hold, abs=0.015)
    assert check_label_shares(dataset.y).passed
    with pytest.raises(NotEnoughHistory, match=r"13\.\d days .* it takes 60\.0 days"):
        train(dataset, profile(Settings(), ProfileName.SCALP), Recipe.LIGHTGBM, [1])


def test_a_logistic_regression_learns_a_little_and_honestly_from_real_hours(
    shared_data: Path,
) -> None:
    """The cheap recipe as a guard of labels, split and features: a leak would look brilliant."""
    _, dataset = labels_and_dataset("KRW-XRP", hourly(shared_data, "KRW-XRP"), ProfileName.SWING)
    made = train(dataset, profile(Settings(), ProfileName.SWING), Recipe.LOGISTIC, [1])
    found = made.unseen_evaluation()
    assert 0.88 < found.ratio_prior < 0.97
    assert found.ratio_volatility < 1.0
    assert check_too_good(found).passed


@pytest.mark.deep
@pytest.mark.parametrize("market", ["KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL"])
def test_lightgbm_reaches_the_yardsticks_on_real_hours(shared_data: Path, market: str) -> None:
    _, dataset = labels_and_dataset(market, hourly(shared_data, market), ProfileName.SWING)
    made = train(dataset, profile(Settings(), ProfileName.SWING), Recipe.LIGHTGBM, range(5))
    found = made.calibration_evaluation
    assert found.ratio_prior <= 0.97
    assert found.ratio_volatility <= 1.0
    assert found.ece <= 0.05
    assert check_too_good(made.unseen_evaluation()).passed
