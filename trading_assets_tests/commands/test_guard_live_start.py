"""The first start with real money, and what a stop leaves unguarded."""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from trading_assets.clock import SystemClock
from trading_assets.commands.halt import holder
from trading_assets.commands.live_start import PHRASE, confirm_live_start, intentions
from trading_assets.commands.unguarded import (
    release_dead_runs,
    release_gone_guards,
    unguarded,
)
from trading_assets.errors import CredentialsRefused, EnvironmentProblem
from trading_assets.exchange import upbit
from trading_assets.exchange.model import Balance
from trading_assets.settings import Settings, load_settings
from trading_assets.trading import leases
from trading_assets.trading.entry import not_enabled
from trading_assets.trading.states import PositionState
from trading_assets_tests.commands.world_rows import prepared
from trading_assets_tests.trading.ledger_world import NOW, bought, emptied, lease_of

SECRET = "s3cret-key-of-this-test-alone-0123456789"


def live(**more: object) -> Settings:
    return load_settings({"trading_mode": "live", "profile": "swing", **more})


def armed_for_real(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Live with switch and keys; the account answers 2,000,000 KRW without any request."""

    class Account:
        def balances(self) -> tuple[Balance, ...]:
            return (Balance("KRW", Decimal(2_000_000), Decimal(0), Decimal(0)),)

        def close(self) -> None:
            return None

    monkeypatch.setattr(upbit, "trading", lambda _settings, _clock: Account())
    return live(
        enable_live_orders="i-accept-the-risk",
        upbit_access_key="acc3ss-key",
        upbit_secret_key=SECRET,
    )


def test_without_the_switch_nothing_is_asked_and_it_says_signals_only() -> None:
    said: list[str] = []
    confirm_live_start(live(), SystemClock(), said.append, yes=False)
    assert said == [
        "live: signals only. Entries need keys and ENABLE_LIVE_ORDERS=i-accept-the-risk."
    ]


def test_the_switch_without_keys_is_refused_before_anything_starts() -> None:
    settings = live(enable_live_orders="i-accept-the-risk")
    with pytest.raises(CredentialsRefused, match="UPBIT_ACCESS_KEY"):
        confirm_live_start(settings, SystemClock(), print, yes=True)


def test_the_first_live_start_says_how_much_and_asks_once(
    monkeypatch: pytest.MonkeyPatch, isolated_settings: Path
) -> None:
    settings = armed_for_real(monkeypatch)
    said: list[str] = []
    with pytest.raises(EnvironmentProblem, match="nothing was started"):
        confirm_live_start(settings, SystemClock(), said.append, yes=False, ask=lambda _: "yes")
    confirm_live_start(settings, SystemClock(), said.append, yes=False, ask=lambda _: PHRASE)
    told = "\n".join(said)
    assert "capital 2,000,000 KRW" in told
    assert "100,000 to 300,000 KRW" in told
    assert SECRET not in told
    confirm_live_start(settings, SystemClock(), pytest.fail, yes=False, ask=pytest.fail)


def test_yes_needs_no_phrase_and_no_terminal(
    monkeypatch: pytest.MonkeyPatch, isolated_settings: Path
) -> None:
    settings = armed_for_real(monkeypatch)
    with pytest.raises(EnvironmentProblem, match="in a terminal"):
        confirm_live_start(settings, SystemClock(), lambda _line: None, yes=False)
    assert not_enabled(settings) is not None
    confirm_live_start(settings, SystemClock(), lambda _line: None, yes=True, ask=pytest.fail)
    assert not_enabled(settings) is None


def test_the_intentions_are_the_settings_numbers() -> None:
    told = "\n".join(intentions(live(), Decimal(1_000_000)))
    assert "50,000 to 150,000 KRW, at most 5 positions and 500,000 KRW" in told
    assert "loss of 30,000 KRW; 70,000 KRW below the peak" in told


def test_a_stop_names_what_nobody_holds_and_gives_dead_leases_back() -> None:
    settings = load_settings()
    _, engine = prepared(settings)
    emptied(engine)
    lease = lease_of(engine)
    position = bought(engine, lease)
    assert position.state is PositionState.OPEN
    assert (
        list(unguarded(settings, engine, NOW + timedelta(seconds=1))) == []
    )  # its lease still lives
    release_dead_runs(engine, NOW + timedelta(seconds=1))
    first, advice = unguarded(settings, engine, NOW + timedelta(seconds=1))
    assert first == "!! KRW-BTC: 10 is now UNGUARDED (no stop yet)"
    assert "`trading-assets guard`" in advice
    assert "with `trading-assets paper-exchange` in another terminal" in advice
    assert "paper-exchange" not in list(unguarded(live(), engine, NOW + timedelta(seconds=1)))[-1]

    by_hand = leases.take(
        engine, "KRW-BTC", "by-hand-1", now=NOW + timedelta(seconds=2), duration=timedelta(hours=1)
    )
    assert by_hand is not None
    release_dead_runs(engine, NOW + timedelta(seconds=3))
    assert list(unguarded(settings, engine, NOW + timedelta(seconds=3))) == []


@pytest.mark.parametrize("give_back", [release_dead_runs, release_gone_guards])
def test_a_guard_that_was_killed_keeps_its_lease_only_until_the_next_stop_or_start(
    give_back: Callable[[Engine, datetime], None],
) -> None:
    """Its name says its process; one that lives, or lives on another machine, is left alone."""
    settings = load_settings()
    _, engine = prepared(settings)
    emptied(engine)
    with subprocess.Popen([sys.executable, "-c", ""]) as killed:
        killed.wait()
    lasts = timedelta(hours=1)
    for market, name in (
        ("KRW-BTC", f"by-hand-{os.uname().nodename}-{killed.pid}"),
        ("KRW-ETH", holder()),
        ("KRW-SOL", f"by-hand-another-{killed.pid}"),
    ):
        assert leases.take(engine, market, name, now=NOW, duration=lasts) is not None
    give_back(engine, NOW)
    held = [lease.subject for lease in leases.all_leases(engine) if lease.is_live(NOW)]
    assert held == ["KRW-ETH", "KRW-SOL"]
