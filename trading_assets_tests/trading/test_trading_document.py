"""docs/trading_rules.md tells what the code does."""

from datetime import timedelta
from decimal import Decimal

import pytest

from trading_assets.errors import SettingsError
from trading_assets.rules.limits import Limits
from trading_assets.settings import TradingMode, load_settings
from trading_assets.trading.books import EXITS_LOOKED_AT
from trading_assets.trading.document import DOCUMENT, with_tables
from trading_assets.trading.rules import entry_rules


def test_the_tables_of_the_document_are_the_codes() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(text) == text


def test_a_missing_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="must have"):
        with_tables("no marks")


def test_the_default_rules_are_the_documents() -> None:
    rules = entry_rules(load_settings())
    assert rules.limits == Limits(
        max_exposure=Decimal("0.5"),
        max_positions=5,
        rest=timedelta(minutes=15),
        rest_after_stop=timedelta(minutes=60),
        max_stops=4,
        stop_window=timedelta(hours=24),
        stop_pause=timedelta(hours=2),
        max_day_loss=Decimal("0.03"),
        max_peak_loss=Decimal("0.07"),
    )
    assert [(str(s.p_buy), str(s.share)) for s in rules.size.steps] == [
        ("0.8", "0.15"),
        ("0.7", "0.10"),
        ("0.6", "0.07"),
        ("0", "0.05"),
    ]
    assert not rules.size.raise_to_minimum
    assert rules.max_price_age == timedelta(seconds=5)
    assert rules.max_model_age == timedelta(hours=48)


def test_a_setting_reaches_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING__SMALL_ACCOUNT", "raise_to_minimum")
    monkeypatch.setenv("TRADING__BLOCKING_CAUTIONS", "A, B")
    monkeypatch.setenv("TRADING__REST_MINUTES", "0.5")
    rules = entry_rules(load_settings())
    assert rules.size.raise_to_minimum
    assert rules.blocking_cautions == {"A", "B"}
    assert rules.limits.rest == timedelta(seconds=30)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        (
            "SIZE_FROM_60",
            "0.12",
            "TRADING__SIZE_FROM_70=0.10 must not be below TRADING__SIZE_FROM_60=0.12",
        ),
        ("HEARTBEAT_SECONDS", "4.1", "must be at most half of TRADING__LEASE_SECONDS=8"),
        ("MAX_POSITIONS", "0", "greater than or equal to 1"),
        ("MAX_DAY_LOSS", "1", "less than 1"),
        ("CAPITAL_KRW", "0", "greater than 0"),
        ("ORDER_PREFIX", "T-A", "should match pattern"),
        ("SMALL_ACCOUNT", "ignore", "'skip' or 'raise_to_minimum'"),
    ],
)
def test_a_wrong_trading_setting_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"TRADING__{name}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert says in str(refused.value)


def test_no_rest_or_streak_is_longer_than_exits_are_looked_at() -> None:
    longest = {
        "rest_minutes": 10080,
        "rest_after_stop_minutes": 10080,
        "stop_window_hours": 120,
        "stop_pause_hours": 48,
    }
    limits = entry_rules(load_settings({"trading": longest})).limits
    assert limits.rest == limits.rest_after_stop == EXITS_LOOKED_AT
    assert limits.stop_window + limits.stop_pause == EXITS_LOOKED_AT
    for name, most in longest.items():
        with pytest.raises(SettingsError, match="less than or equal to"):
            load_settings({"trading": {name: most + 1}})


def test_an_order_is_not_called_lost_within_a_minute_in_live_mode() -> None:
    shorter = {"trading": {"lost_order_seconds": "59.9"}}
    assert load_settings(shorter).trading.lost_order_seconds == Decimal("59.9")
    with pytest.raises(SettingsError, match="TRADING__LOST_ORDER_SECONDS must be at least 60"):
        load_settings({**shorter, "trading_mode": TradingMode.LIVE, "profile": "swing"})
