"""The look-ahead and recursion analyses as checks of a retraining, on a few histories.

Values in, outcomes out. Not here: the analyses (`lookahead`, `recursion`), the full ones by command
(`commands.causality`), and where an outcome is shown (`orchestration`).
"""

from collections.abc import Sequence

from trading_assets.backtest.lookahead import LookaheadFinding, lookahead
from trading_assets.backtest.quantities import Family, features, label_inputs, labels
from trading_assets.backtest.recursion import RecursionFinding, recursion
from trading_assets.candles.recorded import StoredCandles
from trading_assets.errors import NotEnoughHistory
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile

# At random; the places where something begins anew are cut at as well.
_CUTS = 3


def check_features_cut(stored: StoredCandles, seed: int) -> tuple[CheckOutcome, CheckOutcome]:
    """`features_lookahead` and `features_recursion`, both blocking. seed: of the histories."""
    return (
        _lookahead("features_lookahead", stored, (features(),), seed),
        _recursion("features_recursion", stored, (features(),), seed),
    )


def check_labels_cut(
    stored: StoredCandles, profile: Profile, costs: Costs, seed: int
) -> CheckOutcome:
    """`labels_lookahead`, blocking: a label sees its horizon only, its inputs not even that."""
    families = label_inputs(profile, costs), labels(profile, costs)
    return _lookahead("labels_lookahead", stored, families, seed)


def _lookahead(
    name: str, stored: StoredCandles, families: Sequence[Family], seed: int
) -> CheckOutcome:
    try:
        found = lookahead(stored, families, cuts=_CUTS, seed=seed)
    except NotEnoughHistory as exc:
        return CheckOutcome(name, True, str(exc), blocking=False)
    return _outcome(name, found, "sees a later candle")


def _recursion(
    name: str, stored: StoredCandles, families: Sequence[Family], seed: int
) -> CheckOutcome:
    try:
        found = recursion(stored, families, count=_CUTS, seed=seed)
    except NotEnoughHistory as exc:
        return CheckOutcome(name, True, str(exc), blocking=False)
    return _outcome(name, found, "depends on how far back is read")


def _outcome(
    name: str, found: Sequence[LookaheadFinding | RecursionFinding], wrong: str
) -> CheckOutcome:
    # A value that no history has (a young market's labels) is other checks' business.
    bad = [f for f in found if f.differing]
    compared = sum(f.compared for f in found)
    reason = (
        "; ".join(f"{f.name} {wrong}: {f.first}" for f in bad)
        if bad
        else f"none of {len(found)} values {wrong} ({compared:,} pairs compared)"
    )
    return CheckOutcome(
        name, not bad, reason, values={"compared": compared, "wrong_values": len(bad)}
    )
