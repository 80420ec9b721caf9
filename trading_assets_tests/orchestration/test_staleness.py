"""When the freshness sensor retrains, by an injected clock."""

from datetime import timedelta

import dagster as dg

from trading_assets.orchestration.research.sensors import stale_models_sensor
from trading_assets_tests.orchestration.conftest import Location

SCALP = ("candles/m5", "features/m5", "scalp/sequences", "scalp/labels")
SCALP_KEYS = {*SCALP, "scalp/challenger", "scalp/champion"}
SWING_KEYS = {
    "candles/m60",
    "features/m60",
    "swing/sequences",
    "swing/labels",
    "swing/challenger",
    "swing/champion",
}


def _requests(location: Location) -> list[dg.RunRequest]:
    """What one tick of the sensor asks for, as the daemon would see it."""
    tick = stale_models_sensor.evaluate_tick(location.sensor_context())
    return list(tick.run_requests or [])


def _keys(request: dg.RunRequest) -> set[str]:
    return {key.to_user_string() for key in request.asset_selection or []}


def _run(
    location: Location,
    request: dg.RunRequest,
    status: dg.DagsterRunStatus,
    *,
    selected: bool = True,
) -> dg.DagsterRun:
    """The run that the daemon would make of `request`, in `status`."""
    job = location.defs.resolve_job_def("retrain")
    keys = frozenset(request.asset_selection or []) if selected else None
    return location.instance.create_run_for_job(
        job_def=job.get_subset(asset_selection=keys) if keys else job,
        tags=dict(request.tags),
        status=status,
        asset_selection=keys,
    )


def _all_old(location: Location) -> None:
    """Every model is a second over 24 h old; it is 12:30:01."""
    location.confirm_all()
    location.clock.advance(timedelta(hours=24, seconds=1))


def test_models_that_never_were_are_trained_at_once_the_traded_profile_first(
    location: Location,
) -> None:
    requests = _requests(location)
    assert [r.partition_key for r in requests] == ["KRW-BTC", "KRW-ETH"] * 2
    assert [_keys(r) for r in requests] == [SCALP_KEYS] * 2 + [SWING_KEYS] * 2
    assert requests[0].tags["trading_assets/retrain"] == "KRW-BTC"
    assert len({r.run_key for r in requests}) == 4


def test_the_profiles_of_a_market_share_one_run(location: Location) -> None:
    _all_old(location)
    requests = _requests(location)
    assert [r.partition_key for r in requests] == ["KRW-BTC", "KRW-ETH"]
    assert [_keys(r) for r in requests] == [SCALP_KEYS | SWING_KEYS] * 2


def test_a_profile_that_is_not_traded_waits_for_no_other(location: Location) -> None:
    for market in location.settings.markets:
        location.confirm(market, "scalp")
    requests = _requests(location)
    assert [(r.partition_key, _keys(r)) for r in requests] == [
        ("KRW-BTC", SWING_KEYS),
        ("KRW-ETH", SWING_KEYS),
    ]


def test_23_h_59_min_do_nothing(location: Location) -> None:
    location.confirm_all()
    location.clock.advance(timedelta(hours=23, minutes=59))
    assert _requests(location) == []


def test_24_h_01_min_retrain_exactly_that_market_and_profile(location: Location) -> None:
    location.confirm("KRW-ETH", "scalp")
    location.clock.advance(timedelta(minutes=2))
    location.confirm("KRW-BTC", "scalp")
    location.confirm("KRW-BTC", "swing")
    location.confirm("KRW-ETH", "swing")
    location.clock.advance(timedelta(hours=23, minutes=59))  # only the first is 24 h 01 min old
    (request,) = _requests(location)
    assert request.partition_key == "KRW-ETH"
    assert _keys(request) == SCALP_KEYS


def test_exactly_24_h_are_not_too_old(location: Location) -> None:
    location.confirm_all()
    location.clock.advance(timedelta(hours=24))
    assert _requests(location) == []
    location.clock.advance(timedelta(microseconds=1))
    assert len(_requests(location)) == 2


def test_a_refused_challenger_confirms_the_champion(location: Location) -> None:
    location.confirm_all()
    for _ in range(3):  # three days of refusals: one retraining a day, never one an hour
        location.clock.advance(timedelta(hours=24, minutes=1))
        assert len(_requests(location)) == 2
        for market in location.settings.markets:
            for profile in location.settings.active_profiles:
                location.confirm(market, profile, promoted=False)
        location.clock.advance(timedelta(hours=1))
        assert _requests(location) == []


def test_a_request_is_not_repeated_within_the_hour(location: Location) -> None:
    _all_old(location)
    first, _ = _requests(location)
    location.clock.advance(timedelta(minutes=29))  # 12:59, the same hour
    again, _ = _requests(location)
    assert again.run_key == first.run_key


def test_a_failed_retraining_is_tried_again_in_the_next_hour(location: Location) -> None:
    _all_old(location)
    requests = _requests(location)
    for request in requests:
        _run(location, request, dg.DagsterRunStatus.FAILURE)
    location.clock.advance(timedelta(minutes=29))
    assert _requests(location) == []
    location.clock.advance(timedelta(minutes=1))  # 13:00
    again = _requests(location)
    assert [r.partition_key for r in again] == ["KRW-BTC", "KRW-ETH"]
    assert {r.run_key for r in again}.isdisjoint({r.run_key for r in requests})


def test_when_one_profile_of_a_run_fails_only_that_one_waits_for_the_next_hour(
    location: Location,
) -> None:
    _all_old(location)
    request, other = _requests(location)
    _run(location, request, dg.DagsterRunStatus.FAILURE)
    _run(location, other, dg.DagsterRunStatus.SUCCESS)
    for market, profile in (("KRW-BTC", "swing"), ("KRW-ETH", "swing"), ("KRW-ETH", "scalp")):
        location.confirm(market, profile)
    assert _requests(location) == []
    location.clock.advance(timedelta(minutes=30))
    (again,) = _requests(location)
    assert (again.partition_key, _keys(again)) == ("KRW-BTC", SCALP_KEYS)


def test_a_second_request_while_one_runs_is_skipped(location: Location) -> None:
    _all_old(location)
    request, _ = _requests(location)
    run = _run(location, request, dg.DagsterRunStatus.STARTED)
    location.clock.advance(timedelta(hours=2))
    assert [r.partition_key for r in _requests(location)] == ["KRW-ETH"]
    location.instance.report_run_failed(run)
    assert [r.partition_key for r in _requests(location)] == ["KRW-BTC", "KRW-ETH"]


def test_a_run_of_the_nightly_schedule_counts_for_every_profile(location: Location) -> None:
    _all_old(location)
    request, _ = _requests(location)
    _run(location, request, dg.DagsterRunStatus.STARTED, selected=False)
    location.clock.advance(timedelta(hours=2))
    assert [r.partition_key for r in _requests(location)] == ["KRW-ETH"]


def test_a_run_that_only_collects_candles_does_not_hold_up_retraining(location: Location) -> None:
    _all_old(location)
    request, _ = _requests(location)
    candles = dg.RunRequest(tags=request.tags, asset_selection=[dg.AssetKey(["candles", "m5"])])
    _run(location, candles, dg.DagsterRunStatus.STARTED)
    location.clock.advance(timedelta(hours=2))
    assert [r.partition_key for r in _requests(location)] == ["KRW-BTC", "KRW-ETH"]
