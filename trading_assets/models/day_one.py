"""The checks that catch, on its first day, a model whose good numbers mean nothing.

A model is presented with a label, a test and a traded rule; each check asks one question that has
an honest answer before any money is at stake. Pure: values in, outcomes out. The thresholds are
measured (docs/models.md). Not here: the same questions to our own retrainings, which ask them of
every challenger (`readiness.py`), and to live signals.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trading_assets.features.sequences import SEQUENCE_LENGTH
from trading_assets.models.baselines import class_prior
from trading_assets.models.checks import (
    check_label_rule,
    check_label_shares,
    check_split,
    check_too_good,
)
from trading_assets.models.dataset import Dataset
from trading_assets.models.evaluation import evaluate, row_losses
from trading_assets.models.metadata import label_terms
from trading_assets.models.model import BUY
from trading_assets.models.splits import Fold, audit_pairs
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.profile import Profile

FloatArray = NDArray[np.float64]
TimeArray = NDArray[np.datetime64]

# A test that leaks claimed 0.35 to 0.6 of the log loss that later rows showed; an honest one is
# such a test of later rows itself.
LEAST_CLAIMED_SHARE = 0.8
DROUGHT_HOURS = 21
# More than half of all stretches of 21 hours without a signal: silence is what it will show.
MOST_SILENT_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A model as its maker presents it.

    dataset: its rows, under the label of `learnt`. tested: which rows it learnt and which it was
    tested on; p: (n_test, 3) its probabilities there. later, p_later: the same model, learnt on
    earlier and tested on later, purged rows. traded: the profile whose rule takes the money.
    """

    dataset: Dataset
    learnt: Profile
    tested: Fold
    p: FloatArray
    later: Fold
    p_later: FloatArray
    traded: Profile


def day_one(
    claim: Claim, traded_labels: NDArray[np.int8], honest: Sequence["Forecastable"]
) -> tuple[CheckOutcome, ...]:
    """Every question to `claim`, each answered under its name.

    traded_labels: (n,) classes of the traded rule on the same candles. honest: what a calibrated
    model says of that rule, for the drought forecast, a value for each market.
    """
    return (
        check_label_shares(traded_labels),
        check_label_rule(
            label_terms(claim.learnt, claim.dataset.costs), claim.traded, claim.dataset.costs
        ),
        check_too_good_claim(claim),
        check_tested_split(claim),
        check_claimed_loss(claim),
        check_drought(honest, float(claim.traded.min_confidence)),
    )


def check_too_good_claim(claim: Claim) -> CheckOutcome:
    """`check_too_good` on the test as it was shown."""
    rows = claim.dataset.take(claim.tested.test)
    loss_prior = row_losses(class_prior(claim.dataset.y[claim.tested.train]), rows.y)
    return check_too_good(
        evaluate(
            open_time=rows.open_time,
            y=rows.y,
            p=claim.p,
            loss_prior=loss_prior,
            loss_volatility=loss_prior,
            importance={},
            seed=0,
        )
    )


def check_tested_split(claim: Claim) -> CheckOutcome:
    """`check_split` on the rows that the shown test used."""
    audit = audit_pairs(
        (("test", claim.tested),),
        claim.dataset.open_time,
        claim.dataset.end_time,
        interval=claim.dataset.interval,
        window=SEQUENCE_LENGTH,
    )
    return check_split(audit)


def check_claimed_loss(claim: Claim) -> CheckOutcome:
    """The shown log loss is no better than the same model has on later, purged rows.

    A random split puts neighbours with nearly the same label into training: what it shows is
    memory, and memory is gone on the first day.
    """
    y = claim.dataset.y
    shown = float(row_losses(claim.p, y[claim.tested.test]).mean())
    later = float(row_losses(claim.p_later, y[claim.later.test]).mean())
    share = shown / later
    return CheckOutcome(
        "random_vs_purged_gap",
        share >= LEAST_CLAIMED_SHARE,
        f"the shown test has log loss {shown:.3f}, the same model {later:.3f} on later, purged "
        f"rows: {share:.0%} of it (at least {LEAST_CLAIMED_SHARE:.0%} is honest)",
        values={"shown": shown, "later": later, "share": share},
    )


@dataclass(frozen=True, slots=True, eq=False)
class Forecastable:
    """Out-of-sample p_buy of one market. closes: (n,) moments of decision, ascending."""

    market: str
    closes: TimeArray
    p: FloatArray

    @property
    def p_buy(self) -> FloatArray:
        return np.asarray(self.p[:, BUY])


def check_drought(markets: Sequence[Forecastable], threshold: float) -> CheckOutcome:
    """How many BUYs to expect at `threshold`, and whether 21 hours without one are normal."""
    a_day, silent = expected_signals(markets, threshold)
    return CheckOutcome(
        "drought_forecast",
        silent <= MOST_SILENT_SHARE,
        f"at p_buy >= {threshold:.0%} expect {a_day:.2f} BUY signals a day in all "
        f"{len(markets)} markets; {silent:.1%} of {DROUGHT_HOURS} h have none (at most "
        f"{MOST_SILENT_SHARE:.0%}), the highest p_buy is "
        f"{max(float(m.p_buy.max()) for m in markets):.1%}",
        values={"signals_a_day": a_day, "silent_share": silent, "threshold": threshold},
    )


def expected_signals(markets: Sequence[Forecastable], threshold: float) -> tuple[float, float]:
    """(BUYs a day over all markets, share of 21-hour windows without any); at least one row.

    The windows begin at every hour of the stretch that all rows span together.
    """
    closes = np.concatenate([m.closes for m in markets])
    signals = np.sort(
        np.concatenate([m.closes[m.p_buy >= threshold] for m in markets]).astype(closes.dtype)
    )
    first, last = closes.min(), closes.max()
    length = np.timedelta64(DROUGHT_HOURS, "h")
    starts = np.arange(first, max(last - length, first) + 1, np.timedelta64(1, "h"))
    inside = np.searchsorted(signals, starts + length) - np.searchsorted(signals, starts)
    days = (last - first) / np.timedelta64(1, "D")
    return len(signals) / max(days, 1e-9), float((inside == 0).mean())
