"""`trading-assets why-hold`: why nothing is bought, in one screen, with a verdict.

At most 40 lines of 100 columns: what is well takes one line a question for all markets together,
what is not has a line a market with the number, the rule and what changes it. Reads the database
and the candle store; needs no server, no model, no evaluation and no network. Dagster is asked what
it does only while the first models are made.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby

from trading_assets.commands.dagster_web import RunLine, runs_in_progress, runs_in_words
from trading_assets.commands.only_one import OnlyOne
from trading_assets.commands.signal_table import age, heading
from trading_assets.commands.why_answers import Answer, answers
from trading_assets.commands.why_facts import Facts, facts
from trading_assets.database import open_database
from trading_assets.errors import MigrationNeeded, NotReadyYet
from trading_assets.rules.check import Level
from trading_assets.settings import Settings
from trading_assets.signals.forecast import DROUGHT_HOURS
from trading_assets.signals.forecast_words import percent
from trading_assets.world import world_of

COLUMNS = 100
# Lines of markets that are not well, a question; the rest is counted.
MOST_MARKETS = 4
_CUT = "..."
# What the numbers of a line that markets share are.
_LEADS = {
    "data": "since the newest close: ",
    "model": "since it was confirmed: ",
    "market": "percentile of volatility: ",
    "predicted": "mean confidence: ",
    "best": "p_buy, and EV over its minimum in bp: ",
    "rule": "the last signal says: ",
}


def why_hold(
    settings: Settings,
    now: datetime,
    say: Callable[[str], None],
    runs: Callable[[int], Sequence[RunLine]] = runs_in_progress,
) -> int:
    """Print the screen; the exit code is 0 when silence is normal and 1 when it is sick.

    runs: what Dagster does, by the port of its web server. Raises MigrationNeeded when the world
    was never prepared and no `make run` is about to.
    """
    world = world_of(settings)
    try:
        engine = open_database(settings, world)
    except MigrationNeeded:
        began = OnlyOne(world.run).running_since()
        if began is None:
            raise
        say(f"normal: `make run` began {age(now - began)} ago and prepares the world")
        return 0
    try:
        known = facts(settings, world, engine, now)
    finally:
        engine.dispose()
    every = list(answers(known))
    say(fitted(heading(settings, known.traded)))
    say(fitted(summary(known)))
    for shown in lines(every):
        say(shown)
    if first_steps(known) is not None:
        say(line(Answer("now", Level.OK, "", _doing(settings, runs))))
    say(fitted(verdict(known, every)))
    return int(any(a.level is Level.FAIL for a in every))


def _doing(settings: Settings, runs: Callable[[int], Sequence[RunLine]]) -> str:
    try:
        return runs_in_words(runs(settings.dagster_port))
    except NotReadyYet:
        return "Dagster's web server does not answer yet"


def summary(known: Facts) -> str:
    """The last BUY and the last trade, and what the judgements of 21 hours were."""
    rows = [r for m in known.markets for r in m.rows]
    counts = ", ".join(
        f"{sum(r.decision == action for r in rows)} {action}" for action in ("BUY", "HOLD", "SELL")
    )
    traded = "never" if known.last_trade is None else f"{age(known.now - known.last_trade)} ago"
    if known.last_buy is None:
        bought = f"not in {DROUGHT_HOURS} h"
    else:
        bought = f"{age(known.now - known.last_buy)} ago"
    return (
        f"{known.now:%Y-%m-%d %H:%M} UTC, last {DROUGHT_HOURS} h: {counts}; last BUY {bought}, "
        f"last trade {traded}"
    )


def lines(every: Iterable[Answer]) -> Iterator[str]:
    """The answers as lines, those of one question together."""
    for question, group in groupby(every, key=lambda a: a.question):
        of = list(group)
        yield from _shared(question, [a for a in of if a.level is Level.OK and a.short])
        own = [a for a in of if not (a.level is Level.OK and a.short)]
        shown = own if len(own) <= MOST_MARKETS else own[: MOST_MARKETS - 1]
        yield from (line(a) for a in shown)
        if len(own) > len(shown):
            rest = own[len(shown) :]
            worst = Level.FAIL if any(a.level is Level.FAIL for a in rest) else Level.WARN
            yield f"{worst:<4}  {question:<9} and {len(rest)} markets more"


def _shared(question: str, of: Sequence[Answer]) -> Iterator[str]:
    """One line for all markets that are well; those that find no room are counted."""
    if not of:
        return
    start = f"{Level.OK:<4}  {question:<9} {_LEADS.get(question, '')}"
    names = [f"{a.market.removeprefix('KRW-')} {a.short}" for a in of]
    for count in range(len(names), 0, -1):
        more = f", {len(names) - count} more" if count < len(names) else ""
        text = start + ", ".join(names[:count]) + more
        if len(text) <= COLUMNS or count == 1:
            yield fitted(text)
            return


def line(answer: Answer) -> str:
    """One answer; where it is too long its text is cut, never its fix."""
    market = f"{answer.market} " if answer.market else ""
    start = f"{answer.level:<4}  {answer.question:<9} {market}"
    end = f" -> {answer.fix}" if answer.fix else ""
    return start + fitted(answer.text, COLUMNS - len(start) - len(end)) + end


def verdict(known: Facts, every: Sequence[Answer]) -> str:
    """`normal: ...` or `sick: ...`, with the reason."""
    failed = [a for a in every if a.level is Level.FAIL]
    if failed:
        causes = list(dict.fromkeys(a.question for a in failed))
        first = failed[0]
        market = f" {first.market}" if first.market else ""
        others = f"; also {', '.join(causes[1:])}" if len(causes) > 1 else ""
        said = f"sick: {first.question}{market}: "
        return said + fitted(first.text, COLUMNS - len(said) - len(others)) + others
    beginning = first_steps(known)
    if beginning is not None:
        return f"normal: {beginning}"
    if known.traded.profile is None:
        return f"normal: nothing is entered, {known.traded.why}"
    if known.not_enabled is not None:
        return f"normal: {known.not_enabled}"
    forecast = known.subject.forecast
    if forecast is None:
        return "normal as far as can be told: no evaluation has said how rare a BUY is"
    rate = forecast.whole.rate
    return (
        f"normal: none in {DROUGHT_HOURS} h happens in {percent(rate.no_signal)} of windows "
        f"({rate.buys_a_day} expected)"
    )


def first_steps(known: Facts) -> str | None:
    """What `make run` does before the first signals are out; None when it has done it."""
    if known.started_at is None:
        return None
    began, every = f"`make run` began {age(known.now - known.started_at)} ago", len(known.markets)
    if training := sum(known.awaits_first_model(m) for m in known.markets):
        return f"{began} and trains the first models, {training} of {every} markets have none yet"
    if waiting := sum(known.awaits_first_signal(m) for m in known.markets):
        return f"{began}, the first models are there, {waiting} of {every} give no signal yet"
    return None


def fitted(text: str, columns: int = COLUMNS) -> str:
    """`text` in one line of at most `columns`, cut with three dots where it is longer."""
    flat = text.replace("\n", " ")
    return flat if len(flat) <= columns else flat[: max(0, columns - len(_CUT))] + _CUT
