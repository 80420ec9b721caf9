"""Challengers on disk: `<models>/<market>.<profile>/<version>/`, each with its verdict beside it.

A folder appears whole or not at all. `verdict.json` is the redo record of a decision: from the
moment it exists the decision stands, and `APPLIED` says that it was carried out everywhere. Not
here: deciding (`promotion.py`) and carrying out (`retrain.py`).
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trading_assets.errors import CorruptStore
from trading_assets.features.checks import FeatureReference
from trading_assets.models.champions import RECORD, read_record
from trading_assets.models.promotion import PromotionVerdict, TwinDifferences
from trading_assets.models.trained import Trained
from trading_assets.rules.check import CheckOutcome
from trading_assets.world import claim

_VERDICT, _APPLIED, _DIFFERENCES = "verdict.json", "APPLIED", "differences.npz"
_KEPT = 5


@dataclass(frozen=True, slots=True)
class Challenger:
    """A complete challenger's folder. record: everything about the version, plain JSON."""

    market: str
    profile: str
    version: str
    folder: Path
    record: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The registered model: `KRW-BTC.swing`."""
        return f"{self.market}.{self.profile}"

    @property
    def made_at(self) -> datetime:
        return datetime.fromisoformat(self.record["made_at"])

    def trained(self) -> Trained:
        return Trained.load(self.folder / "trained")

    def gate_x(self) -> NDArray[np.float32]:
        """(n, k) inputs of the gate rows, for the twins of other versions."""
        path = self.folder / "gate_x.npy"
        try:
            return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
        except (OSError, ValueError) as exc:
            raise CorruptStore(f"{path} cannot be read: {exc}") from exc

    @property
    def is_judged(self) -> bool:
        return (self.folder / _VERDICT).exists()

    @property
    def is_applied(self) -> bool:
        return (self.folder / _APPLIED).exists()


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on a version, with its moment and the run that reached it."""

    challenger: Challenger
    verdict: PromotionVerdict
    decided_at: datetime
    run_id: str | None


class ChallengerStore:
    """Challengers under `root`, which belongs to `world` (WrongWorld otherwise)."""

    def __init__(self, root: Path, world: str) -> None:
        claim(root, world)
        self._root = root
        self._world = world

    def lock_path(self, market: str, profile: str) -> Path:
        """Of the file lock that one retraining of this market and profile holds."""
        return self._root / f".{market}.{profile}.lock"

    def save(
        self,
        trained: Trained,
        *,
        market: str,
        profile: str,
        version: str,
        gate_x: NDArray[np.float32],
        reference: FeatureReference,
        record: Mapping[str, Any],
    ) -> Challenger:
        """Write a complete challenger; the same version saved before is returned as it is."""
        folder = self._folder(market, profile) / version
        if not folder.exists():
            draft = folder.parent / f".{version}.{os.getpid()}"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            trained.save(draft / "trained")
            np.save(draft / "gate_x.npy", np.ascontiguousarray(gate_x, dtype=np.float32))
            _write_json(draft / "reference.json", reference.to_json())
            identity = {
                "world": self._world,
                "market": market,
                "profile": profile,
                "version": version,
            }
            _write_json(draft / RECORD, {**record, **identity})
            draft.rename(folder)
        return self.load(market, profile, version)

    def load(self, market: str, profile: str, version: str) -> Challenger:
        """Raises CorruptStore when there is none."""
        folder = self._folder(market, profile) / version
        return Challenger(market, profile, version, folder, read_record(folder))

    def all(self, market: str, profile: str) -> tuple[Challenger, ...]:
        """Every complete challenger, oldest first."""
        folder = self._folder(market, profile)
        if not folder.exists():
            return ()
        versions = sorted(
            p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")
        )
        return tuple(self.load(market, profile, version) for version in versions)

    def write_verdict(
        self,
        challenger: Challenger,
        verdict: PromotionVerdict,
        differences: TwinDifferences | None,
        *,
        decided_at: datetime,
        run_id: str | None,
    ) -> Judgement:
        """Make a decision stand: written once, in one step, the differences before it."""
        if differences is not None:
            draft = challenger.folder / f".{_DIFFERENCES}"
            with draft.open("wb") as file:
                np.savez(file, open_time=differences.open_time, difference=differences.difference)
            draft.replace(challenger.folder / _DIFFERENCES)
        draft = challenger.folder / f".{_VERDICT}"
        _write_json(
            draft,
            {
                "promoted": verdict.promoted,
                "reasons": list(verdict.reasons),
                "gates": [_gate_json(gate) for gate in verdict.gates],
                "decided_at": decided_at.isoformat(),
                "run_id": run_id,
            },
        )
        draft.replace(challenger.folder / _VERDICT)
        return Judgement(challenger, verdict, decided_at, run_id)

    def judgement(self, challenger: Challenger) -> Judgement:
        """The verdict written before. Raises CorruptStore when there is none."""
        path = challenger.folder / _VERDICT
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            verdict = PromotionVerdict(
                promoted=values["promoted"],
                reasons=tuple(values["reasons"]),
                gates=tuple(CheckOutcome(**gate) for gate in values["gates"]),
            )
            moment = datetime.fromisoformat(values["decided_at"])
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise CorruptStore(f"{path} cannot be read: {exc!r}") from exc
        return Judgement(challenger, verdict, moment, values["run_id"])

    def mark_applied(self, challenger: Challenger) -> None:
        """Say that the verdict was carried out everywhere."""
        (challenger.folder / _APPLIED).touch()

    def differences(self, profile: str, besides: str) -> tuple[TwinDifferences, ...]:
        """The newest stored twin differences of every market but `besides`."""
        found = []
        for folder in sorted(self._root.glob(f"*.{profile}")):
            market = folder.name.removesuffix(f".{profile}")
            if market == besides:
                continue
            judged = [c for c in self.all(market, profile) if (c.folder / _VERDICT).exists()]
            with_differences = [c for c in judged if (c.folder / _DIFFERENCES).exists()]
            if with_differences:
                found.append(self._differences(with_differences[-1]))
        return tuple(found)

    def clean(self, market: str, profile: str) -> None:
        """Remove drafts of dead writers and all but the newest five; the lock must be held.

        A verdict that is not carried out yet is kept.
        """
        folder = self._folder(market, profile)
        if not folder.exists():
            return
        for draft in folder.glob(".*"):
            shutil.rmtree(draft)
        for old in self.all(market, profile)[:-_KEPT]:
            if old.is_applied or not old.is_judged:
                shutil.rmtree(old.folder)

    def _differences(self, challenger: Challenger) -> TwinDifferences:
        path = challenger.folder / _DIFFERENCES
        try:
            with np.load(path, allow_pickle=False) as arrays:
                open_time, difference = arrays["open_time"], arrays["difference"]
        except (OSError, KeyError, ValueError) as exc:
            raise CorruptStore(f"{path} cannot be read: {exc}") from exc
        decided_at = self.judgement(challenger).decided_at
        return TwinDifferences(
            challenger.market, challenger.profile, open_time, difference, decided_at
        )

    def _folder(self, market: str, profile: str) -> Path:
        return self._root / f"{market}.{profile}"


def _gate_json(gate: CheckOutcome) -> dict[str, Any]:
    return {**asdict(gate), "values": finite(gate.values)}


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with numbers that JSON cannot hold as their names (`nan`)."""
    return {
        key: str(value) if isinstance(value, float) and not np.isfinite(value) else value
        for key, value in values.items()
    }


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8") as file:
        json.dump(dict(values), file, indent=1, sort_keys=True, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
