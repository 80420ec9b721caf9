"""Silence: no BUY for too long, no decision for too long, and BUYs that became no trade.

Pure: what was counted in the database and a forecast in, findings out. A drought of signals (the
model asks for nothing) and a drought of trades (it asks, and nothing is bought) have different
causes and are told apart. Not here: the counting (`health`) and what predictions look like
(`bands`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from trading_assets.rules.check import Level
from trading_assets.rules.funnel import KINDS, FunnelCode, FunnelKind
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.forecast import DROUGHT_HOURS, Forecast, MarketForecast, Silence

# BUY signals since the last trade that ended with something broken; one may be an accident.
FAULTS_FAIL_AT = 3
# Of the last 21 hours' decisions.
MISSING_WARNS_ABOVE = 0.1
MISSING_FAILS_ABOVE = 0.5

_HOUR = timedelta(hours=1)
_WHY = "trading-assets why-hold"


@dataclass(frozen=True, slots=True)
class Quiet:
    """How long the model of a market has asked for nothing.

    candles: decided since the last BUY, or since the first decision where there never was one.
    Candles without a decision do not count: a system that was off was not silent.
    ever: whether there was a BUY at all.
    """

    market: str
    candles: int
    ever: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """How one BUY signal ended. held: whether its market had a position at that moment."""

    market: str
    code: FunnelCode
    at: datetime
    held: bool = False

    @property
    def kind(self) -> FunnelKind:
        """As `rules.funnel.KINDS`; a late one in a market with a position is the rules at work."""
        kind = KINDS[self.code]
        return FunnelKind.BUSY if kind is FunnelKind.LATE and self.held else kind


def check_signal_drought(quiet: Sequence[Quiet], forecast: Forecast) -> list[Finding]:
    """The silence of each market, and of all together, against that of the walk-forward.

    Only all together fail: one market alone is silent for weeks now and then.
    """
    known = [(q, forecast.markets[q.market]) for q in quiet if q.market in forecast.markets]
    return [_drought(q, expected, forecast.interval) for q, expected in known]


def _drought(quiet: Quiet, expected: MarketForecast, interval: timedelta) -> Finding:
    hours = quiet.candles * interval / _HOUR
    since = "since the last BUY" if quiet.ever else "and never a BUY"
    said = f"{hours:.0f} h {since}"
    rate = expected.rate
    if rate.signals_a_day == 0:
        text = f"{said}; the walk-forward had none in {expected.rows} candles"
        return Finding(Check.SIGNAL_DROUGHT, quiet.market, Level.WARN, text, _WHY)
    level, bound = _judged(hours, rate.signal_silence)
    if quiet.market != ALL_MARKETS and level is Level.FAIL:
        level, bound = Level.WARN, rate.signal_silence.warn
    share = "1 %" if level is Level.FAIL else "5 %"
    compared = "within" if level is Level.OK else "longer than"
    text = f"{said}; {compared} the {share} bound of {bound:.0f} h, {rate.buys_a_day} expected"
    fix = "" if level is Level.OK else _WHY
    return Finding(Check.SIGNAL_DROUGHT, quiet.market, level, text, fix)


def _judged(hours: float, silence: Silence) -> tuple[Level, float]:
    if hours > silence.error:
        return Level.FAIL, silence.error
    return (Level.WARN if hours > silence.warn else Level.OK), silence.warn


def check_trade_drought(
    ends: Sequence[Ended], now: datetime, forecast: Forecast | None = None
) -> Finding:
    """Whether BUY signals become trades.

    ends: of the traded profile's BUY signals, oldest first, at least since the last trade. Those
    that came while the bot was busy with a trade say nothing. Fails when three of those after the
    last trade ended with something broken, or when the first of them is longer ago than the bot
    was without a trade in 99 % of the walk-forward; warns while there are any.
    """
    traded = [i for i, end in enumerate(ends) if end.code is FunnelCode.TRADED]
    after = [e for e in ends[traded[-1] + 1 if traded else 0 :] if e.kind is not FunnelKind.BUSY]
    if not after:
        said = "the last BUY became a trade" if traded else "no BUY waits for a trade"
        return Finding(Check.TRADE_DROUGHT, ALL_MARKETS, Level.OK, said)
    faults = [e for e in after if e.kind in {FunnelKind.STOPPED, FunnelKind.LATE}]
    since = (now - after[0].at) / _HOUR
    reasons = ", ".join(f"{n} {code}" for code, n in Counter(e.code for e in after).most_common())
    text = f"{len(after)} BUY in {since:.0f} h, no trade: {reasons}"
    if len(faults) >= FAULTS_FAIL_AT:
        text += f"; {len(faults)} faults, {FAULTS_FAIL_AT - 1} may be"
        return Finding(Check.TRADE_DROUGHT, ALL_MARKETS, Level.FAIL, text, "trading-assets funnel")
    silence = None if forecast is None else forecast.whole.rate.trade_silence
    if silence is not None and since > silence.error:
        text += f"; longer than the 1 % bound of {silence.error:.0f} h"
        return Finding(Check.TRADE_DROUGHT, ALL_MARKETS, Level.FAIL, text, "trading-assets funnel")
    return Finding(Check.TRADE_DROUGHT, ALL_MARKETS, Level.WARN, text, "trading-assets funnel")


def check_decisions_made(
    market: str, decided: int, due: int, reasons: Sequence[tuple[str, int]]
) -> Finding:
    """Whether the model was asked at every candle of the last DROUGHT_HOURS.

    decided: candles with a decision. due: candles that closed since signals began, at most those
    of the window. reasons: why there was none, most common first.
    """
    missing = max(0, due - decided)
    share = missing / due if due else 0.0
    said = ", ".join(f"{n} {reason}" for reason, n in reasons) or "no signal was made"
    text = f"{decided} of {due} candles of the last {DROUGHT_HOURS} h were decided on"
    if share <= MISSING_WARNS_ABOVE:
        return Finding(Check.DECISIONS_MADE, market, Level.OK, text)
    level = Level.FAIL if share > MISSING_FAILS_ABOVE else Level.WARN
    limit = MISSING_FAILS_ABOVE if level is Level.FAIL else MISSING_WARNS_ABOVE
    text += f", more than {limit:.0%} are missing: {said}"
    return Finding(Check.DECISIONS_MADE, market, level, text, "make run; make doctor")
