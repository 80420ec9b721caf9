"""Are the predictions of the last hours like those of the walk-forward? HOLD share, entropy,
confidence.

Pure: recent signals and a forecast in, findings out. Each statistic is averaged over the last hour
and longer, up to a week, and held against the bounds of windows of the same length
(`forecast.Band`). Not here: silence (`drought`), and where signals and forecast come from
(`health`).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trading_assets.rules.check import Level
from trading_assets.rules.decision import Action
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.forecast import Band, Forecast, MarketForecast, Statistic

# A window with fewer of its candles than this says nothing: missing ones are another check's.
LEAST_SHARE = 0.9
# A healthy model is beyond an error bound for a single hour now and then, a sick one stays there:
# two in a row leave a fifth of the false alarms (docs/droughts.md). Hours, or candles where those
# are longer.
FAILS_AFTER = 2
_HOUR = timedelta(hours=1)
_WORSE = (Level.OK, Level.WARN, Level.FAIL)
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
    rows: Iterable[Predicted], hours: int, forecast: Forecast, markets: int = 1, *, ago: int = 0
) -> tuple[Predicted, ...]:
    """Those of `rows` in the window of `hours` that ends with the newest; empty when it has holes.

    rows: of one market, or of `markets` of them together; at most one a market and candle. ago: it
    ends so many hours before, candles where those are longer.
    """
    every = tuple(rows)
    if not every:
        return ()
    candles = forecast.candles(hours)
    end = max(row.candle_time for row in every) - ago * _step(forecast)
    start = end - (candles - 1) * forecast.interval
    inside = tuple(row for row in every if start <= row.candle_time <= end)
    return inside if len(inside) >= LEAST_SHARE * candles * markets else ()


def _step(forecast: Forecast) -> timedelta:
    return max(_HOUR, forecast.interval)


def check_predictions(rows: Sequence[Predicted], forecast: Forecast) -> Iterator[Finding]:
    """One finding for each statistic and market that the forecast knows, and for all together."""
    by_market: dict[str, list[Predicted]] = {}
    for row in rows:
        by_market.setdefault(row.market, []).append(row)
    known = [m for m in forecast.markets if m != ALL_MARKETS]
    for market, expected in forecast.markets.items():
        together = market == ALL_MARKETS
        mine = [r for r in rows if r.market in known] if together else by_market.get(market, [])
        seen = _Seen(forecast, expected, mine, len(known) if together else 1)
        now = seen.windows()
        for name in expected.bands:
            yield _finding(name, seen, now)


_Windows = Mapping[int, Sequence[Predicted]]


@dataclass(frozen=True, slots=True)
class _Seen:
    """The predictions of one market, or of `markets` of them together, and what is expected."""

    forecast: Forecast
    expected: MarketForecast
    rows: Sequence[Predicted]
    markets: int

    def windows(self, ago: int = 0) -> _Windows:
        """By length in hours; those with holes are empty."""
        lengths = dict.fromkeys(h for bands in self.expected.bands.values() for h in bands)
        return {h: window(self.rows, h, self.forecast, self.markets, ago=ago) for h in lengths}

    def worst(self, name: Statistic, windows: _Windows) -> "_Measured | None":
        """In the worst of `windows`; of equal ones the longest. None without a whole one."""
        found = [
            _Measured(hours, statistic(name, windows[hours]), band)
            for hours, band in self.expected.bands[name].items()
            if windows[hours]
        ]
        return max(found, key=lambda m: (_WORSE.index(m.level(name)), m.hours), default=None)

    def lasts(self, name: Statistic) -> bool:
        """Whether it was beyond an error bound at each of the last FAILS_AFTER hours."""
        before = (self.worst(name, self.windows(ago)) for ago in range(1, FAILS_AFTER))
        return all(m is not None and m.level(name) is Level.FAIL for m in before)


@dataclass(frozen=True, slots=True)
class _Measured:
    """A statistic in a window of `hours`, beside the band of such windows."""

    hours: int
    value: float
    band: Band

    def level(self, name: Statistic) -> Level:
        if name.is_beyond(self.value, self.band.error):
            return Level.FAIL
        return Level.WARN if name.is_beyond(self.value, self.band.warn) else Level.OK


def _finding(name: Statistic, seen: _Seen, now: _Windows) -> Finding:
    check, market = _CHECKS[name], seen.expected.market
    worst = seen.worst(name, now)
    if worst is None:
        text = f"no whole window of {min(seen.expected.bands[name])} h or longer to compare"
        return Finding(check, market, Level.OK, text)
    level, band = worst.level(name), worst.band
    measured_as = f"{name.replace('_', ' ')} {worst.value:.3f} in {worst.hours} h"
    usual = f"usual {band.usual:.3f}"
    if level is Level.OK:
        side = "above" if name.is_worse_above else "below"
        return Finding(check, market, level, f"{measured_as}, odd {side} {band.warn:.3f}, {usual}")
    share, bound = ("1 %", band.error) if level is Level.FAIL else ("5 %", band.warn)
    text = f"{_SICK[name]}: {measured_as}, {share} bound {bound:.3f}, {usual}"
    if level is Level.FAIL and not seen.lasts(name):
        hours = FAILS_AFTER * _step(seen.forecast) / _HOUR
        return Finding(check, market, Level.WARN, f"{text}; fails if it lasts {hours:g} h", _FIX)
    return Finding(check, market, level, text, _FIX)
