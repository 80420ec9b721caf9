"""Collection: complete, resumable, corrected, closed candles only, gaps with their reasons."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trading_assets.candles.checks import check_store
from trading_assets.candles.collection import Progress, collect, top_up
from trading_assets.candles.frame import to_us
from trading_assets.candles.gaps import GapKind, Span
from trading_assets.candles.maintenance import verdict
from trading_assets.candles.series import regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.clock import SteppedClock
from trading_assets.errors import ExchangeUnavailable, MalformedAnswer, MarketNotFound, RateLimited
from trading_assets.exchange.candle_pages import CandlePages
from trading_assets.exchange.model import Interval
from trading_assets.exchange.rate_limit import RateLimiter
from trading_assets.paper_exchange.faults import Fault, FaultKind
from trading_assets_tests.candles.fake_exchange import FakeExchange
from trading_assets_tests.candles.tables import EPOCH, at, candles, minutes, span
from trading_assets_tests.conftest import MakeExchange

M5 = Interval.M5
BTC, ETH, XRP = "KRW-BTC", "KRW-ETH", "KRW-XRP"


def _clock(slot: int, seconds: float = 6.0) -> SteppedClock:
    """A clock that stands shortly after the candle before `slot` has closed."""
    return SteppedClock(at(slot) + timedelta(seconds=seconds))


def _store(tmp_path: Path) -> CandleStore:
    return CandleStore(tmp_path / "candles", "test")


def _kinds(store: CandleStore, market: str = BTC) -> list[tuple[int, int, str]]:
    gaps = store.record(market, M5).gaps
    first, step = to_us(EPOCH), 300_000_000
    return [
        ((g.span.start - first) // step, (g.span.end - first) // step, g.kind.value) for g in gaps
    ]


def test_the_first_collection_takes_everything_back_to_the_listing(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(1000)}), _store(tmp_path)
    seen: list[Progress] = []
    report = collect(
        BTC,
        M5,
        pages=exchange,
        store=store,
        clock=_clock(1000),
        history=None,
        on_progress=seen.append,
    )
    pd.testing.assert_frame_equal(store.read(BTC, M5), exchange.all_candles(BTC))
    # Five pages of 200, then two empty ones: one hiccup must not pass for the listing.
    assert report.pages == 7
    assert (report.added, report.corrected, report.rows) == (1000, (), 1000)
    assert (report.first, report.last, report.closing_candle) == (at(0), at(999), True)
    assert store.record(BTC, M5).listed_from == to_us(at(0))
    assert [p.rows for p in seen] == [200, 400, 600, 800, 1000]
    assert [p.pages_expected for p in seen] == [None] * 5
    assert seen[-1].oldest == at(0)


def test_a_limited_history_takes_its_pages_and_no_more(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(1000)}), _store(tmp_path)
    seen: list[Progress] = []
    report = collect(
        BTC,
        M5,
        pages=exchange,
        store=store,
        clock=_clock(1000),
        history=500 * M5.duration,
        on_progress=seen.append,
    )
    # 200 + 200 + 100 candles.
    assert [count for _, _, count in exchange.asked] == [200, 200, 100]
    assert report.first == at(500)
    assert {p.pages_expected for p in seen} == {3}


def test_the_open_candle_is_never_stored(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(12)}), _store(tmp_path)
    # 4 minutes 59 seconds into candle 10: it is open, and the exchange serves it and a later one.
    report = collect(BTC, M5, pages=exchange, store=store, clock=_clock(10, 299), history=None)
    assert report.last == at(9)
    top_up(BTC, M5, pages=exchange, store=store, clock=_clock(11, 0))
    assert store.last_open_time(BTC, M5) == at(10)


def test_the_next_run_asks_only_for_what_is_new_and_reads_the_last_five_again(
    tmp_path: Path,
) -> None:
    exchange, store = FakeExchange({BTC: range(400)}), _store(tmp_path)
    collect(BTC, M5, pages=exchange, store=store, clock=_clock(300), history=None)
    exchange.asked.clear()
    exchange.seed = 1  # the exchange has corrected everything; only the last five are read again
    report = collect(BTC, M5, pages=exchange, store=store, clock=_clock(303), history=None)
    assert [count for _, _, count in exchange.asked] == [8]
    assert report.added == 3
    assert report.corrected == tuple(at(i) for i in range(295, 300))
    changed = candles(range(295, 303), M5, seed=1)["close"].tolist()
    assert store.read(BTC, M5, at(295))["close"].tolist() == changed
    assert store.read(BTC, M5, None, at(295))["close"].tolist() == (
        candles(range(295), M5, seed=0)["close"].tolist()
    )


def test_a_longer_history_adds_the_older_part_only(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(1000)}), _store(tmp_path)
    clock = _clock(1000)
    collect(BTC, M5, pages=exchange, store=store, clock=clock, history=100 * M5.duration)
    exchange.asked.clear()
    collect(BTC, M5, pages=exchange, store=store, clock=clock, history=400 * M5.duration)
    assert [(to, count) for _, to, count in exchange.asked] == [
        (at(1000), 5),
        (at(900), 200),
        (at(700), 100),
    ]
    assert _kinds(store) == []


class _Killed(BaseException):
    """Stands for a kill: nothing may catch it."""


@settings(max_examples=12, deadline=None)
@given(
    missing=st.sets(st.integers(0, 2600), max_size=200),
    kills=st.lists(st.integers(0, 15), max_size=4),
    history=st.sampled_from([None, 2300]),
)
def test_whatever_is_killed_and_resumed_equals_one_run(
    missing: set[int],
    kills: list[int],
    history: int | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    have = sorted(set(range(2601)) - missing - {2600} | {0})
    exchange = FakeExchange({BTC: have})
    limit = None if history is None else history * M5.duration
    folder = tmp_path_factory.mktemp("kills")
    whole, broken = CandleStore(folder / "a", "t"), CandleStore(folder / "b", "t")

    def run(store: CandleStore, slot: int) -> None:
        collect(BTC, M5, pages=exchange, store=store, clock=_clock(slot), history=limit)

    for number, pages in enumerate(kills):

        def die(asked: int, stop: int = len(exchange.asked) + pages) -> None:
            if asked >= stop:
                raise _Killed

        exchange.before_page = die
        # Time goes on between the attempts, so each leaves a newer part to collect.
        with pytest.raises(_Killed) if pages == 0 else _maybe_killed():
            run(broken, 2560 + 7 * number)
    exchange.before_page = None
    run(broken, 2600)
    run(whole, 2600)
    start = None if history is None else at(2600 - history)
    assert broken.content_hash(BTC, M5, start) == whole.content_hash(BTC, M5, start)
    wanted = exchange.all_candles(BTC)
    if start is not None:
        wanted = wanted[wanted["open_time"] >= pd.Timestamp(start)].reset_index(drop=True)
    pd.testing.assert_frame_equal(broken.read(BTC, M5, start), wanted)
    assert "not_collected" not in {kind for _, _, kind in _kinds(broken)}


class _maybe_killed:  # noqa: N801  # reads as a statement in `with`
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is _Killed


def test_a_market_that_is_no_longer_listed_is_named_and_its_candles_stay(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(50), ETH: range(50)}), _store(tmp_path)
    collect(BTC, M5, pages=exchange, store=store, clock=_clock(50), history=None)
    del exchange.slots[BTC]
    with pytest.raises(MarketNotFound, match="does not list KRW-BTC"):
        collect(BTC, M5, pages=exchange, store=store, clock=_clock(60), history=None)
    assert len(store.read(BTC, M5)) == 50


def test_a_market_listed_later_than_the_history_is_complete(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(900, 1000)}), _store(tmp_path)
    clock = _clock(1000)
    report = collect(BTC, M5, pages=exchange, store=store, clock=clock, history=minutes(5 * 600))
    assert (report.first, report.rows) == (at(900), 100)
    assert _kinds(store) == []
    exchange.asked.clear()
    collect(BTC, M5, pages=exchange, store=store, clock=clock, history=minutes(5 * 600))
    assert len(exchange.asked) == 1  # the listing is known, only the newest are read again


def test_a_listed_market_without_any_candle_is_an_error(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: []}), _store(tmp_path)
    with pytest.raises(MalformedAnswer, match="lists the market and has no candle before 2026-03"):
        collect(BTC, M5, pages=exchange, store=store, clock=_clock(9), history=None)
    with pytest.raises(MalformedAnswer, match="has no candle before"):
        top_up(BTC, M5, pages=exchange, store=store, clock=_clock(9))
    assert store.read(BTC, M5).empty


def test_an_exchange_that_forgets_its_history_changes_nothing(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(300)}), _store(tmp_path)
    collect(BTC, M5, pages=exchange, store=store, clock=_clock(300), history=None)
    before = store.content_hash(BTC, M5)
    exchange.slots[BTC] = []
    with pytest.raises(MalformedAnswer, match="the store has them from 2026-03-02T00:00:00"):
        collect(BTC, M5, pages=exchange, store=store, clock=_clock(310), history=None)
    assert store.content_hash(BTC, M5) == before


def test_pages_before_a_failure_are_kept_in_tens(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(5000)}), _store(tmp_path)

    def fail(asked: int) -> None:
        if asked == 15:
            raise ExchangeUnavailable("gone")

    exchange.before_page = fail
    with pytest.raises(ExchangeUnavailable, match="gone"):
        collect(BTC, M5, pages=exchange, store=store, clock=_clock(5000), history=None)
    # Ten pages of 200 were merged, five waited.
    assert len(store.read(BTC, M5)) == 2000
    assert store.record(BTC, M5).covered == (span(3000, 5000),)


# --- gaps ---------------------------------------------------------------------------------------


def _except(end: int, *ranges: Iterable[int]) -> list[int]:
    gone = {i for r in ranges for i in r}
    return [i for i in range(end) if i not in gone]


def test_quiet_minutes_of_one_market_are_no_trades(tmp_path: Path) -> None:
    slots: dict[str, Iterable[int]] = {BTC: _except(100, [7], range(20, 40)), ETH: range(100)}
    store = _store(tmp_path)
    for market in slots:
        collect(
            market,
            M5,
            pages=FakeExchange(slots),
            store=store,
            clock=_clock(100),
            history=None,
            siblings=tuple(slots),
        )
    assert _kinds(store) == [(7, 8, "no_trades"), (20, 40, "no_trades")]


def test_when_all_markets_are_quiet_for_fifteen_minutes_the_exchange_was_closed(
    tmp_path: Path,
) -> None:
    # 10-12: two slots (10 minutes) by chance; 30-33: 15 minutes; 59-63 with a quiet slot before.
    slots: dict[str, Iterable[int]] = {
        BTC: _except(100, range(10, 12), range(30, 33), range(59, 64)),
        ETH: _except(100, range(10, 12), range(30, 33), range(60, 64)),
    }
    exchange, store = FakeExchange(slots), _store(tmp_path)
    collect(
        BTC, M5, pages=exchange, store=store, clock=_clock(100), history=None, siblings=(BTC, ETH)
    )
    expected = [(10, 12, "no_trades"), (30, 33, "maintenance"), (59, 64, "maintenance")]
    assert _kinds(store) == expected
    # ETH had nothing stored: it was asked by page, one for each long gap.
    assert [(to, n) for m, to, n in exchange.asked if m == ETH] == [(at(64), 6), (at(33), 4)]
    exchange.asked.clear()
    collect(
        BTC, M5, pages=exchange, store=store, clock=_clock(100), history=None, siblings=(BTC, ETH)
    )
    assert [m for m, _, _ in exchange.asked] == [BTC]  # judged once
    assert _kinds(store) == expected


def test_a_store_that_covers_the_gap_answers_without_a_request(tmp_path: Path) -> None:
    slots: dict[str, Iterable[int]] = {
        ETH: _except(100, range(30, 40)),
        BTC: _except(100, range(30, 40)),
    }
    exchange, store = FakeExchange(slots), _store(tmp_path)
    collect(ETH, M5, pages=exchange, store=store, clock=_clock(100), history=None)
    exchange.asked.clear()
    collect(
        BTC, M5, pages=exchange, store=store, clock=_clock(100), history=None, siblings=(BTC, ETH)
    )
    assert {m for m, _, _ in exchange.asked} == {BTC}
    assert _kinds(store) == [(30, 40, "maintenance")]


def test_without_other_markets_an_hour_breaks_and_less_is_quiet(tmp_path: Path) -> None:
    slots: dict[str, Iterable[int]] = {
        BTC: _except(100, range(20, 31), range(50, 62)),
        ETH: range(100),
    }
    exchange, store = FakeExchange(slots), _store(tmp_path)
    clock = _clock(100)
    collect(BTC, M5, pages=exchange, store=store, clock=clock, history=None)
    assert _kinds(store) == [(20, 31, "no_trades"), (50, 62, "maintenance")]
    # Once somebody can be asked, the guess gives way.
    collect(BTC, M5, pages=exchange, store=store, clock=clock, history=None, siblings=(ETH,))
    assert _kinds(store) == [(20, 31, "no_trades"), (50, 62, "no_trades")]


def test_a_market_that_was_not_listed_yet_or_is_unknown_is_no_witness(tmp_path: Path) -> None:
    slots: dict[str, Iterable[int]] = {
        BTC: _except(100, range(20, 24)),
        ETH: range(50, 100),
        XRP: range(100),
    }
    exchange, store = FakeExchange(slots), _store(tmp_path)
    siblings = ("KRW-GONE", ETH, XRP)
    # At most two pages are spent on a gap: the unknown and the unlisted one, so nobody testified.
    collect(
        BTC, M5, pages=exchange, store=store, clock=_clock(100), history=None, siblings=siblings
    )
    assert store.record(BTC, M5).verdicts[0].markets == 0
    collect(BTC, M5, pages=exchange, store=store, clock=_clock(100), history=None, siblings=(XRP,))
    assert store.record(BTC, M5).verdicts[0].markets == 1
    assert _kinds(store) == [(20, 24, "no_trades")]


def test_a_closure_that_is_still_going_on_grows_with_each_run(tmp_path: Path) -> None:
    slots: dict[str, Iterable[int]] = {BTC: list(range(50)), ETH: list(range(50))}
    exchange, store = FakeExchange(slots), _store(tmp_path)

    def run(slot: int) -> list[tuple[int, int, str]]:
        collect(
            BTC, M5, pages=exchange, store=store, clock=_clock(slot), history=None, siblings=(ETH,)
        )
        return _kinds(store)

    assert run(52) == [(50, 52, "no_trades")]
    assert run(53) == [(50, 53, "maintenance")]
    assert run(70) == [(50, 70, "maintenance")]
    for market in slots:
        slots[market] = [*range(50), *range(75, 80)]
    assert run(80) == [(50, 75, "maintenance")]
    assert len(store.record(BTC, M5).verdicts) == 1


def test_the_longest_shared_silence_decides() -> None:
    gap = Span(0, 10 * 300_000_000)
    one = np.array([2, 3]) * 300_000_000  # silent: 0-1 and 4-9
    two = np.array([6]) * 300_000_000  # together silent: 0-1, 4-5, 7-9 (three slots: 15 minutes)
    assert verdict(gap, M5, [one, two]).kind is GapKind.MAINTENANCE
    three = np.array([8]) * 300_000_000
    assert verdict(gap, M5, [one, two, three]).kind is GapKind.NO_TRADES


# --- top-up -------------------------------------------------------------------------------------


def test_a_top_up_is_one_request_for_the_last_candles(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(100)}), _store(tmp_path)
    collect(BTC, M5, pages=exchange, store=store, clock=_clock(90), history=None)
    exchange.asked.clear()
    clock = _clock(91)
    report = top_up(BTC, M5, pages=exchange, store=store, clock=clock)
    # The new one (slot 90) and the five before it.
    assert exchange.asked == [(BTC, at(91), 6)]
    assert (report.added, report.closing_candle) == (1, True)
    assert clock.now() == at(91) + timedelta(seconds=6)


def test_a_top_up_waits_for_the_closing_candle_and_takes_it_when_it_comes(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: list(range(90))}), _store(tmp_path)
    collect(BTC, M5, pages=exchange, store=store, clock=_clock(90), history=None)
    exchange.asked.clear()
    clock = _clock(91)

    def appear(asked: int) -> None:
        if asked == 3:
            exchange.slots[BTC] = range(91)

    exchange.before_page = appear
    report = top_up(BTC, M5, pages=exchange, store=store, clock=clock)
    assert report.closing_candle
    assert clock.now() == at(91) + timedelta(seconds=9)  # asked after 6, 7, 8 and 9 seconds


def test_a_top_up_gives_up_at_its_deadline_and_the_candle_counts_as_no_trades(
    tmp_path: Path,
) -> None:
    exchange, store = FakeExchange({BTC: range(90)}), _store(tmp_path)
    collect(BTC, M5, pages=exchange, store=store, clock=_clock(90), history=None)
    clock = _clock(91)
    report = top_up(BTC, M5, pages=exchange, store=store, clock=clock, wait=timedelta(seconds=20))
    assert not report.closing_candle
    assert clock.now() == at(91) + timedelta(seconds=20)
    assert _kinds(store) == [(90, 91, "no_trades")]
    # It came late after all: the next top-up reads it.
    exchange.slots[BTC] = range(92)
    top_up(BTC, M5, pages=exchange, store=store, clock=_clock(92))
    assert _kinds(store) == []


def test_a_hole_longer_than_a_page_is_left_for_the_collection(tmp_path: Path) -> None:
    exchange, store = FakeExchange({BTC: range(1000)}), _store(tmp_path)
    collect(BTC, M5, pages=exchange, store=store, clock=_clock(500), history=None)
    top_up(BTC, M5, pages=exchange, store=store, clock=_clock(1000))
    assert _kinds(store) == [(500, 800, "not_collected")]
    collect(BTC, M5, pages=exchange, store=store, clock=_clock(1000), history=None)
    assert _kinds(store) == []
    assert len(store.read(BTC, M5)) == 1000


# --- over a real socket -------------------------------------------------------------------------


def test_a_collection_from_the_paper_exchange_survives_its_faults(
    make_exchange: MakeExchange, tmp_path: Path
) -> None:
    clock, store = SteppedClock(datetime(2026, 6, 1, 12, 0, 6, tzinfo=UTC)), _store(tmp_path)
    exchange = make_exchange(clock=clock)
    candle_path = "/v1/candles/minutes/5"
    for kind in (FaultKind.ERROR_AFTER, FaultKind.RESET, FaultKind.TRUNCATE, FaultKind.TOO_MANY):
        exchange.faults.add(Fault(kind, candle_path))
    limiter = RateLimiter(tmp_path / "limits", "candle", Decimal(10), clock)
    pages = CandlePages(exchange.url, limiter, clock, 5.0)
    with pytest.raises(RateLimited):  # four failures in a row are one too many
        collect(BTC, M5, pages=pages, store=store, clock=clock, history=timedelta(days=2))
    report = collect(BTC, M5, pages=pages, store=store, clock=clock, history=timedelta(days=2))
    assert report.closing_candle
    gaps = store.gaps(BTC, M5)
    assert GapKind.NOT_COLLECTED.value not in set(gaps["kind"])
    series = regular_series(store.read(BTC, M5), gaps, M5)
    assert len(series) == 2 * 288
    outcomes = check_store(store.read(BTC, M5), gaps, series, clock.now())
    assert [o.name for o in outcomes if not o.passed] == []
    again = top_up(BTC, M5, pages=pages, store=store, clock=clock)
    assert again.pages == 1
    assert again.corrected == ()
