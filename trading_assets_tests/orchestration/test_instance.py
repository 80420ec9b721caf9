"""The instance file and the workspace file, read by Dagster itself."""

import re
import shutil
from pathlib import Path

import dagster as dg
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def instance(tmp_path: Path) -> dg.DagsterInstance:
    shutil.copy(ROOT / "deploy" / "local" / "dagster.yaml", tmp_path / "dagster.yaml")
    return dg.DagsterInstance.from_config(str(tmp_path))


def test_only_research_runs_are_limited(instance: dg.DagsterInstance) -> None:
    queue = instance.get_concurrency_config().run_queue_config
    assert queue is not None
    assert queue.max_concurrent_runs == 50
    assert queue.tag_concurrency_limits == [
        {"key": "trading_assets/research", "value": "train", "limit": 2},
        {"key": "trading_assets/research", "value": "signal", "limit": 1},
        {"key": "trading_assets/research", "value": "check", "limit": 1},
        {"key": "trading_assets/research", "value": "evaluate", "limit": 2},
        {"key": "trading_assets/heavy", "value": "yes", "limit": 3},
        {"key": "trading_assets/research", "value": "conclude", "limit": 1},
        {"key": "trading_assets/retrain", "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
    ]


def test_nothing_calls_home_and_no_run_has_a_global_time_limit(
    instance: dg.DagsterInstance,
) -> None:
    assert not instance.telemetry_enabled
    assert not instance.nux_enabled
    assert instance.run_monitoring_enabled
    assert instance.run_monitoring_max_runtime_seconds == 0


def test_the_workspace_lists_trading_before_research() -> None:
    text = (ROOT / "workspace.yaml").read_text(encoding="utf-8")
    assert re.findall(r"module_name: (\S+)", text) == [
        "trading_assets.orchestration.trading",
        "trading_assets.orchestration.research",
    ]
