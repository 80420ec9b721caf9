"""One rule judged from candles to report: what a model learns, and what is traded on it.

Walks every market forward and assesses the account. Here: putting the parts together for any rule,
shipped or not. Not here: the parts, and which rules are studied (`benchmarks/results.py`; the
shipped profiles by their Dagster assets).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from trading_assets.backtest.assess import assess
from trading_assets.backtest.candidates import Candidates
from trading_assets.backtest.paths import account_rules, signals_of
from trading_assets.backtest.predicted import predicted
from trading_assets.backtest.predictions import Predictions, PredictionStore
from trading_assets.backtest.report import Report, Search, Subject
from trading_assets.backtest.walk_forward import plan_of, walk_forward
from trading_assets.candles.series import CandleSeries
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import costs
from trading_assets.rules.profile import Profile
from trading_assets.settings import Recipe, SequenceView, Settings

# Shorter than any calibration needs, so that none is fitted.
_NO_CALIBRATION = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Study:
    """A rule to be judged.

    learnt: whose label the model learns, whose barriers end a trade. traded: whose thresholds and
    time limit take the money; the same profile unless the point is that they differ. rule: in
    words, one line. calibrated and history (how far back a model learns, None as the profile says)
    differ only to explain earlier measurements.
    """

    learnt: Profile
    traded: Profile
    recipe: Recipe
    rule: str
    view: SequenceView = SequenceView.SUMMARY
    calibrated: bool = True
    history: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Prices:
    """Whose prices a study is on: the world's name, and what they are, in words for titles."""

    world: str
    words: str
    candle_hash: str = ""


def predict(
    study: Study,
    series: Mapping[str, CandleSeries],
    settings: Settings,
    store: PredictionStore,
    *,
    start: datetime,
    end: datetime,
) -> tuple[Predictions, ...]:
    """The out-of-sample predictions of each market from `start` to before `end`; folds are kept.

    Raises NotEnoughHistory when a market has too few candles before its first fold.
    """
    plan = plan_of(settings, study.learnt, study.recipe)
    if not study.calibrated:
        plan = replace(plan, calibration_window=_NO_CALIBRATION)
    if study.history is not None:
        plan = replace(plan, history=study.history)
    made = []
    for market, candles in series.items():
        candidates = Candidates.of(
            market,
            study.learnt,
            candles,
            make_sequences(feature_matrix(candles), candles),
            costs=costs(settings),
            view=study.view,
        )
        made.append(walk_forward(candidates, plan, store)[0].between(start, end))
    return tuple(made)


def judge(
    study: Study,
    predictions: Sequence[Predictions],
    series: Mapping[str, CandleSeries],
    settings: Settings,
    prices: Prices,
    *,
    search: Search | None = None,
) -> Report:
    """The report on what `study` would have traded on `predictions`."""
    charges = costs(settings)
    labels = {
        p.market: make_labels(series[p.market], study.learnt, charges, ewm_sigma(series[p.market]))
        for p in predictions
    }
    seed = settings.base_seed
    return assess(
        subject_of(study, predictions, prices),
        signals_of(predictions, series, study.traded, charges),
        account_rules(settings),
        charges,
        seed=seed,
        predicted=predicted(predictions, labels, seed),
        search=search,
    )


def subject_of(study: Study, predictions: Sequence[Predictions], prices: Prices) -> Subject:
    """What the report is about."""
    first = min(p.closes[0] for p in predictions)
    last = max(p.closes[-1] for p in predictions)
    return Subject(
        world=prices.world,
        prices=prices.words,
        profile=study.traded.name,
        recipe=study.recipe.value,
        rule=study.rule,
        markets=tuple(p.market for p in predictions),
        start=first.item().replace(tzinfo=UTC),
        end=last.item().replace(tzinfo=UTC),
        interval_minutes=study.traded.interval_minutes,
        seeds=predictions[0].seeds,
        candle_hash=prices.candle_hash,
    )
