"""What MLflow is told: one run and version per retraining, a model that answers, safe repeats."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trading_assets.errors import WrongWorld
from trading_assets.models import registry
from trading_assets.models.mlflow_store import client_of, prepare_mlflow
from trading_assets.models.retrain import Workshop, judge_challenger, make_challenger
from trading_assets.world import World
from trading_assets_tests.models.gate_world import (
    FEATURES,
    REFERENCE,
    ROUNDS,
    dataset,
    run_in_child,
    small_profile,
    workshop,
)

NAME = "KRW-BTC.swing"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What MLflow holds after one retraining whose registration was repeated, from a child."""
    folder = tmp_path_factory.mktemp("registry")
    shop = workshop(folder)
    assert run_in_child(lambda: _retrain_and_look(shop, folder / "told.json")) == 0
    return dict(json.loads((folder / "told.json").read_text()))


def _retrain_and_look(shop: Workshop, answer: Path) -> None:
    import mlflow
    from mlflow import MlflowClient

    made = make_challenger(
        shop, dataset(strength=0.2), small_profile(), REFERENCE, max_rounds=ROUNDS
    )
    judge_challenger(shop, "KRW-BTC", small_profile())
    before = mlflow.get_tracking_uri()
    from trading_assets.models.retrain import _entry

    again = registry.register_challenger(shop.world, _entry(shop, made))
    client = MlflowClient(shop.world.mlflow_uri, shop.world.mlflow_uri)
    experiment = client.get_experiment_by_name("sandbox")
    assert experiment is not None
    runs = {r.data.tags["role"]: r for r in client.search_runs([experiment.experiment_id])}
    run, day = runs["challenger"], runs["retraining_day"]
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    kept = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(shop.world.mlflow_uri)
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    x = made.gate_x()[:5]
    stored = client.get_logged_model(str(version.source).removeprefix("models:/"))
    answer.write_text(
        json.dumps(
            {
                "version": made.version,
                "again": [again, version.version],
                "uri_kept": [before, kept],
                "tags": dict(run.data.tags),
                "runs": len(runs),
                "name": run.info.run_name,
                "day": [day.info.run_id, day.info.run_name, day.info.status],
                "params": dict(run.data.params),
                "metrics": dict(run.data.metrics),
                "files": [f.path for f in client.list_artifacts(run.info.run_id)],
                "in_world": str(shop.world.mlflow_artifacts) in stored.artifact_location,
                "inputs": str(loaded.metadata.get_input_schema()),
                "predicted": loaded.predict(x).tolist(),
                "expected": made.trained().served.probabilities(x).tolist(),
            }
        )
    )


def test_a_run_is_tagged_with_what_it_is_of(told: dict[str, Any]) -> None:
    tags = told["tags"]
    assert tags["market"] == "KRW-BTC"
    assert tags["profile"] == "swing"
    assert tags["recipe"] == "lightgbm"
    assert tags["world"] == "sandbox-test"
    assert tags["verdict"] == "promoted"
    assert tags["retrain_id"] == told["version"]
    assert "dagster_run_id" in tags


def test_the_run_is_a_child_of_its_day(told: dict[str, Any]) -> None:
    assert told["runs"] == 2
    assert told["name"] == "KRW-BTC.swing lightgbm"
    run_id, name, status = told["day"]
    assert told["tags"]["mlflow.parentRunId"] == run_id
    # NOW is 2026-01-02 03:04 UTC, noon in Seoul.
    assert (name, status) == ("retraining of 2026-01-02 (Seoul)", "FINISHED")
    assert told["tags"]["retraining_day"] == "2026-01-02"


def test_settings_and_data_window_are_parameters(told: dict[str, Any]) -> None:
    parameters = told["params"]
    assert parameters["window.rows"] == "1440"
    assert parameters["costs.fee_rate"] == "0.0005"
    assert parameters["exits.kind"] == "VolatilityExits"
    assert parameters["features.catalogue_version"] == "test"
    assert parameters["parameters.num_leaves"] == "5"
    assert parameters["rows.gate"] == "360"
    assert "features.names" not in parameters


def test_metrics_of_gate_and_calibration_are_there(told: dict[str, Any]) -> None:
    assert {"log_loss", "ratio_prior", "ratio_volatility", "ece", "f1_buy"} <= set(told["metrics"])
    assert told["metrics"]["n"] == 360
    assert "calibration_log_loss" in told["metrics"]


def test_metadata_confusion_and_importance_are_files(told: dict[str, Any]) -> None:
    assert {"model_metadata.json", "confusion_matrix.json", "feature_importance.json"} <= set(
        told["files"]
    )


def test_the_registered_model_has_a_signature_and_answers_as_the_served_one(
    told: dict[str, Any],
) -> None:
    assert f"(-1, {len(FEATURES)})" in told["inputs"]
    np.testing.assert_array_equal(told["predicted"], told["expected"])


def test_the_model_lies_in_its_worlds_folder(told: dict[str, Any]) -> None:
    assert told["in_world"]


def test_registering_again_returns_the_version_and_leaves_the_process_as_it_was(
    told: dict[str, Any],
) -> None:
    assert told["again"][0] == str(told["again"][1])
    assert told["uri_kept"][0] == told["uri_kept"][1]


def test_a_store_of_another_world_is_refused(tmp_path: Path) -> None:
    mlruns = tmp_path / "mlruns"
    mlruns.mkdir()
    (mlruns / "WORLD").write_text("live\n")
    with pytest.raises(WrongWorld, match="belongs to the world live"):
        prepare_mlflow(World("sandbox-test", tmp_path / "data", mlruns))


# Prepares the store in the folder given, and kills itself amid MLflow's migrations.
KILLED = """
import os, pathlib, signal, sys, threading, time
from trading_assets.models.mlflow_store import client_of, prepare_mlflow
from trading_assets.world import World
mlruns = pathlib.Path(sys.argv[1])
def kill():
    draft = mlruns / ".mlflow.db.draft"
    while not draft.exists() or draft.stat().st_size < 100_000: time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
prepare_mlflow(World("sandbox-test", mlruns.parent / "data", mlruns))
"""


@pytest.mark.parametrize("by_an_earlier_version", [False, True])
def test_a_kill_amid_mlflows_migrations_is_healed_by_the_next_start(
    tmp_path: Path, by_an_earlier_version: bool
) -> None:
    mlruns = tmp_path / "mlruns"
    killed = subprocess.run([sys.executable, "-c", KILLED, mlruns], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (mlruns / "mlflow.db").exists()
    if by_an_earlier_version:
        (mlruns / ".mlflow.db.draft").rename(mlruns / "mlflow.db")
    world = World("sandbox-test", tmp_path / "data", mlruns)
    prepare_mlflow(world)
    (experiment,) = client_of(world).search_experiments()
    assert experiment.name == "Default"
    assert (mlruns / "mlflow.db.unfinished").exists() == by_an_earlier_version
