"""What a walk-forward predicted, as a value and as one Parquet file a market, profile and recipe.

Here: the value, its checks and the store under `data/<world>/walk_forward`. Not here: how it is
made (`walk_forward`), what was really true (joined from `models.labels` by open_time) and what it
would have earned (`engine`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock
from numpy.typing import NDArray

from trading_assets.candles.frame import TIMES, FloatArray, TimeArray, to_us
from trading_assets.errors import CorruptStore, WrongWorld
from trading_assets.features.tables import read_parquet, time_column, time_values, write_parquet
from trading_assets.models.model import CLASSES, ClassReturns
from trading_assets.world import claim

FORMAT = 1
_SUM_TOLERANCE = 1e-6
_HEADER = "predictions"
_TRIPLES = ("p", "p_prior", "p_volatility")
_NUMBERS = ("ev_long", "ev_short", "stop_loss", "take_profit", "sigma", "close")


@dataclass(frozen=True, slots=True)
class FoldFacts:
    """One refit of a walk-forward.

    start: aware UTC; it predicts the candles that open from here to the next fold's start.
    train_from, train_until: open time of its first and last training row. returns: what each class
    paid on its training rows. rounds: boosting rounds, 0 without trees.
    """

    start: datetime
    train_from: datetime
    train_until: datetime
    train_rows: int
    rounds: int
    returns: ClassReturns

    def to_json(self) -> dict[str, Any]:
        return {
            "start": self.start.isoformat(),
            "train_from": self.train_from.isoformat(),
            "train_until": self.train_until.isoformat(),
            "train_rows": self.train_rows,
            "rounds": self.rounds,
            "long": list(self.returns.long),
            "short": list(self.returns.short),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "FoldFacts":
        return cls(
            datetime.fromisoformat(values["start"]),
            datetime.fromisoformat(values["train_from"]),
            datetime.fromisoformat(values["train_until"]),
            int(values["train_rows"]),
            int(values["rounds"]),
            ClassReturns(_three(values["long"]), _three(values["short"])),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Out-of-sample predictions of one market, profile and recipe; a row per candle, oldest first.

    open_time: (n,) of candle t; the row is known at its close. fold: (n,) which of `folds`
    predicted it. p: (n, 3) SELL, HOLD, BUY, the mean of all seeds, calibrated on earlier
    predictions of this walk-forward only, as they would have been served. p_seeds: (seeds, n, 3)
    the same of each seed alone, with a calibration of its own. ev_long, ev_short: (n,) from `p`
    and the fold's class returns. p_prior, p_volatility: (n, 3) the fold's class prior and its
    volatility-only baseline. stop_loss, take_profit: (n,) the exit terms of a trade that began at
    the close. sigma: (n,) volatility a candle. close: (n,) KRW. record: how it was made, plain
    JSON.
    """

    market: str
    profile: str
    recipe: str
    interval: timedelta
    open_time: TimeArray
    fold: NDArray[np.int16]
    p: FloatArray
    p_seeds: NDArray[np.float32]
    ev_long: FloatArray
    ev_short: FloatArray
    p_prior: FloatArray
    p_volatility: FloatArray
    stop_loss: FloatArray
    take_profit: FloatArray
    sigma: FloatArray
    close: FloatArray
    folds: tuple[FoldFacts, ...]
    record: Mapping[str, Any]

    def __post_init__(self) -> None:
        n = len(self.open_time)
        shapes = {
            "fold": (n,),
            **dict.fromkeys(_TRIPLES, (n, 3)),
            "p_seeds": (len(self.p_seeds), n, 3),
            **dict.fromkeys(_NUMBERS, (n,)),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} must be {shape}, was {getattr(self, name).shape}")
        if self.open_time.dtype != TIMES:
            raise ValueError(f"open_time must be {TIMES}, was {self.open_time.dtype}")
        if np.any(np.diff(self.open_time) <= np.timedelta64(0, "us")):
            raise ValueError("rows must be in ascending order of open_time, each once")
        if n and not 0 <= self.fold.min() <= self.fold.max() < len(self.folds):
            raise ValueError(
                f"fold must be from 0 to {len(self.folds) - 1}, was from {self.fold.min()} "
                f"to {self.fold.max()}"
            )
        if len(self.p_seeds) == 0:
            raise ValueError("p_seeds must hold at least one seed")
        for name in (*_TRIPLES, "p_seeds"):
            _check_probabilities(name, getattr(self, name))
        for name in _NUMBERS:
            values = getattr(self, name)
            if not np.isfinite(values).all():
                row = int(np.argmax(~np.isfinite(values)))
                raise ValueError(f"{name} must be finite, row {row} has {values[row]}")

    def __len__(self) -> int:
        return len(self.open_time)

    @property
    def seeds(self) -> int:
        """How many seeds `p` is the mean of."""
        return len(self.p_seeds)

    @property
    def closes(self) -> TimeArray:
        """(n,) the moment of each decision."""
        return np.asarray(self.open_time + np.timedelta64(self.interval))

    def of_seed(self, place: int) -> "Predictions":
        """The same walk-forward with the model of one seed alone, its expected values its own."""
        p = self.p_seeds[place].astype(np.float64)
        ev_long, ev_short = expected_values(p, self.fold, [f.returns for f in self.folds])
        return replace(
            self, p=p, p_seeds=self.p_seeds[place : place + 1], ev_long=ev_long, ev_short=ev_short
        )

    def between(self, start: datetime, end: datetime) -> "Predictions":
        """The rows whose candle opens from `start` to before `end` (aware)."""
        first, last = np.searchsorted(self.open_time.astype(np.int64), [to_us(start), to_us(end)])
        rows = slice(int(first), int(last))
        arrays = {name: getattr(self, name)[rows] for name in ("fold", *_TRIPLES, *_NUMBERS)}
        return replace(
            self, open_time=self.open_time[rows], p_seeds=self.p_seeds[:, rows], **arrays
        )


def expected_values(
    p: FloatArray, fold: NDArray[np.int16], returns: Sequence[ClassReturns]
) -> tuple[FloatArray, FloatArray]:
    """Net expected value of the long trade and of its mirror image, (n,) ratios each.

    p: (n, 3). fold: (n,) index into `returns`.
    """
    long, short = (
        np.array([getattr(r, side) for r in returns], dtype=np.float64).reshape(-1, 3)[fold]
        for side in ("long", "short")
    )
    return np.asarray((p * long).sum(axis=1)), np.asarray((p * short).sum(axis=1))


class PredictionStore:
    """Predictions under `root`, which belongs to `world`; a file is there whole or not at all.

    Raises WrongWorld when the folder, or a file in it, was made in another world.
    """

    def __init__(self, root: Path, world: str) -> None:
        claim(root, world)
        self._root = root
        self._world = world

    def folder(self, market: str, profile: str, recipe: str) -> Path:
        """Where everything about one walk-forward lies."""
        return self._root / f"{market}.{profile}.{recipe}"

    def path(self, market: str, profile: str, recipe: str) -> Path:
        return self.folder(market, profile, recipe) / "predictions.parquet"

    def lock(self, market: str, profile: str, recipe: str) -> FileLock:
        """Held by the one walk-forward of this name that may write."""
        return FileLock(self._root / f".{market}.{profile}.{recipe}.lock")

    def save(self, predictions: Predictions) -> Path:
        """Replace what was stored, in one step."""
        path = self.path(predictions.market, predictions.profile, predictions.recipe)
        write_parquet(_to_table(predictions, self._world), path)
        return path

    def load(self, market: str, profile: str, recipe: str) -> Predictions | None:
        """What was saved last, None before the first time. Raises CorruptStore, WrongWorld."""
        path = self.path(market, profile, recipe)
        try:
            table = read_parquet(path)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as exc:
            raise CorruptStore(f"{path} cannot be read: {exc}") from exc
        predictions = _from_table(table, path, self._world)
        found = (predictions.market, predictions.profile, predictions.recipe)
        if found != (market, profile, recipe):
            raise CorruptStore(f"{path} holds predictions of {' '.join(found)}")
        return predictions


def _to_table(predictions: Predictions, world: str) -> pa.Table:
    columns: dict[str, Any] = {
        "open_time": time_column(predictions.open_time),
        "fold": predictions.fold,
    }
    for name in _TRIPLES:
        columns |= _three_columns(name, getattr(predictions, name))
    for place, p in enumerate(predictions.p_seeds):
        columns |= _three_columns(f"seed_{place}", p)
    columns |= {name: getattr(predictions, name) for name in _NUMBERS}
    header = {
        "format": FORMAT,
        "world": world,
        "market": predictions.market,
        "profile": predictions.profile,
        "recipe": predictions.recipe,
        "interval_seconds": predictions.interval.total_seconds(),
        "seeds": predictions.seeds,
        "folds": [fold.to_json() for fold in predictions.folds],
        "record": dict(predictions.record),
    }
    return pa.table(columns).replace_schema_metadata({_HEADER: json.dumps(header)})


def _from_table(table: pa.Table, path: Path, world: str) -> Predictions:
    try:
        header = json.loads((table.schema.metadata or {})[_HEADER.encode()])
        if header["format"] != FORMAT:
            raise CorruptStore(f"{path}: format must be {FORMAT}, was {header['format']}")
        if header["world"] != world:
            raise WrongWorld(f"{path} belongs to the world {header['world']}, not to {world}")
        return Predictions(
            market=header["market"],
            profile=header["profile"],
            recipe=header["recipe"],
            interval=timedelta(seconds=header["interval_seconds"]),
            open_time=time_values(table["open_time"]),
            fold=table["fold"].to_numpy(),
            p_seeds=np.stack([_triple(table, f"seed_{i}") for i in range(header["seeds"])]),
            folds=tuple(FoldFacts.from_json(fold) for fold in header["folds"]),
            record=header["record"],
            **{name: _triple(table, name) for name in _TRIPLES},
            **{name: table[name].to_numpy() for name in _NUMBERS},
        )
    except (KeyError, ValueError, TypeError) as exc:
        raise CorruptStore(f"{path} does not hold predictions: {exc!r}") from exc


def _three_columns(name: str, p: NDArray[Any]) -> dict[str, Any]:
    return {f"{name}_{c.lower()}": np.ascontiguousarray(p[:, i]) for i, c in enumerate(CLASSES)}


def _triple(table: pa.Table, name: str) -> NDArray[Any]:
    return np.stack([table[f"{name}_{c.lower()}"].to_numpy() for c in CLASSES], axis=1)


def _check_probabilities(name: str, p: NDArray[Any]) -> None:
    good = ((p >= 0) & (p <= 1)).all(axis=-1) & (np.abs(p.sum(axis=-1) - 1) <= _SUM_TOLERANCE)
    if not good.all():
        place = np.argwhere(~good)[0]
        raise ValueError(f"{name} must be probabilities that sum to 1, has {p[tuple(place)]}")


def _three(values: list[float]) -> tuple[float, float, float]:
    first, second, third = (float(v) for v in values)
    return first, second, third
