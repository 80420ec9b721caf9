"""Makes the storage of the Dagster instance and closes runs that ended with a previous start.

`trading-assets setup` runs this as a program, with DAGSTER_HOME set, before any server starts. A
run whose process was killed together with its code server stays "started" in the storage, and a
started run keeps its model from being retrained. Whether its process still lives is answered by the
caller: `trading-assets run` asks for the closing only when nothing of the world runs.
"""

import sys
from datetime import datetime

import dagster as dg

_RUN_KEY = "dagster/run_key"
_ATTEMPT = "trading_assets/attempt_"
_IN_PROGRESS = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_UNFINISHED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def close_interrupted_runs(instance: dg.DagsterInstance, since: datetime) -> list[str]:
    """Close the runs that the end of a previous start interrupted; returns their ids.

    since: when that start was asked to stop. Runs that are still called started are canceled. They,
    and runs that ended without success after `since`, give their run key and attempt back, so that
    the sensors ask again at once instead of in the next hour. Queued runs stay and will start.
    """
    dead = instance.get_runs(dg.RunsFilter(statuses=_IN_PROGRESS))
    for run in dead:
        instance.report_run_canceled(
            run, "The process of this run ended with a previous start of trading-assets."
        )
    stopped = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, updated_after=since))
    interrupted = {run.run_id: run for run in (*dead, *stopped)}
    for run in interrupted.values():
        _give_back(instance, run)
    return list(interrupted)


def _give_back(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    tags = {
        name: f"interrupted {run.run_id}"
        for name in run.tags
        if name == _RUN_KEY or name.startswith(_ATTEMPT)
    }
    if tags:
        instance.add_run_tags(run.run_id, tags)


def main() -> None:
    with dg.DagsterInstance.get() as instance:
        # Touching each storage creates its tables.
        instance.get_runs(limit=1)
        instance.get_asset_keys(limit=1)
        instance.all_instigator_state()
        if len(sys.argv) > 1:
            close_interrupted_runs(instance, datetime.fromisoformat(sys.argv[1]))


if __name__ == "__main__":
    main()
