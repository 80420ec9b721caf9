"""From stored predictions to a report and its checks, on candles that rise and fall in turn."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from trading_assets.backtest.profile_report import report_checks, report_profiles, rule_of
from trading_assets.backtest.report import Luck
from trading_assets.models.profiles import active_profiles
from trading_assets.models.retrain import Workshop
from trading_assets.settings import load_settings
from trading_assets_tests.backtest.seesaw import (
    BTC,
    ETH,
    HOURS,
    candle_store,
    seesaw_shop,
    store_predictions,
)
from trading_assets_tests.backtest.simulations import report


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    with seesaw_shop(tmp_path) as made:
        yield made


def test_without_a_walk_forward_there_is_no_report(shop: Workshop) -> None:
    found = report_profiles(shop, candle_store(shop))
    assert found.made == ()
    assert found.left_out == {"swing": dict.fromkeys((BTC, ETH), "not walked forward yet")}
    assert [check.reason for check in found.checks] == [
        "nothing traded yet: luck has a p of at most 0.05",
        "nothing traded yet: above 0 bp a trade",
    ]


def test_buys_before_the_rise_are_reported_and_a_later_entry_is_found_out(shop: Workshop) -> None:
    store_predictions(shop, BTC, buys_before_the_rise=True)
    found = report_profiles(shop, candle_store(shop))
    (made,) = found.made
    assert made.subject.prices == "SYNTHETIC prices"
    assert made.subject.markets == (BTC,)
    assert made.measured.trades == HOURS // 24
    assert made.measured.net_bp.value > 130
    # The next open is the low at which the BUY was said; an hour later it is the high, and the
    # expected value at that price is gone.
    assert made.next_open.net_bp.value > 130
    assert made.delayed.refusals == {"price_moved": HOURS // 24}
    assert found.left_out == {"swing": {ETH: "not walked forward yet"}}


def test_what_luck_earns_too_and_what_a_later_entry_loses_are_warnings() -> None:
    made = report()
    # The real one counts as a draw: of 41, as good as it were 2 (0.049), then 3 (0.073).
    luck = Luck(net_bp=(1.0,) * 40, trades=10.0, reached=1 / 40)
    earns = replace(made.measured.net_bp, value=0.1)
    good = replace(made, placebo=luck, next_open=replace(made.next_open, net_bp=earns))
    assert all(check.passed for check in report_checks([good]))
    lucky = replace(good, placebo=replace(luck, reached=2 / 40))
    wrong_time, _ = report_checks([lucky])
    assert (wrong_time.passed, wrong_time.blocking) == (False, False)
    assert wrong_time.reason == (
        "swing: 5% of the repetitions earned as much, so luck has a p of 0.07"
    )
    loses = replace(good.next_open, net_bp=replace(earns, value=0.0))
    _, late = report_checks([replace(good, next_open=loses)])
    assert not late.passed
    assert late.reason == "swing: +0.0 bp a trade"


def test_the_rule_of_each_profile_in_words() -> None:
    assert [rule_of(p) for p in active_profiles(load_settings())] == [
        "p_buy from 50 %, expected value after costs above 0 x costs, time limit 0.5 h",
        "expected value after costs above 1 x costs, time limit 12 h",
    ]
