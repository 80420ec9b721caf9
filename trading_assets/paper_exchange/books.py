"""Order books around the last trade, seeded by market and second.

A book is decoration with depth: its best prices enclose the last trade, its sizes follow the
market's volume. Matching against it is the private half's business.
"""

from dataclasses import dataclass

import numpy as np

from trading_assets.paper_exchange.grid import FloatArray, round_to_tick, seed_key, tick_sizes
from trading_assets.paper_exchange.markets import Markets

# BTC's tick is below a basis point of its price: its spread is several ticks (snapshot of
# 2026-09-01: 8). Every other market's spread is one tick.
_SPREAD_SHARE = 0.00007


@dataclass(frozen=True, slots=True)
class OrderBook:
    """Shape (levels,), best first; prices KRW on the tick grid, sizes coins."""

    time_ms: int
    ask_price: FloatArray
    bid_price: FloatArray
    ask_size: FloatArray
    bid_size: FloatArray


def order_book(markets: Markets, market: str, now_ms: int, level: float, levels: int) -> OrderBook:
    """The book of `market` at `now_ms`, prices grouped by `level` KRW (0: the tick).

    The market must have had a trade.
    """
    trade = markets.last_trades(market, now_ms + 1, 1)
    price, bought = float(trade.price[0]), bool(trade.taker_bought[0])
    second = now_ms // 1000
    rng = np.random.Generator(np.random.Philox(key=seed_key(markets.seed, market, "book", second)))
    tick = float(tick_sizes(np.array([price]))[0])
    spread = tick * max(1.0, float(np.rint(price * _SPREAD_SHARE * rng.uniform(0.5, 1.5) / tick)))
    # The last taker met one side: it bought at the ask or sold at the bid.
    ask, bid = (price, price - spread) if bought else (price + spread, price)
    step = max(level, tick)
    ask_price = _ladder(ask, step, rng, levels, upwards=True, grouped=level > 0)
    bid_price = _ladder(bid, step, rng, levels, upwards=False, grouped=level > 0)
    mean_size = markets.typical_volume(market) / 60 * max(1.0, level / tick)
    ask_size, bid_size = (
        np.maximum(np.round(mean_size * rng.exponential(size=levels), 8), 1e-8) for _ in range(2)
    )
    time_ms = max(int(trade.time_ms[0]), second * 1000)
    return OrderBook(time_ms, ask_price, bid_price, ask_size, bid_size)


def _ladder(
    best: float,
    step: float,
    rng: np.random.Generator,
    levels: int,
    *,
    upwards: bool,
    grouped: bool,
) -> FloatArray:
    """Prices away from `best`; a fine grid has holes, a grouped one starts on a multiple."""
    gaps = np.ones(levels) if grouped else 1.0 + rng.poisson(0.3, levels)
    distance = np.concatenate(([0.0], np.cumsum(gaps[:-1]))) * step
    if grouped:
        best = float(np.ceil(best / step) if upwards else np.floor(best / step)) * step
    return round_to_tick(best + distance if upwards else best - distance)
