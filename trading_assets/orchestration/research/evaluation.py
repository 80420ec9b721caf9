"""The assets of the group `evaluation`: what profiles would have earned in data they had not seen.

Per profile `walk_forward` and `shadow`, one partition a market; then the conclusions over all
markets (`conclusions.py`). Each function is a label, as in `assets.py`.
"""

from collections.abc import Callable

import dagster as dg

from trading_assets.backtest.market_evaluation import CHECKS, evaluate_market
from trading_assets.candles.series import regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.exchange.model import Interval
from trading_assets.features.sequences import Sequences
from trading_assets.models.dataset import make_dataset
from trading_assets.models.labels import Labels
from trading_assets.models.profiles import active_profiles, costs
from trading_assets.models.retrain import Workshop
from trading_assets.models.shadow import keep_scoring
from trading_assets.orchestration.research import metadata
from trading_assets.orchestration.research.conclusions import conclusion_assets
from trading_assets.orchestration.research.keys import EVALUATION_GROUP, profile_key
from trading_assets.orchestration.research.results import Result, check_results, check_specs
from trading_assets.orchestration.shared.partitions import market_partitions
from trading_assets.rules.profile import Profile
from trading_assets.settings import Settings


def evaluation_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """Everything in the group `evaluation` under `settings`."""
    return [
        *(walk_forward_asset(settings, profile) for profile in active_profiles(settings)),
        *(shadow_asset(settings, profile) for profile in active_profiles(settings)),
        *conclusion_assets(settings),
    ]


def walk_forward_asset(settings: Settings, profile: Profile) -> dg.AssetsDefinition:
    """The out-of-sample predictions of one profile and what they would have earned."""
    interval = Interval.of_minutes(profile.interval_minutes)
    partitions = market_partitions(settings)
    key = profile_key(profile.name, "walk_forward")

    @dg.asset(
        key=key,
        ins={"sequences": dg.AssetIn(key=profile_key(profile.name, "sequences"))},
        group_name=EVALUATION_GROUP,
        kinds={"lightgbm", "parquet"},
        partitions_def=partitions,
        check_specs=check_specs(key, CHECKS, partitions, blocking=False),
        freshness_policy=metadata.evaluation_freshness(settings),
        description="What a model that had not seen them said of all candles, and what that earns.",
    )
    def walk_forward(
        context: dg.AssetExecutionContext,
        sequences: Sequences,
        candle_store: dg.ResourceParam[CandleStore],
        workshop: dg.ResourceParam[Workshop],
        background: dg.ResourceParam[Callable[[], None]],
    ) -> Result:
        background()
        market = context.partition_key
        frame, gaps = candle_store.read(market, interval), candle_store.gaps(market, interval)
        found = evaluate_market(
            workshop,
            market,
            profile,
            regular_series(frame, gaps, interval),
            sequences,
            candle_hash=candle_store.content_hash(market, interval),
            on_step=lambda step: context.log.info(f"{market} {profile.name}: {step}"),
        )
        return Result(
            metadata=metadata.of_evaluation(found), check_results=check_results(found.checks)
        )

    return walk_forward


def shadow_asset(settings: Settings, profile: Profile) -> dg.AssetsDefinition:
    """Every judged model of one profile on the candles that came after it, traded or not."""
    key = profile_key(profile.name, "shadow")

    @dg.asset(
        key=key,
        ins={
            "sequences": dg.AssetIn(key=profile_key(profile.name, "sequences")),
            "labels": dg.AssetIn(key=profile_key(profile.name, "labels")),
        },
        deps=[profile_key(profile.name, "champion")],
        group_name=EVALUATION_GROUP,
        kinds={"lightgbm", "parquet"},
        partitions_def=market_partitions(settings),
        freshness_policy=metadata.evaluation_freshness(settings),
        description="What judged models, refused ones too, said of later candles; what came of it.",
    )
    def shadow(
        context: dg.AssetExecutionContext,
        sequences: Sequences,
        labels: Labels,
        workshop: dg.ResourceParam[Workshop],
        background: dg.ResourceParam[Callable[[], None]],
    ) -> Result:
        background()
        dataset = make_dataset(
            context.partition_key,
            profile,
            sequences,
            labels,
            costs=costs(settings),
            view=settings.sequence_view,
        )
        return Result(metadata=metadata.of_shadow(keep_scoring(workshop, dataset, profile)))

    return shadow
