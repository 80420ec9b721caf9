"""The user's story is caught on day one: each check fails by its name and in its own sentence.

On the synthetic market without any edge, where every claim of skill is false, and on the real
hourly candles beside the repository. The same checks let an honest model of the planted edge pass.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from trading_assets.candles.series import CandleSeries
from trading_assets.models.dataset import Dataset
from trading_assets.models.day_one import (
    Forecastable,
    check_drought,
    day_one,
    expected_signals,
)
from trading_assets.models.labels import Labels
from trading_assets.models.profiles import profile
from trading_assets.paper_exchange.synthetic import SyntheticMarkets, SyntheticParameters
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, Settings
from trading_assets_tests.models.science import synthetic_series
from trading_assets_tests.models.test_real_candles import by_minute, hourly
from trading_assets_tests.models.user_story import (
    by_name,
    forecast,
    honest_claim,
    knowing_nothing,
    rows,
    rule,
    their_claim,
)

XRP = "KRW-XRP"


@pytest.fixture(scope="module")
def series() -> CandleSeries:
    """45 days of 5-minute candles that hold nothing to predict but volatility."""
    market = SyntheticMarkets(SyntheticParameters(3, Decimal(0)), [XRP])
    return synthetic_series(market, XRP, 45)


def test_the_users_setup_fails_on_day_one_by_every_name(series: CandleSeries) -> None:
    traded = rule(30)
    labels, honest = forecast(XRP, series, traded)
    claim = their_claim(XRP, series, rule(360), traded)
    found = by_name(day_one(claim, labels.label[labels.valid], [honest]))
    assert not any(outcome.passed for outcome in found.values())
    assert list(found) == [
        "label_shares",
        "label_is_traded_rule",
        "not_too_good",
        "split_audit",
        "random_vs_purged_gap",
        "drought_forecast",
    ]
    # One class is nearly everything under the rule that is traded.
    assert found["label_shares"].reason.startswith("label shares must be from 3% to 90%, are SELL ")
    assert found["label_shares"].values["share_hold"] > 0.9  # type: ignore[operator]
    # Another trade was learnt: 6 hours against 30 minutes.
    reason = found["label_is_traded_rule"].reason
    assert reason.startswith("the model learnt another trade: label was {")
    assert "'horizon_candles': 72" in reason
    assert "'horizon_candles': 6" in reason
    assert "'timeout_minutes': 360.0" in reason
    # Skill that cannot be: there is no edge in these prices.
    assert found["not_too_good"].reason.startswith("LEAK suspected: skill ")
    assert found["not_too_good"].values["skill"] > 0.25  # type: ignore[operator]
    # Because nearly every test row has its neighbours in training.
    tested = len(claim.tested.test)
    assert found["split_audit"].reason.startswith(f"test: {tested} of {tested} test rows touch a")
    # And what was shown is gone on rows that come later.
    assert "the same model" in found["random_vs_purged_gap"].reason
    assert found["random_vs_purged_gap"].values["share"] < 0.8  # type: ignore[operator]
    # The silence was to be expected.
    assert found["drought_forecast"].reason.startswith("at p_buy >= 50% expect 0.00 BUY signals")
    assert found["drought_forecast"].values["silent_share"] > 0.9  # type: ignore[operator]


@pytest.fixture(scope="module")
def scalp() -> Profile:
    """`scalp` as shipped, with windows that 45 days hold."""
    return replace(
        profile(Settings(), ProfileName.SCALP),
        history=None,
        min_history=timedelta(days=20),
        calibration_window=timedelta(days=10),
        gate_window=timedelta(days=10),
    )


@pytest.fixture(scope="module")
def predictable(scalp: Profile) -> tuple[Labels, Dataset]:
    """45 days with the planted edge."""
    series = synthetic_series(SyntheticMarkets(SyntheticParameters(3), [XRP]), XRP, 45)
    return rows(XRP, series, scalp)


def test_an_honest_training_of_the_traded_rule_passes_them_all(
    scalp: Profile, predictable: tuple[Labels, Dataset]
) -> None:
    labels, dataset = predictable
    claim, said = honest_claim(dataset, scalp)
    found = by_name(day_one(claim, labels.label[labels.valid], [said]))
    assert [outcome for outcome in found.values() if not outcome.passed] == []
    assert len(found) == 6
    # It passes because it is good for something: it knows more than the shares of the classes, and
    # it is as good on the later rows as on those that were shown.
    assert found["not_too_good"].values["skill"] > 0.01  # type: ignore[operator]
    assert claim.tested.test.max() < claim.later.test.min()
    assert found["random_vs_purged_gap"].values["share"] > 0.9  # type: ignore[operator]


def test_a_training_that_mixed_up_its_rows_does_not_pass_for_an_honest_one(
    scalp: Profile, predictable: tuple[Labels, Dataset]
) -> None:
    labels, dataset = predictable
    claim, said = honest_claim(knowing_nothing(dataset), scalp)
    found = by_name(day_one(claim, labels.label[labels.valid], [said]))
    assert [name for name, outcome in found.items() if not outcome.passed] == ["drought_forecast"]
    assert found["not_too_good"].values["skill"] < 0.005  # type: ignore[operator]


@pytest.mark.real_data
def test_the_users_setup_fails_on_real_hours_too(shared_data: Path) -> None:
    """+-2 % in 6 hours on 400 days of hours, traded by 30 minutes: a fortnight of minutes."""
    hours, minutes = hourly(shared_data, XRP).tail(400 * 24), by_minute(shared_data, XRP)
    traded = rule(30, interval_minutes=1, gate_days=5)
    labels, honest = forecast(XRP, minutes, traded)
    claim = their_claim(XRP, hours, rule(360, interval_minutes=60), traded)
    found = by_name(day_one(claim, labels.label[labels.valid], [honest]))
    assert [name for name, outcome in found.items() if outcome.passed] == []
    # Measured before, with other code: HOLD 99.8 %, skill of the random split 42 to 78 %.
    assert found["label_shares"].values["share_hold"] > 0.995  # type: ignore[operator]
    assert found["not_too_good"].values["skill"] > 0.35  # type: ignore[operator]


def market(hours: list[float], p_buy: list[float]) -> Forecastable:
    start = np.datetime64("2025-01-01T00:00", "us")
    closes = start + np.array([round(60 * h) for h in hours], dtype="timedelta64[m]")
    buys = np.array(p_buy)
    p = np.stack([np.zeros(len(buys)), 1 - buys, buys], axis=1)
    return Forecastable(XRP, closes.astype("datetime64[us]"), p)


def test_signals_a_day_and_silence_by_hand() -> None:
    # 42 hours, one signal at hour 30. Windows of 21 h begin at 0, ..., 21: those that begin at 10
    # to 21 hold hour 30, 12 of 22.
    one = market([0, 30, 42], [0.1, 0.6, 0.1])
    a_day, silent = expected_signals([one], 0.5)
    assert a_day == pytest.approx(24 / 42)
    assert silent == pytest.approx(10 / 22)


def test_a_signal_at_the_threshold_counts_and_any_market_breaks_the_silence() -> None:
    quiet, loud = market([0, 30, 42], [0.1, 0.1, 0.1]), market([0, 15, 42], [0.1, 0.5, 0.1])
    assert expected_signals([quiet], 0.5)[1] == 1.0
    # Windows that begin at 0 to 15 hold hour 15: 16 of 22.
    assert expected_signals([quiet, loud], 0.5)[1] == pytest.approx(6 / 22)


def test_the_drought_forecast_passes_up_to_half_of_the_time() -> None:
    exactly_half = market([0, 10, 42], [0.1, 0.5, 0.1])  # 0 to 10 hold hour 10: 11 of 22
    assert check_drought([exactly_half], 0.5).passed
    assert not check_drought([market([0, 9, 42], [0.1, 0.5, 0.1])], 0.5).passed
