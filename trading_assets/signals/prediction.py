"""What a champion says about the newest closed candle: probabilities and expected values.

The same features, sequences and design matrix as in training, for one row. Not here: where the
candles come from (`produce`) and what follows from the numbers (`rules.decision`).
"""

import math
from dataclasses import dataclass

from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.features.sequences import design_matrix, latest_sequences, refusal
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.model import Model
from trading_assets.rules.expected_value import ClassReturns, Probabilities, expected_value
from trading_assets.settings import SequenceView


@dataclass(frozen=True, slots=True)
class Prediction:
    """Calibrated probabilities; net expected value of the long trade and of its mirror image."""

    probabilities: Probabilities
    ev_long: float
    ev_short: float


def predict(model: Model, series: CandleSeries) -> Prediction:
    """`model` on the last candle of `series`.

    Raises NotEnoughHistory when no whole, traded window ends there, saying why.
    """
    why_not = refusal(series)
    if why_not is not None:
        raise NotEnoughHistory(why_not)
    view = SequenceView(model.metadata["features"]["view"])
    row = design_matrix(latest_sequences(series), view)
    sell, hold, buy = (float(p) for p in model.probabilities(row)[0])
    probabilities = Probabilities(sell, hold, buy)
    returns = model.returns
    return Prediction(
        probabilities,
        ev_long=expected_value(probabilities, ClassReturns(*returns.long)),
        ev_short=expected_value(probabilities, ClassReturns(*returns.short)),
    )


def latest_sigma(series: CandleSeries) -> float:
    """Volatility per candle at the last candle, as in the labels.

    Raises NotEnoughHistory when too few returns lie in its segment or the price never moved.
    """
    sigma = float(ewm_sigma(series)[-1])
    if math.isnan(sigma) or sigma <= 0:
        raise NotEnoughHistory(
            f"volatility at {series.open_time[-1]} must be above 0, was {sigma}: too few candles "
            "since the last break, or a price that never moved"
        )
    return sigma
