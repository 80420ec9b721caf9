"""Which profile `auto` trades: the best of those that earn more than their costs, or none.

Pure values in, a choice out. A profile has an edge when the mean net of a trade, after costs, has a
90 % lower bound above zero over resampled weeks (one-sided: in one of ten samples of a profile that
earns nothing, chance alone gets there). The best has the highest mean. A profile that is traded
is kept until another beats it by more than the noise of their difference in the same weeks, so that
two equal ones do not take turns; it is left at once when its own edge is gone. Not here: making
the evaluations (`profile_evaluation.py`), storing the choice (`signals.choices`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from trading_assets.backtest.statistics import (
    Blocks,
    FloatArray,
    Interval,
    TimeArray,
    mean_difference_interval,
    mean_interval,
)
from trading_assets.candles.frame import TIMES, to_us
from trading_assets.signals.choices import Choice, ChoiceReason, ProfileNumbers

# Below this a mean proves nothing: the resampled weeks would be too few to show how it varies.
LEAST_TRADES = 30
LEAST_WEEKS = 6
# The interval that is shown; and the one whose lower end is the one-sided 90 % bound.
SHOWN, ONE_SIDED = 0.9, 0.8


@dataclass(frozen=True, slots=True, eq=False)
class ProfileEvaluation:
    """The simulated account of one profile, trade by trade.

    markets: of the account. evaluated_at: close of the last candle that it knows. start, end: of
    the out-of-sample stretch, aware UTC, end exclusive. signal_time, net_bp, gross_bp: (n,) per
    trade in any order, 1e-4 of what was paid. random_bp: net per trade of entries at random in the
    same number, NaN without any.
    """

    profile: str
    markets: tuple[str, ...]
    evaluated_at: datetime
    start: datetime
    end: datetime
    signal_time: TimeArray
    net_bp: FloatArray
    gross_bp: FloatArray
    random_bp: float

    def __post_init__(self) -> None:
        if not self.end > self.start:
            raise ValueError(f"{self.profile}: the end {self.end} must be after {self.start}")
        for name in ("net_bp", "gross_bp"):
            if getattr(self, name).shape != self.signal_time.shape:
                raise ValueError(f"{self.profile}: {name} must have one value a trade")
        if not np.isfinite(self.net_bp).all():
            raise ValueError(f"{self.profile}: net_bp must be finite")

    @property
    def weeks(self) -> Blocks:
        """The stretch in weeks from its start."""
        return _weeks(self.start, self.end)


def choose(
    evaluations: Sequence[ProfileEvaluation],
    before: Choice | None,
    now: datetime,
    *,
    valid_for: timedelta,
    seed: int,
    missing: Sequence[str] = (),
    run_id: str | None = None,
) -> Choice:
    """The choice that holds from `now` on.

    evaluations: one a profile, in the order of PROFILES (which decides between equals). before: the
    choice that held. valid_for: an evaluation older than this proves nothing. seed: of resampling.
    missing: profiles without an evaluation, to be named.
    """
    if len({e.profile for e in evaluations}) < len(evaluations):
        raise ValueError("each profile must be evaluated once")
    numbers = tuple(profile_numbers(e, now, valid_for=valid_for, seed=seed) for e in evaluations)
    by_profile = {n.profile: n for n in numbers}
    good = [e for e in evaluations if by_profile[e.profile].has_edge]
    # Stable: of equal ones the first.
    good.sort(key=lambda e: -float(e.net_bp.mean()))
    held = None if before is None else before.profile
    chosen, reason, detail = _chosen(good, held, seed)
    kept = reason is ChoiceReason.KEPT and before is not None
    said = [detail if good else _no_edge(numbers), *(f"{m}: not evaluated yet" for m in missing)]
    return Choice(
        decided_at=now,
        profile=None if chosen is None else chosen.profile,
        since=None if chosen is None else before.since if kept and before else now,
        reason=reason,
        detail="; ".join(part for part in said if part),
        evaluated_at=None if chosen is None else chosen.evaluated_at,
        numbers=numbers,
        run_id=run_id,
    )


def profile_numbers(
    evaluation: ProfileEvaluation, now: datetime, *, valid_for: timedelta, seed: int
) -> ProfileNumbers:
    """What `evaluation` says, and whether it proves an edge at `now`."""
    net, weeks = evaluation.net_bp, evaluation.weeks
    traded = len(np.unique(weeks.of(evaluation.signal_time)))
    days = (evaluation.end - evaluation.start) / timedelta(days=1)
    enough = len(net) >= LEAST_TRADES and traded >= LEAST_WEEKS
    low, high, bound = _bounds(evaluation, seed) if enough else (None, None, None)
    age = now - evaluation.evaluated_at
    verdict = _verdict(len(net), traded, bound, age, valid_for)
    return ProfileNumbers(
        profile=evaluation.profile,
        evaluated_at=evaluation.evaluated_at,
        first=evaluation.start,
        last=evaluation.end,
        trades=len(net),
        trades_a_day=len(net) / days,
        net_bp=_mean(net),
        net_low_bp=low,
        net_high_bp=high,
        bound_bp=bound,
        gross_bp=_mean(evaluation.gross_bp),
        random_bp=None if np.isnan(evaluation.random_bp) else float(evaluation.random_bp),
        has_edge=bound is not None and bound > 0 and age <= valid_for,
        verdict=verdict,
        markets=evaluation.markets,
    )


def gain_bound(other: ProfileEvaluation, held: ProfileEvaluation, seed: int) -> float | None:
    """90 % lower bound of `gain`, bp. None when nothing can be said."""
    found = gain(other, held, seed, coverage=ONE_SIDED)
    return None if found is None else found.low


def gain(
    other: ProfileEvaluation, held: ProfileEvaluation, seed: int, *, coverage: float = SHOWN
) -> Interval | None:
    """How much more a trade of `other` earns than one of `held`, bp, by resampled weeks.

    Paired: each draw takes the same weeks of both, out of those that both cover. None with fewer
    than LEAST_WEEKS of them, or when one of the two did not trade there: then nothing can be said.
    """
    start, end = max(other.start, held.start), min(other.end, held.end)
    if end - start < LEAST_WEEKS * timedelta(days=7):
        return None
    weeks = _weeks(start, end)
    found = mean_difference_interval(
        _trades_in(other, weeks), _trades_in(held, weeks), weeks, seed, coverage=coverage
    )
    return found if np.isfinite(found.low) else None


def _chosen(
    good: Sequence[ProfileEvaluation], held: str | None, seed: int
) -> tuple[ProfileEvaluation | None, ChoiceReason, str]:
    """(profile, why, in words); good: those with an edge, the best first."""
    if not good:
        return None, ChoiceReason.NO_EDGE, ""
    kept = next((e for e in good if e.profile == held), None)
    if kept is None:
        reason = ChoiceReason.CHOSEN if held is None else ChoiceReason.SWITCHED
        left = "" if held is None else f"; {held} has no edge any more"
        return good[0], reason, f"{_earns(good[0])}, the best of {len(good)} with an edge{left}"
    said = ""
    for better in good[: good.index(kept)]:
        bound = gain_bound(better, kept, seed)
        if bound is not None and bound > 0:
            words = f"{_earns(better)}, at least {bound:+.1f} bp more than {held} in the same weeks"
            return better, ChoiceReason.SWITCHED, words
        noise = "too few weeks in common" if bound is None else f"at least {bound:+.1f} bp more"
        said += f"; {_earns(better)}, not more than the noise ({noise})"
    return kept, ChoiceReason.KEPT, f"{_earns(kept)}{said}"


def _earns(evaluation: ProfileEvaluation) -> str:
    return f"{evaluation.profile} earns {evaluation.net_bp.mean():+.1f} bp a trade after costs"


def _no_edge(numbers: Sequence[ProfileNumbers]) -> str:
    return "; ".join(f"{n.profile}: {n.verdict}" for n in numbers)


def _verdict(
    trades: int, weeks: int, bound: float | None, age: timedelta, valid_for: timedelta
) -> str:
    if bound is None:
        return (
            f"no edge proven, {trades} trades in {weeks} weeks are too few "
            f"(at least {LEAST_TRADES} in {LEAST_WEEKS})"
        )
    if bound <= 0:
        return f"no edge, a trade earns at least {bound:+.1f} bp after costs (90 %), not above 0"
    if age > valid_for:
        days, most = (span / timedelta(days=1) for span in (age, valid_for))
        return f"no edge proven, evaluated {days:.1f} days ago (at most {most:g})"
    return f"has an edge, a trade earns at least {bound:+.1f} bp after costs (90 %)"


def _bounds(evaluation: ProfileEvaluation, seed: int) -> tuple[float, float, float]:
    """(low, high, bound) of the mean net per trade over resampled weeks, bp."""
    weeks, net = evaluation.weeks, evaluation.net_bp
    shown, one_sided = (
        mean_interval(evaluation.signal_time, net, weeks, seed, coverage=coverage)
        for coverage in (SHOWN, ONE_SIDED)
    )
    return shown.low, shown.high, one_sided.low


def _trades_in(evaluation: ProfileEvaluation, weeks: Blocks) -> tuple[TimeArray, FloatArray]:
    """(times, net) of the trades inside of `weeks`."""
    at = evaluation.signal_time
    inside = (at >= weeks.start) & (at < weeks.end)
    return at[inside], evaluation.net_bp[inside]


def _weeks(start: datetime, end: datetime) -> Blocks:
    first, last = (np.int64(to_us(moment)).astype(TIMES) for moment in (start, end))
    return Blocks(first, last)


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None
