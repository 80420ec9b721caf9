"""What an answer that is no success means: HTTP status and error name to our error tree.

Upbit's names are those of docs.upbit.com (errors), branched on together with the status. A body
that is not Upbit's JSON is never taken for a definite refusal. Not here: what to do about it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trading_assets.errors import (
    BadRequest,
    CredentialsRefused,
    DuplicatedIdentifier,
    ExchangeMaintenance,
    ExchangeTimeout,
    ExchangeUnavailable,
    InsufficientFunds,
    IpBlocked,
    MalformedAnswer,
    MarketNotFound,
    OrderNotFound,
    OrderOutcomeUnknown,
    OrderRejected,
    RateLimited,
    TradingAssetsError,
    UnderMinimum,
)
from trading_assets.exchange.answers import exact_json

_DEFAULT_BLOCK_SECONDS = 60.0
_LONGEST_BLOCK_SECONDS = 86_400.0
_SHOWN = 200
_REMAINING = re.compile(r"\bsec=(\d+)")
_BLOCK_TIMES = (
    (re.compile(r"(\d{1,6})\s*(?:s\b|sec|초)"), 1.0),
    (re.compile(r"(\d{1,6})\s*(?:m\b|min|분)"), 60.0),
)

_BY_NAME: Mapping[str, type[OrderRejected]] = {
    "insufficient_funds_bid": InsufficientFunds,
    "insufficient_funds_ask": InsufficientFunds,
    "under_min_total_bid": UnderMinimum,
    "under_min_total_ask": UnderMinimum,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. headers: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def nothing_left(self) -> bool:
        """Whether the exchange says that this second's requests are used up (sec=0, 429)."""
        left = _REMAINING.search(self.headers.get("remaining-req", ""))
        return self.status == 429 or (left is not None and int(left.group(1)) == 0)

    @property
    def block_seconds(self) -> float:
        """How long a 418 says that it lasts; the format is not documented, so guess carefully."""
        header = self.headers.get("retry-after", "")
        if header.isascii() and header.isdigit():
            return min(float(header), _LONGEST_BLOCK_SECONDS)
        text = self.body[:1000].decode("utf-8", errors="replace")
        for pattern, seconds in _BLOCK_TIMES:
            if found := pattern.search(text):
                return min(float(found.group(1)) * seconds, _LONGEST_BLOCK_SECONDS)
        return _DEFAULT_BLOCK_SECONDS

    @property
    def words(self) -> str:
        """What the answer says, short, for a person."""
        error = error_of(self)
        if error is not None:
            return f"{self.status} {error[0]}: {error[1]}"[:_SHOWN]
        return f"{self.status} {self.body[:80].decode('utf-8', errors='replace')!r}"


class NoAnswer(Exception):
    """A request that got no whole answer. sent: whether the exchange may have received it."""

    def __init__(self, reason: str, *, sent: bool, timed_out: bool) -> None:
        super().__init__(reason)
        self.sent = sent
        self.timed_out = timed_out


def error_of(answer: Answer) -> tuple[str, str] | None:
    """Name and message of Upbit's error body; None when the body is something else.

    Quotation errors carry a number as their name; it is told as text.
    """
    try:
        found = exact_json(answer.body, "error")
    except MalformedAnswer:
        return None
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict):
        return None
    name = error.get("name")
    if isinstance(name, bool) or not isinstance(name, str | int) or name == "":
        return None
    return str(name), str(error.get("message", ""))


def refusal(answer: Answer, about: str) -> TradingAssetsError:
    """The error that an unsuccessful `answer` to a read or a cancel stands for."""
    said = f"{about}: the exchange answered {answer.words}"
    if answer.status == 418:
        return IpBlocked(said)
    if answer.status == 429:
        return RateLimited(said)
    if answer.status >= 500 or answer.status == 408:
        return ExchangeUnavailable(said)
    if answer.status < 400:
        return MalformedAnswer(f"{said}, which is never followed")
    error = error_of(answer)
    return BadRequest(said) if error is None else _named(answer.status, *error, said)


def order_refusal(answer: Answer, about: str) -> TradingAssetsError:
    """The error that an unsuccessful `answer` to a new order stands for.

    Only a 4xx with one of Upbit's own names says that there is no order. A reused nonce says that
    this very request has arrived before, so it is no refusal either.
    """
    error = error_of(answer)
    definite = error is not None and answer.status in (400, 401, 403, 404, 422)
    if error is None or not definite or error[0] == "nonce_used":
        cause = refusal(answer, about)
        unknown = OrderOutcomeUnknown(f"{cause}; the order may or may not exist")
        unknown.__cause__ = cause
        return unknown
    name, _ = error
    said = f"{about}: the exchange answered {answer.words}"
    if name == "duplicated_identifier":
        return DuplicatedIdentifier(f"{said}; look it up, the earlier order may be live")
    named = _named(answer.status, *error, said)
    if isinstance(named, OrderRejected | ExchangeMaintenance | CredentialsRefused):
        return named
    # Whatever else a name says, of an order it is a refusal: the caller books it as such.
    return OrderRejected(said, name)


def no_answer(reason: NoAnswer, about: str) -> ExchangeUnavailable:
    """The error for a read or a cancel without an answer, or for anything that was never sent."""
    kind = ExchangeTimeout if reason.timed_out else ExchangeUnavailable
    return kind(f"{about}: {reason}")


def _named(status: int, name: str, message: str, said: str) -> TradingAssetsError:
    if name == "market_offline":
        return ExchangeMaintenance(said)
    if status == 401 or name == "out_of_scope":
        return CredentialsRefused(said, name)
    if name == "order_not_found":
        return OrderNotFound(said)
    if status == 404 and message == "Code not found":
        return MarketNotFound(said)
    if name.isdigit():
        return BadRequest(said)
    return _BY_NAME.get(name, OrderRejected)(said, name)
