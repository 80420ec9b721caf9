"""The store: what goes in comes out, corrections are named, files are swapped whole."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_assets.candles.frame import (
    NUMBER_COLUMNS,
    candle_frame,
    empty_candles,
    open_times_us,
    to_us,
)
from trading_assets.candles.gaps import GapKind, Span, Verdict, inside, missing_spans, outside
from trading_assets.candles.store import CandleStore
from trading_assets.errors import CorruptStore, ImpossibleCandle, WrongWorld
from trading_assets.exchange.model import Interval
from trading_assets_tests.candles.tables import EPOCH, at, candles, span

M5 = Interval.M5
D1 = Interval.D1
BTC = "KRW-BTC"


@pytest.fixture
def store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "candles", "sandbox-test")


def _kinds(store: CandleStore, interval: Interval = M5) -> list[tuple[int, int, str]]:
    table = store.gaps(BTC, interval)
    starts, ends = (
        [round((t - EPOCH) / interval.duration) for t in table[name].dt.to_pydatetime()]
        for name in ("start", "end")
    )
    return list(zip(starts, ends, table["kind"].tolist(), strict=True))


def test_candles_come_out_as_they_went_in_over_several_months(store: CandleStore) -> None:
    frame = candles(range(0, 70), D1)
    report = store.merge(BTC, D1, frame)
    assert (report.added, report.corrected, report.unchanged) == (70, (), 0)
    pd.testing.assert_frame_equal(store.read(BTC, D1), frame)
    names = sorted(p.name for p in store.folder(BTC, D1).glob("*.parquet"))
    # 70 days from 2 March: 30 in March, 30 in April, 10 in May.
    assert names == ["2026-03.parquet", "2026-04.parquet", "2026-05.parquet"]
    assert store.first_open_time(BTC, D1) == EPOCH
    assert store.last_open_time(BTC, D1) == EPOCH + timedelta(days=69)


def test_reading_a_range_takes_its_start_and_leaves_its_end(store: CandleStore) -> None:
    store.merge(BTC, D1, candles(range(0, 70), D1))
    part = store.read(BTC, D1, at(29, D1), at(31, D1))
    assert part["open_time"].tolist() == [pd.Timestamp(at(29, D1)), pd.Timestamp(at(30, D1))]
    assert store.read(BTC, D1, at(70, D1)).empty
    assert store.read("KRW-ETH", D1).empty
    assert store.last_open_time("KRW-ETH", D1) is None


def test_a_merge_names_the_candles_that_it_corrected(store: CandleStore) -> None:
    store.merge(BTC, M5, candles([0, 1, 2]))
    later = candles([1, 2, 3])
    later.loc[1, "volume"] = 77.0
    report = store.merge(BTC, M5, later)
    assert (report.added, report.corrected, report.unchanged) == (1, (at(2),), 1)
    assert store.read(BTC, M5)["volume"].tolist()[2] == 77.0


def test_a_value_that_is_not_known_does_not_overwrite_a_known_one(store: CandleStore) -> None:
    store.merge(BTC, M5, candles([0]))
    report = store.merge(BTC, M5, candles([0]).assign(value=np.nan))
    assert report.unchanged == 1
    assert store.read(BTC, M5)["value"].notna().all()


def test_impossible_candles_leave_every_byte_as_it_was(store: CandleStore) -> None:
    store.merge(BTC, M5, candles([0, 1]))
    before = _bytes(store)
    wrong = candles([1, 2])
    wrong.loc[1, "low"] = -5.0
    with pytest.raises(ImpossibleCandle, match=r"low = -5\.0"):
        store.merge(BTC, M5, wrong)
    assert _bytes(store) == before


def _bytes(store: CandleStore) -> dict[str, bytes]:
    folder = store.folder(BTC, M5)
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


def test_merging_the_same_candles_again_writes_nothing(store: CandleStore) -> None:
    store.merge(BTC, M5, candles(range(9)), covered=(at(0), at(9)))
    stamps = {p: p.stat().st_mtime_ns for p in store.folder(BTC, M5).iterdir()}
    store.merge(BTC, M5, candles(range(9)), covered=(at(0), at(9)))
    assert {p: p.stat().st_mtime_ns for p in stamps if p.name != ".lock"} == {
        p: t for p, t in stamps.items() if p.name != ".lock"
    }


def test_another_worlds_folder_is_refused(store: CandleStore, tmp_path: Path) -> None:
    with pytest.raises(WrongWorld, match="sandbox-test, not to live"):
        CandleStore(tmp_path / "candles", "live")


def test_a_part_of_another_market_or_world_is_refused(store: CandleStore) -> None:
    store.merge(BTC, M5, candles([0]))
    store.merge("KRW-ETH", M5, candles([0]))
    source = store.folder("KRW-ETH", M5) / "2026-03.parquet"
    (store.folder(BTC, M5) / "2026-03.parquet").write_bytes(source.read_bytes())
    with pytest.raises(CorruptStore, match=r"KRW-BTC.m5.2026-03\.parquet is not a part of"):
        store.read(BTC, M5)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty"])
def test_a_damaged_part_is_named(store: CandleStore, damage: str) -> None:
    store.merge(BTC, M5, candles(range(50)))
    path = store.folder(BTC, M5) / "2026-03.parquet"
    whole = path.read_bytes()
    path.write_bytes(
        {"truncated": whole[: len(whole) // 2], "garbage": b"x" * 99, "empty": b""}[damage]
    )
    for act in (lambda: store.read(BTC, M5), lambda: store.merge(BTC, M5, candles([40]))):
        with pytest.raises(CorruptStore, match=r"2026-03\.parquet cannot be read"):
            act()


def test_a_part_with_another_months_candles_is_named(store: CandleStore) -> None:
    store.merge(BTC, M5, candles(range(50)))
    path = store.folder(BTC, M5) / "2026-03.parquet"
    path.rename(path.with_name("2026-04.parquet"))
    with pytest.raises(CorruptStore, match=r"2026-04\.parquet holds candles outside of 2026-04"):
        store.read(BTC, M5)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"world": "live"}', '{"world": 3}'])
def test_a_damaged_record_is_named(store: CandleStore, text: str) -> None:
    store.merge(BTC, M5, candles([0]))
    (store.folder(BTC, M5) / "record.json").write_text(text)
    with pytest.raises(CorruptStore, match=r"record\.json cannot be read"):
        store.gaps(BTC, M5)


def test_gaps_follow_from_what_was_asked_and_what_the_other_markets_said(
    store: CandleStore,
) -> None:
    store.merge(BTC, M5, candles([0, 1, 3, 9, 10, 20]))
    assert _kinds(store) == [
        (2, 3, "not_collected"),
        (4, 9, "not_collected"),
        (11, 20, "not_collected"),
    ]
    store.merge(BTC, M5, candles([9, 10]), covered=(at(2), at(15)))
    assert _kinds(store) == [
        (2, 3, "no_trades"),
        (4, 9, "no_trades"),
        (11, 15, "no_trades"),
        (15, 20, "not_collected"),
    ]
    store.judge(BTC, M5, [Verdict(span(4, 9), GapKind.MAINTENANCE, 3)])
    assert _kinds(store)[1] == (4, 9, "maintenance")
    # A candle that turns up later shortens the gap; the verdict still touches both sides.
    store.merge(BTC, M5, candles([6]))
    assert _kinds(store)[1:3] == [(4, 6, "maintenance"), (7, 9, "maintenance")]


def test_quiet_time_up_to_what_was_asked_is_a_gap_after_the_last_candle(
    store: CandleStore,
) -> None:
    store.merge(BTC, M5, candles([0, 1]), covered=(at(0), at(4)))
    assert _kinds(store) == [(2, 4, "no_trades")]
    store.merge(BTC, M5, candles([3]), covered=(at(2), at(4)))
    assert _kinds(store) == [(2, 3, "no_trades")]


def test_the_hash_depends_on_the_candles_and_not_on_the_way_they_came(tmp_path: Path) -> None:
    one, two = CandleStore(tmp_path / "a", "w"), CandleStore(tmp_path / "b", "w")
    one.merge(BTC, D1, candles(range(70), D1))
    for start in (60, 30, 0, 10, 50):
        two.merge(BTC, D1, candles(range(start, min(start + 30, 70)), D1))
    assert one.content_hash(BTC, D1) == two.content_hash(BTC, D1)
    changed = candles([5], D1)
    changed["volume"] += 1e-9
    two.merge(BTC, D1, changed)
    assert one.content_hash(BTC, D1) != two.content_hash(BTC, D1)
    assert one.content_hash(BTC, D1, at(6, D1)) == two.content_hash(BTC, D1, at(6, D1))


def test_a_killed_writers_draft_is_ignored_and_removed(store: CandleStore) -> None:
    store.merge(BTC, M5, candles([0]))
    draft = store.folder(BTC, M5) / ".2026-03.parquet.1234.tmp"
    draft.write_bytes(b"half of a part")
    assert len(store.read(BTC, M5)) == 1
    store.merge(BTC, M5, candles([1]))
    assert not draft.exists()


_step = st.tuples(
    st.lists(st.integers(0, 2500), min_size=1, max_size=25, unique=True),
    st.integers(0, 3),
    st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(_step, min_size=1, max_size=6))
def test_any_sequence_of_merges_equals_a_dictionary(
    steps: list[tuple[list[int], int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    store = CandleStore(tmp_path_factory.mktemp("candles"), "w")
    interval = Interval.M60  # 2500 hours from 2 March reach into June: four parts
    known: dict[int, list[float]] = {}
    asked: list[Span] = []
    for slots, seed, covers in steps:
        frame = candles(sorted(slots), interval, seed)
        numbers = frame[list(NUMBER_COLUMNS)].to_numpy().tolist()
        times = open_times_us(frame).tolist()
        changed = [t for t, row in zip(times, numbers, strict=True) if known.get(t, row) != row]
        new = [t for t in times if t not in known]
        covered = (at(min(slots), interval), at(max(slots) + 1, interval)) if covers else None
        if covered:
            asked.append(Span(to_us(covered[0]), to_us(covered[1])))
        report = store.merge("KRW-BTC", interval, frame, covered=covered)
        known.update(zip(times, numbers, strict=True))
        assert report.added == len(new)
        assert [to_us(t) for t in report.corrected] == sorted(changed)
    frame = store.read("KRW-BTC", interval)
    assert dict(
        zip(
            open_times_us(frame).tolist(),
            frame[list(NUMBER_COLUMNS)].to_numpy().tolist(),
            strict=True,
        )
    ) == dict(sorted(known.items()))
    # The table kept up to date merge by merge equals one made from all candles at once.
    runs = missing_spans(open_times_us(frame), interval, max((s.end for s in asked), default=None))
    whole = sorted(
        [(s.start, s.end, "no_trades") for r in runs for s in inside(r, asked)]
        + [(s.start, s.end, "not_collected") for r in runs for s in outside(r, asked)]
    )
    gaps = store.record("KRW-BTC", interval).gaps
    assert [(g.span.start, g.span.end, g.kind.value) for g in gaps] == whole


def test_an_empty_answer_can_still_be_proof(store: CandleStore) -> None:
    store.merge(BTC, M5, candles([5]), covered=(at(5), at(6)))
    store.merge(BTC, M5, empty_candles(), covered=(at(2), at(5)), listed_from=at(5))
    record = store.record(BTC, M5)
    assert record.listed_from == to_us(at(5))
    assert record.covered == (span(2, 6),)
    content = json.loads((store.folder(BTC, M5) / "record.json").read_text())
    assert content["listed_from"] == "2026-03-02T00:25:00+00:00"


def test_a_table_with_the_real_column_types_is_made_from_plain_lists() -> None:
    frame = candle_frame([at(0)], open=[1], high=[1], low=[1], close=[1], volume=[0])
    assert str(frame["open_time"].dtype) == "datetime64[us, UTC]"
