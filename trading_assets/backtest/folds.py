"""One refit of a walk-forward: fitted, stored, found again, and what it predicted.

A stored fold is used again only when everything that decides it is the same: its fingerprint holds
the settings and a digest of its training rows. Not here: which folds there are and which rows they
get (`walk_forward`).
"""

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from trading_assets.backtest.predictions import FoldFacts
from trading_assets.candles.frame import FloatArray, TimeArray, from_us
from trading_assets.errors import CorruptStore
from trading_assets.features.sequences import SEQUENCE_LENGTH
from trading_assets.models.baselines import LogisticModel, class_prior, fit_logistic
from trading_assets.models.calibration import NOT_CALIBRATED
from trading_assets.models.dataset import Dataset
from trading_assets.models.fitting import Fitter
from trading_assets.models.model import METADATA_FILE, Model
from trading_assets.models.splits import Purge
from trading_assets.models.training import class_returns
from trading_assets.rules.profile import ModelShape
from trading_assets.settings import Recipe

_RAW = "raw"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a fold is decided by. settings: plain JSON. rows: digest of its training rows."""

    settings: Mapping[str, Any]
    rows: str

    def difference(self, stored: "Fingerprint") -> str:
        """Why a fold with the fingerprint `stored` cannot be used for this one; "" if it can."""
        names = self.settings.keys() | stored.settings.keys()
        changed = sorted(n for n in names if self.settings.get(n) != stored.settings.get(n))
        if changed:
            return f"{', '.join(changed)} changed"
        return "" if self.rows == stored.rows else "its training rows changed"

    def to_json(self) -> dict[str, Any]:
        return {"settings": dict(self.settings), "rows": self.rows}


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """What a fold predicted, before calibration.

    open_time: (n,). inputs: digest of what it was given. p_seeds: (seeds, n, 3). p_volatility:
    (n, 3) of its volatility-only baseline.
    """

    open_time: TimeArray
    inputs: str
    p_seeds: FloatArray
    p_volatility: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """A fitted fold: the model without calibration, its baselines, what decided it."""

    model: Model
    prior: FloatArray
    volatility: LogisticModel
    facts: FoldFacts
    fingerprint: Fingerprint

    def predict(self, dataset: Dataset, inputs: str) -> Raw:
        """Its probabilities for the rows of `dataset`. inputs: their digest."""
        return Raw(
            dataset.open_time,
            inputs,
            self.model.raw_by_seed(dataset.x),
            self.volatility.probabilities(dataset.x),
        )

    @classmethod
    def of(cls, model: Model) -> Self:
        """Back from a stored model. Raises CorruptStore."""
        values = model.metadata
        try:
            return cls(
                model=model,
                prior=np.array(values["prior"], dtype=np.float64),
                volatility=LogisticModel.from_json(values["volatility"]),
                facts=FoldFacts.from_json(values["fold"]),
                fingerprint=Fingerprint(**values["fingerprint"]),
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise CorruptStore(f"the stored model is not of a fold: {exc!r}") from exc


def fit_fold(
    train: Dataset,
    start: datetime,
    *,
    recipe: Recipe,
    seeds: tuple[int, ...],
    shape: ModelShape,
    overlap: int,
    max_rounds: int,
    fingerprint: Fingerprint,
) -> Fold:
    """Fit `recipe` on the rows of `train`, as a retraining does: rounds by early stopping on the
    purged last 15 %, then everything.

    start: the first moment it predicts. overlap: candles in a label's path. Raises ValueError when
    the rows are too few to stop early.
    """
    everything = np.arange(len(train))
    pair = Purge(train.interval, SEQUENCE_LENGTH).early_stop(
        everything, train.open_time, train.end_time
    )
    if len(pair.train) == 0:
        raise ValueError(f"{len(train)} training rows are too few to stop early")
    fitter = Fitter.of(train, recipe, seeds, shape=shape, oldest=pair.train, fits=1)
    rounds = fitter.rounds(pair, max_rounds)
    parts = fitter.fit(everything, rounds, "fold")
    returns = class_returns(train, overlap)
    facts = FoldFacts(
        start=start,
        train_from=_moment(train.open_time[0]),
        train_until=_moment(train.open_time[-1]),
        train_rows=len(train),
        rounds=rounds,
        returns=returns,
    )
    prior = class_prior(train.y)
    volatility = fit_logistic(train.x, train.y, train.volatility_columns, c=1.0)
    model = Model(
        recipe=recipe,
        columns=train.columns,
        boosters=parts.texts(rounds),
        logistic=parts.logistic,
        calibration=NOT_CALIBRATED,
        returns=returns,
        metadata={
            "market": train.market,
            "profile": train.profile,
            "fold": facts.to_json(),
            "prior": prior.tolist(),
            "volatility": volatility.to_json(),
            "fingerprint": fingerprint.to_json(),
        },
    )
    return Fold(model, prior, volatility, facts, fingerprint)


class FoldStore:
    """The folds of one walk-forward under `folder`: `<day of start>.<n>/`, each whole or absent.

    A fold is never overwritten: one that no longer fits stays until `keep` drops it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, start: datetime, fingerprint: Fingerprint) -> tuple[Path | None, str]:
        """Where the fold of `start` with this fingerprint lies, or None and why there is none.

        The reason is empty when no fold of that start was ever stored.
        """
        reason = ""
        for path in sorted(self._folder.glob(f"{start:%Y-%m-%d}.*"), reverse=True):
            try:
                stored = Fingerprint(**_metadata(path)["fingerprint"])
            except (CorruptStore, KeyError, TypeError) as exc:
                reason = reason or f"{path.name} cannot be read ({exc})"
                continue
            difference = fingerprint.difference(stored)
            if not difference:
                return path, ""
            reason = reason or difference
        return None, reason

    def load(self, path: Path) -> Fold:
        """The fold at `path`. Raises CorruptStore."""
        return Fold.of(Model.load(path))

    def facts(self, path: Path) -> tuple[FoldFacts, FloatArray]:
        """Its facts and class prior, without loading its model."""
        values = _metadata(path)
        return FoldFacts.from_json(values["fold"]), np.array(values["prior"], dtype=np.float64)

    def save(self, fold: Fold) -> Path:
        """Store a new fold beside those of the same start."""
        day = f"{fold.facts.start:%Y-%m-%d}"
        numbers = [int(p.name.rpartition(".")[2]) for p in self._folder.glob(f"{day}.*")]
        path = self._folder / f"{day}.{max(numbers, default=-1) + 1}"
        fold.model.save(path)
        return path

    def raw(self, path: Path, inputs: str) -> Raw | None:
        """What the fold at `path` predicted for exactly these inputs.

        None if it did not, or if the file cannot be read: predicting again gives the same bits.
        """
        try:
            with np.load(path / f"{_RAW}.npz", allow_pickle=False) as arrays:
                if str(arrays["inputs"]) != inputs:
                    return None
                return Raw(arrays["open_time"], inputs, arrays["p_seeds"], arrays["p_volatility"])
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return None

    def save_raw(self, path: Path, raw: Raw) -> None:
        """Replace what the fold at `path` predicted."""
        draft = path / f".{_RAW}.npz"
        with draft.open("wb") as file:
            np.savez(
                file,
                open_time=raw.open_time,
                inputs=np.array(raw.inputs),
                p_seeds=raw.p_seeds,
                p_volatility=raw.p_volatility,
            )
        draft.replace(path / f"{_RAW}.npz")

    def keep(self, used: set[Path]) -> None:
        """Drop every fold but `used`, and the drafts of dead writers."""
        if not self._folder.exists():
            return
        for path in self._folder.iterdir():
            if path not in used:
                shutil.rmtree(path)


def _metadata(path: Path) -> dict[str, Any]:
    file = path / METADATA_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CorruptStore(f"{file} cannot be read: {exc}") from exc
    if not isinstance(values, dict):
        raise CorruptStore(f"{file} must hold a JSON object")
    return values


def _moment(time: np.datetime64) -> datetime:
    return from_us(int(time.astype("datetime64[us]").astype(np.int64)))
