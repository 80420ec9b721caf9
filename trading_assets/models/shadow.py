"""Shadow results: what models said of live candles since they were made, and what came of it.

Every judged version of a market and profile goes on being scored, also a refused one and those of a
profile that is not traded: its served model predicts each candle that opened after the version was
made, and the prediction is kept once the candle's label has matured. No money moves by it. Here:
the rows, their file and who said what at each candle. Not here: what follows from them
(`backtest.comparison`).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from trading_assets.candles.frame import TIMES, to_us
from trading_assets.errors import CorruptStore, WrongWorld
from trading_assets.features.tables import read_parquet, time_column, time_values, write_parquet
from trading_assets.models.challengers import Judgement
from trading_assets.models.dataset import Dataset
from trading_assets.models.evaluation import row_losses
from trading_assets.models.metadata import label_terms
from trading_assets.models.retrain import Workshop
from trading_assets.rules.profile import Profile
from trading_assets.world import claim

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]
BoolArray = NDArray[np.bool_]

KEPT = timedelta(days=60)
_FORMAT = 1
_HEADER = "shadow"
_CLASSES = ("p_sell", "p_hold", "p_buy")


@dataclass(frozen=True, slots=True, eq=False)
class ShadowRows:
    """Matured predictions of live candles, by version and then by candle.

    version: (n,) names. promoted: (n,) whether the version became champion. decided_at: (n,) when
    that was decided. open_time: (n,) of the candle at whose close it was said. y: (n,) what came.
    p: (n, 3). ev_long, ev_short: (n,) net ratios. loss_prior: (n,) nats, of the class shares that
    the version was trained on. meaning: which trade the classes are of, plain JSON.
    """

    market: str
    profile: str
    interval: timedelta
    meaning: str
    version: NDArray[np.str_]
    promoted: BoolArray
    decided_at: TimeArray
    open_time: TimeArray
    y: NDArray[np.int8]
    p: FloatArray
    ev_long: FloatArray
    ev_short: FloatArray
    loss_prior: FloatArray

    def __len__(self) -> int:
        return len(self.open_time)

    @property
    def losses(self) -> FloatArray:
        """(n,) nats of the predictions."""
        return row_losses(self.p, self.y)

    def take(self, rows: NDArray[np.intp] | BoolArray) -> "ShadowRows":
        """Only these rows, in this order."""
        arrays = {name: getattr(self, name)[rows] for name in _ARRAYS}
        return ShadowRows(self.market, self.profile, self.interval, self.meaning, **arrays)

    def followed_by(self, other: "ShadowRows") -> "ShadowRows":
        """These rows, then the others, which mean the same trades of the same market."""
        arrays = {
            name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in _ARRAYS
        }
        return ShadowRows(self.market, self.profile, self.interval, self.meaning, **arrays)


_ARRAYS = tuple(
    f.name for f in fields(ShadowRows) if f.name not in {"market", "profile", "interval", "meaning"}
)


def score(
    judged: Sequence[Judgement], dataset: Dataset, stored: ShadowRows | None, meaning: str
) -> ShadowRows:
    """`stored` and what has matured since: every judged version on every candle opened after it.

    dataset: of the same market and profile, matured labels only. meaning: of the classes now; rows
    stored under another one are dropped, versions trained for another one or on other columns are
    not scored. Rows older than 60 days before the newest are dropped. Pure.
    """
    rows = nothing(dataset, meaning)
    if stored is not None and stored.meaning == meaning:
        rows = stored
    for judgement in judged:
        challenger = judgement.challenger
        known = rows.open_time[rows.version == challenger.version]
        since = np.int64(to_us(challenger.made_at)).astype(TIMES)
        live = np.flatnonzero((dataset.open_time >= since) & ~np.isin(dataset.open_time, known))
        if len(live):
            rows = rows.followed_by(_scored(judgement, dataset.take(live), meaning))
    if len(rows) == 0:
        return rows
    oldest = rows.open_time.max() - np.timedelta64(KEPT)
    return rows.take(rows.open_time >= oldest)


def keep_scoring(shop: Workshop, dataset: Dataset, profile: Profile) -> ShadowRows:
    """Score every judged version that is still kept on what has matured, and store all rows.

    dataset: of the newest candles. Waits while the market is being retrained, which removes old
    versions.
    """
    store = ShadowStore(shop.world.shadow, shop.world.name)
    challengers = shop.challengers()
    with shop.lock(dataset.market, profile.name):
        judged = [
            challengers.judgement(c)
            for c in challengers.all(dataset.market, profile.name)
            if c.is_judged
        ]
        rows = score(
            judged,
            dataset,
            store.load(dataset.market, profile.name),
            meaning_of(label_terms(profile, dataset.costs)),
        )
    store.save(rows)
    return rows


def nothing(dataset: Dataset, meaning: str) -> ShadowRows:
    """No rows yet, of the market and profile of `dataset`."""
    empty = np.empty(0)
    return ShadowRows(
        market=dataset.market,
        profile=dataset.profile,
        interval=dataset.interval,
        meaning=meaning,
        version=np.empty(0, dtype=np.str_),
        promoted=np.empty(0, dtype=np.bool_),
        decided_at=np.empty(0, TIMES),
        open_time=np.empty(0, TIMES),
        y=np.empty(0, np.int8),
        p=np.empty((0, 3)),
        ev_long=empty,
        ev_short=empty,
        loss_prior=empty,
    )


def meaning_of(label: object) -> str:
    """The label terms of a version's record as one text that can be compared."""
    return json.dumps(label, sort_keys=True)


def said_at_each_candle(rows: ShadowRows, chosen: BoolArray) -> ShadowRows:
    """Of the `chosen` rows (n,), one a candle: of the newest version decided by its close.

    The champion's voice with `chosen` = promoted: a version speaks only from its verdict on.
    """
    closes = rows.open_time + np.timedelta64(rows.interval)
    able = np.flatnonzero(chosen & (rows.decided_at <= closes))
    order = able[np.lexsort((rows.decided_at[able], rows.open_time[able]))]
    last = np.append(rows.open_time[order][1:] != rows.open_time[order][:-1], True)
    return rows.take(order[last[: len(order)]])


def refused_beside(rows: ShadowRows) -> tuple[ShadowRows, ShadowRows]:
    """(what served, the newest refused challenger), both on the candles at which both spoke.

    A refused version counts only while it is newer than the one that served: it is what would have
    served had the gate been open.
    """
    served = said_at_each_candle(rows, rows.promoted)
    refused = said_at_each_candle(rows, ~rows.promoted)
    _, left, right = np.intersect1d(served.open_time, refused.open_time, return_indices=True)
    served, refused = served.take(left), refused.take(right)
    newer = refused.decided_at > served.decided_at
    return served.take(newer), refused.take(newer)


class ShadowStore:
    """Shadow rows under `root`, which belongs to `world`; a file is there whole or not at all.

    Raises WrongWorld when the folder, or a file in it, was made in another world.
    """

    def __init__(self, root: Path, world: str) -> None:
        claim(root, world)
        self._root = root
        self._world = world

    def save(self, rows: ShadowRows) -> Path:
        """Replace what was stored, in one step."""
        path = self._path(rows.market, rows.profile)
        columns: dict[str, Any] = {
            name: getattr(rows, name) for name in _ARRAYS if name not in {"p", *_TIME_ARRAYS}
        }
        columns["version"] = pa.array(rows.version.tolist(), pa.string())
        columns |= {name: time_column(getattr(rows, name)) for name in _TIME_ARRAYS}
        columns |= {name: np.ascontiguousarray(rows.p[:, c]) for c, name in enumerate(_CLASSES)}
        header = {
            "format": _FORMAT,
            "world": self._world,
            "market": rows.market,
            "profile": rows.profile,
            "interval_seconds": rows.interval.total_seconds(),
            "meaning": rows.meaning,
        }
        table = pa.table(columns).replace_schema_metadata({_HEADER: json.dumps(header)})
        write_parquet(table, path)
        return path

    def load(self, market: str, profile: str) -> ShadowRows | None:
        """What was saved last, None before the first time. Raises CorruptStore, WrongWorld."""
        path = self._path(market, profile)
        try:
            table = read_parquet(path)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as exc:
            raise CorruptStore(f"{path} cannot be read: {exc}") from exc
        try:
            return self._rows(table, path)
        except (KeyError, ValueError, TypeError) as exc:
            raise CorruptStore(f"{path} does not hold shadow results: {exc!r}") from exc

    def _rows(self, table: pa.Table, path: Path) -> ShadowRows:
        header = json.loads((table.schema.metadata or {})[_HEADER.encode()])
        if header["format"] != _FORMAT:
            raise CorruptStore(f"{path}: format must be {_FORMAT}, was {header['format']}")
        if header["world"] != self._world:
            raise WrongWorld(f"{path} belongs to the world {header['world']}, not to {self._world}")
        arrays: dict[str, Any] = {
            name: table[name].to_numpy()
            for name in _ARRAYS
            if name not in {"p", "version", *_TIME_ARRAYS}
        }
        arrays |= {name: time_values(table[name]) for name in _TIME_ARRAYS}
        return ShadowRows(
            market=header["market"],
            profile=header["profile"],
            interval=timedelta(seconds=header["interval_seconds"]),
            meaning=header["meaning"],
            version=np.array(table["version"].to_pylist(), dtype=np.str_),
            p=np.stack([table[name].to_numpy() for name in _CLASSES], axis=1),
            **arrays,
        )

    def _path(self, market: str, profile: str) -> Path:
        return self._root / f"{market}.{profile}.parquet"


_TIME_ARRAYS = ("decided_at", "open_time")


def _scored(judgement: Judgement, rows: Dataset, meaning: str) -> ShadowRows:
    """The served model of one version on `rows`, none of which it has seen."""
    challenger = judgement.challenger
    served = challenger.trained().served
    if meaning_of(challenger.record["label"]) != meaning or served.columns != rows.columns:
        return nothing(rows, meaning)
    last_seen = datetime.fromisoformat(served.metadata["window"]["last_label_end"])
    if rows.open_time[0] < np.int64(to_us(last_seen)).astype(TIMES):
        raise ValueError(
            f"{challenger.name} {challenger.version} has learnt from labels until {last_seen}, "
            f"after the candle of {rows.open_time[0]}"
        )
    p = served.probabilities(rows.x)
    n = len(rows)
    shares = np.array(served.metadata["label_shares"], dtype=np.float64)
    return ShadowRows(
        market=rows.market,
        profile=rows.profile,
        interval=rows.interval,
        meaning=meaning,
        version=np.full(n, challenger.version),
        promoted=np.full(n, judgement.verdict.promoted),
        decided_at=np.full(n, np.int64(to_us(judgement.decided_at)).astype(TIMES)),
        open_time=rows.open_time,
        y=rows.y,
        p=p,
        ev_long=served.ev_long(p),
        ev_short=served.ev_short(p),
        loss_prior=row_losses(shares, rows.y),
    )
