"""A profile: one way to trade, end to end.

Candle interval, label, exits, entry thresholds and the windows of training and judging. A value
without behaviour; the two shipped profiles are built from the settings in `models/profiles.py`.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum

from trading_assets.rules.exits import Exits


class LabelKind(StrEnum):
    NET_OUTCOME = "net_outcome"
    TRIPLE_BARRIER = "triple_barrier"


@dataclass(frozen=True, slots=True)
class ModelShape:
    """How large the models of a profile are, and what they never see.

    num_leaves: of a tree. without: groups of features (`features.groups`), each once, sorted.
    """

    num_leaves: int = 5
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.num_leaves < 2:
            raise ValueError(f"num_leaves must be at least 2, was {self.num_leaves}")
        if list(self.without) != sorted(set(self.without)):
            raise ValueError(f"without must be sorted, each once, was {self.without}")


@dataclass(frozen=True, slots=True)
class Profile:
    """One way to trade.

    interval_minutes: candle interval. horizon: how far a label sees, = exits.timeout.
    min_confidence: least p_buy (or p_sell) to act. min_ev_costs: expected value after costs must
    exceed this many round-trip costs. history: training window, None for all there is. shape: of
    the models.
    """

    name: str
    interval_minutes: int
    label: LabelKind
    exits: Exits
    min_confidence: Decimal
    min_ev_costs: Decimal
    history: timedelta | None
    min_history: timedelta
    calibration_window: timedelta
    gate_window: timedelta
    shape: ModelShape = ModelShape()

    @property
    def interval(self) -> timedelta:
        return timedelta(minutes=self.interval_minutes)

    @property
    def horizon(self) -> timedelta:
        return self.exits.timeout

    @property
    def horizon_candles(self) -> int:
        """Whole candles in the horizon. Raises ValueError when it is not a whole number."""
        candles, rest = divmod(self.horizon, self.interval)
        if rest or candles < 1:
            raise ValueError(
                f"profile {self.name}: the timeout {self.horizon} must be a whole number of "
                f"{self.interval_minutes}-minute candles"
            )
        return candles
