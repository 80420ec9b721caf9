"""Shadow results: every judged version goes on being scored, on candles that it cannot know."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from trading_assets.clock import SteppedClock
from trading_assets.errors import CorruptStore, WrongWorld
from trading_assets.models.challengers import Judgement
from trading_assets.models.dataset import Dataset
from trading_assets.models.evaluation import row_losses
from trading_assets.models.retrain import Workshop, judge_challenger, make_challenger
from trading_assets.models.shadow import (
    ShadowRows,
    ShadowStore,
    keep_scoring,
    meaning_of,
    nothing,
    refused_beside,
    said_at_each_candle,
    score,
)
from trading_assets_tests.models.gate_world import (
    NOW,
    REFERENCE,
    ROUNDS,
    dataset,
    run_in_child,
    small_profile,
    workshop,
)

MARKET, SWING = "KRW-BTC", "swing"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A version promoted at NOW and one refused a day later."""
    shop = workshop(tmp_path_factory.mktemp("shadow"))

    def work() -> None:
        for day, strength in enumerate((0.2, 4.0)):
            today = replace(shop, clock=SteppedClock(NOW + day * DAY))
            make_challenger(
                today, dataset(strength=strength), small_profile(), REFERENCE, max_rounds=ROUNDS
            )
            judge_challenger(today, MARKET, small_profile())

    assert run_in_child(work) == 0
    return shop


def judged(shop: Workshop) -> list[Judgement]:
    store = shop.challengers()
    return [store.judgement(c) for c in store.all(MARKET, SWING)]


def meaning(shop: Workshop) -> str:
    return meaning_of(judged(shop)[0].challenger.record["label"])


def at(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.replace(tzinfo=None), "us")


def live(hours: int, rows: int = 60 * 24) -> Dataset:
    """The data set `hours` later: its last row opens 13 hours before NOW + hours, on the hour."""
    data = dataset(strength=0.2)
    shift = np.timedelta64(hours, "h")
    later = replace(data, open_time=data.open_time + shift, end_time=data.end_time + shift)
    return later.take(np.arange(len(data) - rows, len(data)))


def opened(rows: ShadowRows, version: str) -> list[np.datetime64]:
    return list(rows.open_time[rows.version == version])


def test_a_version_is_scored_on_candles_that_opened_after_it_was_made(days: Workshop) -> None:
    # NOW is 03:04:05; 48 hours later the newest matured row opens at 14:00 of the next day.
    rows = score(judged(days), live(48), None, meaning(days))
    first, second = (j.challenger.version for j in judged(days))
    hour = at(NOW.replace(minute=0, second=0))
    expected = [hour + np.timedelta64(h, "h") for h in range(1, 36)]
    assert opened(rows, first) == expected  # 04:00 to 14:00 of the next day: 35 candles
    assert opened(rows, second) == expected[24:]  # made a day later
    assert list(np.unique(rows.promoted[rows.version == first])) == [True]
    assert list(np.unique(rows.promoted[rows.version == second])) == [False]


def test_what_is_kept_is_the_served_models_own_prediction(days: Workshop) -> None:
    data = live(48)
    rows = score(judged(days), data, None, meaning(days))
    served = judged(days)[0].challenger.trained().served
    mine = rows.take(rows.version == judged(days)[0].challenger.version)
    x = data.x[np.isin(data.open_time, mine.open_time)]
    np.testing.assert_array_equal(mine.p, served.probabilities(x))
    np.testing.assert_array_equal(mine.ev_long, served.ev_long(mine.p))
    np.testing.assert_array_equal(mine.y, data.y[np.isin(data.open_time, mine.open_time)])
    shares = np.array(served.metadata["label_shares"])
    np.testing.assert_allclose(mine.loss_prior, row_losses(shares, mine.y))


def test_scoring_goes_on_where_it_stopped_and_changes_nothing_that_was_said(
    days: Workshop,
) -> None:
    early = score(judged(days), live(40), None, meaning(days))
    grown = score(judged(days), live(48), early, meaning(days))
    again = score(judged(days), live(48), grown, meaning(days))
    assert len(grown) > len(early)
    assert len(again) == len(grown)
    np.testing.assert_array_equal(grown.take(np.arange(len(early))).p, early.p)
    whole = score(judged(days), live(48), None, meaning(days))
    assert set(zip(grown.version, grown.open_time, strict=True)) == set(
        zip(whole.version, whole.open_time, strict=True)
    )


def test_rows_outlive_their_version_and_go_after_sixty_days(days: Workshop) -> None:
    rows = score(judged(days), live(48), None, meaning(days))
    first = judged(days)[0].challenger.version
    kept = score(judged(days)[1:], live(72), rows, meaning(days))  # the first left the disk
    assert opened(kept, first) == opened(rows, first)
    much_later = score(judged(days)[1:], live(48 + 60 * 24, rows=24), kept, meaning(days))
    oldest = much_later.open_time.min()
    assert much_later.open_time.max() - oldest <= np.timedelta64(60, "D")
    assert len(opened(much_later, first)) < len(opened(rows, first))


def test_another_label_begins_anew(days: Workshop) -> None:
    rows = score(judged(days), live(48), None, meaning(days))
    assert len(score(judged(days), live(48), rows, "another trade")) == 0
    assert len(score(judged(days), live(48), replace(rows, meaning="another"), meaning(days))) == (
        len(rows)
    )


def test_a_version_that_reads_other_columns_is_not_scored(days: Workshop) -> None:
    other = replace(live(48), columns=("a", "b", "c", "d"))
    assert len(score(judged(days), other, None, meaning(days))) == 0


def test_a_version_that_has_learnt_the_candle_is_refused(days: Workshop) -> None:
    (first, _) = judged(days)
    early = {**first.challenger.record, "made_at": (NOW - 30 * DAY).isoformat()}
    cheating = replace(first, challenger=replace(first.challenger, record=early))
    with pytest.raises(ValueError, match="has learnt from labels until"):
        score([cheating], live(0), None, meaning(days))


def test_scoring_reads_and_writes_the_worlds_own_stores(days: Workshop) -> None:
    rows = keep_scoring(days, live(48), small_profile())
    assert len(rows) == len(score(judged(days), live(48), None, meaning(days)))
    kept = ShadowStore(days.world.shadow, days.world.name).load(MARKET, SWING)
    assert kept is not None
    np.testing.assert_array_equal(kept.p, rows.p)
    assert len(keep_scoring(days, live(72), small_profile())) > len(rows)


# --- who said what ----------------------------------------------------------------------------


def said(*rows: tuple[str, bool, int, int]) -> ShadowRows:
    """Rows of (version, promoted, hour it was decided, hour its candle opened)."""
    blank = nothing(dataset(), "test")
    n = len(rows)
    start = np.datetime64("2026-01-01", "us")
    return replace(
        blank,
        version=np.array([r[0] for r in rows]),
        promoted=np.array([r[1] for r in rows]),
        decided_at=start + np.array([r[2] for r in rows]) * np.timedelta64(1, "h"),
        open_time=start + np.array([r[3] for r in rows]) * np.timedelta64(1, "h"),
        y=np.zeros(n, np.int8),
        p=np.tile([0.5, 0.25, 0.25], (n, 1)),
        ev_long=np.zeros(n),
        ev_short=np.zeros(n),
        loss_prior=np.zeros(n),
    )


def test_the_newest_version_decided_by_the_close_speaks() -> None:
    rows = said(("a", True, 0, 1), ("a", True, 0, 2), ("a", True, 0, 3), ("b", True, 3, 2))
    # The candle of hour 2 closes at 3, when b was decided; the candle of hour 1 has closed at 2.
    spoken = said_at_each_candle(rows, rows.promoted)
    assert list(spoken.version) == ["a", "b", "a"]
    late = said(("a", True, 0, 1), ("b", True, 3, 1))
    assert list(said_at_each_candle(late, late.promoted).version) == ["a"]
    none = said_at_each_candle(rows, ~rows.promoted)
    assert len(none) == 0


def test_a_refused_version_is_compared_while_it_is_newer_than_what_serves() -> None:
    rows = said(
        ("a", True, 0, 1),
        ("a", True, 0, 2),
        ("r", False, 2, 1),
        ("r", False, 2, 2),
        ("a", True, 0, 3),
        ("c", True, 3, 3),
        ("r", False, 2, 3),
    )
    served, refused = refused_beside(rows)
    assert list(served.version) == ["a", "a"]
    assert list(refused.version) == ["r", "r"]
    assert list(served.open_time) == list(refused.open_time)
    assert len(served) == 2  # at hour 3 the newer c serves


# --- the file ---------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_saved(days: Workshop, tmp_path: Path) -> None:
    store = ShadowStore(tmp_path / "shadow", "sandbox-test")
    assert store.load(MARKET, SWING) is None
    rows = score(judged(days), live(48), None, meaning(days))
    store.save(rows)
    loaded = store.load(MARKET, SWING)
    assert loaded is not None
    assert (loaded.market, loaded.interval, loaded.meaning) == (MARKET, HOUR, meaning(days))
    for name in ("version", "promoted", "decided_at", "open_time", "y", "p", "ev_long"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(rows, name))
    store.save(nothing(dataset(), "none yet"))
    empty = store.load(MARKET, SWING)
    assert empty is not None
    assert len(empty) == 0
    assert empty.p.shape == (0, 3)


def test_a_file_of_another_world_or_of_something_else_is_refused(tmp_path: Path) -> None:
    store = ShadowStore(tmp_path / "a", "sandbox-a")
    path = store.save(nothing(dataset(), "test"))
    with pytest.raises(WrongWorld):
        ShadowStore(tmp_path / "a", "sandbox-b")
    there = tmp_path / "b" / path.name
    ShadowStore(tmp_path / "b", "sandbox-b")
    there.write_bytes(path.read_bytes())
    with pytest.raises(WrongWorld, match="belongs to the world sandbox-a"):
        ShadowStore(tmp_path / "b", "sandbox-b").load(MARKET, SWING)
    pq.write_table(pq.read_table(path).drop(["y"]), path)
    with pytest.raises(CorruptStore, match="does not hold shadow results"):
        store.load(MARKET, SWING)
    path.write_text("torn")
    with pytest.raises(CorruptStore, match="cannot be read"):
        store.load(MARKET, SWING)
