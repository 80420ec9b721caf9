"""One request limiter per Upbit group, shared by every process of the machine.

Upbit counts per address, not per process, so the grants of the last seconds lie in a small file
behind a file lock; a killed process frees the lock at once, and one that was stopped with it in
hand holds nobody up for long. The exchange's own words (sec=0, 429, 418) are kept there too, so
that all processes stop together. Not here: sending, and retries.
"""

import json
import math
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from filelock import FileLock, Timeout

from trading_assets.clock import Clock
from trading_assets.errors import IpBlocked

# A grant is not yet an arrival: 2 % of slack keeps the jitter of sending out of the next window.
_SLACK = 1.02
# Catching up after a late request is allowed, but never faster than this share of even spacing.
_CLOSEST = 0.7
# Longer pauses than this are not ours: the clock was set back.
_LONGEST_PAUSE_SECONDS = 10.0
# The lock is held for less than a millisecond. After so long its holder was stopped, and an exit
# must not wait for it: one request in two seconds is slower than every limit by itself.
_LOCK_TIMEOUT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _State:
    """Seconds since the Unix epoch. granted: the newest last. blocked_at: when a 418 told it."""

    granted: tuple[float, ...] = ()
    paused_until: float = 0.0
    blocked_at: float = 0.0
    blocked_until: float = 0.0
    blocked_reason: str = ""


class RateLimiter:
    """At most `per_second` requests of `group` in any second, over all processes using `folder`.

    Reaches 98 % of the rate as long as somebody asks, spaced by at least 0.7 of an even step.
    """

    def __init__(
        self,
        folder: Path,
        group: str,
        per_second: Decimal,
        clock: Clock,
        *,
        lock_timeout: float = _LOCK_TIMEOUT_SECONDS,
    ) -> None:
        """lock_timeout: seconds of waiting for another process's turn."""
        if not per_second > 0:
            raise ValueError(f"per_second must be above 0, was {per_second}")
        self.folder = folder
        self.group = group
        self.per_second = per_second
        self._clock = clock
        self._path = folder / f"{group}.json"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / f"{group}.lock", lock_timeout, poll_interval=0.005)
        rate = float(per_second)
        whole = max(1, math.floor(rate))
        # (n, seconds): at most n grants in so many seconds; the second pair binds 8.5 to 9.
        self._windows = ((whole, whole / rate * _SLACK), (math.ceil(rate), 1.0 * _SLACK))
        self._spacing = _CLOSEST / rate

    def for_group(self, group: str) -> "RateLimiter":
        """The limiter of another group of the same exchange, with the same rate."""
        return RateLimiter(self.folder, group, self.per_second, self._clock)

    def acquire(self) -> None:
        """Return when a request may be sent. Raises IpBlocked while a 418 block lasts."""
        while True:
            wait = self._try()
            if wait <= 0:
                return
            # The clock counts whole microseconds: without one more, a rest of 1e-7 s never passes.
            self._clock.sleep(wait + 1e-6)

    def pause(self, seconds: float) -> None:
        """No request of this group, by any process, for so long (429, or nothing left: sec=0)."""
        with self._held():
            state = self._read()
            until = max(self._now() + seconds, state.paused_until)
            self._write(replace(state, paused_until=until))

    def pause_until_next_second(self) -> None:
        """Wait for the exchange's next window; its fixed windows are whole seconds."""
        now = self._now()
        self.pause(math.floor(now) + 1 - now)

    def block(self, seconds: float, reason: str) -> None:
        """Remember for every process that the exchange blocks this address (418).

        The longest of several is kept: another answer may not say how long it lasts.
        """
        with self._held():
            state, now = self._read(), self._now()
            until = now + seconds
            if until > state.blocked_until:
                self._write(
                    replace(state, blocked_at=now, blocked_until=until, blocked_reason=reason)
                )

    def _try(self) -> float:
        """Take a slot and return 0, or the seconds until one may be free."""
        with self._held():
            state, now = self._read(), self._now()
            if state.blocked_until > now:
                until = datetime.fromtimestamp(state.blocked_until, UTC).isoformat(
                    timespec="seconds"
                )
                raise IpBlocked(
                    f"the exchange blocks this address until about {until} "
                    f"(418: {state.blocked_reason}); nothing is sent before that"
                )
            granted = tuple(t for t in state.granted if t <= now)
            wait = max(self._free_at(granted), _believable(state.paused_until, now)) - now
            if wait <= 0:
                keep = (*granted, now)[-max(n for n, _ in self._windows) :]
                self._write(replace(state, granted=keep))
            return wait

    def _free_at(self, granted: tuple[float, ...]) -> float:
        """The earliest time for the next grant after those of `granted`."""
        times = [granted[-n] + seconds for n, seconds in self._windows if len(granted) >= n]
        if granted:
            times.append(granted[-1] + self._spacing)
        return max(times, default=0.0)

    def _now(self) -> float:
        return self._clock.now().timestamp()

    def _held(self) -> "_Held":
        return _Held(self._lock)

    def _read(self) -> _State:
        stored = self._stored()
        state = _as_of(stored, self._now())
        if state != stored:
            self._write(state)
        return state

    def _stored(self) -> _State:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return _state(found)
        except FileNotFoundError:
            return _State()
        except (ValueError, TypeError, KeyError):
            # Not written by us as a whole. What was granted is unknown: start with one full second.
            fresh = _State(paused_until=self._now() + 1.0)
            self._write(fresh)
            return fresh

    def _write(self, state: _State) -> None:
        writer = f"{os.getpid()}-{threading.get_ident()}"
        draft = self._path.with_name(f".{self._path.name}.{writer}.tmp")
        draft.write_text(json.dumps(asdict(state)), encoding="utf-8")
        draft.replace(self._path)


class _Held:
    """The lock while one state is read and written. It is had in turn, or else done without.

    Without it a grant of another process may be forgotten; the file itself is swapped whole.
    """

    def __init__(self, lock: FileLock) -> None:
        self._lock = lock
        self._is_ours = False

    def __enter__(self) -> None:
        with suppress(Timeout):
            self._lock.acquire()
            self._is_ours = True

    def __exit__(self, *_: object) -> None:
        if self._is_ours:
            self._lock.release()


def _state(found: Mapping[str, object]) -> _State:
    granted = found["granted"]
    if not isinstance(granted, list):
        raise TypeError(f"granted must be a list, was {granted!r}")
    return _State(
        granted=tuple(sorted(_seconds(t) for t in granted)),
        paused_until=_seconds(found["paused_until"]),
        blocked_at=_seconds(found.get("blocked_at", 0.0)),
        blocked_until=_seconds(found["blocked_until"]),
        blocked_reason=str(found["blocked_reason"]),
    )


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a time must be a number, was {value!r}")
    return float(value)


def _as_of(state: _State, now: float) -> _State:
    """`state` with a block that was told in the future counted from now, as long as it was told.

    The clock was set back since: by the old one the block would last for all those hours more, and
    no exit could be sent.
    """
    if state.blocked_at <= now:
        return state
    left = max(state.blocked_until - state.blocked_at, 0.0)
    return replace(state, blocked_at=now, blocked_until=now + left)


def _believable(paused_until: float, now: float) -> float:
    return paused_until if paused_until - now <= _LONGEST_PAUSE_SECONDS else now
