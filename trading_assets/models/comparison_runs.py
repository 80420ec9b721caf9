"""The MLflow runs of a comparison: one per candidate, beside the challenger's own, same metrics.

All runs of a market and profile on one day are children of the day's run and carry the same metric
names, measured on the same rows, so that MLflow's compare view can lay them side by side. The
challenger's run is the one that its registration made; here it only gets what was measured since.
Safe to repeat and to kill: a candidate's run is found again by (retraining, candidate). Not here:
what is measured (`backtest.comparison`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from trading_assets.models.mlflow_store import (
    CANDIDATE_ROLE,
    DAY,
    PARENT,
    ROLE,
    client_of,
    day_run,
    experiment_of,
    prepare_mlflow,
    retraining_day,
)
from trading_assets.models.registry import CHALLENGER, RETRAIN_ID, run_of_version
from trading_assets.world import World

if TYPE_CHECKING:
    from mlflow import MlflowClient

CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True)
class CandidateRun:
    """What one run shows.

    candidate: `challenger`, or what it is compared with. version: the challenger's; made_at: when
    it was trained. metrics: finite numbers. tags: more about it, texts. step: grows when numbers
    of the same names are measured again; MLflow shows those of the greatest.
    """

    market: str
    profile: str
    candidate: str
    version: str
    made_at: datetime
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    step: int = 0

    @property
    def name(self) -> str:
        return f"{self.market}.{self.profile}"


def log_comparison(
    world: World,
    mode: str,
    runs: Iterable[CandidateRun],
    documents: Mapping[str, Mapping[str, Any]],
) -> None:
    """Log each candidate under its day, and each day's document (by day) on its parent run.

    mode: name of the experiment. Raises LookupError for a challenger that was never registered.
    """
    prepare_mlflow(world)
    client = client_of(world)
    experiment = experiment_of(client, world, mode)
    with FileLock(world.mlruns / ".comparison.lock"):
        for run in runs:
            run_id = _run_id(client, world, experiment, run)
            _log(client, run_id, run)
        for day, document in documents.items():
            parent = day_run(client, world, experiment, day)
            client.log_dict(parent, dict(document), "model_comparison.json")


def _run_id(client: "MlflowClient", world: World, experiment: str, run: CandidateRun) -> str:
    if run.candidate == CHALLENGER:
        registered = run_of_version(client, run.name, run.version)
        if registered is None:
            raise LookupError(f"no MLflow run of {run.name} carries {RETRAIN_ID}={run.version}")
        return registered
    known = client.search_runs(
        [experiment],
        f"tags.{ROLE} = '{CANDIDATE_ROLE}' and tags.market = '{run.market}' "
        f"and tags.profile = '{run.profile}' and tags.{RETRAIN_ID} = '{run.version}' "
        f"and tags.{CANDIDATE} = '{run.candidate}'",
        max_results=1,
    )
    if known:
        return str(known[0].info.run_id)
    day = retraining_day(run.made_at)
    made = client.create_run(
        experiment,
        run_name=f"{run.name} {run.candidate}",
        tags={
            ROLE: CANDIDATE_ROLE,
            CANDIDATE: run.candidate,
            RETRAIN_ID: run.version,
            DAY: day,
            PARENT: day_run(client, world, experiment, day),
            "market": run.market,
            "profile": run.profile,
            "world": world.name,
        },
    )
    return str(made.info.run_id)


def _log(client: "MlflowClient", run_id: str, run: CandidateRun) -> None:
    """Numbers, texts, and FINISHED; the same again changes nothing."""
    from mlflow.entities import Metric, RunTag

    stamp = int(run.made_at.timestamp() * 1000)
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, stamp, run.step) for name, value in run.metrics.items()],
        tags=[RunTag(name, text) for name, text in {**run.tags, CANDIDATE: run.candidate}.items()],
    )
    if client.get_run(run_id).info.status != "FINISHED":
        client.set_terminated(run_id, "FINISHED")
