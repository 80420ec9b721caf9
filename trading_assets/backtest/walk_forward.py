"""Walk-forward: what a recipe would have predicted, each row by a model fitted before it.

An expanding window (at most the profile's history), purged by label end and embargoed; the rounds
by early stopping on the purged last 15 %; calibration on earlier out-of-sample predictions only;
baselines beside each fold. Where a fold begins is fixed by the calendar, and stored folds are used
again while nothing that decides them has changed: one more day costs one prediction. Not here: what
the predictions earn (`engine`) and how good they are (`predicted`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from trading_assets.backtest.cadence import Cadence
from trading_assets.backtest.candidates import Candidates
from trading_assets.backtest.folds import Fingerprint, Fold, FoldStore, Raw, fit_fold
from trading_assets.backtest.predictions import (
    FoldFacts,
    Predictions,
    PredictionStore,
    expected_values,
)
from trading_assets.backtest.recalibration import (
    CalibrationStep,
    calibration_steps,
    recalibrated,
)
from trading_assets.candles.frame import FloatArray, from_us, to_us
from trading_assets.errors import ChecksFailed, CorruptStore, NotEnoughHistory
from trading_assets.features.catalogue import CATALOGUE_VERSION, FEATURE_NAMES
from trading_assets.features.sequences import SEQUENCE_LENGTH, design_names
from trading_assets.models.fitting import MAX_ROUNDS, PATIENCE, tree_parameters
from trading_assets.models.metadata import label_terms
from trading_assets.models.splits import EARLY_STOP_SHARE, Purge, Rows, SplitAudit, audit_pairs
from trading_assets.models.splits import Fold as RowPair
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, Recipe, Settings

FORMAT = 1  # of a fold; a change of how folds are made raises it
OnStep = Callable[[str], None]


def _quiet(step: str) -> None:
    del step


@dataclass(frozen=True, slots=True)
class WalkForwardPlan:
    """How a walk-forward is done.

    seeds: a model each, averaged; a recipe without trees takes the first alone. refit,
    recalibrate: when models and calibration are made anew. retrained_every: how often the bot
    really does it (said in the record). first_fit: so much usable time before the first fold.
    history: most time that a fold trains on, None for all. calibration_window: how far back a
    calibration looks.
    """

    recipe: Recipe
    seeds: tuple[int, ...]
    refit: Cadence
    recalibrate: Cadence
    retrained_every: timedelta
    first_fit: timedelta
    history: timedelta | None
    calibration_window: timedelta
    max_rounds: int = MAX_ROUNDS

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("a walk-forward needs at least one seed")
        if self.recipe is Recipe.LOGISTIC:
            object.__setattr__(self, "seeds", self.seeds[:1])

    @property
    def cadence(self) -> str:
        """In words: what is done how often, and how often the bot does it."""
        return (
            f"models refitted {self.refit} and calibrations {self.recalibrate}; "
            f"the bot retrains every {self.retrained_every / timedelta(hours=1):g} hours"
        )


def plan_of(settings: Settings, profile: Profile, recipe: Recipe | None = None) -> WalkForwardPlan:
    """The plan of one of the shipped profiles under `settings`. recipe: default that of settings.

    Another profile takes the plan of one of these, changed: `dataclasses.replace`.
    """
    group = settings.scalp if profile.name == ProfileName.SCALP else settings.swing
    return WalkForwardPlan(
        recipe=settings.recipe if recipe is None else recipe,
        seeds=tuple(range(settings.base_seed, settings.base_seed + settings.seeds)),
        refit=Cadence.parse(group.refit_every),
        recalibrate=Cadence.parse(group.recalibrate_every),
        retrained_every=timedelta(hours=float(settings.retrain_after_hours)),
        first_fit=timedelta(days=group.first_fit_days),
        history=profile.history,
        calibration_window=profile.calibration_window,
    )


@dataclass(frozen=True, slots=True)
class WalkForwardReport:
    """What a walk-forward did. anew: why stored folds could not be used, one sentence each.

    fitted, reused: folds. audit: of every pair of rows that learnt and rows that were judged.
    """

    fitted: int
    reused: int
    anew: tuple[str, ...]
    audit: SplitAudit


@dataclass(frozen=True, slots=True, eq=False)
class _Planned:
    """A fold to be made. rows: of the candidates; `test` is never empty."""

    start: datetime
    rows: RowPair


@dataclass(frozen=True, slots=True, eq=False)
class _Made:
    facts: FoldFacts
    prior: FloatArray
    raw: Raw


def walk_forward(
    candidates: Candidates,
    plan: WalkForwardPlan,
    store: PredictionStore,
    on_step: OnStep = _quiet,
) -> tuple[Predictions, WalkForwardReport]:
    """Walk `candidates` forward, fitting only what `store` does not hold, and save the predictions.

    on_step: told the name of each step right before it is taken (progress, and the kill tests).
    A kill loses the fold under way, no more. Raises NotEnoughHistory when no fold can begin yet,
    ChecksFailed when a row that is judged touches one that was learnt from (a fault of this code).
    """
    market, profile = candidates.market, candidates.profile.name
    planned = _planned(candidates, plan)
    predicted = np.concatenate([fold.rows.test for fold in planned])
    steps = _steps(candidates, plan, predicted)
    audit = _audited(candidates, planned, predicted, steps)
    with store.lock(market, profile, plan.recipe):
        folds = FoldStore(store.folder(market, profile, plan.recipe) / "folds")
        work = _Work(candidates, plan, folds, on_step)
        made = [work.make(fold) for fold in planned]
        on_step("calibrate")
        predictions = _predictions(candidates, plan, predicted, made, steps)
        on_step("save")
        store.save(predictions)
        on_step("clean")
        folds.keep(work.used)
    return predictions, WalkForwardReport(
        fitted=work.fitted,
        reused=len(planned) - work.fitted,
        anew=tuple(work.anew),
        audit=audit,
    )


def first_prediction(candidates: Candidates, plan: WalkForwardPlan) -> datetime:
    """When the first model that `plan` makes of `candidates` begins to predict, aware UTC.

    Raises NotEnoughHistory when there is none.
    """
    return _planned(candidates, plan)[0].start


def _planned(candidates: Candidates, plan: WalkForwardPlan) -> tuple[_Planned, ...]:
    """The folds, oldest first: from each moment that has enough rows before it to the next one."""
    purge, open_time = _purge(candidates), candidates.open_time
    known = np.flatnonzero(candidates.known)
    planned = []
    for moment, edge, end in _stretches(candidates, plan.refit):
        train = purge.before(edge, known, candidates.end_time)
        if plan.history is not None:
            train = train[open_time[train] >= edge - np.timedelta64(plan.history)]
        test = np.flatnonzero((open_time >= edge) & (open_time < end))
        if len(test) and candidates.profile.interval * len(train) >= plan.first_fit:
            planned.append(_Planned(moment, RowPair(train, test)))
    if not planned:
        usable = candidates.profile.interval * len(known) / timedelta(days=1)
        raise NotEnoughHistory(
            f"{candidates.market} {candidates.profile.name}: not enough history to walk forward, "
            f"{usable:.1f} days of usable rows, it takes {plan.first_fit / timedelta(days=1):g} "
            f"days before a date of the first model (they come {plan.refit})"
        )
    return tuple(planned)


def _stretches(
    candidates: Candidates, cadence: Cadence
) -> Iterator[tuple[datetime, np.datetime64, np.datetime64]]:
    """Each moment of `cadence` among the candidates, as datetime and numpy's, and the next one."""
    open_time = candidates.open_time
    if not len(open_time):
        return
    first, last = (from_us(int(t)) for t in open_time[[0, -1]].astype(np.int64))
    moments = cadence.moments(first, last)
    if not moments:
        return
    edges = [np.datetime64(to_us(moment), "us") for moment in moments]
    after_all = open_time[-1] + np.timedelta64(1, "us")
    yield from zip(moments, edges, [*edges[1:], after_all], strict=True)


def _steps(
    candidates: Candidates, plan: WalkForwardPlan, predicted: Rows
) -> tuple[CalibrationStep, ...]:
    """When calibrations are fitted, in numbers of the predicted rows."""
    open_time = candidates.open_time[predicted]
    first, last = (from_us(int(t)) for t in open_time[[0, -1]].astype(np.int64))
    moments = plan.recalibrate.moments(first, last)
    return calibration_steps(
        moments if moments and moments[0] == first else (first, *moments),
        open_time,
        candidates.end_time[predicted],
        candidates.known[predicted],
        window=plan.calibration_window,
        purge=_purge(candidates),
    )


def _audited(
    candidates: Candidates,
    planned: Sequence[_Planned],
    predicted: Rows,
    steps: Sequence[CalibrationStep],
) -> SplitAudit:
    """Prove that nothing is judged by what has learnt from it. Raises ChecksFailed."""
    open_time, end_time, purge = candidates.open_time, candidates.end_time, _purge(candidates)
    pairs = []
    for fold in planned:
        early_stop = purge.early_stop(fold.rows.train, open_time, end_time)
        pairs.append((f"fold {fold.start:%Y-%m-%d}", fold.rows))
        pairs.append((f"early stop of fold {fold.start:%Y-%m-%d}", early_stop))
    for step in steps:
        rows = RowPair(predicted[step.rows.train], predicted[step.rows.test])
        pairs.append((f"calibration {step.start:%Y-%m-%d}", rows))
    audit = audit_pairs(pairs, open_time, end_time, interval=purge.interval, window=SEQUENCE_LENGTH)
    if audit.violations:
        raise ChecksFailed(f"{candidates.market}: {'; '.join(audit.violations)}")
    return audit


class _Work:
    """Makes folds or finds them in the store, and remembers which it did."""

    def __init__(
        self, candidates: Candidates, plan: WalkForwardPlan, store: FoldStore, on_step: OnStep
    ) -> None:
        self._candidates = candidates
        self._plan = plan
        self._store = store
        self._on_step = on_step
        self._settings = _fold_settings(candidates, plan)
        self.used: set[Path] = set()
        self.fitted = 0
        self.anew: list[str] = []

    def make(self, planned: _Planned) -> _Made:
        """The fold and what it predicts, from the store as far as that holds it."""
        fingerprint = Fingerprint(
            self._settings, self._candidates.training_digest(planned.rows.train)
        )
        inputs = self._candidates.inputs_digest(planned.rows.test)
        path, why = self._store.find(planned.start, fingerprint)
        if path is not None:
            try:
                raw = self._store.raw(path, inputs)
                if raw is None:
                    raw = self._predict(self._store.load(path), planned, inputs, path)
                self.used.add(path)
                return _Made(*self._store.facts(path), raw)
            except CorruptStore as exc:
                why = str(exc)
        if why:
            self.anew.append(f"fold {planned.start:%Y-%m-%d} was fitted anew: {why}")
        fold = self._fit(planned, fingerprint)
        path = self._store.save(fold)
        self.used.add(path)
        return _Made(fold.facts, fold.prior, self._predict(fold, planned, inputs, path))

    def _fit(self, planned: _Planned, fingerprint: Fingerprint) -> Fold:
        self._on_step(f"fit {planned.start:%Y-%m-%d}")
        fold = fit_fold(
            self._candidates.dataset(planned.rows.train),
            planned.start,
            recipe=self._plan.recipe,
            seeds=self._plan.seeds,
            shape=self._candidates.profile.shape,
            overlap=self._candidates.profile.horizon_candles,
            max_rounds=self._plan.max_rounds,
            fingerprint=fingerprint,
        )
        self.fitted += 1
        self._on_step(f"store {planned.start:%Y-%m-%d}")
        return fold

    def _predict(self, fold: Fold, planned: _Planned, inputs: str, path: Path) -> Raw:
        self._on_step(f"predict {planned.start:%Y-%m-%d}")
        raw = fold.predict(self._candidates.dataset(planned.rows.test), inputs)
        self._store.save_raw(path, raw)
        return raw


def _fold_settings(candidates: Candidates, plan: WalkForwardPlan) -> dict[str, Any]:
    """Everything but its rows that decides a fold; plain JSON."""
    history = plan.history
    return {
        "format": FORMAT,
        "recipe": plan.recipe.value,
        "seeds": list(plan.seeds),
        "max_rounds": plan.max_rounds,
        "patience": PATIENCE,
        "early_stop_share": EARLY_STOP_SHARE,
        "history_days": None if history is None else history / timedelta(days=1),
        "parameters": tree_parameters(
            candidates.profile.shape, FEATURE_NAMES, len(design_names(candidates.view))
        ),
        "lightgbm_version": lgb.__version__,
        "catalogue_version": CATALOGUE_VERSION,
        "view": candidates.view.value,
        "sequence_length": SEQUENCE_LENGTH,
        **label_terms(candidates.profile, candidates.costs),
    }


def _predictions(
    candidates: Candidates,
    plan: WalkForwardPlan,
    predicted: Rows,
    made: Sequence[_Made],
    steps: Sequence[CalibrationStep],
) -> Predictions:
    """Join the folds, calibrate, and work out what follows from it."""
    overlap, y = candidates.profile.horizon_candles, candidates.labels.label[predicted]
    counts = [len(m.raw.open_time) for m in made]
    fold = np.repeat(np.arange(len(made), dtype=np.int16), counts)
    raw = np.concatenate([m.raw.p_seeds for m in made], axis=1)
    p, fitted = recalibrated(_mean(raw), y, steps, overlap)
    p_seeds = [p if len(raw) == 1 else recalibrated(one, y, steps, overlap)[0] for one in raw]
    ev_long, ev_short = expected_values(p, fold, [m.facts.returns for m in made])
    calibrated = sum(len(step.rows.test) for step, c in zip(steps, fitted, strict=True) if c.rows)
    return Predictions(
        market=candidates.market,
        profile=candidates.profile.name,
        recipe=plan.recipe.value,
        interval=candidates.profile.interval,
        open_time=candidates.open_time[predicted],
        fold=fold,
        p=p,
        p_seeds=np.stack(p_seeds).astype(np.float32),
        ev_long=ev_long,
        ev_short=ev_short,
        p_prior=np.repeat(np.stack([m.prior for m in made]), counts, axis=0),
        p_volatility=np.concatenate([m.raw.p_volatility for m in made]),
        stop_loss=candidates.stop_loss[predicted],
        take_profit=candidates.take_profit[predicted],
        sigma=candidates.sigma[predicted],
        close=candidates.close[predicted],
        folds=tuple(m.facts for m in made),
        record={
            "cadence": plan.cadence,
            "calibration_window_days": plan.calibration_window / timedelta(days=1),
            "calibrated_share": calibrated / len(predicted),
            "candle_hash": candidates.candle_hash,
            **_fold_settings(candidates, plan),
        },
    )


def _mean(p_seeds: FloatArray) -> FloatArray:
    """Added in a fixed order: the same numbers give the same bits."""
    total = np.zeros(p_seeds.shape[1:])
    for p in p_seeds:
        total += p
    return total / len(p_seeds)


def _purge(candidates: Candidates) -> Purge:
    return Purge(candidates.profile.interval, SEQUENCE_LENGTH)
