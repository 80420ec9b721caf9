"""Are the predictions of the last hours like those of the walk-forward? HOLD share, entropy,
confidence.

Pure: recent signals and a forecast in, findings out. Each statistic is averaged over the last 1, 3,
6 and 21 hours and held against the bounds of windows of the same length (`forecast.Band`). Not
here: silence (`drought`), and where signals and forecast come from (`health`).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from trading_assets.rules.check import Level
from trading_assets.rules.decision import Action
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.forecast import Band, Forecast, MarketForecast, Statistic

# A window with fewer of its candles than this says nothing: missing ones are another check's.
LEAST_SHARE = 0.9
_CHECKS = {
    Statistic.HOLD_SHARE: Check.HOLD_SHARE,
    Statistic.ENTROPY: Check.ENTROPY,
    Statistic.CONFIDENCE: Check.CONFIDENCE,
}
_SICK = {
    Statistic.HOLD_SHARE: "too much HOLD",
    Statistic.ENTROPY: "too sure",
    Statistic.CONFIDENCE: "flat",
}
_FIX = "make materialize"


@dataclass(frozen=True, slots=True)
class Predicted:
    """One prediction. candle_time: start of its candle, aware UTC. Probabilities sum to 1."""

    market: str
    candle_time: datetime
    p_sell: float
    p_hold: float
    p_buy: float

    @property
    def holds(self) -> bool:
        """Whether HOLD is the predicted class (of equal ones HOLD comes first, as in the rule)."""
        return self.p_hold >= max(self.p_sell, self.p_buy)

    @property
    def confidence(self) -> float:
        return max(self.p_sell, self.p_hold, self.p_buy)

    @property
    def entropy(self) -> float:
        """In units of log 3."""
        p = (self.p_sell, self.p_hold, self.p_buy)
        return -math.fsum(x * math.log(x) for x in p if x > 0) / math.log(3)

    @property
    def predicted_class(self) -> Action:
        if self.holds:
            return Action.HOLD
        return Action.SELL if self.p_sell >= self.p_buy else Action.BUY


def statistic(name: Statistic, rows: Sequence[Predicted]) -> float:
    """The mean of one statistic over `rows` (at least one)."""
    if name is Statistic.HOLD_SHARE:
        return sum(row.holds for row in rows) / len(rows)
    if name is Statistic.ENTROPY:
        return math.fsum(row.entropy for row in rows) / len(rows)
    return math.fsum(row.confidence for row in rows) / len(rows)


def window(
    rows: Iterable[Predicted], hours: int, forecast: Forecast, markets: int = 1
) -> tuple[Predicted, ...]:
    """Those of `rows` in the window of `hours` that ends with the newest; empty when it has holes.

    rows: of one market, or of `markets` of them together; at most one a market and candle.
    """
    every = tuple(rows)
    if not every:
        return ()
    candles = forecast.candles(hours)
    newest = max(row.candle_time for row in every)
    start = newest - (candles - 1) * forecast.interval
    inside = tuple(row for row in every if row.candle_time >= start)
    return inside if len(inside) >= LEAST_SHARE * candles * markets else ()


def check_predictions(rows: Sequence[Predicted], forecast: Forecast) -> Iterator[Finding]:
    """One finding for each statistic and market that the forecast knows, and for all together."""
    by_market: dict[str, list[Predicted]] = {}
    for row in rows:
        by_market.setdefault(row.market, []).append(row)
    for market, expected in forecast.markets.items():
        together = market == ALL_MARKETS
        known = [m for m in forecast.markets if m != ALL_MARKETS]
        mine = [r for r in rows if r.market in known] if together else by_market.get(market, [])
        windows = {
            hours: window(mine, hours, forecast, len(known) if together else 1)
            for hours in _hours(expected)
        }
        for name in expected.bands:
            yield _finding(name, expected, windows)


def _hours(expected: MarketForecast) -> tuple[int, ...]:
    return tuple(dict.fromkeys(h for bands in expected.bands.values() for h in bands))


def _finding(
    name: Statistic, expected: MarketForecast, windows: Mapping[int, Sequence[Predicted]]
) -> Finding:
    check = _CHECKS[name]
    measured = {
        hours: statistic(name, windows[hours]) for hours in expected.bands[name] if windows[hours]
    }
    if not measured:
        text = f"no whole window of {min(expected.bands[name])} h or longer to compare"
        return Finding(check, expected.market, Level.OK, text)
    hours = max(measured, key=lambda h: (_severity(name, measured[h], expected.bands[name][h]), h))
    value, band = measured[hours], expected.bands[name][hours]
    level = _level(name, value, band)
    bound = band.error if level is Level.FAIL else band.warn
    side = "above" if name.is_worse_above else "below"
    measured_as = f"{name.replace('_', ' ')} {value:.3f} in {hours} h"
    usual = f"usual {band.usual:.3f}"
    if level is Level.OK:
        text = f"{measured_as}, odd {side} {bound:.3f}, {usual}"
        return Finding(check, expected.market, level, text)
    share = "1 %" if level is Level.FAIL else "5 %"
    text = f"{_SICK[name]}: {measured_as}, {share} bound {bound:.3f}, {usual}"
    return Finding(check, expected.market, level, text, _FIX)


def _level(name: Statistic, value: float, band: Band) -> Level:
    if name.is_beyond(value, band.error):
        return Level.FAIL
    return Level.WARN if name.is_beyond(value, band.warn) else Level.OK


def _severity(name: Statistic, value: float, band: Band) -> int:
    return (Level.OK, Level.WARN, Level.FAIL).index(_level(name, value, band))
