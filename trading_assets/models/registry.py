"""MLflow: one run and one registered version per retraining, a child of its day's run.

Nothing reads it back to serve or to decide; `champions.py` and the database are for that. Every
entry carries the retraining's id (the challenger's version), by which an interrupted registration
is found and redone. mlflow is imported inside the functions (5 s), with its telemetry off.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trading_assets.models.mlflow_store import (
    CANDIDATE_ROLE,
    CHALLENGER_ROLE,
    DAY,
    PARENT,
    ROLE,
    client_of,
    day_run,
    experiment_of,
    prepare_mlflow,
    retraining_day,
    tracking,
)
from trading_assets.models.model import CLASSES, METADATA_FILE
from trading_assets.models.trained import Trained
from trading_assets.world import World

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

RETRAIN_ID = "retrain_id"
CHALLENGER, CHAMPION = "challenger", "champion"
_PARAMETER_LIMIT = 6000
_TAG_LIMIT = 5000

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is registered about one retraining.

    mode: name of the experiment. folder: the challenger's (`trained/`, ...). parameters: settings
    and data window, flat. tags: market, profile, recipe, run id.
    """

    mode: str
    market: str
    profile: str
    version: str
    folder: Path
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        """The registered model: `KRW-BTC.swing`."""
        return f"{self.market}.{self.profile}"

    @property
    def made_at(self) -> datetime:
        return datetime.fromisoformat(self.tags["made_at"])


def register_challenger(world: World, entry: Entry, on_step: OnStep | None = None) -> str:
    """One MLflow run, one registered version and the alias `challenger`; returns the version.

    Safe to repeat: a finished registration of the same retraining is returned, an interrupted one
    is closed as KILLED, its version deleted, and redone.
    """
    prepare_mlflow(world)
    with tracking(world):
        return _register(world, entry, on_step or _quiet)


def register_verdict(
    world: World, name: str, version: str, *, promoted: bool, reasons: tuple[str, ...]
) -> None:
    """Tag the run and the version with the verdict; the alias `champion` moves when promoted.

    name: `KRW-BTC.swing`. version: the retraining's id. Safe to repeat. A refused challenger keeps
    its version and its run.
    """
    client = client_of(world)
    found = _version_of(client, name, version)
    if found is None:
        raise LookupError(f"no MLflow version of {name} carries {RETRAIN_ID}={version}")
    tags = {
        "verdict": "promoted" if promoted else "refused",
        "verdict_reasons": "\n".join(reasons)[:_TAG_LIMIT],
    }
    for key, value in tags.items():
        client.set_model_version_tag(name, found.version, key, value)
        client.set_tag(_run_id(found), key, value)
    if promoted:
        client.set_registered_model_alias(name, CHAMPION, found.version)


def close_orphans(world: World, mode: str, market: str, profile: str) -> int:
    """Close runs of this market and profile that a kill has left RUNNING; how many there were.

    Call only while holding the retraining lock: a running registration looks the same.
    """
    client = client_of(world)
    experiment = experiment_of(client, world, mode)
    running = client.search_runs(
        [experiment],
        f"attributes.status = 'RUNNING' and tags.market = '{market}' "
        f"and tags.profile = '{profile}'",
    )
    # A comparison finishes its own runs; the versions that they name are whole.
    orphans = [run for run in running if run.data.tags.get(ROLE) != CANDIDATE_ROLE]
    for run in orphans:
        half = _version_of(client, f"{market}.{profile}", run.data.tags[RETRAIN_ID])
        if half is not None:
            client.delete_model_version(half.name, half.version)
        for model in client.search_logged_models(
            [experiment], filter_string=f"source_run_id = '{run.info.run_id}'"
        ):
            client.delete_logged_model(model.model_id)
        client.set_tag(run.info.run_id, "verdict", "none: the process was killed")
        client.set_terminated(run.info.run_id, "KILLED")
    return len(orphans)


def aliases(world: World, name: str) -> dict[str, str]:
    """Alias -> retraining id of the version it names; empty for an unknown model."""
    from mlflow.exceptions import MlflowException

    client = client_of(world)
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        return {}
    return {
        alias: client.get_model_version(name, number).tags.get(RETRAIN_ID, "")
        for alias, number in model.aliases.items()
    }


def _register(world: World, entry: Entry, step: OnStep) -> str:
    client = client_of(world)
    experiment = experiment_of(client, world, entry.mode)
    known = _version_of(client, entry.name, entry.version)
    if known is not None and _is_finished(client, known):
        return _aliased(client, entry.name, known)
    close_orphans(world, entry.mode, entry.market, entry.profile)
    step("mlflow:before_run")
    day = retraining_day(entry.made_at)
    run = client.create_run(
        experiment,
        run_name=f"{entry.name} {entry.tags['recipe']}",
        tags={
            **entry.tags,
            ROLE: CHALLENGER_ROLE,
            DAY: day,
            PARENT: day_run(client, world, experiment, day),
            RETRAIN_ID: entry.version,
            "verdict": "pending",
        },
    )
    run_id = run.info.run_id
    step("mlflow:run_created")
    _log_numbers(client, run_id, entry)
    step("mlflow:numbers_logged")
    _log_tables(client, run_id, entry)
    uri = _log_model(client, experiment, run_id, entry)
    step("mlflow:model_logged")
    _ensure_registered_model(client, entry.name)
    created = client.create_model_version(
        entry.name,
        source=uri,
        run_id=run_id,
        tags={RETRAIN_ID: entry.version, "verdict": "pending"},
    )
    step("mlflow:version_created")
    client.set_terminated(run_id, "FINISHED")
    step("mlflow:run_finished")
    return _aliased(client, entry.name, created)


def _quiet(step: str) -> None:
    del step


def _ensure_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def run_of_version(client: "MlflowClient", name: str, version: str) -> str | None:
    """The run that a retraining registered, None when it never did. version: the retraining's."""
    found = _version_of(client, name, version)
    return None if found is None else _run_id(found)


def _version_of(client: "MlflowClient", name: str, version: str) -> "ModelVersion | None":
    found = client.search_model_versions(f"name = '{name}' and tags.{RETRAIN_ID} = '{version}'")
    return found[0] if found else None


def _is_finished(client: "MlflowClient", version: "ModelVersion") -> bool:
    return bool(client.get_run(_run_id(version)).info.status == "FINISHED")


def _run_id(version: "ModelVersion") -> str:
    """The run a version came from; ours always have one."""
    if version.run_id is None:
        raise LookupError(f"version {version.version} of {version.name} has no run")
    return str(version.run_id)


def _aliased(client: "MlflowClient", name: str, version: "ModelVersion") -> str:
    client.set_registered_model_alias(name, CHALLENGER, version.version)
    return str(version.version)


def _log_numbers(client: "MlflowClient", run_id: str, entry: Entry) -> None:
    from mlflow.entities import Metric, Param

    stamp = _milliseconds(entry)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, stamp, 0) for name, value in entry.metrics.items()],
        params=[Param(k, v[:_PARAMETER_LIMIT]) for k, v in entry.parameters.items()],
    )


def _milliseconds(entry: Entry) -> int:
    return int(entry.made_at.timestamp() * 1000)


def _log_tables(client: "MlflowClient", run_id: str, entry: Entry) -> None:
    """`model_metadata.json`, confusion matrix and feature importance as files of the run."""
    trained = Trained.load(entry.folder / "trained")
    client.log_dict(run_id, dict(trained.served.metadata), METADATA_FILE)
    confusion = {
        f"was {actual}": dict(zip((f"predicted {c}" for c in CLASSES), row, strict=True))
        for actual, row in zip(CLASSES, trained.evaluation.confusion, strict=True)
    }
    client.log_dict(run_id, confusion, "confusion_matrix.json")
    ranked = sorted(trained.evaluation.importance.items(), key=lambda item: -item[1])
    client.log_table(
        run_id,
        {"feature": [name for name, _ in ranked], "gain_share": [share for _, share in ranked]},
        "feature_importance.json",
    )


def _log_model(client: "MlflowClient", experiment: str, run_id: str, entry: Entry) -> str:
    """Log the served model (with signature) under the run and return its URI."""
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import Model as MlflowModel
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    columns = len(json.loads((entry.folder / "trained/served/model.json").read_text())["columns"])
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, columns))]),
        outputs=Schema([TensorSpec(np.dtype(np.float64), (-1, 3))]),
    )
    # Not `pyfunc.log_model`: it needs an active run, whose end would mark the run FINISHED before
    # its version exists. Without a model made beforehand it would land in the default experiment.
    model = client.create_logged_model(experiment, name="model", source_run_id=run_id)
    logged = MlflowModel.log(
        artifact_path=None,
        flavor=mlflow.pyfunc,
        name="model",
        run_id=run_id,
        model_id=model.model_id,
        python_model=str(Path(__file__).with_name("mlflow_entry.py")),
        artifacts={"served": str(entry.folder / "trained" / "served")},
        signature=signature,
        # Given, so that mlflow does not start a process to guess them.
        pip_requirements=["lightgbm", "numpy", "mlflow"],
    )
    return str(logged.model_uri)
