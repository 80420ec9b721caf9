"""What a challenger is compared with, on its own gate rows: probabilities and expected values.

The challenger's twin, the champion's twin, the recipes that were not chosen, and the baselines. All
predict the same rows, which none of them has seen. Not here: what they would have earned and
whether a difference is more than noise (`backtest.comparison`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from trading_assets.models.challengers import Challenger
from trading_assets.models.champions import Champion
from trading_assets.models.evaluation import Evaluation, evaluate, row_losses
from trading_assets.models.model import ClassReturns
from trading_assets.models.trained import Trained

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]

# Names of candidates beside the recipes'.
CHALLENGER, CHAMPION, PRIOR, VOLATILITY = "challenger", "champion", "prior", "volatility"


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One way to predict the gate rows. p: (n, 3). ev_long, ev_short: (n,) net ratios."""

    name: str
    recipe: str
    p: FloatArray
    ev_long: FloatArray
    ev_short: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Contest:
    """One market's gate rows and everybody who predicted them, the challenger first.

    open_time, y, losses of the baselines: (n,) per row. left_out: who could not take part, and why.
    """

    market: str
    profile: str
    version: str
    made_at: datetime
    open_time: TimeArray
    y: NDArray[np.int8]
    loss_prior: FloatArray
    loss_volatility: FloatArray
    candidates: tuple[Candidate, ...]
    left_out: Mapping[str, str]

    def losses(self, candidate: Candidate) -> FloatArray:
        """(n,) nats."""
        return row_losses(candidate.p, self.y)

    def evaluation(self, candidate: Candidate, seed: int) -> Evaluation:
        """The same numbers for everybody. seed: of resampling."""
        return evaluate(
            open_time=self.open_time,
            y=self.y,
            p=candidate.p,
            loss_prior=self.loss_prior,
            loss_volatility=self.loss_volatility,
            importance={},
            seed=seed,
        )


def contest(challenger: Challenger, champion: Champion | None) -> Contest:
    """Everybody on the gate rows of `challenger`. champion: who served before it."""
    trained, gate_x = challenger.trained(), challenger.gate_x()
    rows, returns = trained.gate_rows, trained.twin.returns
    recipe = trained.twin.recipe.value
    n = len(rows)
    found = [
        _candidate(CHALLENGER, recipe, rows.p, returns),
        *(_candidate(name, name, p, returns) for name, p in sorted(trained.others.items())),
        _candidate(
            VOLATILITY, VOLATILITY, trained.baselines.volatility.probabilities(gate_x), returns
        ),
        _candidate(PRIOR, PRIOR, np.tile(trained.baselines.prior, (n, 1)), returns),
    ]
    left_out = {}
    why_not = _not_comparable(trained, challenger, champion)
    if champion is None or why_not is not None:
        left_out[CHAMPION] = why_not or ""
    else:
        twin = champion.twin()
        found.insert(
            1, _candidate(CHAMPION, twin.recipe.value, twin.probabilities(gate_x), twin.returns)
        )
    return Contest(
        market=challenger.market,
        profile=challenger.profile,
        version=challenger.version,
        made_at=challenger.made_at,
        open_time=rows.open_time,
        y=rows.y,
        loss_prior=rows.loss_prior,
        loss_volatility=rows.loss_volatility,
        candidates=tuple(found),
        left_out=left_out,
    )


def why_incomparable(challenger: Challenger, trained: Trained, champion: Champion) -> str | None:
    """Why losses of the champion and of the challenger mean different things, None if they do not.

    trained: the challenger's.
    """
    theirs, ours = (m.metadata["features"] for m in (champion.served, trained.served))
    if any(theirs[part] != ours[part] for part in ("catalogue_version", "view")):
        return f"the champion {champion.version} reads other features"
    if champion.record["label"] != challenger.record["label"]:
        return f"the champion {champion.version} predicts another label"
    return None


def _not_comparable(
    trained: Trained, challenger: Challenger, champion: Champion | None
) -> str | None:
    """Why the champion cannot be laid beside the challenger, None when it can."""
    if champion is None:
        return "no champion served before it"
    incomparable = why_incomparable(challenger, trained, champion)
    if incomparable is not None:
        return incomparable
    if trained.gate_rows.open_time[0] < np.datetime64(champion.record["gate_from"]):
        return f"the twin of the champion {champion.version} has seen some of the gate rows"
    return None


def _candidate(name: str, recipe: str, p: FloatArray, returns: ClassReturns) -> Candidate:
    return Candidate(name, recipe, p, p @ np.array(returns.long), p @ np.array(returns.short))
