"""From stored predictions to a stored choice, on candles that rise and fall in turn."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_assets.backtest.predictions import FoldFacts, Predictions, PredictionStore
from trading_assets.backtest.profile_evaluation import choose_profile, evaluation_of
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
from trading_assets.signals.choices import ChoiceReason, latest_choice
from trading_assets.world import World

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOURS = 8 * 7 * 24
BTC, ETH = "KRW-BTC", "KRW-ETH"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    """A world of eight weeks of hourly candles; the clock stands an hour after the last."""
    world = World("sandbox-test", tmp_path / "data", tmp_path / "mlruns")
    engine = connect(f"sqlite:///{world.database}")
    prepare(engine, world)
    settings = load_settings(
        {
            "TRADING_ASSETS_HOME": tmp_path,
            "markets": (BTC, ETH),
            "profiles": ("swing",),
            "profile": "auto",
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


def store_predictions(shop: Workshop, market: str, *, buys_before_the_rise: bool) -> None:
    """A BUY every 24 hours, at a low (a rise of 2 % follows) or at a high (a fall follows)."""
    n = HOURS
    rows = np.arange(n)
    buy = rows % 24 == (0 if buys_before_the_rise else 1)
    ev = np.where(buy, 0.01, -0.01)
    p = np.where(buy[:, None], [0.1, 0.3, 0.6], [0.3, 0.4, 0.3])
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


def test_a_profile_that_was_not_walked_forward_is_not_evaluated(shop: Workshop) -> None:
    found = choose_profile(shop, candle_store(shop))
    assert (found.choice.profile, found.choice.numbers) == (None, ())
    assert found.choice.detail == "swing: not evaluated yet"
    every_market, *others = found.checks
    assert not every_market.passed
    assert every_market.reason == (
        "swing KRW-BTC: not walked forward yet; swing KRW-ETH: not walked forward yet"
    )
    assert all(check.passed for check in others)


def test_every_market_counts_in_one_account(shop: Workshop) -> None:
    for market in (BTC, ETH):
        store_predictions(shop, market, buys_before_the_rise=True)
    found = evaluation_of(shop.settings, walked(shop))
    assert found is not None
    assert len(found.net_bp) == 2 * HOURS // 24
    # Bought at a low of 100,000,000 + 3 bp of slippage = 100,030,000, taken within the hour at
    # 1.5 % above that, 101,530,000: 153 bp gross. Sold 3 bp lower, at 101,499,500; both fees are
    # 100,800: (101,499,500 - 100,030,000 - 100,800) / 100,030,000 = 136.8 bp net.
    assert found.net_bp.min() == pytest.approx(136.8, abs=0.2)
    assert found.gross_bp.mean() == pytest.approx(153, abs=0.2)
    # At random about half begin at a high and end at the time limit where they began, less costs.
    assert found.random_bp == pytest.approx((136.8 - 16) / 2, abs=20)
    assert (found.start, found.evaluated_at) == (START, START + HOURS * HOUR)


def test_the_choice_is_stored_and_kept_with_its_beginning(shop: Workshop) -> None:
    store_predictions(shop, BTC, buys_before_the_rise=True)
    candles = candle_store(shop)
    first = choose_profile(shop, candles).choice
    assert (first.profile, first.reason, first.run_id) == ("swing", ChoiceReason.CHOSEN, "run-1")
    assert latest_choice(shop.engine) == first
    assert isinstance(shop.clock, SteppedClock)
    shop.clock.advance(timedelta(days=1))
    second = choose_profile(shop, candles).choice
    assert (second.reason, second.since) == (ChoiceReason.KEPT, first.decided_at)
    assert latest_choice(shop.engine) == second
    # The walk-forward has stood still for more than a week: it proves nothing any more.
    shop.clock.advance(timedelta(days=7))
    late = choose_profile(shop, candles)
    assert late.choice.profile is None
    assert late.checks[0].reason.endswith("swing KRW-BTC: its last decision is 8.0 days old")


def test_a_profile_that_loses_is_not_traded(shop: Workshop) -> None:
    store_predictions(shop, BTC, buys_before_the_rise=False)
    choice = choose_profile(shop, candle_store(shop)).choice
    assert (choice.profile, choice.reason) == (None, ChoiceReason.NO_EDGE)
    (numbers,) = choice.numbers
    assert numbers.net_bp is not None
    assert numbers.net_bp < 0
    assert choice.detail.startswith("swing: no edge, a trade earns at least -")


def test_a_market_that_cannot_be_read_is_named_and_stops_no_other(shop: Workshop) -> None:
    for market in (BTC, ETH):
        store_predictions(shop, market, buys_before_the_rise=True)
    PredictionStore(shop.world.walk_forward, shop.world.name).path(
        BTC, "swing", "lightgbm"
    ).write_bytes(b"cut")
    found = choose_profile(shop, candle_store(shop))
    assert found.choice.profile == "swing"
    assert found.choice.numbers[0].trades == HOURS // 24  # of ETH alone
    every_market = found.checks[0]
    assert (every_market.passed, every_market.blocking) == (False, False)
    assert "swing KRW-BTC: " in every_market.reason
    assert "cannot be read" in every_market.reason
    assert every_market.values == {"evaluated": 1, "missing": 1, "old": 0}


def test_a_market_whose_candles_were_corrected_since_is_left_out(shop: Workshop) -> None:
    for market in (BTC, ETH):
        store_predictions(shop, market, buys_before_the_rise=True)
    corrected = candles().assign(close=lambda frame: frame["close"] - 500_000)
    corrected["low"] = corrected[["low", "close"]].min(axis=1)
    end = START + HOURS * HOUR
    candle_store(shop).merge(BTC, Interval.M60, corrected, covered=(START, end))
    found = walked(shop)
    assert [p.market for p in found.predictions] == [ETH]
    assert found.left_out[BTC].endswith("its candles were corrected after it was walked forward")


def test_a_market_without_candles_is_left_out(shop: Workshop) -> None:
    store_predictions(shop, BTC, buys_before_the_rise=True)
    shutil.rmtree(shop.world.candles / BTC)
    assert walked(shop).left_out == {
        BTC: "KRW-BTC has no 60m candles",
        ETH: "not walked forward yet",
    }
