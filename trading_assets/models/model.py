"""A trained model: boosters or coefficients, calibration, expected returns, metadata.

Saved as JSON and LightGBM's own text, never pickle; loading needs numpy and lightgbm only (no
scikit-learn, no mlflow). Not here: how one is made (`training.py`), which one serves
(`promotion.py`, `champions.py`).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from trading_assets.errors import CorruptStore
from trading_assets.models.baselines import LogisticModel
from trading_assets.models.calibration import Calibration
from trading_assets.settings import Recipe

FloatArray = NDArray[np.float64]

CLASSES = ("SELL", "HOLD", "BUY")
SELL, HOLD, BUY = 0, 1, 2

FORMAT = 1
MODEL_FILE = "model.json"
METADATA_FILE = "model_metadata.json"


@dataclass(frozen=True, slots=True)
class ClassReturns:
    """Mean net return of the long trade and of its mirror image, given SELL, HOLD, BUY.

    Ratios after one round-trip cost, estimated on training rows, shrunk to the mean of all rows.
    """

    long: tuple[float, float, float]
    short: tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What turns a row of the design matrix into probabilities and expected values.

    boosters: LightGBM models as text, their probabilities are averaged; empty for `logistic`.
    logistic: for the recipes `logistic` and `ensemble`. columns: names of the design matrix's
    columns, in order. metadata: plain JSON, see docs/models.md.
    """

    recipe: Recipe
    columns: tuple[str, ...]
    boosters: tuple[str, ...]
    logistic: LogisticModel | None
    calibration: Calibration
    returns: ClassReturns
    metadata: Mapping[str, Any]
    _loaded: tuple[lgb.Booster, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.recipe is not Recipe.LOGISTIC and not self.boosters:
            raise ValueError(f"a model of recipe {self.recipe} needs at least one booster")
        if self.recipe is not Recipe.LIGHTGBM and self.logistic is None:
            raise ValueError(f"a model of recipe {self.recipe} needs a logistic regression")
        loaded = tuple(lgb.Booster(model_str=text) for text in self.boosters)
        object.__setattr__(self, "_loaded", loaded)

    def raw_probabilities(self, x: NDArray[np.float32]) -> FloatArray:
        """Before calibration: (n, 3), rows sum to 1. x: (n, len(columns)).

        Raises ValueError for a wrong number of columns or a value that is not finite: LightGBM
        would quietly treat both as data.
        """
        self._check(x)
        if len(x) == 0:
            return np.empty((0, 3))
        return vote(self._loaded, self.logistic, x)

    def raw_by_seed(self, x: NDArray[np.float32]) -> FloatArray:
        """What each seed alone would say: (seeds, n, 3); their mean is `raw_probabilities`.

        A model without boosters has one seed. Raises as `raw_probabilities`.
        """
        self._check(x)
        voters: list[tuple[lgb.Booster, ...]] = [(b,) for b in self._loaded] or [()]
        if len(x) == 0:
            return np.empty((len(voters), 0, 3))
        return np.stack([vote(voter, self.logistic, x) for voter in voters])

    def probabilities(self, x: NDArray[np.float32]) -> FloatArray:
        """Calibrated (p_sell, p_hold, p_buy), (n, 3) float64, rows sum to 1."""
        return self.calibration.apply(self.raw_probabilities(x))

    def ev_long(self, p: FloatArray) -> FloatArray:
        """Expected net return of the long trade, (n,), ratio after one round-trip cost."""
        return np.asarray(p @ np.array(self.returns.long))

    def ev_short(self, p: FloatArray) -> FloatArray:
        """Expected net return of the mirror image, (n,): how strongly to leave a long position."""
        return np.asarray(p @ np.array(self.returns.short))

    def _check(self, x: NDArray[np.float32]) -> None:
        if x.ndim != 2 or x.shape[1] != len(self.columns):
            raise ValueError(f"x must be (n, {len(self.columns)}), was {x.shape}")
        if not np.isfinite(x).all():
            row, column = np.argwhere(~np.isfinite(x))[0]
            raise ValueError(f"x must be finite, row {row} {self.columns[column]} is not")

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides a prediction; equal means the same model."""
        return hashlib.sha256(self._document().encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write the model into the new folder `folder`; it is there whole or not at all.

        Raises FileExistsError when `folder` exists: a saved model is never overwritten.
        """
        if folder.exists():
            raise FileExistsError(f"{folder} exists; a saved model is never overwritten")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = folder.parent / f".{folder.name}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for place, text in enumerate(self.boosters):
            (draft / _booster_file(place)).write_text(text, encoding="utf-8")
        (draft / MODEL_FILE).write_text(self._document(), encoding="utf-8")
        metadata = json.dumps(dict(self.metadata), indent=2, sort_keys=True)
        (draft / METADATA_FILE).write_text(metadata + "\n", encoding="utf-8")
        draft.rename(folder)

    @classmethod
    def load(cls, folder: Path) -> "Model":
        """The model saved in `folder`. Raises CorruptStore naming the file that is not right."""
        values = _read_json(folder / MODEL_FILE)
        if values.get("format") != FORMAT:
            raise CorruptStore(
                f"{folder / MODEL_FILE}: format must be {FORMAT}, was {values.get('format')}"
            )
        try:
            boosters = tuple(
                _read_checked(folder / _booster_file(place), expected)
                for place, expected in enumerate(values["booster_sha256"])
            )
            logistic = values["logistic"]
            return cls(
                recipe=Recipe(values["recipe"]),
                columns=tuple(values["columns"]),
                boosters=boosters,
                logistic=None if logistic is None else LogisticModel.from_json(logistic),
                calibration=Calibration.from_json(values["calibration"]),
                returns=ClassReturns(_three(values["long"]), _three(values["short"])),
                metadata=_read_json(folder / METADATA_FILE),
            )
        except (KeyError, TypeError, ValueError, lgb.basic.LightGBMError) as exc:
            raise CorruptStore(f"{folder / MODEL_FILE} is not a model: {exc!r}") from exc

    def _document(self) -> str:
        return json.dumps(
            {
                "format": FORMAT,
                "recipe": self.recipe.value,
                "columns": list(self.columns),
                "booster_sha256": [_sha256(text) for text in self.boosters],
                "logistic": None if self.logistic is None else self.logistic.to_json(),
                "calibration": self.calibration.to_json(),
                "long": list(self.returns.long),
                "short": list(self.returns.short),
            },
            sort_keys=True,
        )


def vote(
    boosters: tuple[lgb.Booster, ...], logistic: LogisticModel | None, x: NDArray[np.float32]
) -> FloatArray:
    """Soft vote: the mean of the boosters' mean and of the logistic regression, whichever exist."""
    votes = []
    if boosters:
        # A fixed order of addition: the sum of the same numbers is then the same bits.
        total = np.zeros((len(x), 3))
        for booster in boosters:
            total += booster.predict(x, num_threads=1)
        votes.append(total / len(boosters))
    if logistic is not None:
        votes.append(logistic.probabilities(x))
    return np.asarray(sum(votes) / len(votes))


def _booster_file(place: int) -> str:
    return f"booster_{place}.txt"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _three(values: list[float]) -> tuple[float, float, float]:
    first, second, third = (float(v) for v in values)
    return first, second, third


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise CorruptStore(f"{path} cannot be read: {exc}") from exc


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_text(path))
    except json.JSONDecodeError as exc:
        raise CorruptStore(f"{path} is not JSON: {exc}") from exc
    if not isinstance(values, dict):
        raise CorruptStore(f"{path} must hold a JSON object, holds {type(values).__name__}")
    return values


def _read_checked(path: Path, expected: str) -> str:
    text = _read_text(path)
    if _sha256(text) != expected:
        raise CorruptStore(f"{path} is not the file that was saved: its SHA-256 differs")
    return text
