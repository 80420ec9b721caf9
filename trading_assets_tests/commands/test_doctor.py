"""The doctor: a line that stays quiet and a line that fires for each thing it looks at."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from trading_assets.commands import doctor
from trading_assets.commands.doctor import findings
from trading_assets.commands.ports import free_ports
from trading_assets.models.verdicts import Verdict, VerdictKind, record_verdict
from trading_assets.rules.check import Level
from trading_assets.rules.funnel import FunnelCode
from trading_assets.settings import Settings, load_settings
from trading_assets_tests.commands.silent_world import healthy_world, silent_world
from trading_assets_tests.commands.world_rows import heartbeat_row, prepared, signal_row
from trading_assets_tests.conftest import RunningExchange
from trading_assets_tests.signals.said import HOUR, NEWEST, bought, ended
from trading_assets_tests.signals.said import NOW as SIGNALS_NOW
from trading_assets_tests.stopped_writer import stopped_writer

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def settings_with(**overrides: Any) -> Settings:
    dagster, mlflow, exchange = free_ports(3)
    return load_settings(
        {
            "markets": ("KRW-BTC",),
            "profiles": ("scalp",),
            "dagster_port": dagster,
            "mlflow_port": mlflow,
            "paper_exchange_port": exchange,
            **overrides,
        }
    )


def levels(settings: Settings) -> dict[str, Level]:
    return {finding.subject: finding.level for finding in findings(settings, NOW)}


def judged(at: datetime) -> Verdict:
    return Verdict(VerdictKind.PROMOTION, "KRW-BTC", "scalp", True, (), at)


def test_a_world_never_prepared_fails_with_the_command_that_prepares_it() -> None:
    said: list[str] = []
    assert doctor.doctor(settings_with(), NOW, said.append) == 1
    assert any(line.startswith("FAIL  world:") and line.endswith("-> make setup") for line in said)
    assert any(line.startswith("FAIL  database:") for line in said)


def test_a_prepared_world_without_servers_warns_but_does_not_fail() -> None:
    settings = settings_with()
    prepared(settings)
    said: list[str] = []
    assert doctor.doctor(settings, NOW, said.append) == 0
    assert "OK    database: prepared for the world sandbox-f0704435" in said
    assert any(line.startswith("WARN  Dagster daemon: Dagster does not run") for line in said)
    assert any(line.startswith("WARN  signal KRW-BTC scalp: none yet") for line in said)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
def test_a_process_stopped_amid_a_write_fails_with_the_command_that_ends_it() -> None:
    settings = settings_with()
    world, engine = prepared(settings)
    with stopped_writer(world.database) as process:
        said: list[str] = []
        assert doctor.doctor(settings, NOW, said.append) == 1
        (line,) = [line for line in said if "database:" in line]
        told = f"FAIL  database: nobody can write, it is locked by process {process.pid} "
        assert line.startswith(told)
        assert line.endswith(f"which is stopped -> kill -9 {process.pid}")
    engine.dispose()


def test_an_exchange_that_answers_is_asked_for_the_markets(paper_exchange: RunningExchange) -> None:
    there = doctor.exchange(settings_with(exchange_url=paper_exchange.url))
    assert there.level is Level.OK
    unknown = settings_with(exchange_url=paper_exchange.url, markets=("KRW-BTC", "KRW-NOPE"))
    answer = doctor.exchange(unknown)
    assert answer.level is Level.FAIL
    assert "does not list KRW-NOPE" in answer.text


def test_an_exchange_that_is_not_there_names_the_command_that_starts_it() -> None:
    answer = doctor.exchange(settings_with())
    assert answer.level is Level.WARN
    assert "make paper-exchange" in answer.fix


def test_an_old_python_fails() -> None:
    assert doctor.python_version((3, 10)).level is Level.FAIL
    assert doctor.python_version((3, 11)).level is Level.OK


def test_this_environment_is_whole() -> None:
    assert doctor.environment().level is Level.OK


@pytest.mark.parametrize(
    ("age_hours", "level"), [(24, Level.OK), (25, Level.WARN), (48, Level.WARN), (49, Level.FAIL)]
)
def test_a_model_warns_after_24_hours_and_fails_after_48(age_hours: int, level: Level) -> None:
    settings = settings_with()
    _, engine = prepared(settings)
    record_verdict(engine, judged(NOW - timedelta(hours=age_hours)))
    assert levels(settings)["model KRW-BTC scalp"] is level


def test_a_signal_is_good_until_it_expires() -> None:
    settings = settings_with()
    _, engine = prepared(settings)
    signal_row(engine, "KRW-BTC", NOW - 5 * MINUTE)
    assert levels(settings)["signal KRW-BTC scalp"] is Level.WARN
    signal_row(engine, "KRW-BTC", NOW - 4 * MINUTE)
    assert levels(settings)["signal KRW-BTC scalp"] is Level.OK


@pytest.mark.parametrize(
    ("seconds", "running", "level"),
    [(100, True, Level.OK), (101, True, Level.FAIL), (101, False, Level.WARN)],
)
def test_a_silent_trading_location_fails_only_while_servers_run(
    seconds: int, running: bool, level: Level
) -> None:
    _, engine = prepared(settings_with())
    heartbeat_row(engine, NOW - timedelta(seconds=seconds))
    assert doctor.trading_heartbeat(engine, NOW, running=running).level is level


def test_live_checks_are_quiet_when_well_and_name_what_is_not() -> None:
    world = healthy_world(("KRW-BTC",))
    lines = [f.line() for f in doctor.live_checks(world.settings, world.engine, SIGNALS_NOW)]
    assert lines == ["OK    live checks swing: 11 of 11 are well"]
    for ago in (9, 6, 3):
        number = bought(world.engine, NEWEST - ago * HOUR)
        ended(world.engine, number, FunnelCode.NO_CASH, SIGNALS_NOW - ago * HOUR)
    lines = [f.line() for f in doctor.live_checks(world.settings, world.engine, SIGNALS_NOW)]
    assert lines == [
        "FAIL  trade_drought all: 3 BUY in 9 h, no trade: 3 no_cash; 3 faults, 2 may be -> "
        "trading-assets funnel",
        "OK    live checks swing: 10 of 11 are well",
    ]


def test_without_an_evaluation_the_doctor_says_that_rarity_is_unknown() -> None:
    world = silent_world(("KRW-BTC",))
    first, *_ = doctor.live_checks(world.settings, world.engine, SIGNALS_NOW)
    assert first.line() == (
        "WARN  forecast swing: none yet: how rare signals may be is not known -> make run: the job "
        "`evaluate`"
    )
