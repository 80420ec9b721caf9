"""MLflow: one run and one registered version per retraining, for people to compare.

Nothing reads it back to serve or to decide; `champions.py` and the database are for that. Every
entry carries the retraining's id (the challenger's version), by which an interrupted registration
is found and redone. mlflow is imported inside the functions (5 s), with its telemetry off.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from trading_assets.models.model import CLASSES, METADATA_FILE
from trading_assets.models.trained import Trained
from trading_assets.world import World, claim

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


def prepare_mlflow(world: World) -> None:
    """Create the world's MLflow database once, before any server or run (its migration races).

    Cheap when it is there already; concurrent callers wait for the first.
    """
    claim(world.mlruns, world.name)
    world.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    ready = world.mlruns / "READY"
    with FileLock(world.mlruns / ".prepare.lock"):
        if ready.exists():
            return
        _client(world).search_experiments(max_results=1)
        ready.write_text("the database has its tables\n", encoding="utf-8")


def register_challenger(world: World, entry: Entry, on_step: OnStep | None = None) -> str:
    """One MLflow run, one registered version and the alias `challenger`; returns the version.

    Safe to repeat: a finished registration of the same retraining is returned, an interrupted one
    is closed as KILLED, its version deleted, and redone.
    """
    prepare_mlflow(world)
    with _tracking(world):
        return _register(world, entry, on_step or _quiet)


def register_verdict(
    world: World, name: str, version: str, *, promoted: bool, reasons: tuple[str, ...]
) -> None:
    """Tag the run and the version with the verdict; the alias `champion` moves when promoted.

    name: `KRW-BTC.swing`. version: the retraining's id. Safe to repeat. A refused challenger keeps
    its version and its run.
    """
    client = _client(world)
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
    client = _client(world)
    experiment = _experiment(client, world, mode)
    orphans = client.search_runs(
        [experiment],
        f"attributes.status = 'RUNNING' and tags.market = '{market}' "
        f"and tags.profile = '{profile}'",
    )
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

    client = _client(world)
    try:
        model = client.get_registered_model(name)
    except MlflowException:
        return {}
    return {
        alias: client.get_model_version(name, number).tags.get(RETRAIN_ID, "")
        for alias, number in model.aliases.items()
    }


def _register(world: World, entry: Entry, step: OnStep) -> str:
    client = _client(world)
    experiment = _experiment(client, world, entry.mode)
    known = _version_of(client, entry.name, entry.version)
    if known is not None and _is_finished(client, known):
        return _aliased(client, entry.name, known)
    close_orphans(world, entry.mode, entry.market, entry.profile)
    step("mlflow:before_run")
    run = client.create_run(
        experiment,
        run_name=f"{entry.name} {entry.version}",
        tags={**entry.tags, RETRAIN_ID: entry.version, "verdict": "pending"},
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


def _client(world: World) -> "MlflowClient":
    _quiet_telemetry()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=world.mlflow_uri, registry_uri=world.mlflow_uri)


def _quiet_telemetry() -> None:
    """Both are read when mlflow is imported."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")


def _experiment(client: "MlflowClient", world: World, mode: str) -> str:
    """The experiment's id; created when it is not there, also when two processes try at once."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(mode)
    if found is None:
        try:
            return str(client.create_experiment(mode, str(world.mlflow_artifacts / mode)))
        except MlflowException:
            found = client.get_experiment_by_name(mode)
            if found is None:
                raise
    return str(found.experiment_id)


def _ensure_registered_model(client: "MlflowClient", name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as exc:
        if exc.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


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
    made = datetime.fromisoformat(entry.tags["made_at"])
    return int(made.timestamp() * 1000)


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


@contextmanager
def _tracking(world: World) -> Iterator[None]:
    """Parts of mlflow only know the process-wide store: set it for a while, then put it back."""
    _quiet_telemetry()
    import mlflow

    # The registry's store follows the tracking store as long as nobody names one.
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(world.mlflow_uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
