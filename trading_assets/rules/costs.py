"""What one trade costs, as a share of the traded amount.

Fee and slippage per side; the round trip is both sides. The same numbers serve the labels, the
expected value, the backtest and the trader.
"""

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs of one side of a trade, ratios (0.0005 is 0.05 %).

    fee_rate: charged by the exchange on the traded amount. min_slippage_rate: the least a market
    order loses against the last price. Raises ValueError outside [0, 0.05].
    """

    fee_rate: Decimal
    min_slippage_rate: Decimal

    def __post_init__(self) -> None:
        for name in ("fee_rate", "min_slippage_rate"):
            rate: Decimal = getattr(self, name)
            if not Decimal(0) <= rate <= Decimal("0.05"):
                raise ValueError(f"{name} must be between 0 and 0.05, was {rate}")

    def slippage_rate(self, price: Decimal, tick_size: Decimal) -> Decimal:
        """Slippage of one side: at least half a tick, since prices cannot meet in between."""
        return max(self.min_slippage_rate, tick_size / (2 * price))

    def round_trip(self, price: Decimal, tick_size: Decimal) -> Decimal:
        """Both fees and both slippages, as a share of the traded amount."""
        return 2 * (self.fee_rate + self.slippage_rate(price, tick_size))
