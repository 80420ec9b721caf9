"""Stream messages of prices, and the short keys of the SIMPLE format.

Public messages are the REST answers in the stream's keys, so both always agree. Shapes and short
keys: docs.upbit.com (websocket-ticker, -trade, -orderbook, -myorder, -myasset). `encode` of
`forms.py` makes the bytes.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from trading_assets.paper_exchange import quotation
from trading_assets.paper_exchange.inside import Trades
from trading_assets.paper_exchange.markets import DAY_MS, Markets, from_ms
from trading_assets.paper_exchange.matching import Book, Level

Json = dict[str, Any]

_COMMON = {"type": "ty", "code": "cd", "timestamp": "tms", "stream_type": "st"}
_CHANGE = {
    "trade_price": "tp",
    "trade_volume": "tv",
    "prev_closing_price": "pcp",
    "change": "c",
    "change_price": "cp",
    "ask_bid": "ab",
    "trade_time": "ttm",
    "trade_timestamp": "ttms",
}
_SHORT: Mapping[str, Mapping[str, str]] = {
    "ticker": _COMMON
    | _CHANGE
    | {
        "opening_price": "op",
        "high_price": "hp",
        "low_price": "lp",
        "signed_change_price": "scp",
        "change_rate": "cr",
        "signed_change_rate": "scr",
        "acc_trade_volume": "atv",
        "acc_trade_volume_24h": "atv24h",
        "acc_trade_price": "atp",
        "acc_trade_price_24h": "atp24h",
        "trade_date": "tdt",
        "acc_ask_volume": "aav",
        "acc_bid_volume": "abv",
        "highest_52_week_price": "h52wp",
        "highest_52_week_date": "h52wdt",
        "lowest_52_week_price": "l52wp",
        "lowest_52_week_date": "l52wdt",
        "market_state": "ms",
        "is_trading_suspended": "its",
        "delisting_date": "dd",
        "market_warning": "mw",
    },
    "trade": _COMMON
    | _CHANGE
    | {
        "trade_date": "td",
        "sequential_id": "sid",
        "best_ask_price": "bap",
        "best_ask_size": "bas",
        "best_bid_price": "bbp",
        "best_bid_size": "bbs",
    },
    "orderbook": _COMMON
    | {
        "total_ask_size": "tas",
        "total_bid_size": "tbs",
        "orderbook_units": "obu",
        "ask_price": "ap",
        "bid_price": "bp",
        "ask_size": "as",
        "bid_size": "bs",
        "level": "lv",
    },
    "myOrder": _COMMON
    | {
        "uuid": "uid",
        "ask_bid": "ab",
        "order_type": "ot",
        "state": "s",
        "trade_uuid": "tuid",
        "price": "p",
        "avg_price": "ap",
        "volume": "v",
        "remaining_volume": "rv",
        "executed_volume": "ev",
        "trades_count": "tc",
        "reserved_fee": "rsf",
        "remaining_fee": "rmf",
        "paid_fee": "pf",
        "locked": "l",
        "executed_funds": "ef",
        "time_in_force": "tif",
        "trade_fee": "tf",
        "is_maker": "im",
        "identifier": "id",
        "smp_type": "smpt",
        "prevented_volume": "pv",
        "prevented_locked": "pl",
        "trade_timestamp": "ttms",
        "order_timestamp": "otms",
    },
    "myAsset": _COMMON
    | {
        "asset_uuid": "astuid",
        "assets": "ast",
        "currency": "cu",
        "balance": "b",
        "locked": "l",
        "asset_timestamp": "asttms",
    },
}
_SUBSCRIPTIONS = {
    "method": "mthd",
    "result": "rslt",
    "type": "ty",
    "codes": "cds",
    "level": "lv",
    "ticket": "tckt",
}
_TICKER_LEFT_OUT = ("market", "trade_date_kst", "trade_time_kst")


def shortened(message: Json) -> Json:
    """The message in the SIMPLE format."""
    keys = _SUBSCRIPTIONS if "method" in message else _SHORT[message["type"]]
    found: Json = _renamed(message, keys)
    return found


def _renamed(value: Any, keys: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {keys[name]: _renamed(inner, keys) for name, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, keys) for inner in value]
    return value


class DayVolumes:
    """Coins that takers sold and bought since 00:00 UTC, counted on from the last question."""

    def __init__(self, markets: Markets) -> None:
        self._markets = markets
        self._counted: dict[str, tuple[int, int, float, float]] = {}

    def until(self, market: str, now_ms: int) -> tuple[float, float]:
        """(sold, bought) coins of the day, the trades at `now_ms` included."""
        day_ms = now_ms - now_ms % DAY_MS
        day, next_ms, sold, bought = self._counted.get(market, (day_ms, day_ms, 0.0, 0.0))
        if day != day_ms or next_ms > now_ms + 1:
            next_ms, sold, bought = day_ms, 0.0, 0.0
        new = self._markets.trades(market, next_ms, now_ms + 1)
        bought += float(new.volume[new.taker_bought].sum())
        sold += float(new.volume[~new.taker_bought].sum())
        self._counted[market] = (day_ms, now_ms + 1, sold, bought)
        return sold, bought


def ticker(markets: Markets, volumes: DayVolumes, market: str, now_ms: int, kind: str) -> Json:
    """A ticker message. kind: SNAPSHOT or REALTIME."""
    row = quotation.tickers(markets, {"markets": market}, now_ms)[0]
    sold, bought = volumes.until(market, now_ms)
    last = markets.last_trades(market, now_ms + 1, 1)
    kept = {name: value for name, value in row.items() if name not in _TICKER_LEFT_OUT}
    return {
        "type": "ticker",
        "code": market,
        **kept,
        "ask_bid": "BID" if last.taker_bought[0] else "ASK",
        "acc_ask_volume": quotation.number(sold),
        "acc_bid_volume": quotation.number(bought),
        "market_state": "ACTIVE",
        "is_trading_suspended": False,
        "delisting_date": None,
        "market_warning": "NONE",
        "stream_type": kind,
    }


def trades(markets: Markets, made: Trades, book: Book, now_ms: int, kind: str) -> list[Json]:
    """One message per trade, oldest first. book: of their market, its best prices go with them."""
    if not len(made):
        return []
    market = book.market
    closes = quotation.previous_closes(markets, market, made.time_ms, now_ms).tolist()
    ask, bid = book.asks[0], book.bids[0]
    messages = []
    for i, close in enumerate(closes):
        price, moment = float(made.price[i]), from_ms(int(made.time_ms[i]))
        change = price - close
        messages.append(
            {
                "type": "trade",
                "code": market,
                "timestamp": now_ms,
                "trade_date": f"{moment:%Y-%m-%d}",
                "trade_time": f"{moment:%H:%M:%S}",
                "trade_timestamp": int(made.time_ms[i]),
                "trade_price": quotation.number(price),
                "trade_volume": float(made.volume[i]),
                "ask_bid": "BID" if made.taker_bought[i] else "ASK",
                "prev_closing_price": quotation.number(close),
                "change": "RISE" if change > 0 else "FALL" if change < 0 else "EVEN",
                "change_price": quotation.number(abs(change)),
                "sequential_id": int(made.sequential_id[i]),
                "best_ask_price": quotation.number(float(ask.price)),
                "best_ask_size": quotation.number(float(ask.size)),
                "best_bid_price": quotation.number(float(bid.price)),
                "best_bid_size": quotation.number(float(bid.size)),
                "stream_type": kind,
            }
        )
    return messages


def orderbook(rest_row: Json, kind: str) -> Json:
    """An orderbook message from a row of GET /v1/orderbook."""
    return {
        "type": "orderbook",
        "code": rest_row["market"],
        "timestamp": rest_row["timestamp"],
        "total_ask_size": rest_row["total_ask_size"],
        "total_bid_size": rest_row["total_bid_size"],
        "orderbook_units": rest_row["orderbook_units"],
        "stream_type": kind,
        "level": rest_row["level"],
    }


def pinned_orderbook(book: Book, count: int) -> Json:
    """The row of GET /v1/orderbook for a book set by hand; a shorter side is filled with zeros."""
    length = min(count, max(len(book.asks), len(book.bids)))
    pairs = zip(_padded(book.asks, length), _padded(book.bids, length), strict=True)
    return {
        "market": book.market,
        "timestamp": book.time_ms,
        "total_ask_size": quotation.number(float(sum(level.size for level in book.asks))),
        "total_bid_size": quotation.number(float(sum(level.size for level in book.bids))),
        "orderbook_units": [
            {
                "ask_price": quotation.number(float(ask.price)),
                "bid_price": quotation.number(float(bid.price)),
                "ask_size": quotation.number(float(ask.size)),
                "bid_size": quotation.number(float(bid.size)),
            }
            for ask, bid in pairs
        ],
        "level": 0,
    }


def _padded(levels: Sequence[Level], length: int) -> list[Level]:
    nothing = Level(Decimal(0), Decimal(0))
    return [*levels[:length], *[nothing] * (length - len(levels))]
