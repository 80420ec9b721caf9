"""What runs by the clock, and what the daemon would launch for it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import dagster as dg
import pytest

from trading_assets.orchestration.research.schedules import (
    cron_at_close,
    daily_evaluation,
    daily_retrain,
    signal_schedule,
)
from trading_assets.settings import load_settings
from trading_assets.signals.choices import record_choice
from trading_assets_tests.orchestration.conftest import Location
from trading_assets_tests.signals.choice_rows import chosen
from trading_assets_tests.trading.ledger_world import bought, emptied, lease_of


def test_every_market_is_retrained_at_three_in_seoul(location: Location) -> None:
    assert daily_retrain.cron_schedule == "0 3 * * *"
    assert daily_retrain.execution_timezone == "Asia/Seoul"
    assert daily_retrain.default_status is dg.DefaultScheduleStatus.RUNNING
    three = datetime(2026, 3, 2, 3, 0, tzinfo=ZoneInfo("Asia/Seoul"))
    context = dg.build_schedule_context(
        location.instance,
        scheduled_execution_time=three,
        resources={"settings": location.settings},
        repository_def=location.defs.get_repository_def(),
    )
    requests = list(daily_retrain.evaluate_tick(context).run_requests or [])
    assert [(r.partition_key, r.run_key) for r in requests] == [
        ("KRW-BTC", "2026-03-02|KRW-BTC"),
        ("KRW-ETH", "2026-03-02|KRW-ETH"),
    ]
    assert [r.asset_selection for r in requests] == [None, None]  # every profile


def test_every_market_is_evaluated_an_hour_after_its_retraining(location: Location) -> None:
    assert daily_evaluation.cron_schedule == "0 4 * * *"
    assert daily_evaluation.execution_timezone == "Asia/Seoul"
    assert daily_evaluation.default_status is dg.DefaultScheduleStatus.RUNNING
    context = dg.build_schedule_context(
        location.instance,
        scheduled_execution_time=datetime(2026, 3, 2, 4, 0, tzinfo=ZoneInfo("Asia/Seoul")),
        resources={"settings": location.settings},
        repository_def=location.defs.get_repository_def(),
    )
    requests = list(daily_evaluation.evaluate_tick(context).run_requests or [])
    assert [(r.partition_key, r.run_key) for r in requests] == [
        ("KRW-BTC", "2026-03-02|KRW-BTC"),
        ("KRW-ETH", "2026-03-02|KRW-ETH"),
    ]
    for request in requests:
        keys = {key.to_user_string() for key in request.asset_selection or []}
        assert {"scalp/walk_forward", "swing/walk_forward"} <= keys


HOUR = datetime(2026, 3, 2, 1, tzinfo=UTC)


def signal_tick(location: Location, at: datetime) -> list[dg.RunRequest]:
    context = dg.build_schedule_context(
        location.instance,
        scheduled_execution_time=at,
        resources={"clock": location.clock, "database": location.engine},
    )
    return list(signal_schedule(location.settings).evaluate_tick(context).run_requests or [])


def test_signals_of_all_markets_are_one_run_at_each_close_of_the_shortest_interval(
    location: Location,
) -> None:
    schedule = signal_schedule(location.settings)  # scalp has 5-minute candles
    assert schedule.cron_schedule == "*/5 * * * *"
    assert schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    # Nothing is evaluated yet: every profile is shown.
    (request,) = signal_tick(location, HOUR + timedelta(minutes=5))
    assert request.run_key == "2026-03-02T01:05:00+00:00"
    assert request.tags["dagster/asset_partition_range_start"] == "KRW-BTC"
    assert request.tags["dagster/asset_partition_range_end"] == "KRW-ETH"


def test_while_swing_is_traded_signals_follow_the_hour(location: Location) -> None:
    record_choice(location.engine, chosen("swing", location.clock.now()))
    assert signal_tick(location, HOUR + timedelta(minutes=5)) == []
    assert len(signal_tick(location, HOUR)) == 1


def test_a_scalp_position_gets_its_signals_after_a_switch_to_swing(location: Location) -> None:
    emptied(location.engine)
    bought(location.engine, lease_of(location.engine))  # scalp's
    record_choice(location.engine, chosen("swing", location.clock.now()))
    assert len(signal_tick(location, HOUR + timedelta(minutes=5))) == 1


def test_a_world_of_hourly_candles_has_hourly_signals() -> None:
    hourly = load_settings({"recorded": "candles", "profile": "auto"})
    assert signal_schedule(hourly).cron_schedule == "0 * * * *"


@pytest.mark.parametrize(
    ("minutes", "cron"),
    [(1, "* * * * *"), (15, "*/15 * * * *"), (240, "0 */4 * * *"), (1440, "0 0 * * *")],
)
def test_other_intervals_have_their_own_lines(minutes: int, cron: str) -> None:
    assert cron_at_close(minutes) == cron


def test_an_interval_that_cron_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="7 minutes does not divide"):
        cron_at_close(7)


@pytest.mark.parametrize(
    ("job", "seconds"), [("retrain", "3600"), ("produce_signals", "600"), ("check_signals", "600")]
)
def test_a_research_run_has_a_time_limit(location: Location, job: str, seconds: str) -> None:
    assert location.defs.resolve_job_def(job).tags["dagster/max_runtime"] == seconds
