"""Faults on order: what a test tells the paper exchange to do wrong with coming requests.

Only what can go wrong with any request; faults of orders belong to the private half. Nothing
happens unless a test (or a person) asks for it.
"""

import threading
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    ERROR_AFTER = "error_after"  # does the work, then answers 500
    HANG = "hang"  # does the work, answers after `seconds`
    RESET = "reset"  # does the work, then resets the connection without an answer
    TRUNCATE = "truncate"  # announces the whole body, sends half of it
    TOO_MANY = "too_many"  # 429
    BLOCKED = "blocked"  # 418
    MAINTENANCE = "maintenance"  # 403 market_offline
    BODY = "body"  # 200 with `body` in place of the answer


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: for the next `times` requests whose path starts with `path`.

    seconds: how long HANG waits. body: what BODY answers.
    """

    kind: FaultKind
    path: str = "/v1/"
    times: int = 1
    seconds: float = 3600.0
    body: bytes = b""

    def __post_init__(self) -> None:
        if self.times < 1:
            raise ValueError(f"times must be at least 1, was {self.times}")


class Faults:
    """The faults still to come, oldest first. Safe across threads: tests add from outside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._waiting.append((fault, fault.times))

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def take(self, path: str) -> Fault | None:
        """The fault for a request to `path`, counted off, or None."""
        with self._lock:
            for i, (fault, left) in enumerate(self._waiting):
                if path.startswith(fault.path):
                    self._waiting[i : i + 1] = [(fault, left - 1)] if left > 1 else []
                    return fault
        return None
