"""A search for better settings of a profile, inside its training time only.

Each trial walks the profile forward under other knobs (which features the models see, how large
they are, how far a label looks, how wide its barriers are, when a signal is acted on) and simulates
the account. The candles of the last evaluation window are cut off before anything is computed of
them: nothing here can see that window, so it still judges what comes out. The search is counted:
the best of many settings looks good by luck, and the deflated Sharpe ratio says how good. Not here:
setting anything (a person does), reading candles and printing (`commands/tune.py`).
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from trading_assets.backtest import measure
from trading_assets.backtest.cadence import Cadence, CadenceUnit
from trading_assets.backtest.candidates import Candidates
from trading_assets.backtest.documents import Number
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import Simulation
from trading_assets.backtest.overfitting import (
    LEAST_TRADES,
    DeflatedSharpe,
    Overfitting,
    deflated_sharpe,
    independent_trials,
    probability_of_overfitting,
)
from trading_assets.backtest.paths import account_rules, market_path
from trading_assets.backtest.performance import sharpe_ratio
from trading_assets.backtest.predictions import Predictions, PredictionStore
from trading_assets.backtest.walk_forward import (
    WalkForwardPlan,
    first_prediction,
    plan_of,
    walk_forward,
)
from trading_assets.candles.frame import FloatArray, from_us
from trading_assets.candles.series import CandleSeries
from trading_assets.errors import EnvironmentProblem, NotEnoughHistory
from trading_assets.features.catalogue import WARM_UP
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import SEQUENCE_LENGTH, Sequences, make_sequences
from trading_assets.models.profiles import costs
from trading_assets.rules.exits import VolatilityExits
from trading_assets.rules.profile import ModelShape, Profile
from trading_assets.settings import FeatureGroup, Settings

LEAVES = (3, 5, 7, 11, 15)
BARRIERS = tuple(Decimal(k) for k in ("0.5", "0.75", "1", "1.25", "1.5", "2"))
CONFIDENCES = tuple(Decimal(p) for p in ("0", "0.35", "0.4", "0.45", "0.5", "0.55"))
EV_COSTS = tuple(Decimal(n) for n in ("0", "0.5", "1", "1.5", "2"))
HORIZONS = (0.5, 1.0, 1.5, 2.0)  # times the profile's own
LEAST_DAYS = 32  # the probability of overfitting needs 16 blocks of two
WORTHLESS = -10.0  # the score of a setting that is not judged, a Sharpe ratio below all others


@dataclass(frozen=True, slots=True)
class Knobs:
    """What a trial may change. barrier_k: None where a profile's barriers are fixed numbers."""

    horizon_minutes: int
    barrier_k: Decimal | None
    num_leaves: int
    without: tuple[str, ...]
    min_confidence: Decimal
    min_ev_costs: Decimal

    @classmethod
    def of(cls, profile: Profile) -> "Knobs":
        """As the profile has them."""
        exits = profile.exits
        return cls(
            horizon_minutes=profile.horizon // timedelta(minutes=1),
            barrier_k=exits.k if isinstance(exits, VolatilityExits) else None,
            num_leaves=profile.shape.num_leaves,
            without=profile.shape.without,
            min_confidence=profile.min_confidence,
            min_ev_costs=profile.min_ev_costs,
        )

    def applied(self, profile: Profile) -> Profile:
        """`profile` with these knobs."""
        horizon = timedelta(minutes=self.horizon_minutes)
        exits = profile.exits
        if isinstance(exits, VolatilityExits):
            assert self.barrier_k is not None
            periods = self.horizon_minutes // profile.interval_minutes
            exits = replace(exits, k=self.barrier_k, periods=periods, timeout=horizon)
        else:
            exits = replace(exits, timeout=horizon)
        return replace(
            profile,
            exits=exits,
            shape=ModelShape(self.num_leaves, self.without),
            min_confidence=self.min_confidence,
            min_ev_costs=self.min_ev_costs,
        )

    def settings(self, profile: str, other: "Knobs") -> tuple[str, ...]:
        """Where these differ from `other`, as settings: `SWING__BARRIER_K=1.25`."""
        mine, theirs = self._named(), other._named()
        return tuple(
            f"{profile.upper()}__{name}={value}"
            for name, value in mine.items()
            if value != theirs[name]
        )

    def _named(self) -> dict[str, str]:
        return {
            "TIMEOUT_MINUTES": str(self.horizon_minutes),
            "BARRIER_K": f"{self.barrier_k}",
            "NUM_LEAVES": str(self.num_leaves),
            "WITHOUT_FEATURES": ",".join(self.without),
            "MIN_CONFIDENCE": f"{self.min_confidence}",
            "MIN_EV_COSTS": f"{self.min_ev_costs}",
        }


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting on the inner unseen time. sharpe: a year of the account's daily returns."""

    knobs: Knobs
    trades: int
    net_bp: Number
    sharpe: Number

    @property
    def score(self) -> float:
        """What the search looks for: the Sharpe ratio, where there were enough trades."""
        judged = self.trades >= LEAST_TRADES and np.isfinite(self.sharpe)
        return self.sharpe if judged else WORTHLESS


@dataclass(frozen=True, slots=True)
class Tuning:
    """What a search found.

    judged_from, judged_until: the inner unseen time that scored every trial; UTC. held_out_from:
    from here on nothing was read. trials: each setting once, the present one first. earlier: that
    were tried before this search and counted. best: index into `trials`. deflated: of the best one,
    over this search's and earlier trials. overfitting: of choosing among the settings with enough
    trades, None with fewer than two of them.
    """

    profile: str
    markets: tuple[str, ...]
    seed: int
    judged_from: datetime
    judged_until: datetime
    held_out_from: datetime
    trials: tuple[Trial, ...]
    earlier: int
    best: int
    deflated: DeflatedSharpe
    overfitting: Overfitting | None

    @property
    def suggestion(self) -> tuple[str, ...]:
        """The settings that make the best trial of the present one; empty when that is the best."""
        chosen = self.trials[self.best]
        if chosen.score == WORTHLESS:
            return ()
        return chosen.knobs.settings(self.profile, self.trials[0].knobs)


def held_out(profile: Profile) -> timedelta:
    """The last evaluation window: what a retraining calibrates and judges its models on."""
    return profile.calibration_window + profile.gate_window


def tune(
    profile: Profile,
    series: Mapping[str, CandleSeries],
    settings: Settings,
    *,
    trials: int,
    earlier: int = 0,
    on_trial: Callable[[int, Trial], None] = lambda _number, _trial: None,
) -> Tuning:
    """Try `trials` settings of `profile` beside the present one, on the markets of `series`.

    Deterministic: seeded by the settings' base seed. earlier: settings that were tried before, to
    be counted. on_trial: told each trial with its number. Raises EnvironmentProblem without Optuna,
    NotEnoughHistory when nothing is left to judge on.
    """
    if trials < 1:
        raise ValueError(f"there must be at least 1 trial, was {trials}")
    optuna = require_optuna()
    bench = _Bench.of(profile, series, settings)
    tried: dict[Knobs, tuple[Trial, FloatArray]] = {}

    def judged(knobs: Knobs) -> Trial:
        if knobs not in tried:
            tried[knobs] = bench.judge(knobs)
            on_trial(len(tried) - 1, tried[knobs][0])
        return tried[knobs][0]

    judged(Knobs.of(profile))
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=settings.base_seed)
    )
    study.optimize(lambda t: judged(suggested(t, profile)).score, n_trials=trials)
    return _tuning(bench, [*tried.values()], earlier)


def horizons(profile: Profile) -> list[int]:
    """How far a label may look, whole candles, minutes, ascending."""
    own, step = Knobs.of(profile).horizon_minutes, profile.interval_minutes
    return sorted({max(step, int(own * n) // step * step) for n in HORIZONS})


def suggested(trial: Any, profile: Profile) -> Knobs:
    """The knobs that an Optuna `trial` chooses."""
    own = Knobs.of(profile)
    seen = [g.value for g in FeatureGroup if trial.suggest_categorical(f"see_{g.value}", [1, 0])]
    # A model has to see something: seeing nothing means to see everything.
    seen = seen or [g.value for g in FeatureGroup]
    without = tuple(sorted({g.value for g in FeatureGroup} - set(seen)))

    def one_of(name: str, values: Sequence[Any]) -> Any:
        return values[trial.suggest_int(name, 0, len(values) - 1)]

    return Knobs(
        horizon_minutes=one_of("horizon", horizons(profile)),
        barrier_k=None if own.barrier_k is None else one_of("barrier_k", BARRIERS),
        num_leaves=one_of("num_leaves", LEAVES),
        without=without,
        min_confidence=one_of("min_confidence", CONFIDENCES),
        min_ev_costs=one_of("min_ev_costs", EV_COSTS),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """What all trials share: candles and features before the held-out window, and which days judge.

    plan: of the walk-forward of a trial, purged as every one, but with one seed and half as many
    refits. judged_from, judged_until: the same for every trial, whatever its horizon.
    """

    profile: Profile
    settings: Settings
    series: Mapping[str, CandleSeries]
    sequences: Mapping[str, Sequences]
    plan: WalkForwardPlan
    judged_from: datetime
    judged_until: datetime
    held_out_from: datetime

    @classmethod
    def of(
        cls, profile: Profile, series: Mapping[str, CandleSeries], settings: Settings
    ) -> "_Bench":
        """Raises NotEnoughHistory."""
        if not series or any(len(s) == 0 for s in series.values()):
            raise NotEnoughHistory("tuning needs candles of every market")
        last = min(_moment(s.open_time[-1]) for s in series.values()) + profile.interval
        held_out_from = last - held_out(profile)
        # The only place that sees all candles: from here on the held-out ones are gone.
        known = {market: s.until(held_out_from) for market, s in series.items()}
        plan = plan_of(settings, profile)
        plan = replace(
            plan,
            seeds=plan.seeds[:1],
            refit=Cadence(2 * plan.refit.count, plan.refit.unit),
            recalibrate=plan.refit,
        )
        if any(len(s) == 0 for s in known.values()):
            raise _too_short(profile, series, plan)
        sequences = {m: make_sequences(feature_matrix(s), s) for m, s in known.items()}
        until = held_out_from - profile.horizon * max(HORIZONS)
        bench = cls(profile, settings, known, sequences, plan, until, until, held_out_from)
        try:
            begin = bench._all_predict_from()
        except NotEnoughHistory as exc:
            raise _too_short(profile, series, plan) from exc
        if until - begin < timedelta(days=LEAST_DAYS):
            raise _too_short(profile, series, plan)
        return replace(bench, judged_from=begin)

    def judge(self, knobs: Knobs) -> tuple[Trial, FloatArray]:
        """One setting: what it earned, and the account's return on each day."""
        profile, charges = knobs.applied(self.profile), costs(self.settings)
        paths = [
            market_path(p, self.series[p.market], profile, charges) for p in self._predict(profile)
        ]
        account = simulate(paths, account_rules(self.settings), charges)
        returns = self._daily(account)
        return (
            Trial(
                knobs,
                trades=len(account.trades),
                net_bp=measure.mean_net(account.trades.net_bp),
                sharpe=sharpe_ratio(returns),
            ),
            returns,
        )

    def _all_predict_from(self) -> datetime:
        """When the last trial begins to predict, whatever its horizon, in the last market.

        Rows are what a first model needs, and a break costs more of them than its own length.
        Raises NotEnoughHistory.
        """
        own = Knobs.of(self.profile)
        trials = [
            replace(own, horizon_minutes=n).applied(self.profile) for n in horizons(self.profile)
        ]
        return max(
            first_prediction(self._candidates(trial, market), self.plan)
            for trial in trials
            for market in self.series
        )

    def _candidates(self, profile: Profile, market: str) -> Candidates:
        return Candidates.of(
            market,
            profile,
            self.series[market],
            self.sequences[market],
            costs=costs(self.settings),
            view=self.settings.sequence_view,
        )

    def _predict(self, profile: Profile) -> list[Predictions]:
        made = []
        with tempfile.TemporaryDirectory() as folder:
            store = PredictionStore(Path(folder), "tuning")
            for market in self.series:
                predictions, _ = walk_forward(self._candidates(profile, market), self.plan, store)
                made.append(predictions.between(self.judged_from, self.judged_until))
        return made

    def _daily(self, account: Simulation) -> FloatArray:
        """(days,) from the first judged day to the last one, 0 where the account stood still."""
        days, returns = measure.account_days(account)
        first = np.datetime64(self.judged_from.astimezone(UTC).replace(tzinfo=None), "D")
        last = np.datetime64(self.held_out_from.astimezone(UTC).replace(tzinfo=None), "D")
        whole = np.zeros(int((last - first).astype(int)) + 1)
        place = (days.astype("datetime64[D]") - first).astype(int)
        inside = (place >= 0) & (place < len(whole))
        whole[place[inside]] = returns[inside]
        return whole


def _tuning(bench: _Bench, tried: Sequence[tuple[Trial, FloatArray]], earlier: int) -> Tuning:
    trials = tuple(trial for trial, _ in tried)
    returns = np.stack([days for _, days in tried], axis=1)
    best = max(range(len(trials)), key=lambda i: (trials[i].score, -i))
    # Those of earlier searches are not here to say how alike they are: each counts as another.
    counted = independent_trials(returns) + earlier
    # Only between those that a search would choose from.
    judged = returns[:, [trial.score != WORTHLESS for trial in trials]]
    return Tuning(
        profile=bench.profile.name,
        markets=tuple(bench.series),
        seed=bench.settings.base_seed,
        judged_from=bench.judged_from,
        judged_until=bench.judged_until,
        held_out_from=bench.held_out_from,
        trials=trials,
        earlier=earlier,
        best=best,
        deflated=deflated_sharpe(returns, best, counted),
        overfitting=probability_of_overfitting(judged) if judged.shape[1] > 1 else None,
    )


def _too_short(
    profile: Profile, series: Mapping[str, CandleSeries], plan: WalkForwardPlan
) -> NotEnoughHistory:
    a_day = timedelta(days=1)
    there = min(len(s) for s in series.values()) * profile.interval / a_day
    unseen, first = held_out(profile) / a_day, plan.first_fit / a_day
    # The models' dates are the calendar's: the first one may come almost a whole step later.
    step = plan.refit.count * (31 if plan.refit.unit is CadenceUnit.MONTHS else 1)
    unusable = (WARM_UP + SEQUENCE_LENGTH) * profile.interval + profile.horizon * max(HORIZONS)
    needed = math.ceil(first + step + LEAST_DAYS + unseen + unusable / a_day)
    name = profile.name.upper()
    return NotEnoughHistory(
        f"{profile.name}: not enough history to tune on: {there:.0f} days of candles are there, "
        f"up to {needed} are needed: {first:.0f} before the first model "
        f"({name}__FIRST_FIT_DAYS), {step} until its date, {LEAST_DAYS} to judge on, the last "
        f"{unseen:.0f}, which stay unseen, and the warm-up; {_what_collects(needed, profile)}"
    )


def _what_collects(days: int, profile: Profile) -> str:
    """What a person does to have `days` of candles."""
    if profile.history is None:
        return "all that there is is collected"
    name, now = f"{profile.name.upper()}__HISTORY_DAYS", profile.history / timedelta(days=1)
    if now < days:
        return f"{name} is {now:g}: with {name}={days} `make materialize` collects enough"
    return f"{name}={now:g} is enough: `make materialize` collects it"


def _moment(time: np.datetime64) -> datetime:
    return from_us(int(time.astype(np.int64)))


def require_optuna() -> Any:
    """The module, quiet. Raises EnvironmentProblem where it is not installed."""
    try:
        import optuna
    except ImportError as exc:
        raise EnvironmentProblem(
            "tuning needs Optuna, which is not installed: pip install -e '.[tuning]'"
        ) from exc
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
