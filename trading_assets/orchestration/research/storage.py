"""Where features, sequences and labels lie between two steps: Parquet under one folder or URL.

Each partition is a folder `<asset>/<market>/` with a version folder per write and a file CURRENT
that names the one in use, its type and its world. CURRENT is swapped in whole (a rename on a disk,
one PUT in an object store), so that a reader sees either the old data or the new, also when the
writer is killed. What is in a version folder is the domain's business: see `Codec`.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
from filelock import FileLock
from upath import UPath

from trading_assets.errors import CorruptStore, NotReadyYet, WrongWorld
from trading_assets.features.tables import read_parquet, write_parquet

_CURRENT = "CURRENT"
_TABLE = "table.parquet"


@dataclass(frozen=True, slots=True)
class Codec:
    """How values of one type are written into, and read from, a folder."""

    save: Callable[[Any, UPath], None]
    load: Callable[[UPath], Any]


def table_codec(
    to_table: Callable[[Any], pa.Table], from_table: Callable[[pa.Table], Any]
) -> Codec:
    """A codec for values that are one Arrow table."""
    return Codec(
        save=lambda value, folder: write_parquet(to_table(value), folder / _TABLE),
        load=lambda folder: from_table(read_parquet(folder / _TABLE)),
    )


def frame_codec(
    to_frame: Callable[[Any], pd.DataFrame], from_frame: Callable[[pd.DataFrame], Any]
) -> Codec:
    """A codec for values that are one pandas frame."""
    return table_codec(
        lambda value: pa.Table.from_pandas(to_frame(value), preserve_index=False),
        lambda table: from_frame(table.to_pandas()),
    )


class WorldIOManager(dg.UPathIOManager):
    """Keeps the values of partitioned assets of one world.

    codecs: by type, for every type that an asset here returns. Raises WrongWorld when the data is
    another world's, NotReadyYet when there is none yet, CorruptStore when it cannot be read.
    """

    def __init__(self, base_path: UPath, world: str, codecs: Mapping[type, Codec]) -> None:
        super().__init__(base_path)
        self._world = world
        self._codecs = {kind.__name__: codec for kind, codec in codecs.items()}

    def dump_to_path(self, context: dg.OutputContext, obj: Any, path: UPath) -> None:
        """Write `obj` as a new version beside the old one, then make it the current one."""
        del context
        path.mkdir(parents=True, exist_ok=True)
        with _one_writer(path):
            before = self._record(path)
            record = {"world": self._world, "type": type(obj).__name__, "version": uuid.uuid4().hex}
            folder = path / record["version"]
            folder.mkdir()
            self._codecs[record["type"]].save(obj, folder)
            _swap_in(path / _CURRENT, json.dumps(record))
            # The version before stays: a reader may just have read its name.
            _forget_versions_but(path, {r["version"] for r in (record, before) if r is not None})

    def load_from_path(self, context: dg.InputContext, path: UPath) -> Any:
        """The current value."""
        record = self._record(path)
        if record is None:
            name = context.asset_key.to_user_string()
            raise NotReadyYet(f"{name} has no data of {path.name} yet: materialize it first")
        folder = path / record["version"]
        try:
            return self._codecs[record["type"]].load(folder)
        except (OSError, ValueError, KeyError) as exc:
            raise CorruptStore(f"{folder} cannot be read ({exc}): materialize it again") from exc

    def _record(self, path: UPath) -> dict[str, str] | None:
        try:
            text = (path / _CURRENT).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        record: dict[str, str] = json.loads(text)
        if record["world"] != self._world:
            raise WrongWorld(f"{path} belongs to the world {record['world']}, not to {self._world}")
        return record


@contextmanager
def _one_writer(path: UPath) -> Iterator[None]:
    """Keep other writers of this partition out, on this machine.

    An object store has no such lock; there, the run queue's one retraining per market serves.
    """
    if not _is_local(path):
        yield
        return
    with FileLock(Path(path.path) / ".lock"):
        yield


def _swap_in(path: UPath, text: str) -> None:
    """Write a small file so that it is never seen half-written."""
    if not _is_local(path):
        path.write_text(text, encoding="utf-8")  # an object store's PUT is whole or not at all
        return
    local = Path(path.path)
    draft = local.with_name(f".{local.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(local)


def _is_local(path: UPath) -> bool:
    return path.protocol in ("", "file", "local")


def _forget_versions_but(path: UPath, kept: set[str]) -> None:
    for folder in path.iterdir():
        if folder.is_dir() and folder.name not in kept:
            for file in folder.iterdir():
                file.unlink()
            folder.rmdir()
