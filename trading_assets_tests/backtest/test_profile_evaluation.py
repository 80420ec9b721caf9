"""From stored predictions to a stored choice, on candles that rise and fall in turn."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from trading_assets.backtest.predictions import PredictionStore
from trading_assets.backtest.profile_evaluation import choose_profile, evaluation_of
from trading_assets.clock import SteppedClock
from trading_assets.exchange.model import Interval
from trading_assets.models.retrain import Workshop
from trading_assets.settings import ProfileName
from trading_assets.signals.choices import ChoiceReason, latest_choice, traded_profile
from trading_assets_tests.backtest.seesaw import (
    BTC,
    ETH,
    HOUR,
    HOURS,
    START,
    candle_store,
    candles,
    seesaw_shop,
    store_predictions,
    walked,
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with seesaw_shop(tmp_path) as made:
        yield made


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
    assert found.choice.numbers[0].markets == (ETH,)
    traded = traded_profile(shop.engine, shop.settings, shop.clock.now())
    assert (traded.profile, traded.without) == (ProfileName.SWING, (BTC,))
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


def test_a_profile_waits_for_all_its_markets_until_its_first_choice(shop: Workshop) -> None:
    store_predictions(shop, BTC, buys_before_the_rise=True)
    store = candle_store(shop)
    waiting = choose_profile(shop, store, being_evaluated=["swing"])
    assert waiting.choice.profile is None
    assert waiting.choice.detail == "swing: not evaluated yet"
    assert isinstance(shop.clock, SteppedClock)
    shop.clock.advance(HOUR)
    assert choose_profile(shop, store).choice.profile == "swing"
    # It is evaluated again a day later: what was known of it goes on counting.
    shop.clock.advance(timedelta(days=1))
    assert choose_profile(shop, store, being_evaluated=["swing"]).choice.profile == "swing"
