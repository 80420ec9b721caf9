"""Upbit's documented answers, one row each, as they stand on docs.upbit.com (read 2026-10-07).

Copied so that the shapes are tested where ../shared is absent; a test compares the copies with it.
"""

from typing import Any

Row = dict[str, Any]

MARKET_DETAILS: Row = {
    "market": "KRW-BTC",
    "korean_name": "비트코인",
    "english_name": "Bitcoin",
    "market_event": {
        "warning": False,
        "caution": {
            "PRICE_FLUCTUATIONS": False,
            "TRADING_VOLUME_SOARING": False,
            "DEPOSIT_AMOUNT_SOARING": False,
            "GLOBAL_PRICE_DIFFERENCES": False,
            "CONCENTRATION_OF_SMALL_ACCOUNTS": False,
        },
    },
}
MARKET_PLAIN: Row = {"market": "KRW-BTC", "korean_name": "비트코인", "english_name": "Bitcoin"}
MINUTE_CANDLE: Row = {
    "market": "KRW-BTC",
    "candle_date_time_utc": "2025-07-01T12:00:00",
    "candle_date_time_kst": "2025-07-01T21:00:00",
    "opening_price": 145831000,
    "high_price": 145831000,
    "low_price": 145752000,
    "trade_price": 145759000,
    "timestamp": 1751327999833,
    "candle_acc_trade_price": 4022470467.03403,
    "candle_acc_trade_volume": 27.58904602,
    "unit": 1,
}
DAY_CANDLE: Row = {
    "market": "KRW-BTC",
    "candle_date_time_utc": "2025-06-30T00:00:00",
    "candle_date_time_kst": "2025-06-30T09:00:00",
    "opening_price": 147996000,
    "high_price": 148480000,
    "low_price": 145740000,
    "trade_price": 145759000,
    "timestamp": 1751327999833,
    "candle_acc_trade_price": 138812096716.42776,
    "candle_acc_trade_volume": 944.35761221,
    "prev_closing_price": 147996000,
    "change_price": -2237000,
    "change_rate": -0.0151152734,
}
TICKER: Row = {
    "market": "KRW-BTC",
    "trade_date": "20250704",
    "trade_time": "051400",
    "trade_date_kst": "20250704",
    "trade_time_kst": "141400",
    "trade_timestamp": 1751606040365,
    "opening_price": 148737000,
    "high_price": 149360000,
    "low_price": 148288000,
    "trade_price": 148601000,
    "prev_closing_price": 148737000,
    "change": "FALL",
    "change_price": 136000,
    "change_rate": 0.0009143656,
    "signed_change_price": -136000,
    "signed_change_rate": -0.0009143656,
    "trade_volume": 0.00016823,
    "acc_trade_price": 31615925234.05438,
    "acc_trade_price_24h": 178448329314.96686,
    "acc_trade_volume": 212.38911576,
    "acc_trade_volume_24h": 1198.26954807,
    "highest_52_week_price": 163325000,
    "highest_52_week_date": "2025-01-20",
    "lowest_52_week_price": 72100000,
    "lowest_52_week_date": "2024-08-05",
    "timestamp": 1751606040403,
}
INSTRUMENT: Row = {
    "market": "KRW-BTC",
    "quote_currency": "KRW",
    "tick_size": "1000",
    "supported_levels": ["0", "10000", "100000", "1000000", "10000000", "100000000"],
}
TRADE: Row = {
    "market": "KRW-BTC",
    "trade_date_utc": "2025-06-27",
    "trade_time_utc": "23:59:59",
    "timestamp": 1751068799336,
    "trade_price": 147058000,
    "trade_volume": 6.043e-05,
    "prev_closing_price": 146852000,
    "change_price": 206000,
    "ask_bid": "BID",
    "sequential_id": 17510687993360000,
}
# ../shared has no documented sample of the order book: written by hand in its documented shape.
ORDERBOOK: Row = {
    "market": "KRW-BTC",
    "timestamp": 1751606040403,
    "total_ask_size": 5.13,
    "total_bid_size": 4.93,
    "orderbook_units": [
        {"ask_price": 148601000, "bid_price": 148600000, "ask_size": 0.06, "bid_size": 0.14}
    ],
    "level": 0,
}


def error(status: int, message: str) -> Row:
    """The body of a quotation error: its name is an integer."""
    return {"error": {"name": status, "message": message}}


MISSING = error(400, "Missing request parameter error. Check the required parameters!")
MISMATCH = error(400, "Type mismatch error. Check the parameters type!")
INVALID = error(400, "Invalid parameter. Check the given value!")
NOT_FOUND = error(404, "Code not found")

# Name in ../shared/data/upbit_samples/rest: the copy above.
IN_SHARED: dict[str, Any] = {
    "market_all_details": MARKET_DETAILS,
    "market_all_plain": MARKET_PLAIN,
    "candles_minutes_1": MINUTE_CANDLE,
    "candles_days": DAY_CANDLE,
    "ticker_two_markets": TICKER,
    "orderbook_instruments": INSTRUMENT,
    "trades_ticks": TRADE,
    "quotation_error_missing": MISSING,
    "quotation_error_type": MISMATCH,
    "quotation_error_range": INVALID,
    "quotation_error_code_not_found": NOT_FOUND,
}
