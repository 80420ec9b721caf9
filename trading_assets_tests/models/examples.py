"""Small data sets for tests: 46 columns, a few of which say something about the label."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np

from trading_assets.features.catalogue import CATALOGUE_VERSION, FEATURE_NAMES
from trading_assets.models.dataset import VOLATILITY_FEATURES, Dataset
from trading_assets.models.profiles import profile
from trading_assets.rules.costs import Costs
from trading_assets.rules.exits import FixedExits
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, SequenceView, Settings

COSTS = Costs(fee_rate=Decimal("0.0005"), min_slippage_rate=Decimal("0.0003"))
START = np.datetime64("2025-01-01T00:00:00", "us")
HOUR = np.timedelta64(1, "h")


def small_profile(**changes: object) -> Profile:
    """Hourly candles, labels of 2 hours, 10 days of calibration, 10 days of gate."""
    shipped = profile(Settings(), ProfileName.SWING)
    values: dict[str, object] = {
        "exits": FixedExits(Decimal("0.02"), Decimal("0.02"), timedelta(hours=2)),
        "min_history": timedelta(days=30),
        "calibration_window": timedelta(days=10),
        "gate_window": timedelta(days=10),
    }
    return replace(shipped, **(values | changes))  # type: ignore[arg-type]


def small_dataset(n: int = 1500, seed: int = 1, strength: float = 1.0) -> Dataset:
    """n hourly rows. Column 0 leans to BUY or SELL by `strength`, volatility_12 away from HOLD."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, len(FEATURE_NAMES))).astype(np.float32)
    lean = strength * x[:, 0].astype(np.float64)
    moves = 0.5 * x[:, FEATURE_NAMES.index("volatility_12")].astype(np.float64)
    logits = np.stack([moves - lean, np.zeros(n), moves + lean], axis=1)
    y = (logits + rng.gumbel(size=(n, 3))).argmax(axis=1).astype(np.int8)
    long_net = (y.astype(np.float64) - 1) * 0.02 - 0.0016
    open_time = START + np.arange(n) * HOUR
    return Dataset(
        market="KRW-BTC",
        profile="swing",
        interval=timedelta(hours=1),
        open_time=open_time,
        x=x,
        y=y,
        end_time=open_time + 3 * HOUR,
        long_net=long_net,
        short_net=-long_net - 0.0032,
        columns=FEATURE_NAMES,
        features=FEATURE_NAMES,
        last_columns=tuple(range(len(FEATURE_NAMES))),
        volatility_columns=tuple(FEATURE_NAMES.index(name) for name in VOLATILITY_FEATURES),
        view=SequenceView.LAST,
        costs=COSTS,
        catalogue_version=CATALOGUE_VERSION,
        candle_hash="sha256 of the candles",
    )
