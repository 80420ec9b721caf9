"""The three things research does: retrain a market, produce signals for all, evaluate what it does.

`evaluate` has two kinds of runs: one market walked forward, and what follows for all markets from
everything that was walked forward (assets without partitions).
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from trading_assets.orchestration.research.keys import (
    CONCLUSIONS,
    EVALUATE_JOB,
    EVALUATION_GROUP,
    RETRAIN_JOB,
    SIGNALS,
    SIGNALS_GROUP,
    SIGNALS_JOB,
    evaluation_keys,
)
from trading_assets.orchestration.shared import tags
from trading_assets.orchestration.shared.tags import Research
from trading_assets.settings import ProfileName, Settings

if TYPE_CHECKING:
    # What `define_asset_job` returns; dagster exports the function and not the type.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

RETRAIN_SECONDS = 3600
SIGNALS_SECONDS = 600
# Years of candles, walked forward from nothing on a busy machine; a kill loses one fold.
EVALUATE_SECONDS = 4 * 3600


def research_jobs() -> "list[UnresolvedAssetJobDefinition]":
    """`retrain`, where a run is one market, `produce_signals`, where a run is all of them, and
    `evaluate`."""
    everything, signals = dg.AssetSelection.all(), dg.AssetSelection.groups(SIGNALS_GROUP)
    evaluation = dg.AssetSelection.groups(EVALUATION_GROUP)
    return [
        dg.define_asset_job(
            RETRAIN_JOB,
            selection=everything - signals - evaluation,
            tags=_heavy(Research.TRAIN, RETRAIN_SECONDS),
            description="From Upbit's candles to a judged model, for one market.",
        ),
        dg.define_asset_job(
            SIGNALS_JOB,
            selection=dg.AssetSelection.assets(SIGNALS),
            tags={tags.RESEARCH: Research.SIGNAL.value, tags.MAX_RUNTIME: str(SIGNALS_SECONDS)},
            description="The latest closed candle of every market through the champions.",
        ),
        dg.define_asset_job(
            EVALUATE_JOB,
            selection=evaluation,
            tags=_heavy(Research.EVALUATE, EVALUATE_SECONDS),
            description="What profiles would have earned in data that their models had not seen.",
        ),
    ]


def _heavy(does: Research, seconds: int) -> dict[str, str]:
    return {tags.RESEARCH: does.value, tags.HEAVY: "yes", tags.MAX_RUNTIME: str(seconds)}


def retrain_request(
    market: str,
    *,
    run_key: str,
    asset_selection: list[dg.AssetKey] | None = None,
    attempts: dict[str, str] | None = None,
) -> dg.RunRequest:
    """One run of `retrain` for `market`. asset_selection: None for every profile."""
    return dg.RunRequest(
        run_key=run_key,
        partition_key=market,
        asset_selection=asset_selection,
        tags={tags.RETRAIN: market, **(attempts or {})},
    )


def signals_request(settings: Settings, *, run_key: str) -> dg.RunRequest:
    """One run of `produce_signals` for all markets."""
    return dg.RunRequest(
        run_key=run_key,
        tags={
            tags.PARTITION_RANGE_START: settings.markets[0],
            tags.PARTITION_RANGE_END: settings.markets[-1],
        },
    )


def evaluation_request(
    market: str,
    profiles: Sequence[ProfileName],
    *,
    run_key: str,
    attempts: dict[str, str] | None = None,
) -> dg.RunRequest:
    """One run of `evaluate` for `profiles` in `market`."""
    return dg.RunRequest(
        run_key=run_key,
        partition_key=market,
        asset_selection=[key for profile in profiles for key in evaluation_keys(profile)],
        tags=attempts or {},
    )


def conclusion_request(
    *, run_key: str, state: str, being_evaluated: Iterable[ProfileName] = ()
) -> dg.RunRequest:
    """One run of `evaluate` that draws the conclusions, beside markets that are being evaluated.

    state: names the evaluations that it is about. being_evaluated: profiles that are not through.
    """
    return dg.RunRequest(
        run_key=run_key,
        asset_selection=list(CONCLUSIONS),
        tags={
            tags.CONCLUSION: state,
            tags.BEING_EVALUATED: ",".join(sorted(being_evaluated)),
            tags.RESEARCH: Research.CONCLUDE.value,
            tags.HEAVY: "no",
        },
    )
