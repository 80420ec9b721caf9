"""The live checks in Dagster: an hourly job of their own that shows, tells and stops nothing."""

import dagster as dg
import sqlalchemy as sa

from trading_assets.database import alerts, read
from trading_assets.models.verdicts import VerdictKind, latest_verdict
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.signals.findings import Check
from trading_assets.signals.forecast import store_forecast
from trading_assets_tests.orchestration.conftest import START, Location
from trading_assets_tests.signals.expected import expected, market_forecast
from trading_assets_tests.signals.said import HOUR, said_hourly

NEWEST = START.replace(minute=0) - HOUR


def run(location: Location) -> dict[str, dg.AssetCheckEvaluation]:
    """What each check said; the run itself has to succeed."""
    job = location.defs.resolve_job_def("check_signals")
    result = job.execute_in_process(instance=location.instance)
    assert result.success
    return {c.check_name: c for c in result.get_asset_check_evaluations()}


def test_flat_predictions_are_an_error_that_stops_nothing_and_is_told_once(
    location: Location,
) -> None:
    profile = location.settings.active_profiles[0]  # nothing is chosen yet: the first one's signals
    markets = (market_forecast(m) for m in location.settings.markets)
    store_forecast(location.engine, expected(*markets, profile=profile))
    for market in location.settings.markets:
        said_hourly(
            location.engine,
            2,  # hours, so long it takes
            market=market,
            newest=NEWEST,
            p=(0.34, 0.33, 0.33),
            profile=profile.value,
        )
    checks = run(location)
    assert set(checks) == {check.value for check in Check}
    flat = checks["confidence"]
    assert not flat.passed
    assert flat.severity is dg.AssetCheckSeverity.ERROR
    assert flat.description is not None
    assert flat.description.startswith("KRW-BTC: flat: confidence 0.340 in 1 h")
    assert flat.asset_key == dg.AssetKey("signal_health")
    assert not flat.blocking
    assert checks["market_regime"].passed
    run(location)
    with read(location.engine) as connection:
        kinds = connection.execute(sa.select(alerts.c.kind)).scalars().all()
    assert sorted(kinds).count("confidence") == 3  # two markets and both together, once each


def test_without_signals_and_forecast_every_check_passes_and_says_why(location: Location) -> None:
    checks = run(location)
    assert all(check.passed for check in checks.values())
    assert checks["entropy"].description == "nothing to compare with yet"
    profile = location.settings.active_profiles[0]
    steps = latest_verdict(location.engine, VerdictKind.CONFIDENCE_STEPS, ALL_MARKETS, profile)
    assert steps is not None
    assert steps.details["unpaid"] == []


def test_a_finding_is_shown_until_the_next_look_whatever_signals_come(location: Location) -> None:
    """On `signals` it would count as not evaluated from the next candle on."""
    run(location)
    made = location.instance.get_latest_materialization_event(dg.AssetKey("signal_health"))
    assert made is not None
    assert made.asset_materialization is not None
    shown = made.asset_materialization.metadata
    assert shown["warn"].value == shown["fail"].value == 0
    assert "| OK | trade_drought |" in str(shown["findings"].value)
    (said,) = location.instance.event_log_storage.get_asset_check_execution_history(
        check_key=dg.AssetCheckKey(dg.AssetKey("signal_health"), "entropy"), limit=1
    )
    assert said.run_id == made.run_id


def test_the_job_is_the_checks_alone_and_runs_hourly_by_default(location: Location) -> None:
    layer = location.defs.resolve_job_def("check_signals").asset_layer
    assert layer.selected_asset_keys == {dg.AssetKey("signal_health")}
    assert {key.name for key in layer.asset_graph.asset_check_keys} >= {c.value for c in Check}
    made = location.defs.resolve_schedule_def("live_checks_schedule")
    assert made.cron_schedule == "3 * * * *"
    assert made.default_status is dg.DefaultScheduleStatus.RUNNING


def test_a_run_of_signals_does_not_wait_for_their_checks(location: Location) -> None:
    nodes = {node.name for node in location.defs.resolve_job_def("produce_signals").nodes}
    assert nodes == {"signals"}
