"""What follows from all walk-forwards together; no partitions, drawn when one of them is new.

They read the stores of every market and are made after the last market of a profile, whether or not
each could be walked forward (`evaluation_sensor`). None waits for another: they only share a run.
Each function is a label, as in `assets.py`.
"""

from collections.abc import Callable, Sequence

import dagster as dg

from trading_assets.backtest import choice_checks, profile_forecast, profile_report
from trading_assets.backtest.model_comparison import NOBODY_BETTER, compare_models
from trading_assets.backtest.profile_evaluation import choose_profile
from trading_assets.candles.store import CandleStore
from trading_assets.models.retrain import Workshop
from trading_assets.orchestration.research import metadata
from trading_assets.orchestration.research.keys import (
    EVALUATION_GROUP,
    FORECAST,
    MODEL_COMPARISON,
    PROFILE_CHOICE,
    REPORT,
    profile_key,
)
from trading_assets.orchestration.research.results import Result, check_results, check_specs
from trading_assets.orchestration.shared import tags
from trading_assets.reporting import profile_reports
from trading_assets.settings import Settings
from trading_assets.signals import choice_table

# Of the steps of a run: signals wait for the choice, nobody for the others.
_FIRST = {tags.PRIORITY: "1"}


def conclusion_assets(settings: Settings) -> list[dg.AssetsDefinition]:
    """One for each key in `keys.CONCLUSIONS`."""
    return [
        profile_choice_asset(settings),
        forecast_asset(settings),
        model_comparison_asset(settings),
        report_asset(settings),
    ]


def profile_choice_asset(settings: Settings) -> dg.AssetsDefinition:
    """Which profile `auto` trades from now on."""

    @dg.asset(
        key=PROFILE_CHOICE,
        deps=walk_forwards(settings),
        group_name=EVALUATION_GROUP,
        kinds={"sql"},
        op_tags=_FIRST,
        check_specs=check_specs(PROFILE_CHOICE, choice_checks.CHECKS, None, blocking=False),
        freshness_policy=metadata.evaluation_freshness(settings),
        description="The profile that earns most after costs in data it had not seen, or none.",
    )
    def profile_choice(
        context: dg.AssetExecutionContext,
        candle_store: dg.ResourceParam[CandleStore],
        workshop: dg.ResourceParam[Workshop],
        background: dg.ResourceParam[Callable[[], None]],
    ) -> Result:
        background()
        unfinished = context.run.tags.get(tags.BEING_EVALUATED, "")
        found = choose_profile(workshop, candle_store, being_evaluated=unfinished.split(","))
        context.log.info(found.choice.detail)
        now = workshop.clock.now()
        table = choice_table.as_markdown(workshop.settings, workshop.engine, now)
        return Result(
            metadata=metadata.of_choice(found.choice, table),
            check_results=check_results(found.checks),
        )

    return profile_choice


def forecast_asset(settings: Settings) -> dg.AssetsDefinition:
    """What live signals are compared with: stored in the database, where the checks read it."""

    @dg.asset(
        key=FORECAST,
        deps=walk_forwards(settings),
        group_name=EVALUATION_GROUP,
        kinds={"sql"},
        check_specs=check_specs(FORECAST, profile_forecast.CHECKS, None, blocking=False),
        freshness_policy=metadata.evaluation_freshness(settings),
        description="Signals and trades a day to expect, and how often none comes in 21 hours.",
    )
    def forecast(
        candle_store: dg.ResourceParam[CandleStore],
        workshop: dg.ResourceParam[Workshop],
        background: dg.ResourceParam[Callable[[], None]],
    ) -> Result:
        background()
        found = profile_forecast.forecast_profiles(workshop, candle_store)
        return Result(
            metadata=metadata.of_forecasts(found), check_results=check_results(found.checks)
        )

    return forecast


def model_comparison_asset(settings: Settings) -> dg.AssetsDefinition:
    """Models, recipes and profiles on the same candles; also runs in MLflow to lay side by side."""

    @dg.asset(
        key=MODEL_COMPARISON,
        deps=[*walk_forwards(settings), *of_every_market(settings, "shadow")],
        group_name=EVALUATION_GROUP,
        kinds={"mlflow"},
        check_specs=check_specs(MODEL_COMPARISON, (NOBODY_BETTER,), None, blocking=False),
        freshness_policy=metadata.evaluation_freshness(settings),
        description="Which model, recipe and profile is better, and by more than noise.",
    )
    def model_comparison(
        candle_store: dg.ResourceParam[CandleStore],
        workshop: dg.ResourceParam[Workshop],
        background: dg.ResourceParam[Callable[[], None]],
    ) -> Result:
        background()
        found = compare_models(workshop, candle_store)
        return Result(
            metadata=metadata.of_comparison(workshop.settings, workshop.world, found),
            check_results=check_results([found.check]),
        )

    return model_comparison


def report_asset(settings: Settings) -> dg.AssetsDefinition:
    """What each profile would have earned, in numbers and pictures; the same in MLflow."""

    @dg.asset(
        key=REPORT,
        deps=walk_forwards(settings),
        group_name=EVALUATION_GROUP,
        kinds={"mlflow"},
        check_specs=check_specs(REPORT, profile_report.CHECKS, None, blocking=False),
        freshness_policy=metadata.evaluation_freshness(settings),
        description="What each profile would have earned, and every doubt about it.",
    )
    def report(
        candle_store: dg.ResourceParam[CandleStore],
        workshop: dg.ResourceParam[Workshop],
        background: dg.ResourceParam[Callable[[], None]],
    ) -> Result:
        background()
        found = profile_report.report_profiles(workshop, candle_store)
        drawn = profile_reports.publish(workshop, found)
        return Result(
            metadata=metadata.of_reports(found, drawn), check_results=check_results(found.checks)
        )

    return report


def walk_forwards(settings: Settings) -> Sequence[dg.AssetDep]:
    """On every profile's walk-forward, in all markets."""
    return of_every_market(settings, "walk_forward")


def of_every_market(settings: Settings, name: str) -> Sequence[dg.AssetDep]:
    """On every profile's asset `name`, in all markets."""
    every_market = dg.AllPartitionMapping()
    return [
        dg.AssetDep(profile_key(p, name), partition_mapping=every_market)
        for p in settings.active_profiles
    ]
