"""The comparison of models as a Markdown table that a person can read without its code."""

import math
from collections.abc import Sequence

from trading_assets.backtest.comparison import Compared, Gain, Stage, Standing
from trading_assets.backtest.model_comparison import ModelComparison
from trading_assets.backtest.profile_evaluation import ProfileGain

_HEADINGS = (
    "profile",
    "who",
    "rows",
    "log loss",
    "skill",
    "difference, nats [90 %]",
    "log loss is",
    "trades",
    "net bp a trade",
    "difference, bp [90 %]",
    "net is",
)
_INTRODUCTION = {
    Stage.GATE: "On the gate windows of the newest challengers: everybody predicts the same rows, "
    "which nobody has seen. Compared with the challenger; above 0 is better than it.",
    Stage.LIVE: "On live candles since each model was made, no money moved by it: what served, and "
    "what the newest refused challengers would have said. Above 0 is better than what served.",
}


def markdown(found: ModelComparison, heading: str) -> str:
    """The tables of both stages under `heading`, which names world and prices."""
    parts = [f"**{heading}**"]
    for stage in Stage:
        rows = [row for row in found.rows if row.stage is stage]
        if rows:
            parts += [_INTRODUCTION[stage], _table(rows)]
    parts += [f"Profiles: {_profiles(gain)}." for gain in found.profiles]
    if len(parts) == 1:
        parts.append("Nothing to compare yet.")
    if found.left_out:
        parts.append("Left out: " + "; ".join(found.left_out) + ".")
    parts.append(
        "Differences by a paired bootstrap of 3-day blocks, all markets together. "
        f'"{Standing.NOISE}": the interval contains 0. "{Standing.UNKNOWN}": too few blocks or no '
        "trades."
    )
    return "\n\n".join(parts)


def sentences(found: ModelComparison) -> tuple[str, ...]:
    """Who is better or worse by more than noise, by profile and stage; then the profiles."""
    said = []
    for profile in dict.fromkeys(row.profile for row in found.rows):
        for stage in Stage:
            rows = [r for r in found.rows if r.profile == profile and r.stage is stage]
            others = [r for r in rows if r.against is not None]
            if others:
                said.append(f"{profile}, {stage}: {_standings(others)}")
    return (*said, *(_profiles(gain) for gain in found.profiles))


def _standings(rows: Sequence[Compared]) -> str:
    """`against the challenger, better: ensemble; worse: prior, volatility; ...`"""
    by_standing = {
        standing: [r.name for r in rows if r.loss_gain and r.loss_gain.standing is standing]
        for standing in Standing
    }
    found = [f"{standing}: {', '.join(names)}" for standing, names in by_standing.items() if names]
    return f"log loss against {rows[0].against}, {'; '.join(found)}"


def _profiles(gain: ProfileGain) -> str:
    """`swing against scalp, net of a trade in the same weeks: better, +20.1 bp [+4.0, +37.2]`"""
    said = f"{gain.profile} against {gain.against}, net of a trade in the same weeks: "
    if gain.net_gain is None:
        return said + str(gain.standing)
    i = gain.net_gain
    return said + f"{gain.standing}, {i.value:+.1f} bp [{i.low:+.1f}, {i.high:+.1f}]"


def _table(rows: Sequence[Compared]) -> str:
    lines = [_HEADINGS, ("---",) * len(_HEADINGS), *(_cells(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: Compared) -> tuple[str, ...]:
    return (
        row.profile,
        row.name + (f" ({row.recipe})" if row.recipe not in {"", row.name} else ""),
        f"{row.rows:,}",
        f"{row.log_loss:.4f}",
        f"{row.skill:+.1%}",
        *_difference(row.loss_gain, ".4f"),
        str(row.trades),
        "-" if row.trades == 0 else f"{row.net_bp:+.1f}",
        *_difference(row.net_gain, ".1f"),
    )


def _difference(gain: Gain | None, digits: str) -> tuple[str, str]:
    if gain is None:
        return "compared with", "-"
    if math.isnan(gain.mean):  # one of the two has no trades
        return "-", str(gain.standing)
    return (
        f"{gain.mean:+{digits}} [{gain.low:+{digits}}, {gain.high:+{digits}}]",
        str(gain.standing),
    )
