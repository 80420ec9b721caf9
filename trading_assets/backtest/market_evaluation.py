"""One market's profile, evaluated: walked forward, judged, and what that decides for others.

The one call behind an asset `<profile>/walk_forward`. Here: which stores belong together, and the
verdict row that says when it was done (the next one is asked for by it). Not here: the walk-forward
itself (`walk_forward.py`), what all markets say together (`profile_evaluation.py`).
"""

from dataclasses import dataclass

from trading_assets.backtest import measure
from trading_assets.backtest.assess import random_luck
from trading_assets.backtest.candidates import Candidates
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.paths import account_rules, market_path
from trading_assets.backtest.predicted import evaluation, outcomes
from trading_assets.backtest.predictions import Predictions, PredictionStore
from trading_assets.backtest.report import Held, Luck, Measured
from trading_assets.backtest.walk_forward import (
    OnStep,
    WalkForwardReport,
    plan_of,
    walk_forward,
)
from trading_assets.candles.series import CandleSeries
from trading_assets.errors import NotEnoughHistory
from trading_assets.features.sequences import Sequences
from trading_assets.models.checks import check_probabilities, check_split, check_too_good
from trading_assets.models.evaluation import Evaluation
from trading_assets.models.labels import Labels
from trading_assets.models.profiles import costs
from trading_assets.models.retrain import Workshop
from trading_assets.models.verdicts import (
    HISTORY,
    Verdict,
    VerdictKind,
    record_verdict,
    verdict_of_checks,
)
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.profile import Profile

CHECKS = ("split_audit", "not_too_good", "probabilities")
RANDOM_DRAWS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """What trading one market alone by the predictions would have earned.

    random: as many entries at random times, None without trades. held: buying at the start.
    """

    measured: Measured
    random: Luck | None
    held: Held


@dataclass(frozen=True, slots=True, eq=False)
class MarketEvaluation:
    """What was found of one market. skill: of the probabilities, beside the baselines."""

    predictions: Predictions
    report: WalkForwardReport
    skill: Evaluation
    account: Account
    checks: tuple[CheckOutcome, ...]


def evaluate_market(
    shop: Workshop,
    market: str,
    profile: Profile,
    series: CandleSeries,
    sequences: Sequences,
    *,
    candle_hash: str = "",
    on_step: OnStep | None = None,
) -> MarketEvaluation:
    """Walk `profile` forward in `market`, keep the predictions, and write the verdict.

    series: the market's candles; sequences: made of them. Raises NotEnoughHistory, after a verdict
    that says so: it is asked again after a day, not hourly.
    """
    candidates = Candidates.of(
        market,
        profile,
        series,
        sequences,
        costs=costs(shop.settings),
        view=shop.settings.sequence_view,
        candle_hash=candle_hash,
    )
    store = PredictionStore(shop.world.walk_forward, shop.world.name)
    plan = plan_of(shop.settings, profile)
    try:
        predictions, report = walk_forward(candidates, plan, store, on_step or shop.on_step)
    except NotEnoughHistory as exc:
        _record_too_little(shop, market, profile, str(exc))
        raise
    skill = _skill(shop, predictions, candidates.labels)
    checks = (
        check_split(report.audit),
        check_too_good(skill),
        check_probabilities(predictions.p),
    )
    found = MarketEvaluation(
        predictions, report, skill, _account(shop, predictions, series, profile), checks
    )
    verdict = verdict_of_checks(
        VerdictKind.EVALUATION,
        market,
        profile.name,
        checks,
        now=shop.clock.now(),
        run_id=shop.run_id,
    )
    record_verdict(shop.engine, verdict)
    return found


def _skill(shop: Workshop, predictions: Predictions, labels: Labels) -> Evaluation:
    return evaluation(outcomes(predictions, labels), shop.settings.base_seed)


def _account(
    shop: Workshop, predictions: Predictions, series: CandleSeries, profile: Profile
) -> Account:
    settings = shop.settings
    rules, charges, seed = account_rules(settings), costs(settings), settings.base_seed
    paths = [market_path(predictions, series, profile, charges)]
    base = simulate(paths, rules, charges)
    return Account(
        measured=measure.measure(base, measure.blocks_of(base), seed),
        random=random_luck(paths, rules, charges, base, seed=seed, draws=RANDOM_DRAWS),
        held=measure.buy_and_hold(paths, charges),
    )


def _record_too_little(shop: Workshop, market: str, profile: Profile, why: str) -> None:
    verdict = Verdict(
        kind=VerdictKind.EVALUATION,
        market=market,
        profile=profile.name,
        passed=False,
        reasons=(f"{HISTORY}{why}",),
        decided_at=shop.clock.now(),
        run_id=shop.run_id,
    )
    record_verdict(shop.engine, verdict)
