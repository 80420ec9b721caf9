"""Ticks, slippage and whole numbers, compiled: `exchange.price_units` and `rules.costs`."""

import numpy as np

from trading_assets.backtest.account.compiled import compiled
from trading_assets.backtest.account.records import Record

# What is whole in decimal numbers is, computed in binary ones, at most 4 roundings beside it.
_WHOLE = 2e-15


@compiled
def whole_at_most(value: float) -> float:
    """The highest whole number that is not above `value`, but for binary rounding."""
    near = np.rint(value)
    if abs(value - near) <= _WHOLE * max(1.0, abs(value)):
        return float(near)
    return float(np.floor(value))


@compiled
def whole_at_least(value: float) -> float:
    """The lowest whole number that is not below `value`, but for binary rounding."""
    near = np.rint(value)
    if abs(value - near) <= _WHOLE * max(1.0, abs(value)):
        return float(near)
    return float(np.ceil(value))


@compiled
def band_at(price: float, rules: Record, band: int) -> int:
    """The price band that `price` lies in, looked for from `band` on: the last one, mostly.

    price: above 0 and finite; the lowest band begins at 0, the highest ends at infinity. Candles
    are checked once and can be written to afterwards, so any other number gets the nearest band,
    not memory beside the table.
    """
    while price < rules.tick_from[band] and band > 0:
        band -= 1
    while price >= rules.tick_from[band + 1] and band + 1 < len(rules.tick_size):
        band += 1
    return band


@compiled
def tick_at(price: float, rules: Record, band: int) -> float:
    return float(rules.tick_size[band_at(price, rules, band)])


@compiled
def price_of(ticks: float, tick: float) -> float:
    """So many ticks as a price, with the bits of its decimal number: 3 / 10, not 3 x 0.1."""
    if tick < 1:
        return float(ticks / np.rint(1 / tick))
    return ticks * tick


@compiled
def slippage_rate(price: float, rules: Record, band: int) -> float:
    """`Costs.slippage_rate` at the price's own tick."""
    return float(max(rules.min_slippage, tick_at(price, rules, band) / (2 * price)))


@compiled
def bid_at(price: float, rules: Record, band: int) -> float:
    """What a sale meets when the candles say `price`: price x (1 - slippage rate)."""
    return float(min(price * (1 - rules.min_slippage), price - tick_at(price, rules, band) / 2))


@compiled
def ask_at(price: float, rules: Record, band: int) -> float:
    """What a purchase meets when the candles say `price`: price x (1 + slippage rate)."""
    return float(max(price * (1 + rules.min_slippage), price + tick_at(price, rules, band) / 2))
