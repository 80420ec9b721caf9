"""The asset graph: candles, features, models, signals, with market as the one partition dimension.

Each function is a label: inputs, a call into the domain, checks and metadata out. What an interval
needs (candles, features) and what a profile needs (sequences to champion) come from factories, so
a recording of hourly candles simply has no `scalp`.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import dagster as dg
import numpy as np
import pandas as pd
from sqlalchemy.engine import Engine

from trading_assets.backtest.causality import check_features_cut, check_labels_cut
from trading_assets.candles.checks import check_store
from trading_assets.candles.collection import collect
from trading_assets.candles.frame import from_us
from trading_assets.candles.recorded import StoredCandles
from trading_assets.candles.series import CandleSeries
from trading_assets.candles.store import CandleStore
from trading_assets.clock import Clock
from trading_assets.exchange.candle_pages import CandlePages
from trading_assets.exchange.model import Interval
from trading_assets.features.checks import (
    FeatureReference,
    check_filled_windows,
    check_training_features,
)
from trading_assets.features.matrix import FeatureMatrix, feature_matrix
from trading_assets.features.sequences import Sequences, make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.champions import ChampionStore
from trading_assets.models.checks import check_label_shares
from trading_assets.models.dataset import make_dataset
from trading_assets.models.labels import Labels, make_labels
from trading_assets.models.profiles import active_profiles, costs
from trading_assets.models.readiness import (
    check_age,
    check_dataset,
    check_trained,
    gate_outcome,
    require_trainable,
    stop_if_blocked,
    training_reference,
)
from trading_assets.models.retrain import Workshop, judge_challenger, make_challenger
from trading_assets.orchestration.research import metadata
from trading_assets.orchestration.research.keys import (
    SIGNALS,
    SIGNALS_GROUP,
    candles_key,
    features_key,
    profile_key,
)
from trading_assets.orchestration.research.reads import READS_AGAIN, explained_reads, told
from trading_assets.orchestration.research.results import (
    Result,
    check_results,
    check_specs,
    signals_result,
)
from trading_assets.orchestration.shared.partitions import market_partitions
from trading_assets.rules.profile import Profile
from trading_assets.settings import Settings
from trading_assets.signals.produce import produce_signals
from trading_assets.world import World

CANDLE_CHECKS = (
    "candle_schema",
    "candle_freshness",
    "candle_gaps",
    "candle_continuity",
    "candle_jumps",
)
FEATURE_CHECKS = (
    "features_finite",
    "features_in_range",
    "features_not_constant",
    "features_drift",
    "windows_filled",
    "features_lookahead",
    "features_recursion",
)
LABEL_CHECKS = ("label_shares", "labels_lookahead")
MODEL_CHECKS = ("split_audit", "not_too_good", "probabilities", "label_is_traded_rule")
CHAMPION_CHECKS = ("challenger_passed_the_gate",)


def research_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """The whole graph under `settings`."""
    profiles = active_profiles(settings)
    intervals = dict.fromkeys(profile.interval_minutes for profile in profiles)
    return [
        *(asset for minutes in intervals for asset in interval_assets(settings, minutes)),
        *(asset for profile in profiles for asset in profile_assets(settings, profile)),
        signals_asset(settings),
    ]


def interval_assets(settings: Settings, interval_minutes: int) -> list[dg.AssetsDefinition]:
    """Candles and features of one interval, shared by the profiles that use it."""
    interval = Interval.of_minutes(interval_minutes)
    partitions = market_partitions(settings)
    profiles = [p for p in active_profiles(settings) if p.interval_minutes == interval_minutes]
    names = [p.name for p in profiles]
    history = _longest([p.history for p in profiles])

    @dg.asset(
        key=candles_key(interval_minutes),
        group_name="candles",
        kinds={"parquet"},
        partitions_def=partitions,
        check_specs=check_specs(candles_key(interval_minutes), CANDLE_CHECKS, partitions),
        retry_policy=READS_AGAIN,
        freshness_policy=metadata.retraining_freshness(settings),
        description=f"All closed {interval_minutes}-minute candles, collected and topped up.",
    )
    def candles(
        context: dg.AssetExecutionContext,
        pages: dg.ResourceParam[CandlePages],
        candle_store: dg.ResourceParam[CandleStore],
        clock: dg.ResourceParam[Clock],
        workshop: dg.ResourceParam[Workshop],
    ) -> Result:
        market = context.partition_key
        with explained_reads(context):
            report = collect(
                market,
                interval,
                pages=pages,
                store=candle_store,
                clock=clock,
                history=history,
                siblings=[m for m in settings.markets if m != market],
                on_progress=told(context),
            )
        outcomes = check_store(*_parts(candle_store, market, interval), clock.now())
        stop_if_blocked(workshop, market, names, outcomes)
        return Result(
            metadata=metadata.of_collection(report), check_results=check_results(outcomes)
        )

    @dg.asset(
        key=features_key(interval_minutes),
        deps=[candles_key(interval_minutes)],
        group_name="features",
        kinds={"talib", "parquet"},
        partitions_def=partitions,
        check_specs=check_specs(features_key(interval_minutes), FEATURE_CHECKS, partitions),
        io_manager_key="assets_io",
        dagster_type=dg.Any,
        description="The 46 features of every candle.",
    )
    def features(
        context: dg.AssetExecutionContext,
        candle_store: dg.ResourceParam[CandleStore],
        champions: dg.ResourceParam[ChampionStore],
        workshop: dg.ResourceParam[Workshop],
    ) -> Result:
        market = context.partition_key
        stored = _stored(candle_store, market, interval)
        series = stored.series
        matrix = feature_matrix(series)
        outcomes = (
            *check_training_features(matrix, _reference(champions, market, profiles)),
            check_filled_windows(series),
            *check_features_cut(stored, settings.base_seed),
        )
        stop_if_blocked(workshop, market, names, outcomes)
        return Result(
            value=matrix,
            metadata=metadata.of_rows(matrix.open_time, valid=int(matrix.valid.sum())),
            check_results=check_results(outcomes),
        )

    return [candles, features]


def profile_assets(settings: Settings, profile: Profile) -> list[dg.AssetsDefinition]:
    """Sequences, labels, challenger and champion of one profile."""
    interval = Interval.of_minutes(profile.interval_minutes)
    partitions = market_partitions(settings)
    features_in = dg.AssetIn(key=features_key(profile.interval_minutes))

    def key(name: str) -> dg.AssetKey:
        return profile_key(profile.name, name)

    @dg.asset(
        key=key("sequences"),
        ins={"features": features_in},
        group_name="features",
        kinds={"parquet"},
        partitions_def=partitions,
        io_manager_key="assets_io",
        dagster_type=dg.Any,
        description="Every usable sequence of 24 feature rows.",
    )
    def sequences(
        context: dg.AssetExecutionContext,
        features: FeatureMatrix,
        candle_store: dg.ResourceParam[CandleStore],
    ) -> Result:
        series = _stored(candle_store, context.partition_key, interval).series
        made = make_sequences(features, series.slice(0, _rows_until(series, features)))
        return Result(value=made, metadata=metadata.of_rows(made.open_time))

    @dg.asset(
        key=key("labels"),
        deps=[candles_key(profile.interval_minutes)],
        group_name="models",
        kinds={"parquet"},
        partitions_def=partitions,
        check_specs=check_specs(key("labels"), LABEL_CHECKS, partitions),
        io_manager_key="assets_io",
        dagster_type=dg.Any,
        description="The outcome, after costs, of the trade the bot would make at each candle.",
    )
    def labels(
        context: dg.AssetExecutionContext,
        candle_store: dg.ResourceParam[CandleStore],
        workshop: dg.ResourceParam[Workshop],
    ) -> Result:
        stored = _stored(candle_store, context.partition_key, interval)
        series = stored.series
        made = make_labels(series, profile, costs(settings), ewm_sigma(series))
        outcomes = (
            check_label_shares(made.label[made.valid]),
            check_labels_cut(stored, profile, costs(settings), settings.base_seed),
        )
        stop_if_blocked(workshop, context.partition_key, [profile.name], outcomes)
        return Result(
            value=made,
            metadata=metadata.of_labels(made),
            check_results=check_results(outcomes),
        )

    @dg.asset(
        key=key("challenger"),
        ins={
            "features": features_in,
            "sequences": dg.AssetIn(key=key("sequences")),
            "labels": dg.AssetIn(key=key("labels")),
        },
        group_name="models",
        kinds={"lightgbm", "mlflow"},
        partitions_def=partitions,
        check_specs=check_specs(key("challenger"), MODEL_CHECKS, partitions, blocking=False),
        description="A newly trained model and its twin, in MLflow, not yet judged.",
    )
    def challenger(  # noqa: PLR0917  # Dagster sees positional parameters only
        context: dg.AssetExecutionContext,
        features: FeatureMatrix,
        sequences: Sequences,
        labels: Labels,
        candle_store: dg.ResourceParam[CandleStore],
        workshop: dg.ResourceParam[Workshop],
    ) -> Result:
        market = context.partition_key
        dataset = make_dataset(
            market,
            profile,
            sequences,
            labels,
            costs=costs(settings),
            view=settings.sequence_view,
            candle_hash=candle_store.content_hash(market, interval, end=_end(features, interval)),
        )
        outcomes = (
            *check_store(*_parts(candle_store, market, interval), _end(features, interval)),
            *check_training_features(features, _reference(workshop.champions(), market, [profile])),
            check_label_shares(labels.label[labels.valid]),
            check_age(_end(features, interval), interval.duration, workshop.clock.now()),
            *check_dataset(dataset, profile),
        )
        require_trainable(workshop, market, profile.name, outcomes)
        made = make_challenger(workshop, dataset, profile, training_reference(features, dataset))
        trained = made.trained()
        return Result(
            metadata=metadata.of_challenger(settings, made, trained),
            check_results=check_results(
                check_trained(trained, profile, costs(settings), settings.base_seed)
            ),
        )

    @dg.asset(
        key=key("champion"),
        deps=[key("challenger")],
        group_name="models",
        kinds={"mlflow"},
        partitions_def=partitions,
        check_specs=check_specs(key("champion"), CHAMPION_CHECKS, partitions, blocking=False),
        freshness_policy=metadata.retraining_freshness(settings),
        description="The model that serves: the challenger if the gate lets it, else the old one.",
    )
    def champion(context: dg.AssetExecutionContext, workshop: dg.ResourceParam[Workshop]) -> Result:
        judgement = judge_challenger(workshop, context.partition_key, profile)
        return Result(
            metadata=metadata.of_judgement(settings, judgement),
            check_results=check_results([gate_outcome(judgement)]),
        )

    return [sequences, labels, challenger, champion]


def signals_asset(settings: Settings) -> dg.AssetsDefinition:
    """The signals of all markets, one run for all of them; kept in the database."""

    @dg.asset(
        key=SIGNALS,
        deps=[profile_key(profile, "champion") for profile in settings.active_profiles],
        group_name=SIGNALS_GROUP,
        kinds={"sql"},
        partitions_def=market_partitions(settings),
        backfill_policy=dg.BackfillPolicy.single_run(),
        freshness_policy=metadata.signals_freshness(settings),
        description="What to do in each market at its latest closed candle, and why.",
    )
    def signals(  # noqa: PLR0917  # Dagster sees positional parameters only
        context: dg.AssetExecutionContext,
        world: dg.ResourceParam[World],
        clock: dg.ResourceParam[Clock],
        pages: dg.ResourceParam[CandlePages],
        candle_store: dg.ResourceParam[CandleStore],
        champions: dg.ResourceParam[ChampionStore],
        database: dg.ResourceParam[Engine],
    ) -> Result:
        report = produce_signals(
            settings, world, clock, pages, candle_store, champions, database, context.run.run_id
        )
        return signals_result(context, report)

    return signals


def _stored(store: CandleStore, market: str, interval: Interval) -> StoredCandles:
    frame, gaps = store.read(market, interval), store.gaps(market, interval)
    return StoredCandles(market, interval, frame, gaps)


def _parts(
    store: CandleStore, market: str, interval: Interval
) -> tuple[pd.DataFrame, pd.DataFrame, CandleSeries]:
    """The candles, their gap table and both as a series."""
    stored = _stored(store, market, interval)
    return stored.frame, stored.gaps, stored.series


def _rows_until(series: CandleSeries, matrix: FeatureMatrix) -> int:
    """The rows of `series` up to the last of `matrix`: signals may have added newer candles."""
    return int(np.searchsorted(series.open_time, matrix.open_time[-1], side="right"))


def _end(matrix: FeatureMatrix, interval: Interval) -> datetime:
    """The close of the last candle that `matrix` was made from."""
    return from_us(int(matrix.open_time[-1].astype(np.int64))) + interval.duration


def _reference(
    champions: ChampionStore, market: str, profiles: Iterable[Profile]
) -> FeatureReference | None:
    """What the features looked like when the first champion among `profiles` was trained."""
    found = (champions.current(market, profile.name) for profile in profiles)
    return next((champion.reference for champion in found if champion is not None), None)


def _longest(histories: Sequence[timedelta | None]) -> timedelta | None:
    """The longest of several windows, None being all there is."""
    return None if None in histories else max(h for h in histories if h is not None)
