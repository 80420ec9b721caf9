"""Upbit's request limits as the exchange enforces them: fixed windows per address or pocket.

More than the limit in one window is 429. Repeated 429s are a block (418), longer each time. The
documents give neither the number of 429s nor the lengths: ours are chosen here and named.
"""

from collections.abc import Mapping
from dataclasses import dataclass

REQUESTS_PER_SECOND = 10
# A request with an Origin header: one in ten seconds (docs.upbit.com, rate limits).
ORIGIN_GROUP = "origin"
ORIGIN_WINDOW_SECONDS = 10
# Group: (requests, in so many seconds); every other group has REQUESTS_PER_SECOND. Source:
# docs.upbit.com, rate limits, orders since 2026-08-21.
GROUPS: Mapping[str, tuple[int, int]] = {
    ORIGIN_GROUP: (1, ORIGIN_WINDOW_SECONDS),
    "default": (30, 1),
    "order": (12, 1),
    "order-test": (8, 1),
    "order-cancel-all": (1, 2),
    "websocket-connect": (5, 1),
    "websocket-message": (5, 1),
    "websocket-message-minute": (100, 60),
}
# What the private groups are counted for: one account, one pocket.
POCKET = "pocket"

REFUSALS_BEFORE_BLOCK = 10
REFUSALS_WITHIN_MS = 10_000
FIRST_BLOCK_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Allowance:
    """The answer to one request: HTTP status 200, 429 or 418, and what is left of the window."""

    status: int
    remaining: int
    blocked_seconds: int = 0


@dataclass(slots=True)
class _Window:
    number: int = -1
    used: int = 0


class RequestLimits:
    """Counts requests. Times in ms since the Unix epoch.

    An address here is whoever is counted: the caller's, or POCKET for the private groups.
    """

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str], _Window] = {}
        self._refusals: dict[str, list[int]] = {}
        self._blocks: dict[str, tuple[int, int]] = {}  # address: (blocked until, times so far)

    def take(self, address: str, group: str, now_ms: int) -> Allowance:
        """Count one request of `address` in `group`."""
        until_ms, _ = self._blocks.get(address, (0, 0))
        if now_ms < until_ms:
            return Allowance(418, 0, -(-(until_ms - now_ms) // 1000))
        limit, seconds = GROUPS.get(group, (REQUESTS_PER_SECOND, 1))
        window = self._windows.setdefault((address, group), _Window())
        number = now_ms // (seconds * 1000)
        if window.number != number:
            window.number, window.used = number, 0
        if window.used >= limit:
            return self._refuse(address, now_ms)
        window.used += 1
        return Allowance(200, limit - window.used)

    def _refuse(self, address: str, now_ms: int) -> Allowance:
        refusals = [
            t for t in self._refusals.get(address, []) if t > now_ms - REFUSALS_WITHIN_MS
        ] + [now_ms]
        self._refusals[address] = refusals
        if len(refusals) < REFUSALS_BEFORE_BLOCK:
            return Allowance(429, 0)
        _, times = self._blocks.get(address, (0, 0))
        seconds = FIRST_BLOCK_SECONDS * 2**times
        self._blocks[address] = (now_ms + seconds * 1000, times + 1)
        self._refusals[address] = []
        return Allowance(418, 0, seconds)
