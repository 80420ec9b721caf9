"""The volatility that scales exits and barriers.

Not a feature: labels, signals and backtest share this one number. Not here: what is made of it
(`rules.exits`).
"""

import numpy as np
import pandas as pd

from trading_assets.candles.series import CandleSeries
from trading_assets.features.anchors import pieces, segments
from trading_assets.features.windows import FloatArray

SIGMA_SPAN = 168
SIGMA_MIN_RETURNS = 96


def ewm_sigma(series: CandleSeries, span: int = SIGMA_SPAN) -> FloatArray:
    """Exponentially weighted sd of the log returns of `series`, per candle, shape (n,).

    Row t uses candles up to t of its own segment; weights fall by 1 - 2 / (span + 1) a candle,
    with the bias correction of pandas' `ewm().std()`. NaN before SIGMA_MIN_RETURNS returns in the
    segment; 0 when the price has never moved, which no barrier can be built on. Computed in
    pieces with fixed starts, so that live and training get the same bits (`anchors.py`).
    Raises ValueError: `span` is below 1.
    """
    if span < 1:
        raise ValueError(f"span must not be below 1, was {span}")
    sigma = np.full(len(series), np.nan)
    for segment in segments(series):
        for piece in pieces(segment, segment.start + 1):
            close = series.close[piece.lead_start : piece.stop]
            log_returns = pd.Series(np.log(close[1:] / close[:-1]))
            deviation = log_returns.ewm(span=span, min_periods=SIGMA_MIN_RETURNS).std().to_numpy()
            sigma[piece.start : piece.stop] = deviation[piece.start - piece.lead_start - 1 :]
    return sigma
