"""What one training made, as a value that can be saved: models, evaluations, unseen predictions.

Not here: how it is made (`training.py`), which model becomes champion (`promotion.py`).
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trading_assets.errors import CorruptStore
from trading_assets.models.baselines import LogisticModel
from trading_assets.models.evaluation import Evaluation, evaluate
from trading_assets.models.model import Model
from trading_assets.models.splits import SplitAudit

_OTHERS = "other_recipes.npz"

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True, eq=False)
class GateRows:
    """Predictions on rows the model had not seen, row by row, oldest first.

    open_time (n,); y (n,); p (n, 3) calibrated; loss_* (n,) in nats, of the model, the class prior
    and the volatility-only baseline, both fitted on the same training rows; long_net, short_net
    (n,) net returns.
    """

    open_time: TimeArray
    y: NDArray[np.int8]
    p: FloatArray
    loss_model: FloatArray
    loss_prior: FloatArray
    loss_volatility: FloatArray
    long_net: FloatArray
    short_net: FloatArray

    def __len__(self) -> int:
        return len(self.open_time)

    def followed_by(self, other: "GateRows") -> "GateRows":
        """These rows, then the others."""
        return GateRows(
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])
                for name in GateRows.__slots__
            )
        )

    def save(self, path: Path) -> None:
        """Write to `path` (.npz, plain arrays)."""
        np.savez_compressed(path, **{name: getattr(self, name) for name in GateRows.__slots__})

    @classmethod
    def load(cls, path: Path) -> "GateRows":
        """Rows saved at `path`. Raises CorruptStore."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                return cls(*(arrays[name] for name in GateRows.__slots__))
        except (OSError, KeyError, ValueError) as exc:
            raise CorruptStore(f"{path} cannot be read: {exc}") from exc


@dataclass(frozen=True, slots=True, eq=False)
class Baselines:
    """What the twin is measured against, fitted on the twin's rows."""

    prior: FloatArray
    volatility: LogisticModel
    logistic: LogisticModel


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Everything one training made.

    twin: fitted before the gate window, judged on it. served: the same recipe and rounds on all
    rows. evaluation: the twin on `gate_rows`. calibration_evaluation: the monthly refits on
    `calibration_rows`, each fold calibrated with the folds before it only. others: the gate rows'
    (n, 3) probabilities of the recipes that were not chosen and cost little, each fitted and
    calibrated on the same rows as the twin. split: how many rows each part had. timings: CPU
    seconds per step.
    """

    twin: Model
    served: Model
    rounds: int
    baselines: Baselines
    evaluation: Evaluation
    gate_rows: GateRows
    calibration_evaluation: Evaluation
    calibration_rows: GateRows
    others: Mapping[str, FloatArray]
    audit: SplitAudit
    split: Mapping[str, int]
    timings: Mapping[str, float] = field(default_factory=dict)

    @property
    def unseen_rows(self) -> GateRows:
        """All out-of-sample predictions: calibration window, then gate window."""
        return self.calibration_rows.followed_by(self.gate_rows)

    def unseen_evaluation(self, seed: int | None = None) -> Evaluation:
        """The Evaluation of `unseen_rows`: what the leak check and long-run figures look at.

        seed: of the bootstrap, by default the model's first.
        """
        rows = self.unseen_rows
        return evaluate(
            open_time=rows.open_time,
            y=rows.y,
            p=rows.p,
            loss_prior=rows.loss_prior,
            loss_volatility=rows.loss_volatility,
            importance=self.evaluation.importance,
            seed=self.twin.metadata["seeds"][0] if seed is None else seed,
        )

    def save(self, folder: Path) -> None:
        """Write everything into the new folder `folder`; it is there whole or not at all."""
        if folder.exists():
            raise FileExistsError(f"{folder} exists; a saved training is never overwritten")
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = folder.parent / f".{folder.name}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        self.twin.save(draft / "twin")
        self.served.save(draft / "served")
        self.gate_rows.save(draft / "gate_rows.npz")
        self.calibration_rows.save(draft / "calibration_rows.npz")
        others: dict[str, Any] = dict(self.others)
        np.savez_compressed(draft / _OTHERS, **others)
        (draft / "trained.json").write_text(json.dumps(self._to_json(), sort_keys=True, indent=1))
        draft.rename(folder)

    @classmethod
    def load(cls, folder: Path) -> "Trained":
        """A training saved in `folder`. Raises CorruptStore naming the file that is not right."""
        path = folder / "trained.json"
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                twin=Model.load(folder / "twin"),
                served=Model.load(folder / "served"),
                rounds=values["rounds"],
                baselines=Baselines(
                    np.array(values["prior"]),
                    LogisticModel.from_json(values["volatility"]),
                    LogisticModel.from_json(values["logistic"]),
                ),
                evaluation=Evaluation.from_json(values["evaluation"]),
                gate_rows=GateRows.load(folder / "gate_rows.npz"),
                calibration_evaluation=Evaluation.from_json(values["calibration_evaluation"]),
                calibration_rows=GateRows.load(folder / "calibration_rows.npz"),
                others=_load_others(folder / _OTHERS),
                audit=SplitAudit.from_json(values["audit"]),
                split=values["split"],
                timings=values["timings"],
            )
        except (OSError, json.JSONDecodeError, KeyError, TypeError) as exc:
            raise CorruptStore(f"{path} is not a saved training: {exc!r}") from exc

    def _to_json(self) -> dict[str, Any]:
        return {
            "rounds": self.rounds,
            "prior": self.baselines.prior.tolist(),
            "volatility": self.baselines.volatility.to_json(),
            "logistic": self.baselines.logistic.to_json(),
            "evaluation": self.evaluation.to_json(),
            "calibration_evaluation": self.calibration_evaluation.to_json(),
            "audit": self.audit.to_json(),
            "split": dict(self.split),
            "timings": dict(self.timings),
        }


def _load_others(path: Path) -> dict[str, FloatArray]:
    """Probabilities by recipe; none for a training made before they were kept."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as exc:
        raise CorruptStore(f"{path} cannot be read: {exc}") from exc
