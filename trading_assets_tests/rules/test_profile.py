"""A profile's derived numbers, and the shipped two."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from trading_assets.models.profiles import active_profiles, costs, profile
from trading_assets.rules.exits import FixedExits, VolatilityExits
from trading_assets.rules.profile import LabelKind
from trading_assets.settings import ProfileName, load_settings


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ASSETS_HOME", str(tmp_path))


def test_scalp_is_the_users_rules() -> None:
    scalp = profile(load_settings(), ProfileName.SCALP)
    assert scalp.exits == FixedExits(Decimal("0.02"), Decimal("0.02"), timedelta(minutes=30))
    assert scalp.label is LabelKind.NET_OUTCOME
    assert (scalp.interval, scalp.horizon_candles) == (timedelta(minutes=5), 6)
    assert (scalp.min_confidence, scalp.min_ev_costs) == (Decimal("0.5"), Decimal(0))


def test_swing_is_what_the_measurements_support() -> None:
    swing = profile(load_settings(), ProfileName.SWING)
    assert swing.exits == VolatilityExits(Decimal(1), 12, timedelta(hours=12), Decimal(2))
    assert swing.label is LabelKind.TRIPLE_BARRIER
    assert (swing.interval, swing.horizon_candles) == (timedelta(hours=1), 12)
    assert swing.history is None
    assert swing.min_history == timedelta(days=400)


def test_a_horizon_that_is_no_whole_number_of_candles_is_refused() -> None:
    swing = profile(load_settings(), ProfileName.SWING)
    odd = replace(swing, exits=FixedExits(Decimal("0.02"), Decimal("0.02"), timedelta(minutes=90)))
    with pytest.raises(ValueError, match="must be a whole number of 60-minute candles"):
        _ = odd.horizon_candles


def test_a_horizon_below_one_candle_is_refused() -> None:
    swing = profile(load_settings(), ProfileName.SWING)
    odd = replace(swing, exits=FixedExits(Decimal("0.02"), Decimal("0.02"), timedelta(minutes=30)))
    with pytest.raises(ValueError, match="whole number"):
        _ = odd.horizon_candles


def test_profiles_that_a_recording_cannot_serve_are_not_active() -> None:
    both = active_profiles(load_settings())
    recorded = active_profiles(load_settings({"recorded": "r", "profile": "swing"}))
    assert [p.name for p in both] == ["scalp", "swing"]
    assert [p.name for p in recorded] == ["swing"]


def test_costs_come_from_the_settings() -> None:
    made = costs(load_settings({"fee_rate": "0.001", "min_slippage_rate": "0.0002"}))
    assert (made.fee_rate, made.min_slippage_rate) == (Decimal("0.001"), Decimal("0.0002"))
