"""The world's MLflow store: how it is opened, its experiment, and the run of a retraining day.

One experiment a mode. Each retraining day (of the Korean calendar, as retraining goes by it) is one
parent run; every run of a model is its child, so that MLflow shows what was trained together as
one group. Not here: what is logged about a model (`registry.py`), its comparison
(`comparison_runs.py`) and reports (`report_runs.py`). mlflow is imported inside the functions
(5 s), with its telemetry off.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from filelock import FileLock

from trading_assets.world import World, claim

if TYPE_CHECKING:
    from mlflow import MlflowClient

# What a run is of: a retraining day, a challenger, a candidate that it is compared with, or what a
# profile would have earned.
ROLE = "role"
DAY_ROLE, CHALLENGER_ROLE, CANDIDATE_ROLE = "retraining_day", "challenger", "candidate"
REPORT_ROLE = "report"
DAY = "retraining_day"
PARENT = "mlflow.parentRunId"

_SEOUL = ZoneInfo("Asia/Seoul")


def prepare_mlflow(world: World) -> None:
    """Create the world's MLflow database once, before any server or run (its migration races).

    It is made beside its place and put there whole: MLflow cannot go on with what a kill left of
    its migrations. Cheap when it is there already; concurrent callers wait for the first.
    """
    claim(world.mlruns, world.name)
    world.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    ready = world.mlruns / "READY"
    with FileLock(world.mlruns / ".prepare.lock"):
        if ready.exists():
            return
        database, draft = world.mlruns / "mlflow.db", world.mlruns / ".mlflow.db.draft"
        if database.exists():
            # Nothing is written to it before READY: a kill left it half made, in earlier versions.
            database.replace(world.mlruns / "mlflow.db.unfinished")
        for leftover in world.mlruns.glob(f"{draft.name}*"):
            leftover.unlink()
        _client(f"sqlite:///{draft}").search_experiments(max_results=1)
        draft.replace(database)
        ready.write_text("the database has its tables\n", encoding="utf-8")


def client_of(world: World) -> "MlflowClient":
    """A client of the world's own store, whatever the process's is."""
    return _client(world.mlflow_uri)


def _client(uri: str) -> "MlflowClient":
    _quiet_telemetry()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def experiment_of(client: "MlflowClient", world: World, mode: str) -> str:
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


def retraining_day(made_at: datetime) -> str:
    """The day that a model made at `made_at` belongs to: of the Korean calendar, ISO 8601."""
    return made_at.astimezone(_SEOUL).date().isoformat()


def day_run(client: "MlflowClient", world: World, experiment: str, day: str) -> str:
    """The id of the day's parent run, made by the first who asks.

    It is FINISHED from the start: children may join at any time, and nothing holds it open. One
    that a kill left RUNNING is finished by the next who asks.
    """
    with FileLock(world.mlruns / ".days.lock"):
        found = client.search_runs(
            [experiment], f"tags.{ROLE} = '{DAY_ROLE}' and tags.{DAY} = '{day}'", max_results=1
        )
        if found:
            run = found[0]
        else:
            run = client.create_run(
                experiment,
                run_name=f"retraining of {day} (Seoul)",
                tags={ROLE: DAY_ROLE, DAY: day, "world": world.name},
            )
        if run.info.status == "RUNNING":
            client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)


@contextmanager
def tracking(world: World) -> Iterator[None]:
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


def _quiet_telemetry() -> None:
    """Both are read when mlflow is imported."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("DO_NOT_TRACK", "true")
