"""Upbit's price grid for KRW markets: the tick size by price, and rounding to it.

The table in force since 2025-07-31 (docs.upbit.com, krw-market-info, updated 2026-05-04). It is
the check; live code takes `tick_size` from /v1/orderbook/instruments for the market and uses the
table only when a price lies in another band.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

# (price from, inclusive; tick size), highest band first.
KRW_TICKS: tuple[tuple[Decimal, Decimal], ...] = tuple(
    (Decimal(start), Decimal(tick))
    for start, tick in (
        ("1000000", "1000"),
        ("500000", "500"),
        ("100000", "100"),
        ("50000", "50"),
        ("10000", "10"),
        ("5000", "5"),
        ("1000", "1"),
        ("100", "1"),
        ("10", "0.1"),
        ("1", "0.01"),
        ("0.1", "0.001"),
        ("0.01", "0.0001"),
        ("0.001", "0.00001"),
        ("0.0001", "0.000001"),
        ("0.00001", "0.0000001"),
        ("0", "0.00000001"),
    )
)


def tick_size(price: Decimal) -> Decimal:
    """The distance between neighbouring prices at `price` (KRW per coin, above 0)."""
    if not price > 0:
        raise ValueError(f"price must be above 0, was {price}")
    return next(tick for start, tick in KRW_TICKS if price >= start)


def floor_to_tick(price: Decimal) -> Decimal:
    """The highest price on the grid that is not above `price`."""
    return _round(price, ROUND_FLOOR)


def ceil_to_tick(price: Decimal) -> Decimal:
    """The lowest price on the grid that is not below `price`.

    Rounding up may reach the next band (99.96 -> 100), whose start lies on both grids.
    """
    return _round(price, ROUND_CEILING)


def _round(price: Decimal, rounding: str) -> Decimal:
    tick = tick_size(price)
    return (price / tick).to_integral_value(rounding=rounding) * tick
