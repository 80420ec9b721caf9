"""Is the market as lively as it was in the walk-forward?

Pure. Volatility decides most of when a model says HOLD, so a quiet market explains silence and a
wild one explains a flood. Neither is a fault of the system: this check warns and never fails.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from trading_assets.rules.check import Level
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.forecast import MarketForecast

QUIET_BELOW = 5.0
WILD_ABOVE = 95.0


def percentile(value: float, grid: Sequence[float]) -> float:
    """Where `value` lies among the percentiles `grid` (ascending, 0 to 100 in equal steps).

    Linear between two of them, the middle of several that are equal; 0 below the first, 100 above
    the last. Raises ValueError for a grid of fewer than two.
    """
    if len(grid) < 2:
        raise ValueError(f"a grid needs at least 2 percentiles, has {len(grid)}")
    left, right = bisect_left(grid, value), bisect_right(grid, value)
    step = 100 / (len(grid) - 1)
    if left != right:
        return (left + right - 1) / 2 * step
    if left == 0:
        return 0.0
    if left == len(grid):
        return 100.0
    below, above = grid[left - 1], grid[left]
    return (left - 1 + (value - below) / (above - below)) * step


def check_market_regime(sigma: float, expected: MarketForecast) -> Finding:
    """sigma: the market's volatility a candle now, as in the labels."""
    place = percentile(sigma, expected.volatility)
    text = f"volatility {sigma:.3%}, percentile {place:.0f}"
    if place < QUIET_BELOW:
        text += f", below {QUIET_BELOW:.0f} is quiet: fewer signals"
    elif place > WILD_ABOVE:
        text += f", above {WILD_ABOVE:.0f} is wild: other signals than usual"
    else:
        return Finding(Check.MARKET_REGIME, expected.market, Level.OK, text)
    return Finding(Check.MARKET_REGIME, expected.market, Level.WARN, text, "wait")
