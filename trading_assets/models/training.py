"""From a data set to a twin, a served model and what they are worth.

One way to fit (`fitting.py`) is applied to every part of the split in turn: rounds by early
stopping, calibration folds, twin, served refit. One thread, deterministic: the same data gives the
same model, bit for bit. Not here: which model becomes champion (`promotion.py`), where it is
stored (`champions.py`, `registry.py`).
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import cast

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from trading_assets.clock import as_utc
from trading_assets.errors import ChecksFailed
from trading_assets.features.sequences import SEQUENCE_LENGTH
from trading_assets.models.baselines import LogisticModel, class_prior, fit_logistic
from trading_assets.models.calibration import (
    NOT_CALIBRATED,
    Calibration,
    fit_calibration,
)
from trading_assets.models.checks import check_classes
from trading_assets.models.dataset import Dataset, require_history, split_of
from trading_assets.models.evaluation import Evaluation, evaluate, row_losses
from trading_assets.models.fitting import (
    LIGHTGBM_PARAMETERS,
    MAX_ROUNDS,
    FitProgress,
    Fitter,
    OnFit,
    Parts,
)
from trading_assets.models.metadata import model_metadata
from trading_assets.models.model import ClassReturns, Model
from trading_assets.models.splits import Fold, Split, audit_split
from trading_assets.models.trained import Baselines, GateRows, Trained
from trading_assets.rules.profile import Profile
from trading_assets.settings import Recipe

__all__ = [
    "LIGHTGBM_PARAMETERS",
    "MAX_ROUNDS",
    "FitProgress",
    "GateRows",
    "OnFit",
    "Trained",
    "class_returns",
    "feature_importance",
    "train",
]

FloatArray = NDArray[np.float64]
Rows = NDArray[np.intp]

# Class means of returns are shrunk as if so many independent trades had shown the mean of all.
_SHRINKAGE_TRADES = 30


def train(
    dataset: Dataset,
    profile: Profile,
    recipe: Recipe,
    seeds: Sequence[int],
    on_fit: OnFit | None = None,
    *,
    trained_at: datetime | None = None,
    max_rounds: int = MAX_ROUNDS,
) -> Trained:
    """Train twin and served model of `dataset` and judge the twin on its gate window.

    seeds: one LightGBM each, their probabilities are averaged. trained_at: written into the
    metadata (default: the close of the last candle). Raises NotEnoughHistory below the profile's
    minimum, ChecksFailed when a training part lacks a class, ValueError when a part of the split
    would be empty.
    """
    require_history(dataset, profile)
    split = split_of(dataset, profile)
    classes = check_classes(dataset, split)
    if not classes.passed:
        raise ChecksFailed(f"{dataset.market} {profile.name}: {classes.name}: {classes.reason}")
    audit = audit_split(
        split,
        dataset.open_time,
        dataset.end_time,
        interval=dataset.interval,
        window=SEQUENCE_LENGTH,
    )
    timings: dict[str, float] = {}
    with _timed(timings, "binning"):
        fits = 2 + len(split.calibration)
        fitter = Fitter.of(
            dataset,
            recipe,
            tuple(seeds),
            shape=profile.shape,
            oldest=split.fit,
            fits=fits,
            on_fit=on_fit,
            others=True,
        )
    with _timed(timings, "rounds"):
        rounds = fitter.rounds(Fold(split.fit, split.early_stop), max_rounds)
    overlap = profile.horizon_candles
    with _timed(timings, "calibration"):
        raw_by_recipe, calibration_rows = _calibration_folds(fitter, split, rounds, overlap)
        raw = raw_by_recipe[recipe]
        calibration = fit_calibration(raw, calibration_rows.y, overlap)
    with _timed(timings, "twin"):
        twin_parts = fitter.fit(split.twin, rounds, "twin")
        raw_gate = twin_parts.of(recipe).predict(dataset.x[split.gate])
    with _timed(timings, "other_recipes"):
        others = {
            other.value: fit_calibration(raw_by_recipe[other], calibration_rows.y, overlap).apply(
                twin_parts.of(other).predict(dataset.x[split.gate])
            )
            for other in twin_parts.recipes
            if other is not recipe
        }
    with _timed(timings, "baselines"):
        baselines = _baselines(dataset, split.twin, twin_parts.logistic)
        gate_rows = _rows(dataset, split.gate, calibration.apply(raw_gate), baselines)
        logistic_loss = row_losses(
            baselines.logistic.probabilities(dataset.x[split.gate]), gate_rows.y
        )
    with _timed(timings, "evaluation"):
        importance = feature_importance(twin_parts.boosters, dataset)
        evaluation = _evaluated(gate_rows, importance, seeds[0], logistic_loss)
        calibration_evaluation = _evaluated(calibration_rows, importance, seeds[0])
    with _timed(timings, "served"):
        everything = np.arange(len(dataset))
        served_parts = fitter.fit(everything, rounds, "served").of(recipe)
        seen_raw = np.concatenate([raw, raw_gate])
        seen_y = np.concatenate([calibration_rows.y, gate_rows.y])
        served_calibration = fit_calibration(seen_raw, seen_y, overlap)

    moment = as_utc(trained_at) if trained_at is not None else _last_close(dataset)

    def model(role: str, parts: "Parts", rows: Rows, calibrated: Calibration) -> Model:
        returns = class_returns(dataset.take(rows), overlap)
        return Model(
            recipe=recipe,
            columns=dataset.columns,
            boosters=parts.texts(rounds),
            logistic=parts.logistic,
            calibration=calibrated,
            returns=returns,
            metadata=model_metadata(
                dataset.take(rows),
                profile,
                role=role,
                recipe=recipe,
                seeds=seeds,
                rounds=rounds,
                parameters=fitter.parameters,
                calibration=calibrated,
                returns=returns,
                trained_at=moment,
            ),
        )

    with _timed(timings, "packing"):
        return Trained(
            twin=model("twin", twin_parts.of(recipe), split.twin, calibration),
            served=model("served", served_parts, everything, served_calibration),
            rounds=rounds,
            baselines=baselines,
            evaluation=evaluation,
            gate_rows=gate_rows,
            calibration_evaluation=calibration_evaluation,
            calibration_rows=calibration_rows,
            others=others,
            audit=audit,
            split={
                "fit": len(split.fit),
                "early_stop": len(split.early_stop),
                "calibration": sum(len(f.test) for f in split.calibration),
                "calibration_folds": len(split.calibration),
                "twin": len(split.twin),
                "gate": len(split.gate),
                "served": len(dataset),
            },
            timings=timings,
        )


def class_returns(dataset: Dataset, overlap: int) -> ClassReturns:
    """Mean net returns by class, shrunk to the mean of all rows.

    n rows of a class count as n / overlap independent trades, beside 30 at the overall mean.
    """

    def means(net: FloatArray) -> tuple[float, float, float]:
        everyone = float(net.mean())
        values = []
        for c in range(3):
            chosen = net[dataset.y == c]
            trades = len(chosen) / overlap
            total = trades * float(chosen.mean()) if len(chosen) else 0.0
            values.append((total + _SHRINKAGE_TRADES * everyone) / (trades + _SHRINKAGE_TRADES))
        return values[0], values[1], values[2]

    return ClassReturns(long=means(dataset.long_net), short=means(dataset.short_net))


def feature_importance(boosters: Sequence[lgb.Booster], dataset: Dataset) -> dict[str, float]:
    """Share of the total gain per feature of the catalogue, over all boosters; empty without any.

    A feature's columns (mean, sd, last, ...) are added up: column j belongs to feature j mod 46.
    """
    if not boosters:
        return {}
    gain = np.zeros(len(dataset.features))
    for booster in boosters:
        columns = booster.feature_importance("gain").reshape(-1, len(dataset.features))
        gain += columns.sum(axis=0)
    total = gain.sum() or 1.0
    return {name: float(g / total) for name, g in zip(dataset.features, gain, strict=True)}


def _calibration_folds(
    fitter: Fitter, split: Split, rounds: int, overlap: int
) -> tuple[dict[Recipe, FloatArray], GateRows]:
    """Raw out-of-sample probabilities of the calibration window by recipe, and the rows as they
    would have been served: each fold calibrated with the folds before it only."""
    dataset = fitter.dataset
    raw: dict[Recipe, list[FloatArray]] = {}
    rows: list[GateRows] = []
    for place, fold in enumerate(split.calibration):
        parts = fitter.fit(fold.train, rounds, f"calibration {place}")
        calibration = NOT_CALIBRATED
        if rows:
            calibration = fit_calibration(
                np.concatenate(raw[fitter.recipe]), np.concatenate([r.y for r in rows]), overlap
            )
        for recipe in parts.recipes:
            p = parts.of(recipe).predict(dataset.x[fold.test])
            raw.setdefault(recipe, []).append(p)
        baselines = _baselines(dataset, fold.train, None, with_logistic=False)
        served = calibration.apply(raw[fitter.recipe][-1])
        rows.append(_rows(dataset, fold.test, served, baselines))
    joined = rows[0]
    for more in rows[1:]:
        joined = joined.followed_by(more)
    return {recipe: np.concatenate(p) for recipe, p in raw.items()}, joined


def _baselines(
    dataset: Dataset, rows: Rows, logistic: LogisticModel | None, *, with_logistic: bool = True
) -> Baselines:
    x, y = dataset.x[rows], dataset.y[rows]
    volatility = fit_logistic(x, y, dataset.volatility_columns, c=1.0)
    if logistic is None:
        logistic = fit_logistic(x, y, dataset.last_columns) if with_logistic else volatility
    return Baselines(class_prior(y), volatility, logistic)


def _rows(dataset: Dataset, rows: Rows, p: FloatArray, baselines: Baselines) -> GateRows:
    y = dataset.y[rows]
    return GateRows(
        open_time=dataset.open_time[rows],
        y=y,
        p=p,
        loss_model=row_losses(p, y),
        loss_prior=row_losses(baselines.prior, y),
        loss_volatility=row_losses(baselines.volatility.probabilities(dataset.x[rows]), y),
        long_net=dataset.long_net[rows],
        short_net=dataset.short_net[rows],
    )


def _evaluated(
    rows: GateRows,
    importance: Mapping[str, float],
    seed: int,
    loss_logistic: FloatArray | None = None,
) -> Evaluation:
    return evaluate(
        open_time=rows.open_time,
        y=rows.y,
        p=rows.p,
        loss_prior=rows.loss_prior,
        loss_volatility=rows.loss_volatility,
        loss_logistic=loss_logistic,
        importance=importance,
        seed=seed,
    )


def _last_close(dataset: Dataset) -> datetime:
    close = dataset.closes[-1].astype("datetime64[us]").item()
    return cast(datetime, close).replace(tzinfo=UTC)


@contextmanager
def _timed(timings: dict[str, float], step: str) -> Iterator[None]:
    """Add the CPU seconds of the block; no clock time, so no `Clock` is asked."""
    start = time.process_time()
    try:
        yield
    finally:
        timings[step] = timings.get(step, 0.0) + time.process_time() - start
