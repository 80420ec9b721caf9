"""A file's value is held as long as it is the same file, and not a moment longer."""

from pathlib import Path

import pytest

from trading_assets.candles.held import Held
from trading_assets.candles.store import CandleStore
from trading_assets.errors import CorruptStore
from trading_assets.exchange.model import Interval
from trading_assets_tests.backtest.leaks import MARKET, broken_history


class Reader:
    """Reads a file's text and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return self.path.read_text()


def swapped(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


def test_the_same_file_is_read_once(tmp_path: Path) -> None:
    read = Reader(tmp_path / "a")
    read.path.write_text("one")
    held = Held[str](2)
    assert [held.get(read.path, read) for _ in range(3)] == ["one"] * 3
    assert read.count == 1


def test_a_swapped_file_is_read_again_although_it_looks_alike(tmp_path: Path) -> None:
    read = Reader(tmp_path / "a")
    read.path.write_text("one")
    held = Held[str](2)
    held.get(read.path, read)
    swapped(read.path, "two")
    assert held.get(read.path, read) == "two"


def test_a_file_swapped_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    read = Reader(tmp_path / "a")
    read.path.write_text("one")
    held = Held[str](2)

    def meanwhile() -> str:
        text = read()
        swapped(read.path, "two")
        return text

    assert held.get(read.path, meanwhile) == "one"
    assert held.get(read.path, read) == "two"


def test_a_missing_file_is_never_held_and_an_error_neither(tmp_path: Path) -> None:
    path = tmp_path / "a"
    held = Held[str](2)
    assert held.get(path, lambda: "nothing yet") == "nothing yet"
    path.write_text("one")

    def fails() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        held.get(path, fails)
    assert held.get(path, Reader(path)) == "one"
    path.unlink()
    assert held.get(path, lambda: "gone") == "gone"


def test_the_file_that_nobody_asked_for_longest_is_forgotten(tmp_path: Path) -> None:
    readers = [Reader(tmp_path / name) for name in "abc"]
    held = Held[str](2)
    for read in readers:
        read.path.write_text(read.path.name)
    a, b, c = readers
    for read in (a, b, a, c, a, b):  # c displaces b, then b displaces c
        assert held.get(read.path, read) == read.path.name
    assert [read.count for read in readers] == [1, 2, 1]


def test_what_was_written_is_held(tmp_path: Path) -> None:
    read = Reader(tmp_path / "a")
    read.path.write_text("one")
    held = Held[str](2)
    held.put(read.path, "one")
    assert (held.get(read.path, read), read.count) == ("one", 0)


def test_one_store_sees_what_another_one_wrote(tmp_path: Path) -> None:
    candles = broken_history().frame
    writer, reader = CandleStore(tmp_path, "w"), CandleStore(tmp_path, "w")
    writer.merge(MARKET, Interval.M60, candles.iloc[:-2])
    assert len(reader.read(MARKET, Interval.M60)) == len(candles) - 2
    corrected = candles.iloc[-3:].assign(volume=7.0)
    writer.merge(MARKET, Interval.M60, corrected)
    for store in (reader, writer, CandleStore(tmp_path, "w")):
        read = store.read(MARKET, Interval.M60)
        assert len(read) == len(candles)
        assert read["volume"].tolist()[-3:] == [7.0] * 3
        assert read["close"].tolist() == candles["close"].tolist()


def test_a_part_that_breaks_after_it_was_read_is_found(tmp_path: Path) -> None:
    store = CandleStore(tmp_path, "w")
    store.merge(MARKET, Interval.M60, broken_history().frame)
    store.read(MARKET, Interval.M60)
    part = max(store.folder(MARKET, Interval.M60).glob("*.parquet"))
    part.write_bytes(part.read_bytes()[:-10])
    with pytest.raises(CorruptStore, match=part.name):
        store.read(MARKET, Interval.M60)


def test_nobody_can_change_what_is_held_through_what_was_read(tmp_path: Path) -> None:
    store = CandleStore(tmp_path, "w")
    store.merge(MARKET, Interval.M60, broken_history().frame)
    first = store.read(MARKET, Interval.M60)
    before = first["close"].tolist()
    first.loc[:, "close"] = -1.0
    assert store.read(MARKET, Interval.M60)["close"].tolist() == before
