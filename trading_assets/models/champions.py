"""The served models of one world: `<root>/<market>.<profile>/<version>/` and a `CURRENT` pointer.

The signal path reads these folders, never MLflow. A version's folder appears whole or not at all,
then the pointer is swapped in one step, so a reader always finds one complete champion. Not here:
which version deserves it (`promotion.py`).
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from trading_assets.errors import CorruptStore, WrongWorld
from trading_assets.features.checks import FeatureReference
from trading_assets.models.model import Model
from trading_assets.world import claim

POINTER = "CURRENT"
RECORD = "champion.json"
KEPT_BESIDE_THE_CURRENT = 5


@dataclass(frozen=True, slots=True, eq=False)
class Champion:
    """The model that serves one market and profile.

    skill: of its twin on its gate window, 1 - log loss / class prior's. reference: what its
    features looked like in training. record: everything about the version, plain JSON.
    """

    market: str
    profile: str
    version: str
    served: Model
    reference: FeatureReference
    trained_at: datetime
    skill: float
    record: Mapping[str, Any]
    folder: Path

    def twin(self) -> Model:
        """The fit that has not seen this version's gate window; the gate compares it."""
        return Model.load(self.folder / "twin")


class ChampionStore:
    """Champions under `root`, which belongs to `world`.

    Raises WrongWorld when the folder, or a version in it, was made in another world.
    """

    def __init__(self, root: Path, world: str) -> None:
        claim(root, world)
        self._root = root
        self._world = world
        self._loaded: dict[tuple[str, str], Champion] = {}

    def folder(self, market: str, profile: str) -> Path:
        return self._root / f"{market}.{profile}"

    def current_version(self, market: str, profile: str) -> str | None:
        """The version that serves, None when none ever did."""
        try:
            text = (self.folder(market, profile) / POINTER).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        return text.strip()

    def current(self, market: str, profile: str) -> Champion | None:
        """The champion, or None when there is none yet. Read from disk once per version.

        Raises CorruptStore when the pointer names what cannot be read.
        """
        version = self.current_version(market, profile)
        if version is None:
            return None
        held = self._loaded.get((market, profile))
        if held is None or held.version != version:
            held = self._load(market, profile, version)
            self._loaded[market, profile] = held
        return held

    def before(self, market: str, profile: str, version: str) -> Champion | None:
        """Who served before `version` came, as far as it is still kept: None when nobody is.

        Versions begin with their time; every installed one has been champion.
        """
        folder = self.folder(market, profile)
        if not folder.exists():
            return None
        older = [
            p.name
            for p in folder.iterdir()
            if p.is_dir() and not p.name.startswith(".") and p.name < version
        ]
        return self._load(market, profile, max(older)) if older else None

    def install(self, market: str, profile: str, version: str, source: Path) -> Path:
        """Copy a challenger's folder in, without making it current. Safe to repeat after a kill.

        source: holds `served/`, `twin/`, `reference.json` and the record. The copy is complete
        before it gets its name.
        """
        target = self.folder(market, profile) / version
        if target.exists():
            return target
        draft = target.parent / f".{version}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for part in ("served", "twin"):
            shutil.copytree(source / "trained" / part, draft / part)
        for name in ("reference.json", RECORD):
            shutil.copyfile(source / name, draft / name)
        _sync(draft)
        draft.rename(target)
        return target

    def point_to(self, market: str, profile: str, version: str) -> None:
        """Make an installed version the champion, in one atomic step."""
        folder = self.folder(market, profile)
        if not (folder / version / RECORD).exists():
            raise CorruptStore(f"{folder / version} is not an installed version")
        draft = folder / f".{POINTER}.{os.getpid()}"
        with draft.open("w", encoding="utf-8") as file:
            file.write(version + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(folder / POINTER)

    def promote(self, market: str, profile: str, version: str, source: Path) -> None:
        """Install `version`, make it current and drop what is too old."""
        self.install(market, profile, version, source)
        self.point_to(market, profile, version)
        self.prune(market, profile)

    def prune(self, market: str, profile: str) -> None:
        """Keep the champion and the last five versions beside it; remove drafts of dead writers."""
        folder = self.folder(market, profile)
        current = self.current_version(market, profile)
        for draft in folder.glob(".*"):
            if draft.is_dir():
                shutil.rmtree(draft)
            else:
                draft.unlink()
        others = sorted(p for p in folder.iterdir() if p.is_dir() and p.name != current)
        for old in others[:-KEPT_BESIDE_THE_CURRENT]:
            shutil.rmtree(old)

    def _load(self, market: str, profile: str, version: str) -> Champion:
        folder = self.folder(market, profile) / version
        record = read_record(folder)
        if record["world"] != self._world:
            raise WrongWorld(f"{folder} was made in {record['world']}, this is {self._world}")
        if (record["market"], record["profile"]) != (market, profile):
            raise CorruptStore(f"{folder} holds a model of {record['market']} {record['profile']}")
        return Champion(
            market=market,
            profile=profile,
            version=version,
            served=Model.load(folder / "served"),
            reference=FeatureReference.from_json(_read_json(folder / "reference.json")),
            trained_at=datetime.fromisoformat(record["trained_at"]),
            skill=float(record["skill"]),
            record=record,
            folder=folder,
        )


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a challenger's or champion's folder. Raises CorruptStore."""
    record = _read_json(folder / RECORD)
    missing = {"world", "market", "profile", "version", "trained_at", "skill"} - record.keys()
    if missing:
        raise CorruptStore(f"{folder / RECORD} has no {', '.join(sorted(missing))}")
    return record


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CorruptStore(f"{path} cannot be read: {exc}") from exc
    if not isinstance(values, dict):
        raise CorruptStore(f"{path} must hold a JSON object, holds {type(values).__name__}")
    return values


def _sync(folder: Path) -> None:
    """Force the files of `folder` to disk: the pointer must never name what a crash has lost."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
