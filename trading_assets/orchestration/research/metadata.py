"""What a person sees on an asset: rows, windows, shares, metrics, links, freshness badges."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import dagster as dg
import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest import comparison_table
from trading_assets.backtest.market_evaluation import MarketEvaluation
from trading_assets.backtest.model_comparison import ModelComparison
from trading_assets.backtest.profile_forecast import Forecasts
from trading_assets.backtest.profile_report import Reports
from trading_assets.backtest.report_text import report_text
from trading_assets.candles.collection import CollectionReport
from trading_assets.models.challengers import Challenger, Judgement
from trading_assets.models.labels import Labels
from trading_assets.models.model import CLASSES
from trading_assets.models.shadow import ShadowRows
from trading_assets.models.trained import Trained
from trading_assets.reporting.profile_reports import Pictures
from trading_assets.rules.check import Level
from trading_assets.settings import Settings
from trading_assets.signals import forecast_words
from trading_assets.signals.choices import Choice
from trading_assets.signals.findings import Finding, worst_first
from trading_assets.signals.forecast import DROUGHT_HOURS, PROFILE_RULE
from trading_assets.world import World, prices

Metadata = Mapping[str, Any]
# Of these variants of a report Dagster plots only what a trade earns; its table has everything.
_VARIANTS = ("next_open_", "delayed_", "cost_")


def retraining_freshness(settings: Settings) -> dg.FreshnessPolicy:
    """The badge of what a retraining makes: warns when one is overdue, fails as entries stop.

    It knows no partitions and starts nothing; `stale_models_sensor` does that.
    """
    fail = timedelta(hours=float(settings.entries_stop_after_hours))
    warn = timedelta(hours=float(settings.retrain_after_hours) + 1)
    return dg.FreshnessPolicy.time_window(
        fail_window=fail, warn_window=warn if warn < fail else None
    )


def signals_freshness(settings: Settings) -> dg.FreshnessPolicy:
    """The badge of the signals: warns when one candle of the traded interval was missed.

    PROFILE=auto may trade any: then the longest interval counts, or it would warn for nothing.
    """
    pinned = settings.pinned_profile
    possible = settings.active_profiles if pinned is None else (pinned,)
    interval = timedelta(minutes=max(settings.profile_interval_minutes(p) for p in possible))
    return dg.FreshnessPolicy.time_window(fail_window=3 * interval, warn_window=2 * interval)


def live_checks_freshness() -> dg.FreshnessPolicy:
    """The badge of the hourly live checks: their own silence must not pass for health."""
    return dg.FreshnessPolicy.time_window(
        fail_window=timedelta(hours=3), warn_window=timedelta(hours=2)
    )


def evaluation_freshness(settings: Settings) -> dg.FreshnessPolicy:
    """The badge of an evaluation: warns when one is overdue, fails after a week."""
    return dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=7),
        warn_window=timedelta(hours=float(settings.evaluate_after_hours) + 1),
    )


def of_collection(report: CollectionReport) -> Metadata:
    return {
        "dagster/row_count": report.rows,
        "added": report.added,
        "corrected": len(report.corrected),
        "first": str(report.first),
        "last": str(report.last),
        "pages": report.pages,
        "pages_per_second": report.pages_per_second,
        **{f"gaps_{kind}": count for kind, count in report.gaps.items()},
    }


def of_rows(open_time: NDArray[np.datetime64], **counts: int) -> Metadata:
    """How many rows, from when to when (UTC), and what else was counted."""
    window = {"first": str(open_time[0]), "last": str(open_time[-1])} if len(open_time) else {}
    return {"dagster/row_count": len(open_time), **window, **counts}


def of_labels(labels: Labels) -> Metadata:
    classes = np.bincount(labels.label[labels.valid], minlength=3)
    shares = classes / max(1, classes.sum())
    return {
        **of_rows(labels.open_time, valid=int(labels.valid.sum())),
        **{f"share_{c.lower()}": float(s) for c, s in zip(CLASSES, shares, strict=True)},
    }


def of_challenger(settings: Settings, challenger: Challenger, trained: Trained) -> Metadata:
    return {
        "version": challenger.version,
        "window": dict(trained.served.metadata["window"]),
        "rounds": trained.rounds,
        **trained.evaluation.metrics(),
        "cpu_seconds": dict(trained.timings),
        "mlflow": mlflow_link(settings, challenger.name),
    }


def of_judgement(settings: Settings, judgement: Judgement) -> Metadata:
    return {
        "promoted": judgement.verdict.promoted,
        "verdict": dg.MetadataValue.md("\n".join(f"- {r}" for r in judgement.verdict.reasons)),
        "version": judgement.challenger.version,
        "decided_at": judgement.decided_at.isoformat(),
        "mlflow": mlflow_link(settings, judgement.challenger.name),
    }


def of_evaluation(found: MarketEvaluation) -> Metadata:
    """How it was made, how good the probabilities were, and what one market alone would earn.

    In basis points (1e-4) per trade; numbers that the data cannot say are left out.
    """
    skill, measured = found.skill, found.account.measured
    numbers = {
        "log_loss": skill.log_loss,
        "log_loss_over_prior": skill.ratio_prior,
        "log_loss_over_volatility": skill.ratio_volatility,
        "direction_auc": skill.auc_direction,
        "direction_auc_low": skill.auc_direction_low,
        "direction_auc_high": skill.auc_direction_high,
        "ece": skill.ece,
        "ece_bound": skill.ece_bound,
        "trades_a_day": measured.trades_a_day.value,
        "net_bp": measured.net_bp.value,
        "net_bp_low": measured.net_bp.low,
        "net_bp_high": measured.net_bp.high,
        "gross_bp": measured.gross_bp.value,
        "random_entries_net_bp": np.nan
        if found.account.random is None
        else found.account.random.mean,
        "account_return": measured.account_return,
        "buy_and_hold_return": found.account.held.account_return,
    }
    return {
        **of_rows(found.predictions.open_time),
        "cadence": found.predictions.record["cadence"],
        "folds": len(found.predictions.folds),
        "folds_fitted": found.report.fitted,
        "folds_reused": found.report.reused,
        "fitted_anew": dg.MetadataValue.md("\n".join(f"- {why}" for why in found.report.anew)),
        "seeds": found.predictions.seeds,
        "trades": measured.trades,
        **{name: float(value) for name, value in numbers.items() if np.isfinite(value)},
    }


def of_shadow(rows: ShadowRows) -> Metadata:
    """Which versions said something of how many candles, and how good it was; nats a row."""
    table = [
        f"| {version} | {'champion' if own.promoted[0] else 'refused'} | {len(own)} | "
        f"{own.losses.mean():.4f} | {own.losses.mean() / own.loss_prior.mean():.3f} |"
        for version in np.unique(rows.version)
        for own in (rows.take(rows.version == version),)
    ]
    head = ["| version | became | candles | log loss | / prior |", "|---" * 5 + "|"]
    return {
        **of_rows(np.sort(rows.open_time)),
        "versions": len(table),
        "live": dg.MetadataValue.md("\n".join([*head, *table])),
    }


def of_choice(choice: Choice, table: str) -> Metadata:
    """What was chosen and why; numbers of every profile, in basis points (1e-4) per trade."""
    return {
        "verdict": choice.detail,
        "profile": choice.profile or "none",
        "reason": choice.reason.value,
        "table": dg.MetadataValue.md(table),
        **{
            f"{n.profile}_{name}": value
            for n in choice.numbers
            for name, value in asdict(n).items()
            if isinstance(value, bool | int | float)
        },
    }


def of_forecasts(found: Forecasts) -> Metadata:
    """Of each profile, all markets together: a rate a day for each rule, and everything as text."""
    shown: dict[str, Any] = {}
    for one in found.made:
        shown[one.profile] = dg.MetadataValue.md(forecast_words.markdown(one))
        for rule, rate in one.whole.rates.items():
            name = f"{one.profile}_{'own_rule' if rule == PROFILE_RULE else rule}"
            shown[f"{name}_signals_a_day"] = rate.signals_a_day
            shown[f"{name}_none_in_{DROUGHT_HOURS}_h"] = rate.no_signal
            if rate.trades_a_day is not None:
                shown[f"{name}_trades_a_day"] = rate.trades_a_day
    return shown


def of_findings(findings: Sequence[Finding]) -> Metadata:
    """How many of each level, and every sentence, the worst first."""
    counts = {level: sum(f.level is level for f in findings) for level in Level}
    rows = [
        f"| {f.level.value} | {f.check} | {f.market} | {f.text} | {f.fix} |"
        for f in worst_first(findings)
    ]
    table = ["| level | check | market | found | do |", "|---|---|---|---|---|", *rows]
    return {
        **{level.value.lower(): count for level, count in counts.items()},
        "findings": dg.MetadataValue.md("\n".join(table)),
    }


def of_comparison(settings: Settings, world: World, found: ModelComparison) -> Metadata:
    """Who is better, in sentences and as the whole table; differences as numbers.

    Of each who is compared: nats a row less and basis points a trade more than whom it is compared
    with.
    """
    heading = f"world {world.name}, {prices(settings)}"
    numbers = {
        f"{row.profile}_{row.stage.name.lower()}_{row.name.replace(' ', '_')}_{name}": gain.mean
        for row in found.rows
        for name, gain in (("log_loss_gain", row.loss_gain), ("net_bp_gain", row.net_gain))
        if gain is not None and np.isfinite(gain.mean)
    }
    said = comparison_table.sentences(found) or ("nothing to compare yet",)
    return {
        "verdict": dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in said)),
        "table": dg.MetadataValue.md(comparison_table.markdown(found, heading)),
        **numbers,
        "mlflow": dg.MetadataValue.url(f"http://127.0.0.1:{settings.mlflow_port}"),
    }


def of_reports(found: Reports, drawn: Mapping[str, Pictures]) -> Metadata:
    """Of each profile: tables, pictures, and the numbers that are compared.

    Pictures are part of the page's text: it needs no other server to show them.
    """
    shown: dict[str, Any] = {}
    for report in found.made:
        profile = report.subject.profile
        shown[profile] = dg.MetadataValue.md(report_text(report))
        shown |= {
            f"{profile}_{name}_plot": dg.MetadataValue.md(_picture(f"{profile}: {name}", png))
            for name, png in drawn[profile].items()
        }
        shown |= {
            f"{profile}_{name}": value
            for name, value in report.metrics().items()
            if not name.startswith(_VARIANTS) or name.endswith("_net_bp")
        }
    return shown


def _picture(title: str, png: bytes) -> str:
    return f"![{title}](data:image/png;base64,{base64.b64encode(png).decode()})"


def mlflow_link(settings: Settings, name: str) -> dg.UrlMetadataValue:
    """The registered model in the local MLflow server."""
    return dg.MetadataValue.url(f"http://127.0.0.1:{settings.mlflow_port}/#/models/{name}")
