"""The report on each profile's walk-forward, from the stores of a world.

One account over all markets, and every doubt about it. Not here: what is in a report (`assess.py`),
where it is published (`reporting.profile_reports`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trading_assets.backtest.paths import account_rules
from trading_assets.backtest.report import Report
from trading_assets.backtest.study import Prices, Study, judge
from trading_assets.backtest.thresholds import threshold_search
from trading_assets.backtest.walked_forward import WalkedForward, walked_forward
from trading_assets.candles.store import CandleStore
from trading_assets.models.profiles import active_profiles, costs
from trading_assets.models.retrain import Workshop
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.profile import Profile
from trading_assets.settings import Settings
from trading_assets.world import World, prices

MOST_BY_LUCK = 0.05
WRONG_TIME, NEXT_OPEN = "better_than_at_the_wrong_time", "earns_at_the_next_open"
CHECKS = (WRONG_TIME, NEXT_OPEN)


@dataclass(frozen=True, slots=True)
class Reports:
    """What was made, in the order of PROFILES. left_out: markets, by profile, and why."""

    made: tuple[Report, ...]
    left_out: Mapping[str, Mapping[str, str]]

    @property
    def checks(self) -> tuple[CheckOutcome, ...]:
        """In the order of CHECKS; of the profiles that traded."""
        return report_checks([r for r in self.made if r.measured.trades])


def report_profiles(shop: Workshop, store: CandleStore) -> Reports:
    """A report of every profile that was walked forward in at least one market."""
    walked = [
        walked_forward(shop.settings, shop.world, store, profile)
        for profile in active_profiles(shop.settings)
    ]
    return Reports(
        tuple(report_of(shop.settings, shop.world, w) for w in walked if w.predictions),
        {w.profile.name: w.left_out for w in walked},
    )


def report_of(settings: Settings, world: World, walked: WalkedForward) -> Report:
    """The report on one profile in all its markets, of which there is at least one."""
    profile = walked.profile
    study = Study(profile, profile, settings.recipe, rule_of(profile))
    search = threshold_search(
        walked.predictions, walked.series, profile, account_rules(settings), costs(settings)
    )
    return judge(
        study,
        walked.predictions,
        walked.series,
        settings,
        Prices(world.name, prices(settings)),
        search=search,
    )


def rule_of(profile: Profile) -> str:
    """When it enters, one line."""
    from_p = (
        f"p_buy from {float(profile.min_confidence) * 100:g} %, " if profile.min_confidence else ""
    )
    hours = profile.exits.timeout.total_seconds() / 3600
    return (
        f"{from_p}expected value after costs above {profile.min_ev_costs:g} x costs, "
        f"time limit {hours:g} h"
    )


def report_checks(reports: Sequence[Report]) -> tuple[CheckOutcome, ...]:
    """Whether a profit comes from knowing when, and whether it survives a later entry."""
    lucky = [
        f"{r.subject.profile}: {r.placebo.reached:.0%} of the repetitions earned as much, so luck "
        f"has a p of {r.placebo.p_value:.2f}"
        for r in reports
        if r.placebo is not None and not r.placebo.p_value <= MOST_BY_LUCK
    ]
    late = [
        f"{r.subject.profile}: "
        + (f"{r.next_open.net_bp.value:+.1f} bp a trade" if r.next_open.trades else "no trade")
        for r in reports
        if not r.next_open.net_bp.value > 0
    ]
    names = ", ".join(r.subject.profile for r in reports) or "nothing traded yet"
    return (
        CheckOutcome(
            WRONG_TIME,
            passed=not lucky,
            reason="; ".join(lucky) or f"{names}: luck has a p of at most {MOST_BY_LUCK}",
            blocking=False,
        ),
        CheckOutcome(
            NEXT_OPEN,
            passed=not late,
            reason="; ".join(late) or f"{names}: above 0 bp a trade",
            blocking=False,
        ),
    )
