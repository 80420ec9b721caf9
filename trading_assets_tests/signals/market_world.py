"""A small market for the tests of signals: candles that repeat, a real model, an honest exchange.

The exchange is `CandleBook`, which answers pages as Upbit does (newest closed candles before `to`)
from an array; the features, sequences, labels, training and stores are the real ones.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa

from trading_assets.candles.frame import candle_frame
from trading_assets.candles.gaps import gap_frame
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.clock import SteppedClock
from trading_assets.database import connect, prepare
from trading_assets.exchange.model import Interval
from trading_assets.features.checks import FeatureReference, feature_reference
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.challengers import ChallengerStore
from trading_assets.models.champions import ChampionStore
from trading_assets.models.dataset import Dataset, make_dataset
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.models.trained import Trained
from trading_assets.models.training import train
from trading_assets.models.verdicts import Verdict, VerdictKind, record_verdict
from trading_assets.settings import ProfileName, Recipe, Settings, load_settings
from trading_assets.signals.produce import SignalsReport, produce_signals
from trading_assets.world import World

INTERVAL = Interval.M60
# The close of the newest candle, and five seconds later: the moment of a signal.
CLOSE = datetime(2026, 1, 2, 3, 0, tzinfo=UTC)
NOW = CLOSE + timedelta(seconds=5)
CLOSING = CLOSE - timedelta(hours=1)
BTC, ETH = "KRW-BTC", "KRW-ETH"
VERSION = "20260101T030000Z-test"


@cache
def candles(market: str = BTC, days: int = 100, after: int = 24) -> pd.DataFrame:
    """Hourly candles of a random walk on a grid of 1,000 KRW, `after` of them after CLOSE."""
    n = days * 24 + after
    rng = np.random.default_rng(1 if market == BTC else 2)
    calm = np.exp(0.5 * np.sin(np.arange(n) / 60))
    close = 1e8 * np.exp(np.cumsum(rng.standard_normal(n) * 0.005 * calm))
    close = np.round(close / 1000) * 1000
    opening = np.concatenate([close[:1], close[:-1]])
    reach = np.abs(rng.standard_normal((2, n))) * 2e5
    high = np.round((np.maximum(opening, close) + reach[0]) / 1000) * 1000
    low = np.round((np.minimum(opening, close) - reach[1]) / 1000) * 1000
    volume = rng.lognormal(3, 1, n)
    first = CLOSE - timedelta(days=days)
    start = int(first.timestamp()) * 1_000_000
    times = start + np.arange(n, dtype=np.int64) * 3_600_000_000
    return candle_frame(times, open=opening, high=high, low=low, close=close, volume=volume)


@dataclass
class CandleBook:
    """Answers pages of closed and open candles from `frames`; `fault` may refuse first."""

    frames: dict[str, pd.DataFrame]
    fault: Callable[[str], None] = field(default=lambda market: None)
    asked: list[tuple[str, Interval]] = field(default_factory=list)
    per_second: Decimal = Decimal(10)

    def page(
        self, market: str, interval: Interval, *, to: datetime | None = None, count: int = 200
    ) -> pd.DataFrame:
        self.asked.append((market, interval))
        self.fault(market)
        frame = self.frames[market]
        before = frame if to is None else frame[frame["open_time"] < pd.Timestamp(to)]
        return before.tail(count).reset_index(drop=True)

    def markets(self) -> tuple[str, ...]:
        return tuple(self.frames)


@dataclass
class Desk:
    """A world with candles in its store and, if asked, a champion."""

    settings: Settings
    world: World
    clock: SteppedClock
    book: CandleBook
    store: CandleStore
    champions: ChampionStore
    engine: sa.Engine

    def produce(self) -> SignalsReport:
        return produce_signals(
            self.settings,
            self.world,
            self.clock,
            self.book,
            self.store,
            self.champions,
            self.engine,
            "run-1",
        )

    def promote(
        self, market: str = BTC, version: str = VERSION, model: Trained | None = None
    ) -> None:
        """Make the shared small model the champion of `market`."""
        challengers = ChallengerStore(self.world.models, self.world.name)
        trained = model or small_model()
        made = challengers.save(
            trained,
            market=market,
            profile="swing",
            version=version,
            gate_x=dataset().x[:1],
            reference=reference(),
            record={"trained_at": NOW.isoformat(), "skill": 0.05},
        )
        self.champions.promote(market, "swing", version, made.folder)

    def confirm(self, market: str = BTC, at: datetime = NOW) -> None:
        """A promotion verdict at that moment."""
        record_verdict(
            self.engine,
            Verdict(VerdictKind.PROMOTION, market, "swing", True, (), at, {}, f"v{at:%j%H%M}"),
        )


def desk(folder: Path, **settings: object) -> Desk:
    """BTC and ETH, profile swing, all but the closing candle collected; no champion yet."""
    values = {
        "TRADING_ASSETS_HOME": folder,
        "markets": f"{BTC},{ETH}",
        "profile": "swing",
        "profiles": "swing",
        **settings,
    }
    world = World("sandbox-test", folder / "data", folder / "mlruns")
    engine = connect(f"sqlite:///{world.database}")
    prepare(engine, world)
    clock = SteppedClock(NOW)
    book = CandleBook({m: candles(m) for m in (BTC, ETH)})
    store = CandleStore(world.candles, world.name)
    for market in (BTC, ETH):
        fill(store, market, CLOSING)
    return Desk(
        load_settings(values),
        world,
        clock,
        book,
        store,
        ChampionStore(world.champions, world.name),
        engine,
    )


def fill(store: CandleStore, market: str, until: datetime = CLOSE) -> None:
    """Put the candles before `until` into the store, as a collection would."""
    frame = candles(market)
    frame = frame[frame["open_time"] < pd.Timestamp(until)].reset_index(drop=True)
    start = frame["open_time"].iloc[0].to_pydatetime()
    store.merge(market, INTERVAL, frame, covered=(start, until))


@cache
def series() -> CandleSeries:
    return regular_series(candles(), gap_frame(()), INTERVAL).until(CLOSE)


@cache
def dataset() -> Dataset:
    settings = load_settings({"TRADING_ASSETS_HOME": Path("/nowhere")})
    swing = profile(settings, ProfileName.SWING)
    labels = make_labels(series(), swing, costs(settings), ewm_sigma(series()))
    sequences = make_sequences(feature_matrix(series()), series())
    return make_dataset(BTC, swing, sequences, labels, costs=costs(settings))


@cache
def reference() -> FeatureReference:
    return feature_reference(feature_matrix(series()))


@cache
def small_model() -> Trained:
    """Logistic regression on 100 days: no trees, so that it trains in no time."""
    settings = load_settings({"TRADING_ASSETS_HOME": Path("/nowhere")})
    swing = replace(
        profile(settings, ProfileName.SWING),
        min_history=timedelta(days=30),
        calibration_window=timedelta(days=30),
        gate_window=timedelta(days=15),
    )
    return train(dataset(), swing, Recipe.LOGISTIC, (1,), trained_at=NOW)
