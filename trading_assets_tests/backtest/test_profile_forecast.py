"""From stored predictions to a stored forecast, on candles that rise and fall in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from trading_assets.backtest.profile_forecast import forecast_profiles
from trading_assets.models.retrain import Workshop
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.signals.forecast import PROFILE_RULE, latest_forecast, threshold_rule
from trading_assets_tests.backtest.seesaw import (
    BTC,
    ETH,
    candle_store,
    seesaw_shop,
    store_predictions,
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with seesaw_shop(tmp_path) as made:
        yield made


def test_without_a_walk_forward_there_is_no_forecast_and_a_check_says_so(shop: Workshop) -> None:
    found = forecast_profiles(shop, candle_store(shop))
    assert found.made == ()
    every_profile, _ = found.checks
    assert not every_profile.passed
    assert every_profile.reason.startswith("swing: a forecast needs the walk-forward of at least")
    assert latest_forecast(shop.engine, "swing") is None


def test_signals_and_trades_a_day_of_each_rule(shop: Workshop) -> None:
    for market in (BTC, ETH):
        store_predictions(shop, market, buys_before_the_rise=True, otherwise=(0.25, 0.35, 0.4))
    found = forecast_profiles(shop, candle_store(shop))
    assert latest_forecast(shop.engine, "swing") == found.made[0]
    rates = found.made[0].markets[BTC].rates
    # One BUY a day at a low is sold by the next close. With p_buy 0.4 in every other candle the
    # account also buys there, and is through with it two hours later: 15 minutes of rest follow.
    assert {rule: (r.signals_a_day, r.trades_a_day) for rule, r in rates.items()} == {
        PROFILE_RULE: (1.0, 1.0),
        threshold_rule(0.4): (24.0, 12.0),
        threshold_rule(0.5): (1.0, 1.0),
        threshold_rule(0.6): (1.0, 1.0),
    }
    whole = found.made[0].markets[ALL_MARKETS].rate
    assert (whole.signals_a_day, whole.trades_a_day) == (2.0, 2.0)
    # 1324 windows of 21 h end at hours 20 to 1343; those that end at 21, 22 or 23 o'clock of the 56
    # days have no midnight, and so no BUY, in them.
    assert whole.no_signal == pytest.approx(3 * 56 / 1324)
    assert all(check.passed for check in found.checks)


def test_a_rule_that_never_says_buy_is_a_warning(shop: Workshop) -> None:
    never = {"min_confidence": "0.7"}
    settings = shop.settings.model_copy(
        update={"swing": shop.settings.swing.model_copy(update=never)}
    )
    store_predictions(shop, BTC, buys_before_the_rise=True)
    silent = Workshop(settings, shop.world, shop.clock, shop.engine)
    _, expected = forecast_profiles(silent, candle_store(shop)).checks
    assert (expected.passed, expected.blocking) == (False, False)
    assert expected.reason == "swing: 0 BUY a day, none in 21 h in 100% of windows"
