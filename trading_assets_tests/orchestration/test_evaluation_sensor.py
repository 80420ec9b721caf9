"""When evaluations and their conclusions are asked for, by an injected clock."""

from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteRepositoryOrigin,
)

from trading_assets.models.verdicts import HISTORY, Verdict, VerdictKind, record_verdict
from trading_assets.orchestration.research.evaluation_sensor import evaluation_sensor
from trading_assets.orchestration.research.jobs import retrain_request
from trading_assets.orchestration.research.keys import CONCLUSIONS, retraining_keys
from trading_assets.orchestration.shared.tags import CONCLUSION
from trading_assets.settings import ProfileName
from trading_assets.signals.choices import record_choice
from trading_assets_tests.orchestration.conftest import Location
from trading_assets_tests.signals.choice_rows import chosen

MARKETS = ("KRW-BTC", "KRW-ETH")
BOTH = ("scalp", "swing")
MINUTE = timedelta(minutes=1)
ORIGIN = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("research"), "__repository__")


def all_requests(location: Location) -> list[dg.RunRequest]:
    """What one tick of the sensor asks for, as the daemon would see it."""
    tick = evaluation_sensor.evaluate_tick(location.sensor_context())
    return list(tick.run_requests or [])


def requests(location: Location) -> list[dg.RunRequest]:
    """The evaluations among them."""
    return [r for r in all_requests(location) if CONCLUSION not in r.tags]


def conclusions(location: Location) -> list[dg.RunRequest]:
    return [r for r in all_requests(location) if CONCLUSION in r.tags]


def asked(made: list[dg.RunRequest]) -> list[tuple[str | None, set[str]]]:
    return [
        (r.partition_key, {key.to_user_string() for key in r.asset_selection or []}) for r in made
    ]


def walked(*profiles: str) -> set[str]:
    return {f"{profile}/{name}" for profile in profiles for name in ("walk_forward", "shadow")}


def evaluated(location: Location, market: str, profile: str, *, passed: bool = True) -> None:
    """The evaluation of `market` and `profile` ends now; not passed: too little history."""
    reasons = () if passed else (f"{HISTORY}too little",)
    record_verdict(
        location.engine,
        Verdict(VerdictKind.EVALUATION, market, profile, passed, reasons, location.clock.now()),
    )


def all_evaluated(location: Location, *profiles: str) -> None:
    for market in MARKETS:
        for profile in profiles or BOTH:
            evaluated(location, market, profile)


def run_of(
    location: Location, request: dg.RunRequest, status: dg.DagsterRunStatus, job: str = "evaluate"
) -> dg.DagsterRun:
    """The run that the daemon would make of `request`, in `status`."""
    definition = location.defs.resolve_job_def(job)
    keys = frozenset(request.asset_selection or [])
    return location.instance.create_run_for_job(
        job_def=definition.get_subset(asset_selection=keys) if keys else definition,
        tags=dict(request.tags),
        status=status,
        asset_selection=keys or None,
        # Dagster lets no run wait that does not say where its code is.
        remote_job_origin=ORIGIN.get_job_origin(job),
    )


def first_training(location: Location, market: str, profile: ProfileName) -> dg.DagsterRun:
    request = retrain_request(
        market,
        run_key=f"{market}{profile}",
        asset_selection=list(retraining_keys(location.settings, profile)),
    )
    tags = {**request.tags, "dagster/partition": market}
    asking = dg.RunRequest(tags=tags, asset_selection=request.asset_selection)
    return run_of(location, asking, dg.DagsterRunStatus.QUEUED, "retrain")


def test_nothing_is_evaluated_before_it_was_trained(location: Location) -> None:
    assert requests(location) == []


def test_a_trained_profile_without_an_evaluation_is_evaluated_at_once(location: Location) -> None:
    location.confirm("KRW-BTC", "scalp")
    (request,) = requests(location)
    assert asked([request]) == [("KRW-BTC", walked("scalp"))]
    assert request.tags["trading_assets/attempt_evaluate_scalp"] == "never|2026-03-01T12"


def test_first_evaluations_come_profile_by_profile_the_first_of_profiles_first(
    location: Location,
) -> None:
    location.confirm_all()
    made = requests(location)
    assert asked(made) == [(m, walked(p)) for p in BOTH for m in MARKETS]
    assert len({r.run_key for r in made}) == 4


def test_the_traded_profile_is_evaluated_first(location: Location) -> None:
    record_choice(location.engine, chosen("swing", location.clock.now()))
    location.confirm_all()
    assert [keys for _, keys in asked(requests(location))] == [
        walked("swing"),
        walked("swing"),
        walked("scalp"),
        walked("scalp"),
    ]


def test_the_first_evaluation_waits_until_no_market_is_in_its_first_training(
    location: Location,
) -> None:
    location.confirm("KRW-BTC", "scalp")
    run = first_training(location, "KRW-ETH", ProfileName.SCALP)
    first_training(location, "KRW-ETH", ProfileName.SWING)  # another profile holds nothing up
    assert requests(location) == []
    # It fails: ETH stays without a model, and BTC is evaluated alone.
    location.instance.report_run_failed(run)
    assert asked(requests(location)) == [("KRW-BTC", walked("scalp"))]


def test_a_later_training_of_another_market_holds_nothing_up(location: Location) -> None:
    location.confirm_all()
    first_training(location, "KRW-ETH", ProfileName.SCALP)  # it has a verdict: a retraining
    assert len(requests(location)) == 4


def test_too_little_history_to_train_is_too_little_to_evaluate(location: Location) -> None:
    record_verdict(
        location.engine,
        Verdict(
            VerdictKind.PROMOTION,
            "KRW-BTC",
            "scalp",
            False,
            (f"{HISTORY}3 days",),
            location.clock.now(),
        ),
    )
    assert requests(location) == []


def test_a_refused_model_is_evaluated_all_the_same(location: Location) -> None:
    location.confirm("KRW-BTC", "swing", promoted=False)
    assert asked(requests(location)) == [("KRW-BTC", walked("swing"))]


def test_a_day_later_the_profiles_of_a_market_share_one_run(location: Location) -> None:
    location.confirm_all()
    all_evaluated(location)
    location.clock.advance(timedelta(hours=24))
    assert requests(location) == []
    location.clock.advance(timedelta(microseconds=1))
    assert asked(requests(location)) == [(m, walked(*BOTH)) for m in MARKETS]


def test_an_evaluation_that_lacked_history_is_tried_again_after_a_day(location: Location) -> None:
    location.confirm("KRW-BTC", "scalp")
    evaluated(location, "KRW-BTC", "scalp", passed=False)
    location.clock.advance(timedelta(hours=23, minutes=59))
    assert requests(location) == []
    location.clock.advance(2 * MINUTE)
    assert len(requests(location)) == 1


def test_a_failed_evaluation_is_tried_again_in_the_next_hour_and_stops_no_other_market(
    location: Location,
) -> None:
    for market in MARKETS:
        location.confirm(market, "scalp")
    bitcoin, ether = requests(location)
    run_of(location, bitcoin, dg.DagsterRunStatus.FAILURE)
    run_of(location, ether, dg.DagsterRunStatus.SUCCESS)
    evaluated(location, "KRW-ETH", "scalp")
    location.clock.advance(29 * MINUTE)
    assert requests(location) == []
    location.clock.advance(MINUTE)  # 13:00
    (again,) = requests(location)
    assert asked([again]) == [("KRW-BTC", walked("scalp"))]
    assert again.run_key != bitcoin.run_key


@pytest.mark.parametrize(
    "status", [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTED], ids=["waiting", "running"]
)
def test_what_is_being_evaluated_is_not_asked_for_again(
    location: Location, status: dg.DagsterRunStatus
) -> None:
    location.confirm("KRW-BTC", "scalp")
    (request,) = requests(location)
    run_of(location, request, status)
    location.clock.advance(timedelta(hours=3))
    assert requests(location) == []


@pytest.fixture
def concluding(location: Location) -> Location:
    """Everything is trained."""
    location.confirm_all()
    return location


def test_there_is_nothing_to_conclude_before_the_first_evaluation(concluding: Location) -> None:
    assert conclusions(concluding) == []


def test_conclusions_follow_when_a_profile_is_through_in_every_market(
    concluding: Location,
) -> None:
    _scalp_btc, scalp_eth, *swing = requests(concluding)
    for request in swing:
        run_of(concluding, request, dg.DagsterRunStatus.QUEUED)
    evaluated(concluding, "KRW-BTC", "scalp")
    running = run_of(concluding, scalp_eth, dg.DagsterRunStatus.STARTED)
    assert conclusions(concluding) == []  # scalp is not through
    evaluated(concluding, "KRW-ETH", "scalp")
    concluding.instance.report_run_canceled(running)
    assert requests(concluding) == []
    (request,) = conclusions(concluding)
    assert asked([request]) == [(None, {key.to_user_string() for key in CONCLUSIONS})]
    # Beside the queued swing, which has markets to come.
    assert request.tags["trading_assets/research"] == "conclude"
    assert request.tags["trading_assets/being_evaluated"] == "swing"


def test_a_market_that_fails_does_not_hold_up_the_conclusions(concluding: Location) -> None:
    scalp_btc, scalp_eth, *swing = requests(concluding)
    for request in swing:
        run_of(concluding, request, dg.DagsterRunStatus.QUEUED)
    run_of(concluding, scalp_btc, dg.DagsterRunStatus.FAILURE)
    run_of(concluding, scalp_eth, dg.DagsterRunStatus.SUCCESS)
    evaluated(concluding, "KRW-ETH", "scalp")
    assert len(conclusions(concluding)) == 1


def test_the_same_evaluations_are_concluded_from_once(concluding: Location) -> None:
    all_evaluated(concluding)
    (request,) = conclusions(concluding)
    run_of(concluding, request, dg.DagsterRunStatus.SUCCESS)
    concluding.clock.advance(timedelta(hours=2))
    assert conclusions(concluding) == []
    evaluated(concluding, "KRW-BTC", "swing")
    (new,) = conclusions(concluding)
    assert new.run_key != request.run_key


def test_conclusions_that_failed_are_drawn_again_in_the_next_hour(concluding: Location) -> None:
    all_evaluated(concluding)
    (request,) = conclusions(concluding)
    run_of(concluding, request, dg.DagsterRunStatus.FAILURE)
    concluding.clock.advance(29 * MINUTE)
    (same,) = conclusions(concluding)
    assert same.run_key == request.run_key  # which the daemon does not run twice
    concluding.clock.advance(MINUTE)
    (again,) = conclusions(concluding)
    assert again.run_key != request.run_key


def test_conclusions_under_way_are_not_asked_for_again(concluding: Location) -> None:
    all_evaluated(concluding)
    (request,) = conclusions(concluding)
    run_of(concluding, request, dg.DagsterRunStatus.STARTED)
    concluding.clock.advance(timedelta(hours=2))
    assert conclusions(concluding) == []
