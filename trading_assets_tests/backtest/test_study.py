"""From candles to a report, for a rule whose label is not its trade; noise earns nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from trading_assets.backtest.predictions import Predictions
from trading_assets.backtest.report import Report
from trading_assets.backtest.study import Prices, Study, judge, predict
from trading_assets.rules.exits import FixedExits
from trading_assets.settings import Recipe, Settings, SwingSettings
from trading_assets_tests.backtest.walked import MARKET, SWING, series, store

# The small world of `walked.py`: candles from 2024-01-01, the first fold on 2024-04-01.
SETTINGS = Settings(
    swing=SwingSettings(first_fit_days=60, refit_every="1mo", recalibrate_every="10d"), seeds=1
)
START, END = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)
ONE_HOUR = replace(
    SWING,
    name="one_hour",
    exits=FixedExits(Decimal("0.02"), Decimal("0.02"), timedelta(hours=1)),
    min_confidence=Decimal("0.3"),
    min_ev_costs=Decimal(-1000),
)
STUDY = Study(SWING, ONE_HOUR, Recipe.LOGISTIC, "p_buy >= 30 %, leaves at the next close")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Predictions, ...], Report]:
    candles = {MARKET: series()}
    folder = tmp_path_factory.mktemp("study")
    predictions = predict(STUDY, candles, SETTINGS, store(folder), start=START, end=END)
    prices = Prices("sandbox-test", "random prices", "hash")
    return predictions, judge(STUDY, predictions, candles, SETTINGS, prices)


def test_only_the_stretch_that_was_asked_for_is_judged(
    made: tuple[tuple[Predictions, ...], Report],
) -> None:
    subject = made[1].subject
    assert START < subject.start < START + timedelta(days=2)
    assert END - timedelta(days=2) < subject.end <= END + timedelta(hours=1)
    assert (subject.profile, subject.recipe, subject.markets) == (
        "one_hour",
        "logistic",
        (MARKET,),
    )


def test_the_traded_rule_takes_the_money_not_the_learnt_one(
    made: tuple[tuple[Predictions, ...], Report],
) -> None:
    """Learnt are 12 hours by volatility, traded is one hour: entries in, out at the next close."""
    report = made[1]
    assert report.measured.trades > 50
    assert set(report.measured.ends) <= {"time_limit", "stop_loss", "take_profit", "end_of_data"}
    assert report.measured.mean_exposure < 0.2


def test_noise_earns_no_more_than_its_costs_and_luck(
    made: tuple[tuple[Predictions, ...], Report],
) -> None:
    report = made[1]
    assert report.measured.net_bp.value < 0
    assert report.random is not None
    assert report.random.reached > 0.05
    assert report.predicted is not None
    assert report.predicted.skill[0].rows > 1000


def test_another_history_and_no_calibration_change_what_is_predicted(
    made: tuple[tuple[Predictions, ...], Report], tmp_path: Path
) -> None:
    other = replace(STUDY, calibrated=False, history=timedelta(days=70))
    (found,) = predict(other, {MARKET: series()}, SETTINGS, store(tmp_path), start=START, end=END)
    assert found.record["calibrated_share"] == 0
    assert found.record["history_days"] == 70
    assert (found.p != made[0][0].p).any()
