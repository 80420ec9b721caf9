"""How orders, balances and their events look in answers: Upbit's keys, in Upbit's order and types.

REST writes amounts as strings and leaves out what an order does not have; streams write numbers and
send null. `encode` writes Decimals as JSON numbers with every digit. Checked against the documented
samples by the tests.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from trading_assets.exchange.model import Side
from trading_assets.paper_exchange.account import EventKind, OrderEvent
from trading_assets.paper_exchange.exact import average, plain
from trading_assets.paper_exchange.orders import (
    MAX_TOTAL,
    MIN_TOTAL,
    PaperBalance,
    PaperOrder,
    PaperTrade,
)

_KST = timezone(timedelta(hours=9))
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_BOTH_SIDES = ("best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc")

Json = dict[str, Any]


def encode(value: Any) -> str:
    """JSON without spaces; a Decimal becomes a number in plain digits."""
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(k)}:{encode(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(encode, value)) + "]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


# --- REST ---------------------------------------------------------------------------------------


def account_rows(balances: Sequence[PaperBalance]) -> list[Json]:
    """GET /v1/accounts."""
    return [account_row(held) for held in balances]


def account_row(held: PaperBalance) -> Json:
    return {
        "currency": held.currency,
        "balance": plain(held.balance),
        "locked": plain(held.locked),
        "avg_buy_price": plain(held.average_buy_price),
        "avg_buy_price_modified": False,
        "unit_currency": "KRW",
    }


def api_key(access_key: str, ends_ms: int) -> Json:
    """An element of GET /v1/api_keys."""
    ends_at = (_UNIX + timedelta(milliseconds=ends_ms)).astimezone(_KST)
    return {"access_key": access_key, "expire_at": ends_at.isoformat(timespec="seconds")}


def chance(market: str, fee_rate: Decimal, quote: PaperBalance, base: PaperBalance) -> Json:
    """GET /v1/orders/chance."""
    fee = plain(fee_rate)
    minimum = plain(MIN_TOTAL)
    return {
        "bid_fee": fee,
        "ask_fee": fee,
        "maker_bid_fee": fee,
        "maker_ask_fee": fee,
        "market": {
            "id": market,
            "name": f"{base.currency}/{quote.currency}",
            "order_types": ["limit"],
            "order_sides": ["ask", "bid"],
            "bid_types": [*_BOTH_SIDES, "price"],
            "ask_types": [*_BOTH_SIDES, "market"],
            "bid": {"currency": quote.currency, "min_total": minimum},
            "ask": {"currency": base.currency, "min_total": minimum},
            "max_total": plain(MAX_TOTAL),
            "state": "active",
        },
        "bid_account": account_row(quote),
        "ask_account": account_row(base),
    }


def order_row(order: PaperOrder) -> Json:
    """An order without its trades."""
    terms = order.terms
    row = {
        "market": terms.market,
        "uuid": order.uuid,
        "side": terms.side.value,
        "ord_type": terms.ord_type.value,
        "price": _maybe(terms.price),
        "state": order.state.value,
        "created_at": _kst(order.created_ms * 1000, "seconds"),
        "volume": _maybe(terms.volume),
        "remaining_volume": _maybe(order.remaining_volume),
        "executed_volume": plain(order.executed_volume),
        "reserved_fee": plain(order.reserved_fee),
        "remaining_fee": plain(order.remaining_fee),
        "paid_fee": plain(order.paid_fee),
        "locked": plain(order.locked),
        "prevented_volume": plain(order.prevented_volume),
        "prevented_locked": plain(order.prevented_locked),
        "trades_count": order.trades_count,
        "time_in_force": None if terms.time_in_force is None else terms.time_in_force.value,
        "identifier": terms.identifier,
        "smp_type": terms.smp_type.value,
    }
    return {name: value for name, value in row.items() if value is not None}


def order_with_trades(order: PaperOrder, trades: Sequence[PaperTrade]) -> Json:
    """GET /v1/order: the only answer that carries trades."""
    return {**order_row(order), "trades": [_trade_row(trade) for trade in trades]}


def _trade_row(trade: PaperTrade) -> Json:
    return {
        "market": trade.market,
        "uuid": trade.uuid,
        "price": plain(trade.price),
        "volume": plain(trade.volume),
        "funds": plain(trade.funds),
        "trend": "up" if trade.taker_bought else "down",
        "created_at": _kst(trade.made_us, "microseconds"),
        "side": trade.side.value,
    }


def cancelled_row(order: PaperOrder) -> Json:
    """One order in the answer to a cancel of several."""
    row = {"uuid": order.uuid, "market": order.terms.market, "identifier": order.terms.identifier}
    return {name: value for name, value in row.items() if value is not None}


def cancelled_rows(success: Sequence[PaperOrder], failed: Sequence[PaperOrder]) -> Json:
    return {
        name: {"count": len(orders), "orders": [cancelled_row(order) for order in orders]}
        for name, orders in (("success", success), ("failed", failed))
    }


# --- streams ------------------------------------------------------------------------------------


def my_order(event: OrderEvent, now_ms: int) -> Json:
    """A myOrder message. Of a trade, price and volume are the fill's."""
    order, fill = event.order, event.trade
    terms = order.terms
    has_traded = order.executed_volume > 0
    return {
        "type": "myOrder",
        "code": terms.market,
        "uuid": order.uuid,
        "ask_bid": terms.side.value.upper(),
        "order_type": terms.ord_type.value,
        "state": event.kind.value,
        "trade_uuid": fill.uuid if fill else None,
        "price": fill.price if fill else terms.price,
        "avg_price": average(order.executed_funds, order.executed_volume) if has_traded else 0,
        "volume": fill.volume if fill else terms.volume,
        "remaining_volume": order.remaining_volume,
        "executed_volume": order.executed_volume,
        "trades_count": order.trades_count,
        "reserved_fee": order.reserved_fee,
        "remaining_fee": order.remaining_fee,
        "paid_fee": order.paid_fee,
        "locked": order.locked,
        "executed_funds": order.executed_funds,
        "time_in_force": None if terms.time_in_force is None else terms.time_in_force.value,
        "trade_fee": fill.fee if fill else None,
        "is_maker": fill.is_maker if fill else None,
        "identifier": terms.identifier,
        "smp_type": terms.smp_type.value,
        "prevented_volume": order.prevented_volume,
        "prevented_locked": order.prevented_locked,
        "trade_timestamp": fill.made_us // 1000 if fill else None,
        "order_timestamp": order.created_ms,
        "timestamp": now_ms,
        "stream_type": "REALTIME",
    }


def touched(event: OrderEvent) -> set[str]:
    """The currencies whose balance the event changed."""
    terms = event.order.terms
    if event.kind is EventKind.TRADE:
        return {terms.quote, terms.base}
    return {terms.quote if terms.side is Side.BID else terms.base}


def my_asset(uuid: str, balances: Sequence[PaperBalance], made_ms: int, now_ms: int) -> Json:
    """A myAsset message: the balances that a change touched."""
    return {
        "type": "myAsset",
        "asset_uuid": uuid,
        "assets": [
            {"currency": held.currency, "balance": held.balance, "locked": held.locked}
            for held in balances
        ],
        "asset_timestamp": made_ms,
        "timestamp": now_ms,
        "stream_type": "REALTIME",
    }


def _maybe(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _kst(moment_us: int, precision: str) -> str:
    moment = (_UNIX + timedelta(microseconds=moment_us)).astimezone(_KST)
    return moment.isoformat(timespec=precision)
