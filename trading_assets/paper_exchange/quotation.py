"""The answers of Upbit's quotation endpoints, as Python values in Upbit's key order and types.

Shapes after docs.upbit.com (samples in `trading_assets_tests`): numbers are JSON numbers, a
`tick_size` is a string, candle times carry no zone. A wrong parameter raises `QuotationError`,
which carries Upbit's error body. Nothing here knows HTTP or the clock.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from trading_assets.exchange.model import Interval
from trading_assets.exchange.price_units import tick_size
from trading_assets.paper_exchange.books import order_book
from trading_assets.paper_exchange.grid import FloatArray, IntArray
from trading_assets.paper_exchange.markets import DAY_MS, Candles, Markets, from_ms, to_ms
from trading_assets.paper_exchange.names import english_name, korean_name
from trading_assets.settings import CAUTIONS

MAX_CANDLES = 200
MAX_TRADES = 500
MAX_BOOK_UNITS = 30
_KST_MS = 9 * 3_600_000
_YEAR = timedelta(days=364)  # 52 weeks

Json = dict[str, Any]
Query = Mapping[str, str]


class QuotationError(Exception):
    """An error of the quotation interface: its `name` is the HTTP status, an integer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"error": {"name": status, "message": message}}


def invalid() -> QuotationError:
    return QuotationError(400, "Invalid parameter. Check the given value!")


def mismatch() -> QuotationError:
    return QuotationError(400, "Type mismatch error. Check the parameters type!")


def missing() -> QuotationError:
    return QuotationError(400, "Missing request parameter error. Check the required parameters!")


def not_found() -> QuotationError:
    return QuotationError(404, "Code not found")


# --- parameters -------------------------------------------------------------------------------


def _required(query: Query, name: str) -> str:
    value = query.get(name)
    if not value:
        raise missing()
    return value


def _whole(query: Query, name: str, default: int, lowest: int, highest: int) -> int:
    text = query.get(name)
    if text is None or text == "":
        return default
    if not re.fullmatch(r"[+-]?\d{1,18}", text):
        raise mismatch()
    value = int(text)
    if not lowest <= value <= highest:
        raise invalid()
    return value


def _truth(query: Query, *names: str) -> bool:
    for name in names:
        text = query.get(name)
        if text is not None:
            if text.lower() not in ("true", "false"):
                raise mismatch()
            return text.lower() == "true"
    return False


def _market(markets: Markets, query: Query) -> str:
    return _known(markets, _required(query, "market"))


def listed(markets: Markets, query: Query) -> list[str]:
    """The markets that `markets` names."""
    return [_known(markets, name) for name in _required(query, "markets").split(",")]


def _known(markets: Markets, name: str) -> str:
    if name not in markets.markets:
        raise not_found()
    return name


def moment(text: str) -> int:
    """`to` of the candle endpoints in ms: ISO 8601, a missing zone means UTC."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise invalid() from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return to_ms(parsed)


# --- numbers and times ------------------------------------------------------------------------


def number(value: float, digits: int = 8) -> int | float:
    """A price or amount as Upbit writes it: whole ones without a decimal point."""
    rounded = round(float(value), digits)
    return int(rounded) if rounded.is_integer() else rounded


def _stamps(times_ms: IntArray) -> list[str]:
    """yyyy-MM-ddTHH:mm:ss without a zone."""
    texts: list[str] = np.datetime_as_string(times_ms.astype("datetime64[ms]"), unit="s").tolist()
    return texts


def _numbers(values: FloatArray) -> list[int | float]:
    return [int(v) if v.is_integer() else v for v in np.round(values, 8).tolist()]


# --- endpoints --------------------------------------------------------------------------------


def market_all(markets: Markets, query: Query, now_ms: int) -> list[Json]:
    """GET /v1/market/all; `isDetails` is the older name that pyupbit sends."""
    del now_ms
    details = _truth(query, "is_details", "isDetails")
    return [_trading_pair(market, details) for market in markets.markets]


def _trading_pair(market: str, details: bool) -> Json:
    pair: Json = {
        "market": market,
        "korean_name": korean_name(market),
        "english_name": english_name(market),
    }
    if details:
        pair["market_event"] = {"warning": False, "caution": dict.fromkeys(CAUTIONS, False)}
    return pair


def minute_candles(markets: Markets, unit: str, query: Query, now_ms: int) -> list[Json]:
    """GET /v1/candles/minutes/{unit}, newest first, the open candle included."""
    if not unit.isdigit():
        raise mismatch()
    if int(unit) not in (1, 3, 5, 10, 15, 30, 60, 240):
        raise invalid()
    interval = Interval.of_minutes(int(unit))
    page = _page(markets, interval, query, now_ms)
    return [{**row, "unit": interval.minutes} for row in _candle_rows(query["market"], page)]


def day_candles(markets: Markets, query: Query, now_ms: int) -> list[Json]:
    """GET /v1/candles/days: a day starts at 00:00 UTC."""
    converting = query.get("converting_price_unit")
    if converting not in (None, "", "KRW"):
        raise invalid()
    market = _market(markets, query)
    count = _whole(query, "count", 1, 1, MAX_CANDLES)
    # One more than asked for: its close is the first row's previous close.
    page = markets.page(market, Interval.D1, _before(query, now_ms), count + 1, now_ms)
    previous = np.concatenate((page.open[:1], page.close[:-1]))
    first = max(0, len(page) - count)
    rows = _candle_rows(market, page.rows(first, len(page)))
    for row, before in zip(rows, previous[first:][::-1].tolist(), strict=True):
        change = row["trade_price"] - before
        row["prev_closing_price"] = number(before)
        row["change_price"] = number(change)
        row["change_rate"] = number(change / before, 10)
        if converting:
            row["converted_trade_price"] = row["trade_price"]
    return rows


def _page(markets: Markets, interval: Interval, query: Query, now_ms: int) -> Candles:
    market = _market(markets, query)
    count = _whole(query, "count", 1, 1, MAX_CANDLES)
    return markets.page(market, interval, _before(query, now_ms), count, now_ms)


def _before(query: Query, now_ms: int) -> int:
    text = query.get("to")
    return moment(text) if text else now_ms + 1


def _candle_rows(market: str, candles: Candles) -> list[Json]:
    columns = zip(
        _stamps(candles.open_ms),
        _stamps(candles.open_ms + _KST_MS),
        _numbers(candles.open),
        _numbers(candles.high),
        _numbers(candles.low),
        _numbers(candles.close),
        candles.last_ms.tolist(),
        np.round(candles.value, 5).tolist(),
        np.round(candles.volume, 8).tolist(),
        strict=True,
    )
    rows = [
        {
            "market": market,
            "candle_date_time_utc": utc,
            "candle_date_time_kst": kst,
            "opening_price": opening,
            "high_price": high,
            "low_price": low,
            "trade_price": close,
            "timestamp": last_ms,
            "candle_acc_trade_price": value,
            "candle_acc_trade_volume": volume,
        }
        for utc, kst, opening, high, low, close, last_ms, value, volume in columns
    ]
    return rows[::-1]


def tickers(markets: Markets, query: Query, now_ms: int) -> list[Json]:
    """GET /v1/ticker."""
    return [ticker(markets, market, now_ms) for market in listed(markets, query)]


def all_tickers(markets: Markets, query: Query, now_ms: int) -> list[Json]:
    """GET /v1/ticker/all."""
    return [ticker(markets, market, now_ms) for market in of_quotes(markets, query)]


def of_quotes(markets: Markets, query: Query) -> list[str]:
    """Every market of the quote currencies asked for; there are only KRW markets."""
    quotes = query.get("quote_currencies", "KRW").split(",")
    if not set(quotes) <= {"KRW", "BTC", "USDT"}:
        raise not_found()
    return [market for market in markets.markets if market.split("-")[0] in quotes]


def ticker(markets: Markets, market: str, now_ms: int) -> Json:
    """One market's row of both: it looks back a year."""
    trades = markets.last_trades(market, now_ms + 1, 1)
    if not len(trades):
        raise not_found()
    days = markets.page(market, Interval.D1, now_ms + 1, 365, now_ms)
    today_ms = now_ms - now_ms % DAY_MS
    today = days.between(today_ms, now_ms + 1)
    earlier = days.between(0, today_ms)
    price, traded_ms = float(trades.price[0]), int(trades.time_ms[0])
    before = float(earlier.close[-1]) if len(earlier) else float(days.open[0])
    change = price - before
    value_24h, volume_24h = markets.traded_between(market, now_ms - DAY_MS, now_ms)
    utc, kst = from_ms(traded_ms), from_ms(traded_ms + _KST_MS)
    top, bottom = int(days.high.argmax()), int(days.low.argmin())
    return {
        "market": market,
        "trade_date": f"{utc:%Y%m%d}",
        "trade_time": f"{utc:%H%M%S}",
        "trade_date_kst": f"{kst:%Y%m%d}",
        "trade_time_kst": f"{kst:%H%M%S}",
        "trade_timestamp": traded_ms,
        "opening_price": number(today.open[0] if len(today) else price),
        "high_price": number(today.high[0] if len(today) else price),
        "low_price": number(today.low[0] if len(today) else price),
        "trade_price": number(price),
        "prev_closing_price": number(before),
        "change": "RISE" if change > 0 else "FALL" if change < 0 else "EVEN",
        "change_price": number(abs(change)),
        "change_rate": number(abs(change) / before, 10),
        "signed_change_price": number(change),
        "signed_change_rate": number(change / before, 10),
        "trade_volume": number(trades.volume[0]),
        "acc_trade_price": number(today.value[0] if len(today) else 0.0),
        "acc_trade_price_24h": number(value_24h),
        "acc_trade_volume": number(today.volume[0] if len(today) else 0.0),
        "acc_trade_volume_24h": number(volume_24h),
        "highest_52_week_price": number(days.high[top]),
        "highest_52_week_date": f"{from_ms(int(days.open_ms[top])):%Y-%m-%d}",
        "lowest_52_week_price": number(days.low[bottom]),
        "lowest_52_week_date": f"{from_ms(int(days.open_ms[bottom])):%Y-%m-%d}",
        "timestamp": now_ms,
    }


def orderbooks(markets: Markets, query: Query, now_ms: int) -> list[Json]:
    """GET /v1/orderbook. A level that a market does not have gives an empty list."""
    count = _whole(query, "count", MAX_BOOK_UNITS, 1, MAX_BOOK_UNITS)
    try:
        level = Decimal(query.get("level") or "0")
    except ArithmeticError:
        raise mismatch() from None
    answers = []
    for market in listed(markets, query):
        price = _last_price(markets, market, now_ms)
        if level not in map(Decimal, supported_levels(price)):
            return []
        answers.append(_orderbook(markets, market, level, count, now_ms))
    return answers


def _orderbook(markets: Markets, market: str, level: Decimal, count: int, now_ms: int) -> Json:
    book = order_book(markets, market, now_ms, float(level), MAX_BOOK_UNITS)
    units = zip(
        _numbers(book.ask_price),
        _numbers(book.bid_price),
        book.ask_size.tolist(),
        book.bid_size.tolist(),
        strict=True,
    )
    names = ("ask_price", "bid_price", "ask_size", "bid_size")
    return {
        "market": market,
        "timestamp": book.time_ms,
        "total_ask_size": number(book.ask_size.sum()),
        "total_bid_size": number(book.bid_size.sum()),
        "orderbook_units": [dict(zip(names, unit, strict=True)) for unit in list(units)[:count]],
        "level": number(float(level)),
    }


def _last_price(markets: Markets, market: str, now_ms: int) -> Decimal:
    trades = markets.last_trades(market, now_ms + 1, 1)
    if not len(trades):
        raise not_found()
    return Decimal(str(number(trades.price[0])))


def instruments(markets: Markets, query: Query, now_ms: int) -> list[Json]:
    """GET /v1/orderbook/instruments: the tick at the market's present price."""
    return [
        _instrument(market, _last_price(markets, market, now_ms))
        for market in listed(markets, query)
    ]


def _instrument(market: str, price: Decimal) -> Json:
    return {
        "market": market,
        "quote_currency": market.split("-", maxsplit=1)[0],
        "tick_size": format(tick_size(price), "f"),
        "supported_levels": supported_levels(price),
    }


def supported_levels(price: Decimal) -> list[str]:
    """The groupings of an order book: 0, then powers of ten times the tick up to the price.

    Inferred from the documented sample (KRW-BTC up to 100,000,000, KRW-ETH up to 1,000,000).
    """
    levels = ["0"]
    level = 10 * tick_size(price)
    while level <= price:
        levels.append(format(level.normalize(), "f"))
        level *= 10
    return levels


def trade_ticks(markets: Markets, query: Query, now_ms: int) -> list[Json]:
    """GET /v1/trades/ticks, newest first.

    `to` HH:mm:ss or HHmmss UTC, of today or of `days_ago`; without it that day's last trades.
    `cursor` is a sequential_id: only older trades follow.
    """
    market = _market(markets, query)
    count = _whole(query, "count", 1, 1, MAX_TRADES)
    days_ago = _whole(query, "days_ago", 0, 1, 7)
    cursor = _whole(query, "cursor", 0, 0, 10**18)
    day_ms = now_ms - now_ms % DAY_MS - days_ago * DAY_MS
    end_ms = now_ms + 1 if days_ago == 0 else day_ms + DAY_MS
    if query.get("to"):
        end_ms = min(end_ms, day_ms + _time_of_day(query["to"]))
    trades = markets.last_trades(market, end_ms, count)
    if cursor:
        trades = markets.trades_before(market, min(cursor, end_ms * 10_000), count)
    if not len(trades):
        return []
    previous = previous_closes(markets, market, trades.time_ms, now_ms)
    utc = _stamps(trades.time_ms)
    rows = [
        {
            "market": market,
            "trade_date_utc": utc[i][:10],
            "trade_time_utc": utc[i][11:],
            "timestamp": int(trades.time_ms[i]),
            "trade_price": number(trades.price[i]),
            "trade_volume": float(trades.volume[i]),
            "prev_closing_price": number(previous[i]),
            "change_price": number(trades.price[i] - previous[i]),
            "ask_bid": "BID" if trades.taker_bought[i] else "ASK",
            "sequential_id": int(trades.sequential_id[i]),
        }
        for i in range(len(trades))
    ]
    return rows[::-1]


def previous_closes(markets: Markets, market: str, times_ms: IntArray, now_ms: int) -> FloatArray:
    """The close of the UTC day before each time; the first day has none, its open stands in."""
    days = markets.page(market, Interval.D1, now_ms + 1, 16, now_ms)
    rows = np.searchsorted(days.open_ms, times_ms - times_ms % DAY_MS) - 1
    return np.where(rows >= 0, days.close[np.maximum(rows, 0)], days.open[0])


def _time_of_day(text: str) -> int:
    match = re.fullmatch(r"(\d\d):?(\d\d):?(\d\d)", text)
    if match is None:
        raise invalid()
    hours, minutes, seconds = map(int, match.groups())
    if hours > 23 or minutes > 59 or seconds > 59:
        raise invalid()
    return ((hours * 60 + minutes) * 60 + seconds) * 1000
