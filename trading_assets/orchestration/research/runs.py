"""What sensors ask Dagster about runs: is one under way, was it asked for already?"""

import dagster as dg

from trading_assets.orchestration.shared import tags

# A run that was created but never submitted would block its market for ever, so NOT_STARTED is not
# one of them; the run key keeps such a request from being made twice.
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def is_under_way(
    instance: dg.DagsterInstance, job_name: str, market: str, asset: dg.AssetKey
) -> bool:
    """Whether a queued or running run, started by whomever, makes `asset` of `market`.

    job_name: of the job whose runs make it when they select no assets.
    """
    runs = instance.get_runs(dg.RunsFilter(tags={tags.PARTITION: market}, statuses=UNDER_WAY))
    return any(
        run.job_name == job_name if run.asset_selection is None else asset in run.asset_selection
        for run in runs
    )


def was_attempted(instance: dg.DagsterInstance, market: str, tag: str, attempt: str) -> bool:
    """Whether a run for `market` carries `tag` with this attempt: maybe for more than that."""
    asked = {tags.PARTITION: market, tag: attempt}
    return instance.get_runs_count(dg.RunsFilter(tags=asked)) > 0
