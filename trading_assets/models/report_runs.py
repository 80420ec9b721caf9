"""The MLflow run of a backtest report, one a profile and day: its numbers, text and pictures.

A child of the retraining day's run, beside the models of that day, so that days can be laid side by
side. Safe to repeat and to kill: the run is found again by (profile, day) and gets the same names.
Not here: what is reported (`backtest.profile_report`).
"""

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from trading_assets.models.mlflow_store import (
    DAY,
    PARENT,
    REPORT_ROLE,
    ROLE,
    client_of,
    day_run,
    experiment_of,
    prepare_mlflow,
    retraining_day,
)
from trading_assets.world import World

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True, slots=True)
class ReportRun:
    """What one run shows. metrics: finite numbers. files: by name, each whole."""

    profile: str
    recipe: str
    made_at: datetime
    metrics: Mapping[str, float]
    files: Mapping[str, bytes]


def log_reports(world: World, mode: str, runs: Iterable[ReportRun]) -> None:
    """Log each report under its day; a later one of the same day replaces it. mode: experiment."""
    prepare_mlflow(world)
    client = client_of(world)
    experiment = experiment_of(client, world, mode)
    with FileLock(world.mlruns / ".reports.lock"):
        for run in runs:
            _log(client, _run_id(client, world, experiment, run), run)


def _run_id(client: "MlflowClient", world: World, experiment: str, run: ReportRun) -> str:
    day = retraining_day(run.made_at)
    known = client.search_runs(
        [experiment],
        f"tags.{ROLE} = '{REPORT_ROLE}' and tags.profile = '{run.profile}' "
        f"and tags.{DAY} = '{day}'",
        max_results=1,
    )
    if known:
        return str(known[0].info.run_id)
    made = client.create_run(
        experiment,
        run_name=f"{run.profile} walk-forward, all markets",
        tags={
            ROLE: REPORT_ROLE,
            DAY: day,
            PARENT: day_run(client, world, experiment, day),
            "profile": run.profile,
            "recipe": run.recipe,
            "world": world.name,
        },
    )
    return str(made.info.run_id)


def _log(client: "MlflowClient", run_id: str, run: ReportRun) -> None:
    from mlflow.entities import Metric

    stamp = int(run.made_at.timestamp() * 1000)
    client.log_batch(
        run_id, metrics=[Metric(name, value, stamp, 0) for name, value in run.metrics.items()]
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, content in run.files.items():
            (Path(folder) / name).write_bytes(content)
        client.log_artifacts(run_id, folder)
    if client.get_run(run_id).info.status != "FINISHED":
        client.set_terminated(run_id, "FINISHED")
