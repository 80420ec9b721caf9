"""The slow account with one rule changed: what the comparison with the engine has to notice.

A mutant is a line of the slow account or of `rules` with another text in its place, loaded beside
the real modules, which stay as they are. Not here: the comparison (`test_parity.py`).
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

SLOW = "trading_assets_tests.backtest.slow_account"
_RULES = "trading_assets.rules."


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed rule. old stands in the module exactly once."""

    name: str
    module: str
    old: str
    new: str


def slow_account_of(mutant: Mutant) -> Any:
    """The class SlowAccount as it is under the changed rule."""
    with _loaded_anew():
        _load(mutant)
        return import_module(SLOW).SlowAccount


def _load(mutant: Mutant) -> None:
    spec = find_spec(mutant.module)
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1, f"{mutant.name}: the rule's text is gone, or there twice"
    module = module_from_spec(spec)
    sys.modules[mutant.module] = module
    code = compile(source.replace(mutant.old, mutant.new), f"<{mutant.name}>", "exec")
    exec(code, module.__dict__)


@contextmanager
def _loaded_anew() -> Iterator[None]:
    """Within it `rules` and the slow account are imported again; afterwards all is as before."""
    before = {name: m for name, m in sys.modules.items() if _is_ours(name)}
    for name in before:
        del sys.modules[name]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if _is_ours(name)]:
            del sys.modules[name]
        for name, module in before.items():
            _put_back(name, module)


def _put_back(name: str, module: ModuleType) -> None:
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    setattr(sys.modules[parent], child, module)


def _is_ours(name: str) -> bool:
    return name == SLOW or name.startswith(_RULES)


def _in_account(name: str, old: str, new: str) -> Mutant:
    return Mutant(name, SLOW, old, new)


def _in_rules(name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(name, _RULES + module, old, new)


_STOP = """            if bar.low <= plan.stop_price:
                self._leave(m, close, min(plan.stop_price, bar.open), TradeEnd.STOP_LOSS)
"""
_TAKE = """            elif bar.high >= plan.take_price:
                self._leave(m, close, max(plan.take_price, bar.open), TradeEnd.TAKE_PROFIT)
"""

MUTANTS = (
    # Barriers and times.
    _in_account("a touched stop holds", "bar.low <= plan.stop_price", "bar.low < plan.stop_price"),
    _in_account("a touched take holds", "high >= plan.take_price", "high > plan.take_price"),
    _in_account(
        "take before stop",
        _STOP + _TAKE,
        _TAKE.replace("elif", "if", 1) + _STOP.replace("if", "elif", 1),
    ),
    _in_account("a gap is sold at the stop", "min(plan.stop_price, bar.open)", "plan.stop_price"),
    _in_account("a gap is sold at the take", "max(plan.take_price, bar.open)", "plan.take_price"),
    _in_account("a candle too long", "elif close >= plan.deadline", "elif close > plan.deadline"),
    _in_account(
        "SELL before deadline",
        "elif close >= plan.deadline:",
        "elif close >= plan.deadline and not self._sells(m, bar):",
    ),
    _in_rules("stop rounded down", "exits", "(stop), ROUND_CEILING)", "(stop), ROUND_FLOOR)"),
    _in_rules("take rounded up", "exits", "(take), ROUND_FLOOR)", "(take), ROUND_CEILING)"),
    _in_rules("stop on the entry's grid", "exits", "tick_at(stop)", "tick_at(average_price)"),
    _in_rules("take on the entry's grid", "exits", "tick_at(take)", "tick_at(average_price)"),
    _in_rules(
        "timeout a microsecond longer",
        "exits",
        "entered_at + terms.timeout",
        "entered_at + terms.timeout + timedelta(microseconds=1)",
    ),
    _in_rules("no stop at the open", "exits", "if bid <= plan.stop_price", "if False"),
    # Money.
    _in_account(
        "no fee on the sale",
        "self.costs.fee_rate * (funds + proc",
        "self.costs.fee_rate * (funds + 0 * proc",
    ),
    _in_account("a sale without fee in cash", "proceeds * (1 - self.costs.fee_rate)", "proceeds"),
    _in_account(
        "a purchase without fee in cash",
        "entry.size.volume * ask * (1 + self.costs.fee_rate)",
        "entry.size.volume * ask",
    ),
    _in_account(
        "no slippage on the sale",
        "return price * (1 - self.costs",
        "return price * (1 - 0 * self.costs",
    ),
    _in_account(
        "no slippage on the purchase",
        "return level * (1 + self.costs",
        "return level * (1 + 0 * self.costs",
    ),
    # Limits.
    _in_account("a stop rests like a take", "reason is TradeEnd.STOP_LOSS", "False"),
    _in_rules("rests a moment longer", "limits", "now < rest_end", "now <= rest_end"),
    _in_rules("pauses a moment longer", "limits", "now < pause_end", "now <= pause_end"),
    _in_rules("a shorter stop window", "limits", "<= limits.stop_window", "< limits.stop_window"),
    _in_rules(
        "one position more",
        "limits",
        "live_positions >= limits.max_p",
        "live_positions > limits.max_p",
    ),
    _in_rules(
        "a day's loss recovers",
        "limits",
        "min(last.day_low_pnl, pnl) if same_day",
        "pnl if same_day",
    ),
    _in_rules(
        "the peak stays", "limits", "max(last.peak_pnl, pnl), day_start", "last.peak_pnl, day_start"
    ),
    _in_rules("days of London", "limits", "moment.astimezone(KOREA).date()", "moment.date()"),
    _in_account("no resume", "at >= self.halted_at + wait", "at > self.halted_at + wait"),
    # Sizes and prices of an entry.
    _in_rules("volumes rounded up", "sizing", "rounding=ROUND_DOWN", "rounding=ROUND_CEILING"),
    _in_rules("no buffer", "sizing", "min_notional * (1 + buffer)", "min_notional"),
    _in_rules(
        "the fee is not set aside", "sizing", "funds.available / (1 + fee_rate)", "funds.available"
    ),
    _in_rules(
        "no room is no limit",
        "sizing",
        "min(target, funds.room, affordable)",
        "min(target, affordable)",
    ),
    _in_rules("limit price to the nearest tick", "entry", "(rounding=ROUND_FLOOR)", "()"),
    _in_rules("the slippage is paid twice", "entry", "- round_trip + slippage", "- round_trip"),
    _in_rules(
        "an expired signal trades",
        "entry",
        "now >= candidate.expires_at",
        "now > candidate.expires_at",
    ),
)
