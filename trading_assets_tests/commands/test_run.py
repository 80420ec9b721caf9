"""What `run` starts and when it says that the first signals are out; no server is started here."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from trading_assets.commands import services, signal_table
from trading_assets.commands.dagster_web import RunLine, runs_in_words
from trading_assets.commands.materialize import (
    dagster_command,
    failure_lines,
    step_words,
    training_selection,
)
from trading_assets.commands.run import unsettled_markets, urls
from trading_assets.commands.supervisor import Service
from trading_assets.models.verdicts import Verdict, VerdictKind, record_verdict
from trading_assets.settings import ProfileName, Settings, load_settings
from trading_assets.signals.choices import Traded
from trading_assets.world import world_of
from trading_assets_tests.commands.world_rows import prepared, signal_row

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PROBABILITIES = {"p_sell": 0.2, "p_hold": 0.5, "p_buy": 0.3, "reason": "below_confidence"}


def built(settings: Settings) -> dict[str, Service]:
    made = services.services(
        settings,
        world_of(settings),
        workspace=Path("/w/workspace.yaml"),
        trading_port=41001,
        research_port=41002,
    )
    return {service.name: service for service in made}


def test_everything_listens_on_this_machine_only() -> None:
    for service in built(load_settings()).values():
        assert "0.0.0.0" not in service.command
    made = built(load_settings())
    for name in (services.TRADING, services.RESEARCH, services.WEB):
        command = made[name].command
        assert command[command.index("-h") + 1] == "127.0.0.1"
    assert "--host 127.0.0.1" in " ".join(made[services.MLFLOW].command)


def test_trading_is_started_before_research_and_work_waits_for_both() -> None:
    made = built(load_settings())
    order = list(made)
    assert order.index(services.TRADING) < order.index(services.RESEARCH)
    assert set(made[services.DAEMON].needs) == {
        services.TRADING,
        services.RESEARCH,
        services.EXCHANGE,
    }


def test_live_starts_no_paper_exchange() -> None:
    settings = load_settings({"trading_mode": "live", "profile": "swing"})
    assert services.EXCHANGE not in built(settings)
    assert "paper exchange" not in urls(settings)


def test_the_workspace_names_both_code_servers_trading_first() -> None:
    assert services.workspace_yaml(41001, 41002).splitlines()[1:] == [
        "load_from:",
        "  - grpc_server:",
        "      host: 127.0.0.1",
        "      port: 41001",
        "      location_name: trading",
        "  - grpc_server:",
        "      host: 127.0.0.1",
        "      port: 41002",
        "      location_name: research",
    ]


def test_children_get_the_world_and_call_nobody_home() -> None:
    settings = load_settings()
    world = world_of(settings)
    given = services.child_environment(settings, world)
    assert given["DAGSTER_HOME"] == str(world.dagster_home)
    assert given["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert given["DAGSTER_DISABLE_TELEMETRY"] == "1"
    assert given["OMP_NUM_THREADS"] == "1"
    assert given["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert given["PATH"].startswith(str(Path(sys.executable).parent))


def waiting(settings: Settings, engine: Any) -> tuple[str, ...]:
    lines = signal_table.latest(engine, settings.markets, settings.active_profiles)
    return unsettled_markets(settings, engine, lines, ProfileName.SCALP)


def verdict(kind: VerdictKind, at: datetime, *, passed: bool) -> Verdict:
    return Verdict(kind, "KRW-BTC", "scalp", passed, ("a reason",), at)


def test_a_market_waits_until_its_signal_has_probabilities() -> None:
    settings = load_settings({"markets": ("KRW-BTC", "KRW-ETH")})
    _, engine = prepared(settings)
    assert waiting(settings, engine) == ("KRW-BTC", "KRW-ETH")
    signal_row(engine, "KRW-BTC", NOW)
    assert waiting(settings, engine) == ("KRW-BTC", "KRW-ETH")
    signal_row(engine, "KRW-BTC", NOW + MINUTE, **PROBABILITIES)
    assert waiting(settings, engine) == ("KRW-ETH",)


def test_signals_of_the_other_profile_do_not_count() -> None:
    settings = load_settings({"markets": ("KRW-BTC",)})
    _, engine = prepared(settings)
    signal_row(engine, "KRW-BTC", NOW, profile="swing", traded=False, **PROBABILITIES)
    assert waiting(settings, engine) == ("KRW-BTC",)


def test_a_market_that_cannot_be_trained_is_settled_by_any_signal() -> None:
    settings = load_settings({"markets": ("KRW-BTC",)})
    _, engine = prepared(settings)
    record_verdict(engine, verdict(VerdictKind.MAY_TRAIN, NOW, passed=False))
    assert waiting(settings, engine) == ("KRW-BTC",)
    signal_row(engine, "KRW-BTC", NOW - MINUTE)
    assert waiting(settings, engine) == ()


def test_permission_to_train_settles_nothing() -> None:
    settings = load_settings({"markets": ("KRW-BTC",)})
    _, engine = prepared(settings)
    record_verdict(engine, verdict(VerdictKind.MAY_TRAIN, NOW, passed=True))
    signal_row(engine, "KRW-BTC", NOW + MINUTE)
    assert waiting(settings, engine) == ("KRW-BTC",)


def test_a_promoted_model_needs_a_younger_signal() -> None:
    settings = load_settings({"markets": ("KRW-BTC",)})
    _, engine = prepared(settings)
    signal_row(engine, "KRW-BTC", NOW - MINUTE)
    record_verdict(engine, verdict(VerdictKind.PROMOTION, NOW, passed=True))
    assert waiting(settings, engine) == ("KRW-BTC",)
    signal_row(engine, "KRW-BTC", NOW, reason="stale_candles")
    assert waiting(settings, engine) == ()


def test_a_refused_model_settles_its_market() -> None:
    settings = load_settings({"markets": ("KRW-BTC",)})
    _, engine = prepared(settings)
    signal_row(engine, "KRW-BTC", NOW - MINUTE)
    record_verdict(engine, verdict(VerdictKind.PROMOTION, NOW, passed=False))
    assert waiting(settings, engine) == ()


def test_the_table_shows_the_newest_signal_and_marks_what_has_expired() -> None:
    settings = load_settings({"markets": ("KRW-BTC", "KRW-ETH")})
    _, engine = prepared(settings)
    signal_row(engine, "KRW-BTC", NOW - 30 * MINUTE)
    signal_row(
        engine,
        "KRW-BTC",
        NOW - 2 * MINUTE,
        confidence=0.5,
        skill=0.031,
        model_confirmed_at=NOW - timedelta(hours=3, minutes=20),
        **PROBABILITIES,
    )
    signal_row(engine, "KRW-ETH", NOW - 5 * MINUTE)
    lines = signal_table.latest(engine, settings.markets, ("scalp",))
    shown = [row.split() for row in signal_table.table(lines, NOW).splitlines()]
    assert " ".join(shown[1]) == (
        "KRW-BTC scalp* 0.200 0.500 0.300 0.500 HOLD below_confidence 3 h 20 min 0.031 2 min old"
    )
    assert " ".join(shown[2]) == "KRW-ETH scalp* - - - - HOLD no_champion - - EXPIRED"


@pytest.mark.parametrize(
    ("overrides", "prices"),
    [
        ({}, "SYNTHETIC prices"),
        ({"recorded": "some/candles", "profile": "swing"}, "RECORDED prices of some/candles"),
        ({"trading_mode": "live", "profile": "swing"}, "Upbit's prices"),
        ({"trading_mode": "paper"}, "Upbit's prices"),
        (
            {"trading_mode": "paper", "upstream_url": "http://127.0.0.1:8701"},
            "prices of http://127.0.0.1:8701, NOT Upbit's",
        ),
    ],
)
def test_a_table_names_its_world_and_whose_prices_they_are(
    overrides: dict[str, str], prices: str
) -> None:
    settings = load_settings(overrides)
    traded = Traded(None, "the profiles are not evaluated yet")
    shown = signal_table.titled_table(settings, traded, [], NOW).splitlines()[0]
    assert shown.endswith("traded profile none (the profiles are not evaluated yet)")
    assert world_of(settings).name in shown
    assert prices in shown


def test_runs_at_work_are_named_and_waiting_ones_counted() -> None:
    def run(status: str, partition: str | None, *steps: str, job: str = "retrain") -> RunLine:
        return RunLine("id", job, status, partition, steps, ())

    runs = [
        run("QUEUED", "KRW-SOL"),
        run("QUEUED", None, job="produce_signals"),
        run("QUEUED", "KRW-XRP"),
        run("STARTING", "KRW-ETH"),
        run("STARTED", "KRW-BTC", "candles/m5"),
    ]
    assert runs_in_words(runs) == (
        "KRW-ETH retrain starting; KRW-BTC candles/m5; 2 x retrain queued; "
        "1 x produce_signals queued"
    )
    assert runs_in_words([]) == "no Dagster run yet"


def test_ages_are_told_in_the_units_that_matter() -> None:
    assert signal_table.age(timedelta(seconds=59)) == "59 s"
    assert signal_table.age(timedelta(minutes=59, seconds=59)) == "59 min"
    assert signal_table.age(timedelta(hours=23, minutes=1)) == "23 h 1 min"
    assert signal_table.age(timedelta(days=2, hours=4)) == "2 d 4 h"


def test_materialize_names_each_asset_from_candles_to_champion_once() -> None:
    settings = load_settings()
    assert training_selection(settings) == (
        *("candles/m5", "features/m5"),
        *("scalp/sequences", "scalp/labels", "scalp/challenger", "scalp/champion"),
        *("candles/m60", "features/m60"),
        *("swing/sequences", "swing/labels", "swing/challenger", "swing/champion"),
    )
    command = dagster_command(("candles/m5", "features/m5"), partition="KRW-BTC")
    assert command[1:] == (
        *("-m", "dagster", "asset", "materialize"),
        *("--select", 'key:"candles/m5" or key:"features/m5"', "--partition", "KRW-BTC"),
        *("-m", "trading_assets.orchestration.research"),
    )


def test_steps_are_told_from_dagsters_log() -> None:
    done = (
        "2026-01-05 12:00:00 +0000 - dagster - DEBUG - __ASSET_JOB - 1f - 77 - scalp__labels - "
        'STEP_SUCCESS - Finished execution of step "scalp__labels" in 1.25s.'
    )
    assert step_words(done) == "scalp/labels done in 1.25s"
    failed = done.replace("STEP_SUCCESS", "STEP_FAILURE")
    assert step_words(failed) == "scalp/labels FAILED"
    assert step_words("something else") is None


def test_a_failed_command_is_told_by_our_own_errors_or_else_by_its_end() -> None:
    log = """... STEP_FAILURE - Execution of step "x" failed.
trading_assets.errors.NotEnoughHistory: KRW-SOL scalp: 7.0 days, it takes 60.0 days
  File "assets.py", line 262, in challenger
trading_assets.errors.NotEnoughHistory: KRW-SOL scalp: 7.0 days, it takes 60.0 days
Error: Materialization failed.
"""
    assert failure_lines(log) == ["NotEnoughHistory: KRW-SOL scalp: 7.0 days, it takes 60.0 days"]
    assert failure_lines("one\ntwo\nthree\n", count=2) == ["two", "three"]
