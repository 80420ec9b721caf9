"""The IO manager: values come back, swaps are whole, worlds do not mix."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from upath import UPath

from trading_assets.errors import CorruptStore, NotReadyYet, WrongWorld
from trading_assets.orchestration.research.storage import Codec, WorldIOManager, frame_codec

KEY = dg.AssetKey(["features", "m5"])
MARKETS = dg.StaticPartitionsDefinition(["KRW-BTC", "KRW-ETH"])
FRAME = pd.DataFrame({"a": [1.0, 2.0]})
TABLE = frame_codec(lambda value: value, lambda frame: frame)


def _output(market: str) -> dg.OutputContext:
    return dg.build_output_context(
        asset_key=KEY, partition_key=market, asset_partitions_def=MARKETS
    )


def _read(manager: WorldIOManager, market: str) -> pd.DataFrame:
    context = dg.build_input_context(
        asset_key=KEY,
        partition_key=market,
        asset_partition_key_range=dg.PartitionKeyRange(market, market),
        asset_partitions_def=MARKETS,
    )
    value = manager.load_input(context)
    assert isinstance(value, pd.DataFrame)
    return value


def _manager(
    base: UPath | Path | str, world: str = "sandbox-a", codec: Codec = TABLE
) -> WorldIOManager:
    return WorldIOManager(UPath(base), world, {pd.DataFrame: codec})


@pytest.mark.parametrize("place", ["disk", "object store"])
def test_a_value_comes_back_for_its_own_market_only(place: str, tmp_path: Path) -> None:
    base = UPath(tmp_path) if place == "disk" else UPath("memory://assets-round-trip")
    manager = _manager(base)
    manager.handle_output(_output("KRW-BTC"), FRAME)
    pd.testing.assert_frame_equal(_read(manager, "KRW-BTC"), FRAME)
    with pytest.raises(NotReadyYet, match="features/m5 has no data of KRW-ETH yet"):
        _read(manager, "KRW-ETH")


def test_a_writer_that_dies_leaves_the_old_value_in_use(tmp_path: Path) -> None:
    def die(value: object, folder: UPath) -> None:
        (folder / "table.parquet").write_bytes(b"half of it")
        raise KeyboardInterrupt

    _manager(tmp_path).handle_output(_output("KRW-BTC"), FRAME)
    with pytest.raises(KeyboardInterrupt):
        _manager(tmp_path, codec=Codec(die, TABLE.load)).handle_output(_output("KRW-BTC"), FRAME)
    pd.testing.assert_frame_equal(_read(_manager(tmp_path), "KRW-BTC"), FRAME)


def test_only_the_version_in_use_and_the_one_before_are_kept(tmp_path: Path) -> None:
    for value in (1.0, 2.0, 3.0, 4.0):
        _manager(tmp_path).handle_output(_output("KRW-BTC"), pd.DataFrame({"a": [value]}))
    folder = tmp_path / "features" / "m5" / "KRW-BTC"
    assert sum(entry.is_dir() for entry in folder.iterdir()) == 2
    assert _read(_manager(tmp_path), "KRW-BTC")["a"].tolist() == [4.0]


def test_another_worlds_data_is_refused_for_reading_and_writing(tmp_path: Path) -> None:
    _manager(tmp_path, "sandbox-a").handle_output(_output("KRW-BTC"), FRAME)
    live = _manager(tmp_path, "live")
    with pytest.raises(WrongWorld, match="belongs to the world sandbox-a, not to live"):
        _read(live, "KRW-BTC")
    with pytest.raises(WrongWorld):
        live.handle_output(_output("KRW-BTC"), FRAME)


def test_a_damaged_file_is_said_to_be_damaged(tmp_path: Path) -> None:
    _manager(tmp_path).handle_output(_output("KRW-BTC"), FRAME)
    (table,) = (tmp_path / "features" / "m5" / "KRW-BTC").glob("*/table.parquet")
    table.write_bytes(b"not parquet")
    with pytest.raises(CorruptStore, match="materialize it again"):
        _read(_manager(tmp_path), "KRW-BTC")
