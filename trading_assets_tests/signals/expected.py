"""A forecast made by hand: round numbers, so that every bound can be met exactly."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.signals.forecast import (
    PROFILE_RULE,
    THRESHOLDS,
    Band,
    Forecast,
    MarketForecast,
    Rate,
    Silence,
    Statistic,
    StepForecast,
    threshold_rule,
)

MADE = datetime(2026, 1, 1, tzinfo=UTC)
BTC, ETH = "KRW-BTC", "KRW-ETH"

RATE = Rate(
    signals_a_day=0.4,
    no_signal=0.71,
    signal_silence=Silence(five=60.0, one=90.0, longest=120.0, warn=80.0, error=100.0),
    trades_a_day=0.3,
    no_trade=0.77,
    trade_silence=Silence(five=70.0, one=100.0, longest=130.0, warn=90.0, error=110.0),
)
# HOLD share is worse above, the others below: warn and error lie on the sick side of `usual`.
HOLD = Band(usual=0.6, five=0.8, one=0.85, warn=0.9, error=0.95)
ENTROPY = Band(usual=0.9, five=0.7, one=0.6, warn=0.5, error=0.3)
CONFIDENCE = Band(usual=0.5, five=0.42, one=0.40, warn=0.39, error=0.36)
BANDS = {
    Statistic.HOLD_SHARE: dict.fromkeys((1, 3, 6, 21), HOLD),
    Statistic.ENTROPY: dict.fromkeys((1, 3, 6, 21), ENTROPY),
    Statistic.CONFIDENCE: dict.fromkeys((1, 3, 6, 21), CONFIDENCE),
}


def market_forecast(market: str = BTC, **changes: Any) -> MarketForecast:
    """18,000 hourly predictions; volatility percentiles 0.00 %, 0.01 %, ..., 1.00 %."""
    made = MarketForecast(
        market=market,
        first=datetime(2024, 1, 1, tzinfo=UTC),
        last=datetime(2025, 12, 31, tzinfo=UTC),
        rows=18_000,
        windows=17_900,
        independent=857,
        rates={
            PROFILE_RULE: RATE,
            **{threshold_rule(t): replace(RATE, signals_a_day=2 * (0.7 - t)) for t in THRESHOLDS},
        },
        bands=BANDS,
        label_shares=(0.25, 0.5, 0.25),
        predicted_shares=(0.1, 0.8, 0.1),
        volatility=() if market == ALL_MARKETS else tuple(i / 10_000 for i in range(101)),
        highest_p_buy=0.72,
        steps=(StepForecast(0.6, 40, 0.64, 0.6, 0.002), StepForecast(0.0, 700, 0.44, 0.4, 0.0005)),
    )
    return replace(made, **changes)


def expected(
    *markets: MarketForecast, profile: str = "swing", interval: timedelta = timedelta(hours=1)
) -> Forecast:
    """Of `markets` (BTC when none is given) and all together, which are like BTC by default."""
    every = {m.market: m for m in (markets or (market_forecast(),))}
    every.setdefault(ALL_MARKETS, market_forecast(ALL_MARKETS))
    return Forecast(
        profile=profile,
        recipe="lightgbm",
        made_at=MADE,
        interval_minutes=int(interval / timedelta(minutes=1)),
        min_confidence=Decimal(0),
        min_ev_costs=Decimal(1),
        markets=every,
    )
