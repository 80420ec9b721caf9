"""Faults on order: what a test or a person tells the paper exchange to do wrong.

A fault of requests happens to the next ones of its path; a fault of prices and streams lasts a
while by the exchange's clock. Nothing happens unless somebody asks for it.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from trading_assets.paper_exchange.exact import cut


class FaultKind(StrEnum):
    # Any request.
    ERROR_AFTER = "error_after"  # does the work, then answers 500
    ERROR_BEFORE = "error_before"  # answers 500 without the work
    HANG = "hang"  # does the work, answers after `seconds` of the machine's time
    RESET = "reset"  # does the work, then resets the connection without an answer
    LOST = "lost"  # resets the connection without the work
    TRUNCATE = "truncate"  # announces the whole body, sends half of it, without the work
    TOO_MANY = "too_many"  # 429
    BLOCKED = "blocked"  # 418, for `seconds`, 60 at most
    MAINTENANCE = "maintenance"  # 403 market_offline
    REFUSE = "refuse"  # `status` with the error `name`
    BODY = "body"  # 200 with `body` in place of the answer
    # The order that the request makes.
    LATE = "late"  # reads show it only after `seconds`
    PARTIAL = "partial"  # at once it fills `share` at most; its rest waits `seconds`
    # Prices and streams.
    STALE = "stale"  # quotation and streams stand still for `seconds`; orders meet the real book
    SILENT = "silent"  # streams stay connected and say nothing for `seconds`
    DROP = "drop"  # stream connections are cut, and refused for `seconds`


OF_ORDERS = frozenset({FaultKind.LATE, FaultKind.PARTIAL})
LASTING = frozenset({FaultKind.STALE, FaultKind.SILENT, FaultKind.DROP})
ALWAYS = "always"
# What `path` is unless it is said.
_ORDERS = "/v1/orders$"
_STREAMS = "/websocket/v1"
_METHODS = ("", "GET", "POST", "DELETE")
_LONGEST_SECONDS = 1_000_000_000  # some 30 years, whose ms still fit a file
_BODY_BEGINS = re.compile(r",\s*body=")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: for the next `times` requests whose path starts with `path`, None for ever.

    path: with a `$` behind it, exactly that path. method: POST, GET, ...; empty for any. seconds:
    of HANG by the machine's time, of BLOCKED what it says, else by the exchange's clock.
    share: of PARTIAL. body: what BODY answers. status, name: of REFUSE. A lasting fault has no
    `times`.
    """

    kind: FaultKind
    path: str = ""
    times: int | None = 1
    seconds: float = 3600.0
    body: bytes = b""
    share: Decimal = Decimal("0.5")
    status: int = 401
    name: str = "expired_access_key"
    method: str = ""

    def __post_init__(self) -> None:
        if not self.path:
            default = "/v1/"
            if self.kind in OF_ORDERS:
                default = _ORDERS
            elif self.kind in LASTING:
                default = "/v1/" if self.kind is FaultKind.STALE else _STREAMS
            object.__setattr__(self, "path", default)
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, was {self.times}")
        if not 0 <= self.seconds <= _LONGEST_SECONDS:
            raise ValueError(f"seconds must be from 0 to {_LONGEST_SECONDS}, was {self.seconds:g}")
        if not 0 <= self.share < 1:
            raise ValueError(f"share must be from 0 to below 1, was {self.share}")
        if self.share != cut(self.share):
            raise ValueError(f"share must have at most 8 decimals, was {self.share}")
        if not 400 <= self.status <= 599:
            raise ValueError(f"status must be from 400 to 599, was {self.status}")
        if not self.path.startswith("/"):
            raise ValueError(f"path must begin with /, was {self.path!r}")
        if self.method not in _METHODS:
            raise ValueError(f"method must be GET, POST or DELETE, was {self.method!r}")

    def concerns(self, path: str, method: str) -> bool:
        """Whether it may happen to such a request or stream."""
        if self.kind in OF_ORDERS and method != "POST":
            return False
        if self.method not in ("", method):
            return False
        if self.path.endswith("$"):
            return path == self.path[:-1]
        return path.startswith(self.path)


def parse_fault(text: str) -> Fault:
    """A fault as a person writes it: `late,seconds=5,times=always`, `maintenance,path=/v1/orders`.

    `body=` comes last: what follows it is the body, commas and all.
    Raises ValueError that says what is wrong.
    """
    before, *body = _BODY_BEGINS.split(text, maxsplit=1)
    kind, *pairs = [part.strip() for part in before.split(",")]
    values = {"body": body[0]} if body else {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found or name not in _READERS:
            raise ValueError(f"a fault's part must be name=value of {_NAMES}, was {pair!r}")
        values[name] = value
    return _fault(kind, values)


def fault_of(values: Mapping[str, Any]) -> Fault:
    """A fault from a JSON object with the names of Fault. Raises ValueError, TypeError."""
    if "kind" not in values:
        raise ValueError(f"kind is missing: a fault must be one of {', '.join(FaultKind)}")
    rest = {name: _as_text(name, value) for name, value in values.items() if name != "kind"}
    return _fault(values["kind"], rest)


def _fault(kind: Any, values: Mapping[str, str]) -> Fault:
    if kind not in list(FaultKind):
        raise ValueError(f"a fault must be one of {', '.join(FaultKind)}, was {kind!r}")
    read: dict[str, Any] = {name: _READERS[name](name, value) for name, value in values.items()}
    return Fault(FaultKind(kind), **read)


def _as_text(name: str, value: Any) -> str:
    if name not in _READERS:
        raise ValueError(f"a fault's part must be one of {_NAMES}, was {name!r}")
    if name == "times" and value is None:
        return ALWAYS
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise TypeError(f"{name} must be text or a number, was {value!r}")
    return str(value)


def _whole(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{name} must be a whole number, was {text!r}")
    if len(text) > 9:
        raise ValueError(f"{name} must be below 1000000000, was {text[:40]}")
    return int(text)


def _times(name: str, text: str) -> int | None:
    return None if text == ALWAYS else _whole(name, text)


def _seconds(name: str, text: str) -> float:
    return float(_decimal(name, text))


def _decimal(name: str, text: str) -> Decimal:
    try:
        found = Decimal(text)
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite():
        raise ValueError(f"{name} must be a number, was {text!r}")
    return found


def _text(name: str, text: str) -> str:
    del name
    return text


def _bytes(name: str, text: str) -> bytes:
    del name
    return text.encode()


_READERS = {
    "path": _text,
    "times": _times,
    "seconds": _seconds,
    "body": _bytes,
    "share": _decimal,
    "status": _whole,
    "name": _text,
    "method": _text,
}
_NAMES = ", ".join(f.name for f in fields(Fault) if f.name != "kind")


@dataclass(slots=True)
class _Waiting:
    fault: Fault
    left: int | None = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.fault.times


class Faults:
    """The faults still to come, oldest first. Safe across threads: tests add from outside."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._lasting: list[tuple[Fault, int | None]] = []  # with its begin, None until first seen

    def add(self, fault: Fault) -> None:
        with self._lock:
            if fault.kind in LASTING:
                self._lasting.append((fault, None))
            else:
                self._waiting.append(_Waiting(fault))

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()
            self._lasting.clear()

    def names(self) -> list[str]:
        """The kinds of all faults that are still to come or still last."""
        with self._lock:
            lasting = [fault.kind.value for fault, _ in self._lasting]
            return [w.fault.kind.value for w in self._waiting] + lasting

    def take(self, path: str, method: str = "GET") -> Fault | None:
        """The fault for a request to `path`, counted off, or None."""
        with self._lock:
            for waiting in self._waiting:
                if not waiting.fault.concerns(path, method):
                    continue
                if waiting.left is not None:
                    waiting.left -= 1
                    if waiting.left == 0:
                        self._waiting.remove(waiting)
                return waiting.fault
        return None

    def since(self, kind: FaultKind, path: str, now_ms: int) -> int | None:
        """When the lasting fault of `kind` began, in ms, or None when there is none now.

        It begins when it is first looked for and is over `seconds` later.
        """
        with self._lock:
            found = None
            kept: list[tuple[Fault, int | None]] = []
            for fault, began_ms in self._lasting:
                begin = began_ms
                if fault.kind is kind and fault.concerns(path, ""):
                    begin = now_ms if began_ms is None else began_ms
                    if now_ms > begin + fault.seconds * 1000:
                        continue
                    found = begin if found is None else min(found, begin)
                kept.append((fault, begin))
            self._lasting = kept
            return found
