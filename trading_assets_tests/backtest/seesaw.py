"""A world of hourly candles that rise and fall in turn, with predictions that know it or do not."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trading_assets.backtest.predictions import FoldFacts, Predictions, PredictionStore
from trading_assets.backtest.walked_forward import WalkedForward, walked_forward
from trading_assets.candles.frame import TIMES, candle_frame
from trading_assets.candles.store import CandleStore
from trading_assets.clock import SteppedClock
from trading_assets.database import connect, prepare
from trading_assets.exchange.model import Interval
from trading_assets.models.model import ClassReturns
from trading_assets.models.profiles import profile
from trading_assets.models.retrain import Workshop
from trading_assets.settings import ProfileName, load_settings
from trading_assets.world import World

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 8 * 7 * 24
BTC, ETH = "KRW-BTC", "KRW-ETH"


@contextmanager
def seesaw_shop(tmp_path: Path, **values: Any) -> Iterator[Workshop]:
    """Eight weeks of hourly candles in two markets; the clock stands at the end of the last."""
    world = World("sandbox-test", tmp_path / "data", tmp_path / "mlruns")
    engine = connect(f"sqlite:///{world.database}")
    prepare(engine, world)
    settings = load_settings(
        {
            "TRADING_ASSETS_HOME": tmp_path,
            "markets": (BTC, ETH),
            "profiles": ("swing",),
            "profile": "auto",
            **values,
        }
    )
    store = CandleStore(world.candles, world.name)
    end = START + HOURS * HOUR
    for market in (BTC, ETH):
        store.merge(market, Interval.M60, candles(), covered=(START, end))
    yield Workshop(settings, world, SteppedClock(end), engine, "run-1")
    engine.dispose()


def candles() -> pd.DataFrame:
    """Up by 2 % within the hour in odd hours, back in even ones."""
    times = int(START.timestamp()) * 1_000_000 + np.arange(HOURS, dtype=np.int64) * 3_600_000_000
    close = np.where(np.arange(HOURS) % 2 == 0, 100_000_000.0, 102_000_000.0)
    before = np.concatenate([close[:1], close[:-1]])
    return candle_frame(
        times,
        open=before,
        high=np.maximum(before, close),
        low=np.minimum(before, close),
        close=close,
        volume=np.ones(HOURS),
    )


def candle_store(shop: Workshop) -> CandleStore:
    return CandleStore(shop.world.candles, shop.world.name)


def walked(shop: Workshop) -> WalkedForward:
    swing = profile(shop.settings, ProfileName.SWING)
    return walked_forward(shop.settings, shop.world, candle_store(shop), swing)


def store_predictions(
    shop: Workshop,
    market: str,
    *,
    buys_before_the_rise: bool,
    otherwise: tuple[float, float, float] = (0.3, 0.4, 0.3),
) -> None:
    """A BUY every 24 hours, at a low (a rise of 2 % follows) or at a high (a fall follows).

    otherwise: the probabilities of all other candles, whose expected value is negative.
    """
    n = HOURS
    rows = np.arange(n)
    buy = rows % 24 == (0 if buys_before_the_rise else 1)
    ev = np.where(buy, 0.01, -0.01)
    p = np.where(buy[:, None], [0.1, 0.3, 0.6], otherwise)
    start = np.datetime64(START.replace(tzinfo=None), "us")
    PredictionStore(shop.world.walk_forward, shop.world.name).save(
        Predictions(
            market=market,
            profile="swing",
            recipe="lightgbm",
            interval=HOUR,
            open_time=(start + rows * np.timedelta64(1, "h")).astype(TIMES),
            fold=np.zeros(n, np.int16),
            p=p,
            p_seeds=p[None].astype(np.float32),
            ev_long=ev,
            ev_short=np.full(n, -0.01),
            p_prior=np.full((n, 3), 1 / 3),
            p_volatility=np.full((n, 3), 1 / 3),
            stop_loss=np.full(n, 0.03),
            take_profit=np.full(n, 0.015),
            sigma=np.full(n, 0.01),
            close=np.where(rows % 2 == 0, 100_000_000.0, 102_000_000.0),
            folds=(FoldFacts(START, START, START, 1000, 10, ClassReturns((0, 0, 0), (0, 0, 0))),),
            record={},
        )
    )
