"""What a stream's client may say, read and checked: tickets, types, codes, formats.

Source: docs.upbit.com (websocket-guide, list-subscriptions). A wrong message raises `WrongMessage`
with Upbit's error body; the connection stays open (inferred).
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from trading_assets.paper_exchange.quotation import number

PUBLIC_TYPES = ("ticker", "trade", "orderbook")
PRIVATE_TYPES = ("myOrder", "myAsset")
_DEPTHS = ("1", "5", "15", "30")
_FORMATS = ("DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST")

Json = dict[str, Any]


class WrongMessage(Exception):
    """A message that the exchange answers with an error of this name."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.body: Json = {"error": {"name": name, "message": message}}


@dataclass(frozen=True, slots=True)
class Subscription:
    """codes: as they were asked for, `KRW-BTC.5` for five levels; empty means all (myOrder)."""

    kind: str
    codes: tuple[str, ...] = ()
    level: Decimal = Decimal(0)
    wants_snapshot: bool = True
    wants_realtime: bool = True

    def listed(self) -> Json:
        """As LIST_SUBSCRIPTIONS tells it."""
        row: Json = {"type": self.kind}
        if self.codes:
            row["codes"] = list(self.codes)
        if self.kind == "orderbook":
            row["level"] = number(float(self.level))
        return row


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """format: None when the message names none. subscriptions: None for LIST_SUBSCRIPTIONS."""

    ticket: str
    format: str | None
    subscriptions: tuple[Subscription, ...] | None


def stream_request(text: str, *, private: bool, markets: Collection[str] | None) -> StreamRequest:
    """The request in a message. markets: those that exist, None for any. Raises WrongMessage."""
    parts = _parts(text)
    ticket = next((part["ticket"] for part in parts if "ticket" in part), None)
    if not isinstance(ticket, str) or not ticket:
        raise WrongMessage("NO_TICKET", "티켓이 존재하지 않습니다.")
    formats = [part["format"] for part in parts if "format" in part]
    if formats and formats[-1] not in _FORMATS:
        raise WrongMessage("INVALID_PARAM", f"지원하지 않는 포맷입니다: {formats[-1]}")
    wire_format = formats[-1] if formats else None
    rest = [part for part in parts if not part.keys() & {"ticket", "format"}]
    if any("method" in part for part in rest):
        if [part.get("method") for part in rest] != ["LIST_SUBSCRIPTIONS"]:
            raise WrongMessage("INVALID_PARAM", "지원하지 않는 method입니다.")
        return StreamRequest(ticket, wire_format, None)
    if not rest:
        raise WrongMessage("NO_TYPE", "타입이 존재하지 않습니다.")
    allowed = PRIVATE_TYPES if private else PUBLIC_TYPES
    return StreamRequest(
        ticket, wire_format, tuple(_subscription(part, allowed, markets) for part in rest)
    )


def _parts(text: str) -> list[Json]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(part, dict) for part in found):
        raise WrongMessage("WRONG_FORMAT", "Format이 맞지 않습니다.")
    return found


def _subscription(
    part: Json, allowed: Collection[str], markets: Collection[str] | None
) -> Subscription:
    kind = part.get("type")
    if not isinstance(kind, str) or not kind:
        raise WrongMessage("NO_TYPE", "타입이 존재하지 않습니다.")
    if kind not in allowed:
        raise WrongMessage("INVALID_PARAM", f"지원하지 않는 타입입니다: {kind}")
    codes = part.get("codes")
    if codes is not None and not _is_texts(codes):
        raise WrongMessage("WRONG_FORMAT", "codes는 문자열의 배열이어야 합니다.")
    if kind == "myAsset" and codes is not None:
        raise WrongMessage("WRONG_FORMAT", "myAsset은 codes를 지원하지 않습니다.")
    if kind in PUBLIC_TYPES and not codes:
        raise WrongMessage("NO_CODES", "코드가 존재하지 않습니다.")
    for code in codes or ():
        _check_code(kind, code, markets)
    return Subscription(
        kind=kind,
        codes=tuple(codes or ()),
        level=_level(part.get("level")),
        wants_snapshot=not _truth(part.get("is_only_realtime")),
        wants_realtime=not _truth(part.get("is_only_snapshot")),
    )


def _check_code(kind: str, code: str, markets: Collection[str] | None) -> None:
    market, dot, depth = code.partition(".")
    if (markets is not None and market not in markets) or market != market.upper():
        raise WrongMessage("INVALID_PARAM", f"지원하지 않는 코드입니다: {code}")
    if dot and (kind != "orderbook" or depth not in _DEPTHS):
        raise WrongMessage("INVALID_PARAM", f"지원하지 않는 호가 개수입니다: {code}")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _level(value: Any) -> Decimal:
    wrong = WrongMessage("INVALID_PARAM", "level이 올바르지 않습니다.")
    if value is None:
        return Decimal(0)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong
    try:
        found = Decimal(str(value))
    except ArithmeticError:
        raise wrong from None
    if not found.is_finite() or found < 0:
        raise wrong
    return found


def _truth(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")
