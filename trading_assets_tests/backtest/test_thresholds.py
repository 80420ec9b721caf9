"""The thresholds around a profile's own, on candles that rise and fall in turn."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from trading_assets.backtest.paths import account_rules
from trading_assets.backtest.profile_report import report_profiles
from trading_assets.backtest.report import Search
from trading_assets.backtest.thresholds import threshold_search
from trading_assets.backtest.walked_forward import walked_forward
from trading_assets.models.profiles import costs, profile
from trading_assets.models.retrain import Workshop
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName
from trading_assets_tests.backtest.seesaw import (
    BTC,
    candle_store,
    seesaw_shop,
    store_predictions,
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with seesaw_shop(tmp_path) as made:
        store_predictions(made, BTC, buys_before_the_rise=True)
        yield made


def swing(shop: Workshop) -> Profile:
    return profile(shop.settings, ProfileName.SWING)


def searched(shop: Workshop, traded: Profile) -> Search | None:
    found = walked_forward(shop.settings, shop.world, candle_store(shop), traded)
    return threshold_search(
        found.predictions,
        found.series,
        traded,
        account_rules(shop.settings),
        costs(shop.settings),
    )


def test_the_profile_is_judged_among_fifteen_thresholds(shop: Workshop) -> None:
    found = searched(shop, swing(shop))
    assert found is not None
    assert len(found.settings) == 15
    assert found.chosen == "EV > 1 costs, p_buy >= 0"
    # Each BUY expects enough and is sure enough for all of them: the same trades fifteen times.
    assert len(set(found.net_bp)) == 1
    assert found.deflated.trials == pytest.approx(1)


def test_thresholds_that_are_none_of_them_are_tried_too(shop: Workshop) -> None:
    own = replace(swing(shop), min_ev_costs=Decimal("0.75"))
    found = searched(shop, own)
    assert found is not None
    assert len(found.settings) == 16
    assert found.chosen == "EV > 0.75 costs, p_buy >= 0"


def test_the_report_of_a_world_has_the_search(shop: Workshop) -> None:
    (made,) = report_profiles(shop, candle_store(shop)).made
    assert made.search == searched(shop, swing(shop))
    assert "deflated_sharpe" in made.metrics()
