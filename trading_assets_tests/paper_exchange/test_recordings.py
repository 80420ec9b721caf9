"""Recorded candles: moved by whole weeks once, aggregated, never refined, ended at the end."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from trading_assets.clock import SteppedClock
from trading_assets.errors import (
    CorruptStore,
    EnvironmentProblem,
    IntervalNotServed,
    SettingsError,
)
from trading_assets.exchange.model import Interval
from trading_assets.paper_exchange.markets import to_ms
from trading_assets.paper_exchange.recordings import RecordedMarkets, RecordingEnded, fixed_move
from trading_assets.paper_exchange.sources import markets_of
from trading_assets.settings import load_settings
from trading_assets.world import world_of
from trading_assets_tests.conftest import MakeExchange

# Monday to Monday: 14 days of hours, which end on 2025-03-17 00:00.
RECORDED_FROM = datetime(2025, 3, 3, tzinfo=UTC)
RECORDED_END = datetime(2025, 3, 17, tzinfo=UTC)
# A Wednesday. 7 days later is 2026-11-25 15:30; the first Monday 00:00 from there on is 11-30:
# the recording is moved by (2026-11-30 - 2025-03-17) = 623 days = 89 weeks.
NOW = datetime(2026, 11, 18, 15, 30, 20, tzinfo=UTC)
WEEKS = 89
END = datetime(2026, 11, 30, tzinfo=UTC)
MARKETS = ("KRW-BTC", "KRW-ETH")


def hours(start: datetime = RECORDED_FROM, n: int = 336, step: str = "60min") -> pd.DataFrame:
    """Candles whose close rises by 1,000 from 100,000,000; the 6th has no trade (is absent)."""
    close = 100_000_000.0 + 1_000.0 * np.arange(n)
    frame = pd.DataFrame(
        {
            "time": pd.date_range(start, periods=n, freq=step).as_unit("us"),
            "open": close - 1_000,
            "high": close + 3_000,
            "low": close - 4_000,
            "close": close,
            "volume": 2.0,
        }
    )
    return frame.drop(index=5)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    folder = tmp_path / "two-weeks"
    folder.mkdir()
    for market in MARKETS:
        hours().to_parquet(folder / f"{market}-60m.parquet")
    return folder


def settings_for(recording: Path, **more: Any) -> Any:
    return load_settings(
        {"recorded": recording, "profile": "swing", "markets": ",".join(MARKETS), **more}
    )


def opened(recording: Path, now: datetime = NOW, **more: Any) -> RecordedMarkets:
    settings = settings_for(recording, **more)
    markets = markets_of(settings, world_of(settings), now)
    assert isinstance(markets, RecordedMarkets)
    return markets


def test_the_move_is_the_fewest_whole_weeks_that_leave_the_live_days(recording: Path) -> None:
    markets = opened(recording)
    assert markets.move.weeks == WEEKS
    assert markets.end == END
    assert timedelta(days=7) <= markets.end - NOW < timedelta(days=14)


@pytest.mark.parametrize(
    ("now", "weeks"),
    [
        (datetime(2026, 11, 23, 0, 0, 0, tzinfo=UTC), 89),  # exactly 7 days remain
        (datetime(2026, 11, 23, 0, 0, 1, tzinfo=UTC), 90),  # a second less would remain
        (datetime(2025, 3, 10, tzinfo=UTC), 0),
        (datetime(2025, 3, 1, tzinfo=UTC), -1),  # a clock before the recording
    ],
)
def test_the_move_at_its_boundaries(recording: Path, now: datetime, weeks: int) -> None:
    assert opened(recording, now).move.weeks == weeks


def test_a_restart_does_not_move_it_again(recording: Path) -> None:
    first = opened(recording)
    later = opened(recording, NOW + timedelta(days=11))
    assert later.move == first.move


def test_recorded_candles_keep_their_hour_and_weekday(recording: Path) -> None:
    found = opened(recording).candles("KRW-BTC", Interval.M60, NOW - timedelta(days=30), END)
    recorded = hours()
    assert len(found) == 335
    assert (found["open_time"] - recorded["time"].reset_index(drop=True)).nunique() == 1
    assert found["open_time"].iloc[0] == pd.Timestamp("2026-11-16", tz="UTC")
    for name in ("open", "high", "low", "close", "volume"):
        assert found[name].tolist() == recorded[name].tolist()
    # (o + h + l + c) / 4 x volume of the first: (99,999,000 + 100,003,000 + 99,996,000 +
    # 100,000,000) / 4 = 99,999,500, x 2.
    assert found["value"].iloc[0] == 199_999_000.0


def test_coarser_candles_are_aggregated_around_a_gap(recording: Path) -> None:
    found = opened(recording).candles(
        "KRW-BTC", Interval.M240, datetime(2026, 11, 16, tzinfo=UTC), END
    )
    # Hours 4, 6 and 7 (5 is absent): open of hour 4, close of hour 7, three volumes of 2.
    second = found.iloc[1]
    assert second["open"] == 100_003_000.0
    assert second["high"] == 100_010_000.0
    assert second["low"] == 100_000_000.0
    assert second["close"] == 100_007_000.0
    assert second["volume"] == 6.0


def test_the_open_candle_is_the_part_of_the_hour_already_played(recording: Path) -> None:
    markets = opened(recording)
    now_ms = to_ms(NOW)  # 15:30:20 of the third day: hour 63
    newest = markets.page("KRW-BTC", Interval.M60, now_ms + 1, 1, now_ms)
    assert newest.frame()["open_time"][0] == pd.Timestamp("2026-11-18 15:00", tz="UTC")
    assert newest.open[0] == 100_062_000.0
    assert newest.high[0] <= 100_066_000.0
    assert newest.low[0] >= 100_059_000.0
    assert 0 < newest.volume[0] < 2.0
    end_ms = to_ms(datetime(2026, 11, 18, 16, tzinfo=UTC))
    whole = markets.page("KRW-BTC", Interval.M60, end_ms, 1, end_ms)
    assert (whole.high[0], whole.low[0]) == (100_066_000.0, 100_059_000.0)
    assert (whole.close[0], whole.volume[0]) == (100_063_000.0, 2.0)


def test_finer_candles_are_refused_by_name(recording: Path, make_exchange: MakeExchange) -> None:
    markets = opened(recording)
    with pytest.raises(IntervalNotServed, match="60-minute candles, 5-minute ones"):
        markets.candles("KRW-BTC", Interval.M5, NOW - timedelta(days=1), NOW)
    exchange = make_exchange(markets=markets, clock=SteppedClock(NOW))
    answer = httpx.get(exchange.url + "/v1/candles/minutes/5?market=KRW-BTC", timeout=30)
    assert answer.status_code == 404
    assert answer.json()["error"]["name"] == 404
    assert "60-minute candles" in answer.json()["error"]["message"]


def test_past_its_end_the_exchange_says_so(recording: Path, make_exchange: MakeExchange) -> None:
    markets = opened(recording)
    clock = SteppedClock(END - timedelta(seconds=1))
    exchange = make_exchange(markets=markets, clock=clock)
    path = exchange.url + "/v1/candles/minutes/60?market=KRW-BTC"
    assert httpx.get(path, timeout=30).status_code == 200
    clock.advance(timedelta(seconds=1))
    ended = httpx.get(path, timeout=30)
    assert ended.status_code == 503
    assert "the recording two-weeks ended at 2026-11-30 00:00 UTC" in ended.text
    assert "recorded-two-weeks-60m" in ended.text  # which world to remove
    with pytest.raises(RecordingEnded):
        markets.check_now(to_ms(END))


def test_ticker_book_and_trades_work_on_a_recording(
    recording: Path, make_exchange: MakeExchange
) -> None:
    exchange = make_exchange(markets=opened(recording), clock=SteppedClock(NOW))
    with httpx.Client(base_url=exchange.url, timeout=30) as client:
        ticker = client.get("/v1/ticker", params={"markets": "KRW-BTC"}).json()[0]
        trade = client.get("/v1/trades/ticks", params={"market": "KRW-BTC"}).json()[0]
        book = client.get("/v1/orderbook", params={"markets": "KRW-BTC"}).json()[0]
    assert ticker["trade_price"] == trade["trade_price"]
    # Hour 47 is the last one of the day before: 100,000,000 + 47,000.
    assert ticker["prev_closing_price"] == 100_047_000
    best = book["orderbook_units"][0]
    assert best["bid_price"] <= ticker["trade_price"] <= best["ask_price"]


def test_flat_candles_without_volume_are_not_candles(recording: Path) -> None:
    frame = hours()
    frame.loc[9, "volume"] = 0.0
    frame.to_parquet(recording / "KRW-BTC-60m.parquet")
    found = opened(recording).candles("KRW-BTC", Interval.M60, NOW - timedelta(days=30), END)
    assert len(found) == 334


def _broken(frame: pd.DataFrame, problem: str) -> pd.DataFrame:
    if problem == "no column volume":
        return frame.drop(columns="volume")
    if problem == "time must be UTC":
        return frame.assign(time=frame["time"].dt.tz_localize(None))
    if problem == "times must rise":
        return frame.iloc[::-1]
    if problem == "multiple of 60m":
        return frame.assign(time=frame["time"] + pd.Timedelta(minutes=1))
    if problem == "has no candles":
        return frame.iloc[:0]
    return frame.assign(high=frame["low"] - 1)


@pytest.mark.parametrize(
    "problem",
    [
        "no column volume",
        "time must be UTC",
        "times must rise",
        "multiple of 60m",
        "has no candles",
        "impossible candle at 2025-03-03",
    ],
)
def test_a_file_that_is_no_recording_is_refused(recording: Path, problem: str) -> None:
    _broken(hours(), problem).to_parquet(recording / "KRW-ETH-60m.parquet")
    with pytest.raises(CorruptStore, match=rf"KRW-ETH-60m\.parquet.*{problem}"):
        opened(recording)


def test_a_missing_market_is_named(recording: Path) -> None:
    with pytest.raises(SettingsError, match=r"KRW-XRP-60m\.parquet"):
        opened(recording, markets="KRW-BTC,KRW-XRP")


def test_a_profile_finer_than_the_recording_is_refused_at_start(recording: Path) -> None:
    with pytest.raises(SettingsError, match="set PROFILE=swing"):
        settings_for(recording, profile="scalp")


def test_a_world_keeps_to_its_recording(recording: Path) -> None:
    opened(recording)
    for market in MARKETS:
        hours(n=340).to_parquet(recording / f"{market}-60m.parquet")
    with pytest.raises(EnvironmentProblem, match="remove the world or put the recording back"):
        opened(recording)


def test_an_unreadable_state_is_named_not_replaced(recording: Path) -> None:
    settings = settings_for(recording)
    opened(recording)
    state = world_of(settings).exchange / "recording.json"
    assert json.loads(state.read_text())["weeks"] == WEEKS
    state.write_text("{")
    with pytest.raises(CorruptStore, match=r"recording\.json"):
        opened(recording)
    assert state.read_text() == "{"


def test_of_two_first_starts_one_decides(recording: Path, tmp_path: Path) -> None:
    state = tmp_path / "world" / "recording.json"
    first = fixed_move(state, recording, Interval.M60, MARKETS, now=NOW, live_days=7)
    much_later = NOW + timedelta(days=100)
    second = fixed_move(state, recording, Interval.M60, MARKETS, now=much_later, live_days=7)
    assert second == first
    assert [path.name for path in state.parent.iterdir()] == ["recording.json"]


@pytest.mark.real_data
@pytest.mark.parametrize(("minutes", "profile"), [(60, "swing"), (1, "scalp")])
def test_real_candles_play_on_from_now(shared_data: Path, minutes: int, profile: str) -> None:
    settings = load_settings(
        {
            "recorded": shared_data / "candles",
            "recorded_interval_minutes": minutes,
            "profile": profile,
        }
    )
    markets = markets_of(settings, world_of(settings), NOW)
    interval = Interval.of_minutes(minutes)
    now_ms = to_ms(NOW)
    for market in settings.markets:
        page = markets.page(market, interval, now_ms + 1, 200, now_ms)
        assert len(page) == 200
        # Real markets trade in nearly every minute: the newest candle is at most 10 min old.
        assert now_ms - page.open_ms[-1] < max(minutes, 10) * 60_000
        name = f"{market}-{minutes}m.parquet"
        recorded = pd.read_parquet(shared_data / "candles" / name).set_index("time")["close"]
        assert isinstance(markets, RecordedMarkets)
        moved = page.frame()["open_time"] - timedelta(weeks=markets.move.weeks)
        # All but the open candle are the recorded ones.
        assert page.close[:-1].tolist() == recorded.loc[moved[:-1]].tolist()
