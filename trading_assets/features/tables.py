"""Arrow tables of this room: marked with the catalogue's version, swapped in whole.

Here: what the feature matrix and the sequences have in common when they are stored. Not here:
which folder they go to (`orchestration`).
"""

import os
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from trading_assets.features.catalogue import CATALOGUE_VERSION

VERSION_KEY = "catalogue_version"


def versioned(table: pa.Table) -> pa.Table:
    """`table` with the version of the catalogue that its features follow."""
    return table.replace_schema_metadata({VERSION_KEY: CATALOGUE_VERSION})


def table_version(table: pa.Table) -> str:
    """The catalogue version that `versioned` wrote, "none" without one."""
    return str((table.schema.metadata or {}).get(VERSION_KEY.encode(), b"none").decode())


def require_version(stored: str) -> None:
    """Raises ValueError: the features follow another catalogue."""
    if stored != CATALOGUE_VERSION:
        raise ValueError(
            f"stored features follow catalogue {stored}, this program has {CATALOGUE_VERSION}: "
            "materialize them again"
        )


def require_columns(columns: Iterable[str], required: Sequence[str]) -> None:
    """Raises ValueError: not exactly these columns in this order."""
    if list(columns) != list(required):
        raise ValueError(f"columns must be {list(required)}, were {list(columns)}")


def time_column(times: npt.NDArray[np.datetime64]) -> Any:
    """UTC instants as an Arrow array; NaT becomes null."""
    return pa.array(times).cast(pa.timestamp("us")).cast(pa.timestamp("us", tz="UTC"))


def time_values(column: Any) -> npt.NDArray[np.datetime64]:
    """Back from `time_column`, datetime64[us]."""
    times: npt.NDArray[np.datetime64] = column.cast(pa.timestamp("us")).to_numpy()
    return times.astype("datetime64[us]")


def write_parquet(table: pa.Table, path: Path | UPath) -> None:
    """Write `table` to `path` so that it is there whole or not at all, also after a kill.

    On a disk by a temporary name in the same folder and a rename. An object store has no rename,
    but an object appears only when its upload is complete.
    """
    folder, local = path.parent, _local(path)
    folder.mkdir(parents=True, exist_ok=True)
    if local is None:
        with path.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
        return
    draft = local.with_name(f".{local.name}.{uuid.uuid4().hex}.draft")
    try:
        with draft.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(local)
    finally:
        draft.unlink(missing_ok=True)


def read_parquet(path: Path | UPath) -> pa.Table:
    """The table that `write_parquet` wrote."""
    with path.open("rb") as file:
        return pq.read_table(file)


def _local(path: Path | UPath) -> Path | None:
    if isinstance(path, UPath):
        return Path(path.path) if path.protocol in ("", "file", "local") else None
    return path
