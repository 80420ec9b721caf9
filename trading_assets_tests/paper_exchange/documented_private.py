"""Upbit's documented answers of the private half, as they stand on docs.upbit.com (2026-10-07).

Copied so that the shapes are tested where ../shared is absent; a test compares the copies with it.
"""

from typing import Any

Row = dict[str, Any]

ACCOUNT: Row = {
    "currency": "BTC",
    "balance": "2.0",
    "locked": "0.0",
    "avg_buy_price": "140000000",
    "avg_buy_price_modified": False,
    "unit_currency": "KRW",
}
ORDER_WAITING: Row = {
    "market": "KRW-BTC",
    "uuid": "5d303952-8be9-41e6-915b-121a90026248",
    "side": "bid",
    "ord_type": "limit",
    "price": "155772000",
    "state": "wait",
    "created_at": "2025-08-09T16:52:49+09:00",
    "volume": "0.0001",
    "remaining_volume": "0.0001",
    "executed_volume": "0",
    "reserved_fee": "7.7886",
    "remaining_fee": "7.7886",
    "paid_fee": "0",
    "locked": "15584.9886",
    "prevented_volume": "0",
    "prevented_locked": "0",
    "trades_count": 0,
    "trades": [],
}
ORDER_SOLD: Row = {
    "market": "KRW-USDT",
    "uuid": "3b67e543-8ad3-48d0-8451-0dad315cae73",
    "side": "ask",
    "ord_type": "market",
    "state": "done",
    "created_at": "2025-08-09T16:44:00+09:00",
    "volume": "5.377594",
    "remaining_volume": "0",
    "executed_volume": "5.377594",
    "reserved_fee": "0",
    "remaining_fee": "0",
    "paid_fee": "3.697095875",
    "locked": "0",
    "prevented_volume": "0",
    "prevented_locked": "0",
    "trades_count": 1,
    "trades": [
        {
            "market": "KRW-USDT",
            "uuid": "795dff29-bba6-49b2-baab-63473ab7931c",
            "price": "1375",
            "volume": "5.377594",
            "funds": "7394.19175",
            "trend": "down",
            "created_at": "2025-08-09T16:44:00.597751+09:00",
            "side": "ask",
        }
    ],
}
CHANCE: Row = {
    "bid_fee": "0.0005",
    "ask_fee": "0.0005",
    "maker_bid_fee": "0.0005",
    "maker_ask_fee": "0.0005",
    "market": {
        "id": "KRW-BTC",
        "name": "BTC/KRW",
        "order_types": ["limit"],
        "order_sides": ["ask", "bid"],
        "bid_types": ["best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc", "price"],
        "ask_types": ["best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc", "market"],
        "bid": {"currency": "KRW", "min_total": "5000"},
        "ask": {"currency": "BTC", "min_total": "5000"},
        "max_total": "1000000000",
        "state": "active",
    },
    "bid_account": {
        "currency": "KRW",
        "balance": "10000",
        "locked": "0",
        "avg_buy_price": "0",
        "avg_buy_price_modified": True,
        "unit_currency": "KRW",
    },
    "ask_account": {
        "currency": "BTC",
        "balance": "0.001",
        "locked": "0",
        "avg_buy_price": "140000000",
        "avg_buy_price_modified": False,
        "unit_currency": "KRW",
    },
}
CANCELLED: Row = {
    "success": {
        "count": 2,
        "orders": [
            {"uuid": "bbbb8e07-1689-4769-af3e-a117016623f8", "market": "KRW-ETH"},
            {"uuid": "4312ba49-5f1a-4a01-9f3b-2d2bce17267e", "market": "KRW-ETH"},
        ],
    },
    "failed": {
        "count": 1,
        "orders": [{"uuid": "bdb49a54-de36-4eb4-a963-9c8d4337a9da", "market": "BTC-XRP"}],
    },
}
MY_ORDER: Row = {
    "type": "myOrder",
    "code": "KRW-BTC",
    "uuid": "ac2dc2a3-fce9-40a2-a4f6-5987c25c438f",
    "ask_bid": "BID",
    "order_type": "limit",
    "state": "trade",
    "trade_uuid": "68315169-fba4-4175-ade3-aff14a616657",
    "price": 0.001453,
    "avg_price": 0.00145372,
    "volume": 30925891.29839369,
    "remaining_volume": 29968038.09235948,
    "executed_volume": 30925891.29839369,
    "trades_count": 1,
    "reserved_fee": 44.23943970238218,
    "remaining_fee": 21.77177967409916,
    "paid_fee": 22.467660028283017,
    "locked": 43565.33112787242,
    "executed_funds": 44935.32005656603,
    "time_in_force": None,
    "trade_fee": 22.467660028283017,
    "is_maker": True,
    "identifier": "test-1",
    "smp_type": "cancel_maker",
    "prevented_volume": 1.174291929,
    "prevented_locked": 0.001706246173,
    "trade_timestamp": 1710751590421,
    "order_timestamp": 1710751590000,
    "timestamp": 1710751597500,
    "stream_type": "REALTIME",
}
TICKER_STREAM: Row = {
    "type": "ticker",
    "code": "KRW-BTC",
    "opening_price": 109165000.0,
    "high_price": 110117000.0,
    "low_price": 108958000.0,
    "trade_price": 109868000.0,
    "prev_closing_price": 109165000.0,
    "acc_trade_price": 59726546304.62442,
    "change": "RISE",
    "change_price": 703000.0,
    "signed_change_price": 703000.0,
    "change_rate": 0.006439793,
    "signed_change_rate": 0.006439793,
    "ask_bid": "BID",
    "trade_volume": 9.101e-05,
    "acc_trade_volume": 544.24861805,
    "trade_date": "20260826",
    "trade_time": "072400",
    "trade_timestamp": 1787729040682,
    "acc_ask_volume": 271.9810004,
    "acc_bid_volume": 272.26761765,
    "highest_52_week_price": 179869000.0,
    "highest_52_week_date": "2025-10-09",
    "lowest_52_week_price": 88342000.0,
    "lowest_52_week_date": "2026-08-14",
    "market_state": "ACTIVE",
    "is_trading_suspended": False,
    "delisting_date": None,
    "market_warning": "NONE",
    "timestamp": 1787729042606,
    "acc_trade_price_24h": 198189163442.74924,
    "acc_trade_volume_24h": 1807.38027625,
    "stream_type": "SNAPSHOT",
}
TRADE_STREAM: Row = {
    "type": "trade",
    "code": "KRW-BTC",
    "timestamp": 1787728554853,
    "trade_date": "2026-08-26",
    "trade_time": "07:15:54",
    "trade_timestamp": 1787728554797,
    "trade_price": 109847000.0,
    "trade_volume": 0.00509799,
    "ask_bid": "ASK",
    "prev_closing_price": 109165000.0,
    "change": "RISE",
    "change_price": 682000.0,
    "sequential_id": 17877285547970000,
    "best_ask_price": 109867000,
    "best_ask_size": 0.0099545,
    "best_bid_price": 109847000,
    "best_bid_size": 0.1583673,
    "stream_type": "SNAPSHOT",
}
MY_ASSET_RAW = (
    '{"type":"myAsset","asset_uuid":"e635f223-1609-4969-8fb6-4376937baad6","assets":[{"currency":'
    '"KRW","balance":1386929.37231066771348207123,"locked":10329.670127489597585685}],'
    '"asset_timestamp":1710146517259,"timestamp":1710146517267,"stream_type":"REALTIME"}'
)

# Folder and name in ../shared/data/upbit_samples, the key of its value, and the copy above.
IN_SHARED: dict[str, tuple[str, Any]] = {
    "rest/order_get_limit_bid_wait": ("response", ORDER_WAITING),
    "rest/order_get_market_ask_done": ("response", ORDER_SOLD),
    "rest/orders_chance": ("response", CHANCE),
    "rest/orders_cancel_by_uuids": ("response", CANCELLED),
    "ws/myorder_trade": ("message", MY_ORDER),
    "ws/ticker": ("message", TICKER_STREAM),
    "ws/trade": ("message", TRADE_STREAM),
    "ws/myasset": ("raw", MY_ASSET_RAW),
}
