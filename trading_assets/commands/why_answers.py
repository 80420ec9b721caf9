"""The questions of `why-hold` and their answers: pure, from facts to lines.

What stops every entry until somebody acts is FAIL. What passes by itself, or is the rule that the
user chose, is WARN or OK, however long it lasts. Not here: reading (`why_facts`), the screen and
the verdict (`why_hold`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from trading_assets.commands.signal_table import age
from trading_assets.commands.why_facts import OF_THE_ACCOUNT, Facts, MarketFacts
from trading_assets.models.staleness import is_expired, is_stale
from trading_assets.rules.check import Level
from trading_assets.rules.decision import Reason
from trading_assets.rules.funnel import FunnelCode
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.settings import ProfileName
from trading_assets.signals.findings import Check, Finding, worst_first
from trading_assets.signals.forecast import DROUGHT_HOURS, Forecast
from trading_assets.signals.forecast_words import percent
from trading_assets.signals.store import Signal

# As the doctor: a collection comes after each close; two intervals without one are an outage.
CANDLE_LIMIT_INTERVALS = 2
# A rule that says nothing in so many windows is a drought by design.
RARE_FROM = 0.95

_BROKEN = frozenset(
    {
        Reason.CHECKS_FAILED,
        Reason.ERROR,
        Reason.EXCHANGE_UNAVAILABLE,
        Reason.MARKET_MISSING,
    }
)
_PREDICTIONS = (Check.CONFIDENCE, Check.ENTROPY, Check.HOLD_SHARE, Check.INPUT_DRIFT)
_NAMES = {ALL_MARKETS: "together"}


@dataclass(frozen=True, slots=True)
class Answer:
    """One question answered for one market, or for all (market empty).

    short: the number alone, for a line that many markets share when all is well.
    """

    question: str
    level: Level
    market: str
    text: str
    fix: str = ""
    short: str = ""


def answers(facts: Facts) -> Iterator[Answer]:
    """Every answer, question by question, in the order of the screen."""
    questions: tuple[Callable[[Facts, MarketFacts], Iterator[Answer]], ...] = (
        data,
        model,
        market_awake,
    )
    for question in questions:
        for market in facts.markets:
            yield from question(facts, market)
    yield from predictions(facts)
    yield from threshold(facts)
    for market in facts.markets:
        yield from blocked(facts, market)
    yield from account(facts)
    yield from silence(facts)


def data(facts: Facts, m: MarketFacts) -> Iterator[Answer]:
    """Are the candles fresh, and was the model asked at each?"""
    limit = CANDLE_LIMIT_INTERVALS * facts.subject.interval
    if m.newest_close is None and facts.awaits_first_model(m):
        yield Answer("data", Level.WARN, m.market, "its candles are being collected", "wait")
        return
    if m.newest_close is None:
        yield Answer("data", Level.FAIL, m.market, "no candles collected yet", "make run")
        return
    old = facts.now - m.newest_close
    if old > limit:
        text = f"newest candle closed {age(old)} ago, at most {_hours(limit)}"
        yield Answer("data", Level.FAIL, m.market, text, "make run; make doctor")
        return
    made = _of(facts, Check.DECISIONS_MADE, m.market)
    asked = m.signal is None or m.signal.reason is not Reason.NO_CHAMPION
    if asked and made is not None and made.level is not Level.OK:
        yield Answer("data", made.level, m.market, made.text, made.fix)
        return
    yield Answer("data", Level.OK, m.market, f"newest candle closed {age(old)} ago", "", age(old))


def model(facts: Facts, m: MarketFacts) -> Iterator[Answer]:
    """Is there a model, and did a retraining confirm it lately?"""
    if facts.awaits_first_model(m):
        yield Answer("model", Level.WARN, m.market, "its first model is being trained", "wait")
        return
    if facts.awaits_first_signal(m):
        yield Answer("model", Level.WARN, m.market, "its first model is there, asked next", "wait")
        return
    if m.signal is not None and m.signal.reason is Reason.NO_CHAMPION:
        text = _no_champion(m, m.signal)
        yield Answer("model", Level.FAIL, m.market, text, "make run")
        return
    if m.confirmed_at is None:
        text = "never trained"
        yield Answer("model", Level.FAIL, m.market, text, "make materialize")
        return
    old = facts.now - m.confirmed_at
    since = f"confirmed {age(old)} ago"
    if is_expired(m.confirmed_at, facts.now, facts.entries_stop_after):
        text = f"{since}, entries stop after {_hours(facts.entries_stop_after)}"
        yield Answer("model", Level.FAIL, m.market, text, "make run, see `retrain`")
    elif is_stale(m.confirmed_at, facts.now, facts.retrain_after):
        text = f"{since}, retraining is due after {_hours(facts.retrain_after)}"
        yield Answer("model", Level.WARN, m.market, text, "make run")
    else:
        yield Answer("model", Level.OK, m.market, since, "", age(old))


def _no_champion(m: MarketFacts, signal: Signal) -> str:
    """Why there is no model: by the last training, where that ended after the last signal."""
    ended = m.training
    if ended is not None and not ended.passed and ended.decided_at > signal.created_at:
        return f"training ended without a model: {'; '.join(ended.reasons)}"
    return signal.detail or "no model has passed the gate yet"


def market_awake(facts: Facts, m: MarketFacts) -> Iterator[Answer]:
    """Is the market as lively as in the walk-forward?"""
    found = _of(facts, Check.MARKET_REGIME, m.market)
    if found is not None:
        place = found.text.partition("percentile ")[2].split(",")[0]
        yield Answer("market", found.level, m.market, found.text, found.fix, place)


def predictions(facts: Facts) -> Iterator[Answer]:
    """Are the probabilities alive: not flat, not stuck on one class?"""
    if facts.subject.forecast is None:
        text = "no evaluation has said yet what is usual"
        yield Answer("forecast", Level.WARN, "", text, "make run: the job `evaluate`")
    for market in (*(m.market for m in facts.markets), ALL_MARKETS):
        found = worst_first(
            f for f in facts.findings if f.check in _PREDICTIONS and f.market == market
        )
        if not found:
            continue
        worst = found[0]
        if worst.level is not Level.OK:
            yield Answer("predicted", worst.level, _name(market), worst.text, worst.fix)
            continue
        rows = [r for m in facts.markets for r in m.rows if m.market == market]
        if rows:
            mean = sum(r.predicted.confidence for r in rows) / len(rows)
            yield Answer("predicted", Level.OK, market, worst.text, "", f"{mean:.2f}")


def threshold(facts: Facts) -> Iterator[Answer]:
    """Is the rule one that this model ever meets?"""
    rule, expected = facts.subject.rule, facts.subject.forecast
    for m in facts.markets:
        if not m.rows:
            continue
        p_buy = max(r.predicted.p_buy for r in m.rows)
        ev = max(r.ev_net - rule.min_ev_net(r.close) for r in m.rows)
        short = f"{p_buy:.2f} {ev * 1e4:+.0f}"
        yield Answer("best", Level.OK, m.market, f"p_buy, EV over its minimum: {short}", "", short)
    if expected is not None:
        yield _threshold(facts, expected)


def _threshold(facts: Facts, expected: Forecast) -> Answer:
    rule, whole = facts.subject.rule, expected.whole
    least = float(rule.min_confidence)
    if least > whole.highest_p_buy:
        text = f"p_buy from {least:.0%} is needed, the highest ever was {whole.highest_p_buy:.1%}"
        return Answer("threshold", Level.FAIL, "", text, _setting(facts.profile, "MIN_CONFIDENCE"))
    if (rule.min_confidence, rule.min_ev_costs) != (expected.min_confidence, expected.min_ev_costs):
        text = (
            f"p_buy {rule.min_confidence}, EV {rule.min_ev_costs} x costs; evaluated was "
            f"{expected.min_confidence}, {expected.min_ev_costs} x costs"
        )
        return Answer("threshold", Level.WARN, "", text, "the job `evaluate`")
    rate = whole.rate
    name = "MIN_CONFIDENCE" if least > 0 else "MIN_EV_COSTS"
    text = f"p_buy {least:.0%}, EV {rule.min_ev_costs:g} x costs: "
    if rate.signals_a_day == 0:
        text += f"none in {whole.rows} candles"
        return Answer("threshold", Level.FAIL, "", text, _setting(facts.profile, name))
    text += rate.buys_a_day
    if rate.no_signal >= RARE_FROM:
        text += f", none in {percent(rate.no_signal)} of {DROUGHT_HOURS} h"
        return Answer("threshold", Level.WARN, "", text, _setting(facts.profile, name))
    return Answer("threshold", Level.OK, "", f"{text} expected")


def _setting(profile: ProfileName, name: str) -> str:
    return f"{profile.value.upper()}__{name}"


def blocked(facts: Facts, m: MarketFacts) -> Iterator[Answer]:
    """What the newest signal says, and what would refuse an entry in this market now."""
    signal = m.signal
    if signal is not None and signal.reason in _BROKEN:
        text = f"{signal.decision} {signal.reason}: {signal.detail}"
        yield Answer("rule", Level.FAIL, m.market, text, "make doctor")
        return
    if m.limit is not None and m.limit.code not in OF_THE_ACCOUNT:
        yield Answer("rule", Level.WARN, m.market, f"{m.limit.code}: {m.limit.detail}", "wait")
        return
    if signal is None:
        waits = facts.awaits_first_model(m) or facts.awaits_first_signal(m)
        fix = "wait" if waits else "make run"
        yield Answer("rule", Level.WARN, m.market, "no signal yet", fix)
        return
    busy = ", position open" if m.held else ""
    short = f"{signal.reason}{busy}"
    yield Answer("rule", Level.OK, m.market, f"{signal.decision} {short}", "", short)


def account(facts: Facts) -> Iterator[Answer]:
    """What refuses every entry, whatever the signals say."""
    if facts.halt is not None:
        yield Answer("blocked", Level.FAIL, "", f"halted, {facts.halt}", "trading-assets resume")
    if facts.not_enabled is not None:
        yield Answer("blocked", Level.WARN, "", facts.not_enabled)
    if facts.missing is not None:
        text = f"the account lacks {facts.missing}"
        yield Answer("blocked", Level.FAIL, "", text, "trading-assets reconcile")
    for market in facts.unknown:
        text = "an order's outcome is unknown"
        yield Answer("blocked", Level.FAIL, market, text, "trading-assets status")
    if facts.traded.profile is None:
        text = f"no_edge, {facts.traded.why}"
        yield Answer("blocked", Level.WARN, "", text, "trading-assets profiles")
    shared = {m.limit.code: m.limit for m in facts.markets if m.limit is not None}
    for code in OF_THE_ACCOUNT & shared.keys():
        # A halt follows a loss from the peak; a full account is busy, not blocked.
        level = Level.OK if code is FunnelCode.MAX_POSITIONS else Level.WARN
        fix = "TRADING__MAX_POSITIONS" if code is FunnelCode.MAX_POSITIONS else "wait, it passes"
        yield Answer("blocked", level, "", f"{code}: {shared[code].detail}", fix)
    if not facts.has_capital:
        text = "the ledger knows no capital before the first trade or reconcile"
        yield Answer("blocked", Level.WARN, "", text, "make run")
    found = _of(facts, Check.CONFIDENCE_STEPS, ALL_MARKETS)
    if found is not None and found.level is not Level.OK:
        yield Answer("size", found.level, "", found.text, found.fix)


def silence(facts: Facts) -> Iterator[Answer]:
    """Is the silence longer than usual, and does it come from signals or from trades?"""
    for question, check in (
        ("signals", Check.SIGNAL_DROUGHT),
        ("trades", Check.TRADE_DROUGHT),
    ):
        found = _of(facts, check, ALL_MARKETS)
        if found is not None:
            fix = "" if found.fix == "trading-assets why-hold" else found.fix
            yield Answer(question, found.level, "", found.text, fix)


def _of(facts: Facts, check: Check, market: str) -> Finding | None:
    return next((f for f in facts.findings if f.check is check and f.market == market), None)


def _name(market: str) -> str:
    return _NAMES.get(market, market)


def _hours(span: timedelta) -> str:
    return f"{span / timedelta(hours=1):g} h"
