"""The exchange's raw answers, checked value by value before anything believes them.

pyupbit passes on whatever arrives, so the rules of the documented answer (docs.upbit.com, candles
and market/all) are applied to the raw JSON: shapes, types, numbers, times, order. Every error names
the value and the rule. Not here: requests, retries, pyupbit.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from trading_assets.errors import ImpossibleCandle, MalformedAnswer
from trading_assets.exchange.model import Interval
from trading_assets.exchange.strict_json import parse_json, show

# The exchange's clock may be ahead of ours by so much before a candle counts as a future one.
CLOCK_TOLERANCE = timedelta(seconds=10)

_KST_AHEAD = timedelta(hours=9)
_MARKET = re.compile(r"[A-Z0-9]{1,15}-[A-Z0-9]{1,15}")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}")


@dataclass(frozen=True, slots=True)
class RawCandle:
    """One candle of an answer; open_time aware UTC, prices KRW, volume coins, value KRW."""

    open_time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float
    value: float


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What was asked: at most `count` candles that start before `to` (aware UTC), at `now`."""

    market: str
    interval: Interval
    to: datetime
    count: int
    now: datetime

    def __str__(self) -> str:
        return f"{self.market} {self.interval} candles before {self.to.isoformat()}"


def markets_of(body: bytes) -> tuple[str, ...]:
    """The market codes of a market/all answer. Raises MalformedAnswer."""
    found = parse_json(body, "market/all")
    if not isinstance(found, list) or not found:
        raise MalformedAnswer(f"market/all: must be a list with markets, was {show(found)}")
    codes = []
    for row in found:
        code = row.get("market") if isinstance(row, dict) else row
        if not isinstance(row, dict) or not isinstance(code, str) or not _MARKET.fullmatch(code):
            raise MalformedAnswer(f"market/all: market must be like KRW-BTC, was {show(code)}")
        codes.append(code)
    return tuple(codes)


def candles_of(body: bytes, asked: PageRequest) -> tuple[RawCandle, ...]:
    """The candles of an answer, newest first as sent.

    Raises MalformedAnswer for a wrong shape, type, market, unit or order, ImpossibleCandle for
    values that cannot be; both name the candle, the value and the rule.
    """
    rows = parse_json(body, str(asked))
    if not isinstance(rows, list):
        raise MalformedAnswer(f"{asked}: the answer must be a list, was {show(rows)}")
    if len(rows) > asked.count:
        raise MalformedAnswer(f"{asked}: at most {asked.count} rows were asked, got {len(rows)}")
    candles = tuple(_candle(row, number, asked) for number, row in enumerate(rows))
    _check_order(candles, asked)
    return candles


def _candle(row: Any, number: int, asked: PageRequest) -> RawCandle:
    if not isinstance(row, dict):
        raise MalformedAnswer(f"{asked}: row {number} must be an object, was {show(row)}")
    place = f"{asked}: row {number}"
    _equal(row, "market", asked.market, place)
    if asked.interval is not Interval.D1:
        _equal(row, "unit", asked.interval.minutes, place)
    open_time = _open_time(row, place, asked)
    where = f"{asked.market} {asked.interval} candle {open_time.isoformat()}"
    timestamp = _field(row, "timestamp", where)
    if isinstance(timestamp, bool) or not isinstance(timestamp, int) or timestamp <= 0:
        _malformed(where, "timestamp", timestamp, "must be whole milliseconds")
    candle = RawCandle(
        open_time=open_time,
        open=_price(row, "opening_price", where),
        high=_price(row, "high_price", where),
        low=_price(row, "low_price", where),
        close=_price(row, "trade_price", where),
        volume=_amount(row, "candle_acc_trade_volume", where),
        value=_amount(row, "candle_acc_trade_price", where),
    )
    _check_prices(candle, where)
    return candle


def _open_time(row: dict[str, Any], place: str, asked: PageRequest) -> datetime:
    utc = _time(row, "candle_date_time_utc", place)
    kst = _time(row, "candle_date_time_kst", place)
    if kst - utc != _KST_AHEAD:
        raise MalformedAnswer(
            f"{place}: candle_date_time_kst = {kst.isoformat()} must be 9 hours after "
            f"candle_date_time_utc = {utc.isoformat()}"
        )
    moment = utc.replace(tzinfo=UTC)
    since_midnight = timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)
    if since_midnight % asked.interval.duration:
        _impossible(place, "candle_date_time_utc", utc.isoformat(), "is off the candle grid")
    if moment >= asked.to:
        _impossible(place, "candle_date_time_utc", utc.isoformat(), "is not before the asked `to`")
    if moment > asked.now + CLOCK_TOLERANCE:
        _impossible(
            place, "candle_date_time_utc", utc.isoformat(), f"is after now, {asked.now.isoformat()}"
        )
    return moment


def _check_prices(candle: RawCandle, where: str) -> None:
    if candle.high < candle.low:
        _impossible(where, "high_price", candle.high, f"is below low_price = {candle.low}")
    for name, price in (("opening_price", candle.open), ("trade_price", candle.close)):
        if price > candle.high:
            _impossible(where, name, price, f"is above high_price = {candle.high}")
        if price < candle.low:
            _impossible(where, name, price, f"is below low_price = {candle.low}")


def _check_order(candles: Iterable[RawCandle], asked: PageRequest) -> None:
    before: datetime | None = None
    for candle in candles:
        if before is not None and candle.open_time >= before:
            kind = "appears twice" if candle.open_time == before else "is not newest first"
            raise MalformedAnswer(
                f"{asked}: candle_date_time_utc = {candle.open_time.isoformat()} {kind}"
            )
        before = candle.open_time


def _field(row: dict[str, Any], name: str, place: str) -> Any:
    if name not in row:
        raise MalformedAnswer(f"{place}: {name} is missing, there are {show(sorted(row))}")
    return row[name]


def _equal(row: dict[str, Any], name: str, wanted: str | int, place: str) -> None:
    found = _field(row, name, place)
    if type(found) is not type(wanted) or found != wanted:
        _malformed(place, name, found, f"must be {wanted!r}")


def _time(row: dict[str, Any], name: str, place: str) -> datetime:
    text = _field(row, name, place)
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        _malformed(place, name, text, "must be a time like 2026-01-02T03:04:05")
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        _malformed(place, name, text, "must be a time that exists")


def _number(row: dict[str, Any], name: str, where: str) -> float:
    found = _field(row, name, where)
    if isinstance(found, bool) or not isinstance(found, int | float):
        _malformed(where, name, found, "must be a JSON number")
    try:
        number = float(found)
    except OverflowError:
        _impossible(where, name, found, "must be finite")
    if not math.isfinite(number):
        _impossible(where, name, number, "must be finite")
    return number


def _price(row: dict[str, Any], name: str, where: str) -> float:
    number = _number(row, name, where)
    if not number > 0:
        _impossible(where, name, number, "must be above 0")
    return number


def _amount(row: dict[str, Any], name: str, where: str) -> float:
    number = _number(row, name, where)
    if number < 0:
        _impossible(where, name, number, "must not be negative")
    return number


def _malformed(place: str, name: str, value: object, rule: str) -> NoReturn:
    raise MalformedAnswer(f"{place}: {name} = {show(value)} {rule}")


def _impossible(place: str, name: str, value: object, rule: str) -> NoReturn:
    raise ImpossibleCandle(f"{place}: {name} = {show(value)} {rule}")
