"""The two things research does: retrain one market, and produce signals for all markets."""

from typing import TYPE_CHECKING

import dagster as dg

from trading_assets.orchestration.research.keys import RETRAIN_JOB, SIGNALS, SIGNALS_JOB
from trading_assets.orchestration.shared import tags
from trading_assets.orchestration.shared.tags import Research
from trading_assets.settings import Settings

if TYPE_CHECKING:
    # What `define_asset_job` returns; dagster exports the function and not the type.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

RETRAIN_SECONDS = 3600
SIGNALS_SECONDS = 600


def research_jobs() -> "list[UnresolvedAssetJobDefinition]":
    """`retrain`, where a run is one market, and `produce_signals`, where a run is all of them."""
    everything = dg.AssetSelection.all()
    return [
        dg.define_asset_job(
            RETRAIN_JOB,
            selection=everything - dg.AssetSelection.assets(SIGNALS),
            tags={tags.RESEARCH: Research.TRAIN.value, tags.MAX_RUNTIME: str(RETRAIN_SECONDS)},
            description="From Upbit's candles to a judged model, for one market.",
        ),
        dg.define_asset_job(
            SIGNALS_JOB,
            # Their live checks are a job of their own (live_checks.py).
            selection=dg.AssetSelection.assets(SIGNALS).without_checks(),
            tags={tags.RESEARCH: Research.SIGNAL.value, tags.MAX_RUNTIME: str(SIGNALS_SECONDS)},
            description="The latest closed candle of every market through the champions.",
        ),
    ]


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
