"""The declared graph: keys, groups, partitions, what depends on what, jobs, sensors."""

from datetime import timedelta

import dagster as dg
import pytest

from trading_assets.orchestration.research.definitions import research_definitions
from trading_assets.orchestration.research.jobs import conclusion_request
from trading_assets.orchestration.research.keys import (
    CONCLUSIONS,
    EVALUATION_GROUP,
    EVALUATION_NAMES,
    MODEL_COMPARISON,
    SIGNAL_HEALTH,
    evaluation_keys,
)
from trading_assets.orchestration.research.metadata import signals_freshness
from trading_assets.orchestration.shared.tags import HEAVY
from trading_assets.settings import load_settings
from trading_assets_tests.orchestration.conftest import Location

JOBS = ("retrain", "produce_signals", "evaluate", "check_signals")
GROUPS = {
    "candles/m5": "candles",
    "candles/m60": "candles",
    "features/m5": "features",
    "features/m60": "features",
    "scalp/sequences": "features",
    "swing/sequences": "features",
    "scalp/labels": "models",
    "swing/labels": "models",
    "scalp/challenger": "models",
    "swing/challenger": "models",
    "scalp/champion": "models",
    "swing/champion": "models",
    "signals": "signals",
    "signal_health": "signals",
    "scalp/walk_forward": "evaluation",
    "swing/walk_forward": "evaluation",
    "scalp/shadow": "evaluation",
    "swing/shadow": "evaluation",
    "profile_choice": "evaluation",
    "forecast": "evaluation",
    "model_comparison": "evaluation",
    "report": "evaluation",
}


def _graph(defs: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}


def _parents(spec: dg.AssetSpec) -> set[str]:
    return {dep.asset_key.to_user_string() for dep in spec.deps}


def test_the_assets_and_their_groups(location: Location) -> None:
    assert {key: spec.group_name for key, spec in _graph(location.defs).items()} == GROUPS


def test_every_asset_names_its_world_and_whose_prices_it_shows(location: Location) -> None:
    for spec in _graph(location.defs).values():
        assert spec.metadata["world"] == location.world.name
        assert spec.metadata["prices"] == "SYNTHETIC prices"


def test_every_asset_has_the_markets_as_its_one_partition_dimension(location: Location) -> None:
    for spec in _graph(location.defs).values():
        if spec.key not in (*CONCLUSIONS, SIGNAL_HEALTH):
            assert spec.partitions_def == dg.StaticPartitionsDefinition(["KRW-BTC", "KRW-ETH"])


def test_what_is_made_from_what(location: Location) -> None:
    graph = _graph(location.defs)
    assert _parents(graph["candles/m5"]) == set()
    assert _parents(graph["features/m5"]) == {"candles/m5"}
    assert _parents(graph["scalp/sequences"]) == {"features/m5"}
    assert _parents(graph["scalp/labels"]) == {"candles/m5"}
    assert _parents(graph["swing/challenger"]) == {
        "features/m60",
        "swing/sequences",
        "swing/labels",
    }
    assert _parents(graph["swing/champion"]) == {"swing/challenger"}
    assert _parents(graph["signals"]) == {"scalp/champion", "swing/champion"}
    assert _parents(graph["signal_health"]) == {"signals", "forecast"}
    assert _parents(graph["swing/walk_forward"]) == {"swing/sequences"}
    assert _parents(graph["swing/shadow"]) == {"swing/sequences", "swing/labels", "swing/champion"}
    walked, shadows = ({f"{p}/{name}" for p in ("scalp", "swing")} for name in EVALUATION_NAMES)
    for conclusion in CONCLUSIONS:
        compares = conclusion == MODEL_COMPARISON
        parents = _parents(graph[conclusion.to_user_string()])
        assert parents == (walked | shadows if compares else walked)


def test_a_recording_of_hourly_candles_has_only_swing() -> None:
    settings = load_settings({"recorded": "candles", "profile": "swing"})
    keys = set(_graph(research_definitions(settings)))
    assert keys == {k for k in GROUPS if not k.startswith("scalp") and not k.endswith("m5")}


def test_retraining_is_everything_but_signals_and_evaluation_which_are_jobs_of_their_own(
    location: Location,
) -> None:
    def selected(job: str) -> set[str]:
        keys = location.defs.resolve_job_def(job).asset_layer.selected_asset_keys
        return {key.to_user_string() for key in keys}

    evaluation = {key for key, group in GROUPS.items() if group == "evaluation"}
    assert selected("retrain") == set(GROUPS) - {"signals", "signal_health"} - evaluation
    assert selected("produce_signals") == {"signals"}
    assert selected("evaluate") == evaluation


def test_trainings_and_evaluations_share_a_limit_and_conclusions_do_not_wait_for_it(
    location: Location,
) -> None:
    """dagster.yaml lets three heavy runs at once and two of each kind."""
    jobs = {name: location.defs.resolve_job_def(name).tags for name in JOBS}
    heavy = {name for name, tags in jobs.items() if tags.get(HEAVY) == "yes"}
    assert heavy == {"retrain", "evaluate"}
    assert conclusion_request(run_key="", state="").tags[HEAVY] == "no"


def test_what_sensors_ask_for_is_in_the_group_of_the_evaluation(location: Location) -> None:
    """And each conclusion has no partitions, each other asset has the markets."""
    specs = {spec.key: spec for spec in location.defs.resolve_all_asset_specs()}
    asked = {key for p in location.settings.active_profiles for key in evaluation_keys(p)}
    grouped = {key for key, spec in specs.items() if spec.group_name == EVALUATION_GROUP}
    assert asked | set(CONCLUSIONS) == grouped
    assert all(specs[key].partitions_def is not None for key in asked)
    assert all(specs[key].partitions_def is None for key in CONCLUSIONS)


def test_everything_about_the_evaluation_runs_in_the_background(location: Location) -> None:
    assets = [a for a in location.defs.assets or [] if isinstance(a, dg.AssetsDefinition)]
    quiet = {a.key for a in assets if "background" in a.required_resource_keys}
    assert quiet == {a.key for a in assets if a.get_asset_spec().group_name == EVALUATION_GROUP}


def test_only_reads_from_the_exchange_are_tried_again(location: Location) -> None:
    retried = {
        asset.key.to_user_string()
        for asset in location.defs.assets or []
        if isinstance(asset, dg.AssetsDefinition)
        and isinstance(asset.op, dg.OpDefinition)
        and asset.op.retry_policy is not None
    }
    assert retried == {"candles/m5", "candles/m60"}


@pytest.mark.parametrize(
    ("key", "warn_hours", "fail_hours"),
    [
        ("scalp/champion", 25, 48),
        ("candles/m60", 25, 48),
        ("signals", 2, 3),
        ("swing/walk_forward", 25, 7 * 24),
        ("profile_choice", 25, 7 * 24),
    ],
)
def test_freshness_badges(
    location: Location, key: str, warn_hours: float, fail_hours: float
) -> None:
    policy = _graph(location.defs)[key].freshness_policy
    assert policy == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=fail_hours), warn_window=timedelta(hours=warn_hours)
    )


def test_a_pinned_profile_sets_the_badge_of_the_signals() -> None:
    pinned = signals_freshness(load_settings({"profile": "scalp"}))
    # Two and three candles of five minutes; with `auto` above, of an hour.
    assert pinned == dg.FreshnessPolicy.time_window(
        fail_window=timedelta(minutes=15), warn_window=timedelta(minutes=10)
    )


def test_what_watches_runs_by_default(location: Location) -> None:
    sensors = {
        s.name: s.default_status
        for s in location.defs.sensors or []
        if isinstance(s, dg.SensorDefinition)
    }
    assert sensors == dict.fromkeys(
        ("stale_models_sensor", "champion_sensor", "evaluation_sensor"),
        dg.DefaultSensorStatus.RUNNING,
    )


def test_every_step_runs_in_the_process_of_its_run(location: Location) -> None:
    assert location.defs.executor is dg.in_process_executor
