"""No command prints a key or the database's password, neither when all is well nor when not.

Not here: run configuration, events and tags (`orchestration/test_trading_runs.py`), errors with all
local variables (`exchange/test_upbit.py`), every file of a whole start (`end_to_end/test_run.py`).
"""

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from trading_assets import cli
from trading_assets.paper_exchange.faults import parse_fault
from trading_assets.settings import effective_settings, load_settings
from trading_assets_tests.conftest import MakeExchange
from trading_assets_tests.orchestration.trading_world import (
    ACCESS_KEY,
    MARKET,
    SECRET_KEY,
    TradingWorld,
    open_world,
)

PASSWORD = "passw0rd-of-this-test-alone"
ANSWERS = ("settings", "status", "signals", "explain", "why-hold", "funnel", "profiles", "doctor")
ACTS = ("reconcile", "halt", "resume", "guard")


@pytest.fixture
def trading_world(
    isolated_settings: Path, make_exchange: MakeExchange, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TradingWorld]:
    """A world with an abandoned position, whose settings the environment gives as well."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = open_world(make_exchange(), instance)
        for name, value in {
            "EXCHANGE_URL": world.exchange.url,
            "MARKETS": MARKET,
            "UPBIT_ACCESS_KEY": ACCESS_KEY,
            "UPBIT_SECRET_KEY": SECRET_KEY,
        }.items():
            monkeypatch.setenv(name, value)
        world.enter_and_die()
        yield world
        world.engine.dispose()


@pytest.fixture
def shown(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> "Shown":
    caplog.set_level(logging.DEBUG)
    return Shown(caplog, capfd)


class Shown:
    """What commands print, log and raise, at the most talkative level."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        self._caplog, self._capfd = caplog, capfd
        self._raised: list[str] = []

    def run(self, *commands: str) -> None:
        for command in commands:
            try:
                cli.main([command])
            except Exception:  # noqa: BLE001  # a crash must not show a secret either
                self._raised.append(traceback.format_exc())

    def text(self) -> str:
        told = self._capfd.readouterr()
        return "\n".join((told.out, told.err, self._caplog.text, *self._raised))


def test_no_command_shows_a_key(trading_world: TradingWorld, shown: Shown) -> None:
    shown.run(*ANSWERS)
    trading_world.exchange.faults.add(parse_fault("refuse,times=3"))
    shown.run("status", "doctor", "reconcile")
    trading_world.exchange.faults.add(parse_fault("maintenance,times=100"))
    shown.run("doctor", "reconcile")
    trading_world.exchange.faults.clear()
    shown.run(*ACTS)
    text = shown.text()
    assert "UPBIT_SECRET_KEY=********" in text
    assert "expired_access_key" in text  # an answer about keys was told, without them
    for secret in (ACCESS_KEY, SECRET_KEY, "Bearer "):
        assert secret not in text


def test_no_command_shows_the_databases_password(
    isolated_settings: Path, monkeypatch: pytest.MonkeyPatch, shown: Shown
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://bot:{PASSWORD}@127.0.0.1:1/trading")
    shown.run(*ANSWERS, *ACTS)
    text = shown.text()
    assert "DATABASE_URL=********" in text
    assert "127.0.0.1" in text  # that it cannot be reached was told
    assert PASSWORD not in text
    assert PASSWORD not in repr(effective_settings(load_settings()))
