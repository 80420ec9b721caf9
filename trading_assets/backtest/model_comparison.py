"""The comparison of all models of a world: gathered from its stores, and told to MLflow.

For every profile: everybody on the gate window of the newest judged challengers, and what served
and the newest refused challengers on live candles. Here: which versions, candles and labels belong
together. Not here: the statistics (`comparison.py`), the table (`comparison_table.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trading_assets.backtest.comparison import (
    Arena,
    Compared,
    Gain,
    Stage,
    Standing,
    Voice,
    compare,
    gate_voices,
    live_voices,
)
from trading_assets.backtest.documents import to_json
from trading_assets.backtest.paths import account_rules
from trading_assets.backtest.profile_evaluation import ProfileGain, compare_profiles
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.exchange.model import Interval
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.candidates import CHALLENGER, Contest, contest
from trading_assets.models.challengers import Challenger
from trading_assets.models.comparison_runs import CandidateRun, log_comparison
from trading_assets.models.labels import Labels, make_labels
from trading_assets.models.mlflow_store import retraining_day
from trading_assets.models.profiles import active_profiles, costs
from trading_assets.models.retrain import Workshop
from trading_assets.models.shadow import ShadowRows, ShadowStore
from trading_assets.rules.check import CheckOutcome
from trading_assets.rules.profile import Profile

NOBODY_BETTER = "nobody_is_better"


@dataclass(frozen=True, slots=True)
class ModelComparison:
    """What was found.

    rows: pooled over the markets of a profile; the one that all are compared with comes first.
    by_market: the same of each market alone. left_out: who could not take part, and why. profiles:
    what their trades earn on unseen candles in the same weeks.
    """

    rows: tuple[Compared, ...]
    by_market: tuple[Compared, ...]
    left_out: tuple[str, ...]
    profiles: tuple[ProfileGain, ...] = ()

    @property
    def check(self) -> CheckOutcome:
        """Fails when somebody is better than what serves, or will, by more than noise."""
        better = [
            f"{row.profile}: {row.name} is better than the {row.against} on {row.stage}"
            for row in self.rows
            if row.loss_gain is not None and row.loss_gain.standing is Standing.BETTER
        ]
        return CheckOutcome(
            NOBODY_BETTER,
            passed=not better,
            reason="; ".join(better) or "nobody is better by more than noise",
            blocking=False,
        )


def compare_models(shop: Workshop, store: CandleStore) -> ModelComparison:
    """Compare everybody of every profile, and log each candidate in MLflow. Safe to repeat."""
    rows: list[Compared] = []
    by_market: list[Compared] = []
    left_out: list[str] = []
    runs: list[CandidateRun] = []
    days: dict[str, list[Compared]] = {}
    profiles = compare_profiles(shop.settings, shop.world, store)
    for profile in active_profiles(shop.settings):
        found = _Profile.of(shop, store, profile)
        left_out += found.left_out
        pooled = [*found.gate(), *found.live()]
        rows += pooled
        alone = found.gate_by_market()
        by_market += alone
        runs += _runs(found, alone, pooled, shop.settings.base_seed)
        runs += [run for rows in found.shadow for run in _live_runs(shop, rows)]
        for one in found.contests:
            days.setdefault(retraining_day(one.made_at), [])
        for day in {retraining_day(one.made_at) for one in found.contests}:
            days[day] += [*pooled, *alone]
    documents = {
        day: {
            "rows": [to_json(row) for row in found],
            "profiles": [to_json(gain) for gain in profiles],
        }
        for day, found in days.items()
    }
    if runs:
        log_comparison(shop.world, shop.settings.trading_mode.value, runs, documents)
    return ModelComparison(tuple(rows), tuple(by_market), tuple(left_out), profiles)


@dataclass(frozen=True, slots=True, eq=False)
class _Profile:
    """One profile's contests and voices."""

    arena: Arena
    contests: tuple[Contest, ...]
    voices: tuple[Voice, ...]
    served: Voice | None
    refused: Voice | None
    shadow: tuple[ShadowRows, ...]
    left_out: tuple[str, ...]

    @classmethod
    def of(cls, shop: Workshop, store: CandleStore, profile: Profile) -> "_Profile":
        settings = shop.settings
        contests: list[Contest] = []
        left_out: list[str] = []
        for market in settings.markets:
            challenger = _newest_judged(shop, market, profile)
            if challenger is None:
                left_out.append(f"{market} {profile.name}: no challenger was judged yet")
                continue
            with shop.lock(market, profile.name):  # a retraining removes old versions
                before = shop.champions().before(market, profile.name, challenger.version)
                contests.append(contest(challenger, before))
            left_out += [
                f"{market} {profile.name}: {name}: {why}"
                for name, why in contests[-1].left_out.items()
            ]
        shadows = ShadowStore(shop.world.shadow, shop.world.name)
        loaded = (shadows.load(market, profile.name) for market in settings.markets)
        live = [rows for rows in loaded if rows is not None]
        markets = {c.market for c in contests} | {rows.market for rows in live}
        series = {m: _series(store, m, profile) for m in settings.markets if m in markets}
        labels = {m: _labels(shop, s, profile) for m, s in series.items()}
        served, refused = live_voices(live, labels, series)
        return cls(
            arena=Arena(
                profile, series, costs(settings), account_rules(settings), settings.base_seed
            ),
            contests=tuple(contests),
            voices=gate_voices(contests, labels, series) if contests else (),
            served=served,
            refused=refused,
            shadow=tuple(live),
            left_out=tuple(left_out),
        )

    def gate(self) -> list[Compared]:
        """Everybody on the gate windows, beside the challenger."""
        return self._gate(None)

    def gate_by_market(self) -> list[Compared]:
        """The same in each market alone."""
        return [row for one in self.contests for row in self._gate([one.market])]

    def live(self) -> list[Compared]:
        """What served, and the refused challengers beside it, on live candles."""
        if self.served is None:
            return []
        rows = [compare(self.arena, Stage.LIVE, self.served)]
        if self.refused is not None:
            rows.append(compare(self.arena, Stage.LIVE, self.refused, self.served))
        return rows

    def _gate(self, markets: Sequence[str] | None) -> list[Compared]:
        if not self.voices:
            return []
        challenger, *others = self.voices
        here = [v for v in others if markets is None or set(markets) & set(v.lines)]
        return [
            compare(self.arena, Stage.GATE, challenger, None, markets),
            *(compare(self.arena, Stage.GATE, v, challenger, markets) for v in here),
        ]


def _newest_judged(shop: Workshop, market: str, profile: Profile) -> Challenger | None:
    judged = [c for c in shop.challengers().all(market, profile.name) if c.is_applied]
    return judged[-1] if judged else None


def _series(store: CandleStore, market: str, profile: Profile) -> CandleSeries:
    interval = Interval.of_minutes(profile.interval_minutes)
    return regular_series(store.read(market, interval), store.gaps(market, interval), interval)


def _labels(shop: Workshop, series: CandleSeries, profile: Profile) -> Labels:
    return make_labels(series, profile, costs(shop.settings), ewm_sigma(series))


def _runs(
    found: _Profile, alone: Sequence[Compared], pooled: Sequence[Compared], seed: int
) -> list[CandidateRun]:
    """One MLflow run per market and candidate: the numbers of its market, the pooled verdict."""
    verdicts = {row.name: row for row in pooled if row.stage is Stage.GATE}
    by_name = {(row.markets[0], row.name): row for row in alone}
    return [
        CandidateRun(
            market=one.market,
            profile=one.profile,
            candidate=candidate.name,
            version=one.version,
            made_at=one.made_at,
            metrics=one.evaluation(candidate, seed).metrics()
            | _metrics(by_name[one.market, candidate.name]),
            tags={"recipe": candidate.recipe, **_tags(verdicts[candidate.name])},
        )
        for one in found.contests
        for candidate in one.candidates
    ]


def _live_runs(shop: Workshop, rows: ShadowRows) -> list[CandidateRun]:
    """What each version that is still kept has said of live candles, for its own MLflow run."""
    runs = []
    for challenger in shop.challengers().all(rows.market, rows.profile):
        own = rows.take(rows.version == challenger.version)
        if len(own) and challenger.is_applied:
            loss, prior = float(own.losses.mean()), float(own.loss_prior.mean())
            runs.append(
                CandidateRun(
                    market=rows.market,
                    profile=rows.profile,
                    candidate=CHALLENGER,
                    version=challenger.version,
                    made_at=challenger.made_at,
                    metrics={
                        "live_rows": len(own),
                        "live_log_loss": loss,
                        "live_skill": 1 - loss / prior,
                    },
                    tags={},
                    step=len(own),
                )
            )
    return runs


def _metrics(row: Compared) -> dict[str, float]:
    """Finite numbers under the same names for everybody."""
    flat: dict[str, float] = {"trades": row.trades, "net_bp": row.net_bp}
    for name, gain in (("log_loss_gain", row.loss_gain), ("net_bp_gain", row.net_gain)):
        if gain is not None:
            flat |= {name: gain.mean, f"{name}_low": gain.low, f"{name}_high": gain.high}
    return {name: float(value) for name, value in flat.items() if np.isfinite(value)}


def _tags(row: Compared) -> Mapping[str, str]:
    """What the pooled comparison says of a candidate, in words."""
    if row.loss_gain is None or row.net_gain is None:
        return {"compared_with": "itself: all others are compared with it"}
    return {
        "compared_with": f"{row.against}, {len(row.markets)} markets together",
        "verdict_log_loss": _words(row.loss_gain, "nats"),
        "verdict_net_bp": _words(row.net_gain, "bp"),
    }


def _words(gain: Gain, unit: str) -> str:
    return f"{gain.standing}: {gain.mean:+.4g} {unit} [{gain.low:+.4g}, {gain.high:+.4g}]"
