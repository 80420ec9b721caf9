"""The declared graph: keys, groups, partitions, what depends on what, jobs, sensors."""

from datetime import timedelta

import dagster as dg
import pytest

from trading_assets.orchestration.research.definitions import research_definitions
from trading_assets.orchestration.research.metadata import signals_freshness
from trading_assets.settings import load_settings
from trading_assets_tests.orchestration.conftest import Location

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


def test_a_recording_of_hourly_candles_has_only_swing() -> None:
    settings = load_settings({"recorded": "candles", "profile": "swing"})
    keys = set(_graph(research_definitions(settings)))
    assert keys == {k for k in GROUPS if not k.startswith("scalp") and not k.endswith("m5")}


def test_retraining_is_everything_but_signals_and_signals_are_a_job_of_their_own(
    location: Location,
) -> None:
    def selected(job: str) -> set[str]:
        keys = location.defs.resolve_job_def(job).asset_layer.selected_asset_keys
        return {key.to_user_string() for key in keys}

    assert selected("retrain") == set(GROUPS) - {"signals"}
    assert selected("produce_signals") == {"signals"}


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
    [("scalp/champion", 25, 48), ("candles/m60", 25, 48), ("signals", 2, 3)],
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
        ("stale_models_sensor", "champion_sensor"), dg.DefaultSensorStatus.RUNNING
    )


def test_every_step_runs_in_the_process_of_its_run(location: Location) -> None:
    assert location.defs.executor is dg.in_process_executor
