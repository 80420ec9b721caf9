"""Recorded candles as a price source: one folder, one base interval, moved in time by whole weeks.

What the files are is `candles/recorded.py`. The move is fixed at the world's first start and kept
in a file, so that a restart plays on and rewrites nothing: `live_days` days or up to a week more
lie ahead then. Weeks, because hours of the day and days of the week carry patterns. Finer candles
than recorded are refused, never invented; the path inside the present candle is a bridge
(`inside.py`).
"""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from trading_assets.candles.recorded import COLUMNS, read_recording, recorded_times_us
from trading_assets.errors import CorruptStore, EnvironmentProblem, IntervalNotServed
from trading_assets.exchange.model import Interval
from trading_assets.paper_exchange.grid import IntArray
from trading_assets.paper_exchange.markets import (
    FOR_EVER_MS,
    Candles,
    Markets,
    from_ms,
    to_ms,
)

_WEEK_MS = 7 * 86_400_000
_TRADES_A_MINUTE = 12


class RecordingEnded(EnvironmentProblem):
    """The recording has been played to its end: there are no prices for now."""


@dataclass(frozen=True, slots=True)
class Move:
    """By how many weeks a recording is moved, and of which recording that was decided."""

    weeks: int
    recording: str
    interval: str
    recorded_end: str
    first_start: str


class RecordedMarkets(Markets):
    """A moved recording. Files are read when a market is first asked for."""

    def __init__(
        self, folder: Path, base: Interval, markets: Sequence[str], move: Move, world: str
    ) -> None:
        # One block for ever: files are read whole.
        super().__init__(
            markets, base, ("recorded", move.recording), first_ms=0, block_ms=FOR_EVER_MS
        )
        self.move = move
        self._folder = folder
        self._world = world
        self._loaded: dict[str, Candles] = {}
        recorded_end = datetime.fromisoformat(move.recorded_end)
        self.end = recorded_end + timedelta(weeks=move.weeks)

    def block(self, market: str, number: int) -> Candles:
        assert number == 0  # there is no other
        if market not in self._loaded:
            frame = read_recording(self._folder, market, self.base)
            self._loaded[market] = self._moved(market, frame)
        return self._loaded[market]

    def typical_trades(self, market: str) -> int:
        del market
        return _TRADES_A_MINUTE * self.base.minutes

    def check_now(self, now_ms: int) -> None:
        """Raises RecordingEnded at the end of the last recorded candle and after it."""
        if now_ms >= to_ms(self.end):
            raise RecordingEnded(
                f"the recording {self.move.recording} ended at {self.end:%Y-%m-%d %H:%M} UTC, "
                f"where it was moved to when the world {self._world} was first started; to play it "
                f"again from now, remove that world's folders (data/{self._world}, "
                f"mlruns/{self._world}) and start again"
            )

    def check_finer(self, interval: Interval) -> None:
        """Raises IntervalNotServed: prices inside a recorded candle are unknown."""
        raise IntervalNotServed(
            f"this recording has {self.base.minutes}-minute candles, "
            f"{interval.minutes}-minute ones cannot be made from them"
        )

    def _moved(self, market: str, frame: pd.DataFrame) -> Candles:
        open_ms = _open_ms(frame) + self.move.weeks * _WEEK_MS
        o, h, lo, c, volume = (frame[name].to_numpy(np.float64) for name in COLUMNS[1:])
        value = volume * (o + h + lo + c) / 4  # recordings carry none
        last = self._last_trade_ms(market, open_ms)
        # Upbit has no candle without a trade, a recorder may have written flat ones.
        return Candles(open_ms, o, h, lo, c, volume, value, last).where(volume > 0)


def _open_ms(frame: pd.DataFrame) -> IntArray:
    return recorded_times_us(frame) // 1000


def fixed_move(
    state: Path,
    folder: Path,
    interval: Interval,
    markets: Sequence[str],
    *,
    now: datetime,
    live_days: int,
) -> Move:
    """The world's move: decided at its first start, the same ever after.

    state: the file that keeps it. The smallest number of weeks with which the recording ends at
    least `live_days` days after `now`. Safe when several processes start at once: one decides.
    Raises EnvironmentProblem when the world belongs to another recording, CorruptStore when the
    file cannot be read.
    """
    end = _recorded_end(folder, interval, markets)
    decided = _read_move(state)
    if decided is None:
        wanted = now + timedelta(days=live_days) - end
        draft = Move(
            weeks=-(-wanted // timedelta(weeks=1)),
            recording=folder.name,
            interval=interval.value,
            recorded_end=end.isoformat(),
            first_start=now.isoformat(),
        )
        decided = _write_once(state, draft)
    if decided.recorded_end != end.isoformat() or decided.interval != interval.value:
        raise EnvironmentProblem(
            f"{state} was made for a recording that ends at {decided.recorded_end} "
            f"({decided.interval}), {folder} ends at {end.isoformat()} ({interval.value}): "
            "remove the world or put the recording back"
        )
    return decided


def _recorded_end(folder: Path, interval: Interval, markets: Sequence[str]) -> datetime:
    """The end of the last candle that all markets have."""
    last = min(int(_open_ms(read_recording(folder, m, interval))[-1]) for m in markets)
    return from_ms(last) + interval.duration


def _read_move(state: Path) -> Move | None:
    try:
        text = state.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return Move(**json.loads(text))
    except (ValueError, TypeError) as exc:
        raise CorruptStore(f"{state} does not say how the recording was moved: {exc}") from exc


def _write_once(state: Path, move: Move) -> Move:
    """Keep `move`, unless another process was faster: then its move."""
    state.parent.mkdir(parents=True, exist_ok=True)
    draft = state.with_name(f".{state.name}.{os.getpid()}")
    draft.write_text(json.dumps(asdict(move), indent=1) + "\n", encoding="utf-8")
    try:
        os.link(draft, state)  # whole or not at all, and never over another's
    except FileExistsError:
        faster = _read_move(state)
        assert faster is not None  # nobody removes it
        return faster
    finally:
        draft.unlink()
    return move
