"""The two domain calls of a retraining: make a challenger, judge it. Both survive a SIGKILL.

`make_challenger`: data set -> training -> complete folder -> MLflow version. `judge_challenger`:
gate -> verdict on disk -> champion files -> pointer -> MLflow aliases -> verdict row. The verdict
on disk is a redo record: whatever a kill leaves undone, `heal` (called first by both) finishes
from it, every step being safe to repeat. One file lock per market and profile keeps two
retrainings apart; the system frees it when its holder dies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
from filelock import FileLock
from sqlalchemy.engine import Engine

from trading_assets.alerts import Severity, write_alert
from trading_assets.clock import Clock
from trading_assets.database import write
from trading_assets.errors import NotEnoughHistory, NotReadyYet
from trading_assets.features.checks import FeatureReference
from trading_assets.models import registry
from trading_assets.models.candidates import why_incomparable
from trading_assets.models.challengers import Challenger, ChallengerStore, Judgement, finite
from trading_assets.models.champions import ChampionStore
from trading_assets.models.dataset import Dataset
from trading_assets.models.mlflow_store import prepare_mlflow
from trading_assets.models.promotion import TwinDifferences, judge, twin_differences
from trading_assets.models.trained import Trained
from trading_assets.models.training import MAX_ROUNDS, OnFit, train
from trading_assets.models.verdicts import (
    HISTORY,
    Verdict,
    VerdictKind,
    insert_verdict,
    record_verdict,
)
from trading_assets.rules.profile import Profile
from trading_assets.settings import Settings
from trading_assets.world import World

# Metadata that is long, or said elsewhere in the MLflow run.
_NOT_PARAMETERS = frozenset(
    {"features.names", "label_shares", "label.classes", "role", "trained_at"}
)


def _quiet(step: str) -> None:
    del step


@dataclass(frozen=True, slots=True)
class Workshop:
    """What a retraining works with.

    run_id: of the Dagster run, None outside it. on_step: told the name of each step right before
    it is taken (progress, and the kill tests).
    """

    settings: Settings
    world: World
    clock: Clock
    engine: Engine
    run_id: str | None = None
    on_step: Callable[[str], None] = field(default=_quiet)

    def challengers(self) -> ChallengerStore:
        return ChallengerStore(self.world.models, self.world.name)

    def champions(self) -> ChampionStore:
        return ChampionStore(self.world.champions, self.world.name)

    def lock(self, market: str, profile: str) -> FileLock:
        return FileLock(self.challengers().lock_path(market, profile))

    @property
    def seeds(self) -> tuple[int, ...]:
        first = self.settings.base_seed
        return tuple(range(first, first + self.settings.seeds))


def make_challenger(
    shop: Workshop,
    dataset: Dataset,
    profile: Profile,
    reference: FeatureReference,
    *,
    on_fit: OnFit | None = None,
    max_rounds: int = MAX_ROUNDS,
) -> Challenger:
    """Train on `dataset`, store the challenger whole and register it in MLflow.

    reference: what the features look like in these rows, kept with the model. Raises
    NotEnoughHistory below the profile's minimum; when nothing serves yet this is a verdict
    (refused, so that it is asked again after a day and not every hour).
    """
    market = dataset.market
    with shop.lock(market, profile.name):
        _heal(shop, market, profile.name)
        shop.on_step("train")
        made_at = shop.clock.now()
        try:
            trained = train(
                dataset,
                profile,
                shop.settings.recipe,
                shop.seeds,
                on_fit,
                trained_at=made_at,
                max_rounds=max_rounds,
            )
        except NotEnoughHistory as exc:
            refuse_untrained(shop, market, profile.name, str(exc))
            raise
        shop.on_step("store_challenger")
        gate = np.searchsorted(dataset.open_time, trained.gate_rows.open_time)
        challenger = shop.challengers().save(
            trained,
            market=market,
            profile=profile.name,
            version=f"{made_at:%Y%m%dT%H%M%SZ}-{trained.served.digest[:8]}",
            gate_x=dataset.x[gate],
            reference=reference,
            record=_record(shop, trained, made_at.isoformat()),
        )
        shop.on_step("register_challenger")
        registry.register_challenger(shop.world, _entry(shop, challenger), shop.on_step)
        return challenger


def judge_challenger(
    shop: Workshop, market: str, profile: Profile, version: str | None = None
) -> Judgement:
    """Judge a challenger (default: the newest) and carry the verdict out everywhere.

    A version that was judged before keeps its verdict. Raises NotReadyYet when there is no
    challenger.
    """
    with shop.lock(market, profile.name):
        _heal(shop, market, profile.name)
        challenger = _chosen(shop, market, profile.name, version)
        if challenger.is_judged:
            return shop.challengers().judgement(challenger)
        shop.on_step("judge")
        judgement = _judge(shop, challenger, profile)
        _apply(shop, judgement)
        shop.challengers().clean(market, profile.name)
        return judgement


def heal(shop: Workshop, market: str, profile: str) -> tuple[str, ...]:
    """Finish what a killed retraining left undone; the versions whose verdict was carried out.

    Half-written folders go, MLflow runs without a process are closed as KILLED.
    """
    with shop.lock(market, profile):
        return _heal(shop, market, profile)


def refuse_untrained(shop: Workshop, market: str, profile: str, reason: str) -> bool:
    """Record a refusal for a market that cannot be trained yet; False when a champion serves.

    With a champion, too little data is a fault of the data and confirms nothing.
    """
    if shop.champions().current_version(market, profile) is not None:
        return False
    verdict = Verdict(
        kind=VerdictKind.PROMOTION,
        market=market,
        profile=profile,
        passed=False,
        reasons=(f"{HISTORY}{reason}",),
        decided_at=shop.clock.now(),
        run_id=shop.run_id,
    )
    return record_verdict(shop.engine, verdict)


def _heal(shop: Workshop, market: str, profile: str) -> tuple[str, ...]:
    store = shop.challengers()
    finished = []
    for challenger in store.all(market, profile):
        if challenger.is_judged and not challenger.is_applied:
            _apply(shop, store.judgement(challenger))
            finished.append(challenger.version)
    store.clean(market, profile)
    if shop.world.mlruns.exists():
        prepare_mlflow(shop.world)
        registry.close_orphans(shop.world, shop.settings.trading_mode.value, market, profile)
    return tuple(finished)


def _chosen(shop: Workshop, market: str, profile: str, version: str | None) -> Challenger:
    if version is not None:
        return shop.challengers().load(market, profile, version)
    every = shop.challengers().all(market, profile)
    if not every:
        raise NotReadyYet(f"{market} {profile} has no challenger to judge: train one first")
    return every[-1]


def _judge(shop: Workshop, challenger: Challenger, profile: Profile) -> Judgement:
    """Reach the verdict and make it stand."""
    trained, gate_x, now = challenger.trained(), challenger.gate_x(), shop.clock.now()
    own, nothing_to_compare = _own_differences(shop, challenger, trained, gate_x)
    store = shop.challengers()
    verdict = judge(
        trained,
        profile,
        served_p=trained.served.probabilities(gate_x),
        own=own,
        others=store.differences(profile.name, besides=challenger.market),
        now=now,
        seed=shop.settings.base_seed,
        nothing_to_compare=nothing_to_compare,
    )
    shop.on_step("write_verdict")
    return store.write_verdict(challenger, verdict, own, decided_at=now, run_id=shop.run_id)


def _own_differences(
    shop: Workshop, challenger: Challenger, trained: Trained, gate_x: np.typing.NDArray[np.float32]
) -> tuple[TwinDifferences | None, str]:
    """The challenger against the champion's twin, or None and why there is nothing to compare."""
    market, profile = challenger.market, challenger.profile
    champion = shop.champions().current(market, profile)
    if champion is None:
        return None, "no champion yet"
    incomparable = why_incomparable(challenger, trained, champion)
    if incomparable is not None:
        return None, incomparable
    blind_from = np.datetime64(champion.record["gate_from"])
    times, difference = twin_differences(trained, champion.twin(), gate_x, blind_from)
    return TwinDifferences(market, profile, times, difference, shop.clock.now()), ""


def _apply(shop: Workshop, judgement: Judgement) -> None:
    """Carry a verdict out: champion, MLflow, verdict row. Every step is safe to repeat."""
    challenger, verdict = judgement.challenger, judgement.verdict
    market, profile, version = challenger.market, challenger.profile, challenger.version
    champions = shop.champions()
    serving = champions.current_version(market, profile)
    # Versions begin with their time: an old verdict never replaces a newer champion.
    if verdict.promoted and (serving is None or serving <= version):
        shop.on_step("install_champion")
        champions.install(market, profile, version, challenger.folder)
        shop.on_step("swap_pointer")
        champions.point_to(market, profile, version)
        shop.on_step("prune_champions")
        champions.prune(market, profile)
    shop.on_step("register_verdict")
    registry.register_challenger(shop.world, _entry(shop, challenger), shop.on_step)
    registry.register_verdict(
        shop.world,
        challenger.name,
        version,
        promoted=verdict.promoted,
        reasons=verdict.reasons,
    )
    shop.on_step("verdict_row")
    _write_verdict_row(shop, judgement)
    shop.on_step("mark_applied")
    shop.challengers().mark_applied(challenger)


def _write_verdict_row(shop: Workshop, judgement: Judgement) -> None:
    challenger, verdict = judgement.challenger, judgement.verdict
    row = Verdict(
        kind=VerdictKind.PROMOTION,
        market=challenger.market,
        profile=challenger.profile,
        passed=verdict.promoted,
        reasons=verdict.reasons,
        decided_at=judgement.decided_at,
        details=finite(verdict.values),
        model_version=challenger.version,
        run_id=judgement.run_id,
    )
    with write(shop.engine) as connection:
        if insert_verdict(connection, row) and not verdict.promoted:
            write_alert(
                connection,
                severity=Severity.WARNING,
                kind="challenger_refused",
                dedupe_key=f"challenger_refused:{challenger.name}:{challenger.version}",
                message=f"{challenger.name} {challenger.version} refused: "
                + "; ".join(verdict.reasons),
                now=judgement.decided_at,
            )


def _record(shop: Workshop, trained: Trained, made_at: str) -> dict[str, Any]:
    """What is kept about a version beside its models; the store adds world, market and name.

    gate_from: the twin has seen no row that opens at or after it.
    """
    gate = trained.gate_rows.open_time
    return {
        "made_at": made_at,
        "trained_at": trained.served.metadata["trained_at"],
        "recipe": shop.settings.recipe.value,
        "skill": trained.evaluation.skill,
        "gate_from": str(gate[0]),
        "gate_to": str(gate[-1]),
        "label": _meaning(trained),
        "metrics": trained.evaluation.metrics(),
        "run_id": shop.run_id,
    }


def _meaning(trained: Trained) -> dict[str, Any]:
    """What the classes mean: losses of models that differ in it cannot be compared."""
    return {part: trained.served.metadata[part] for part in ("label", "exits", "costs")}


def _entry(shop: Workshop, challenger: Challenger) -> registry.Entry:
    trained = challenger.trained()
    metadata = trained.served.metadata
    parameters = {
        name: value for name, value in _flat(metadata).items() if name not in _NOT_PARAMETERS
    } | {f"rows.{part}": str(count) for part, count in trained.split.items()}
    metrics = (
        trained.evaluation.metrics()
        | {f"calibration_{k}": v for k, v in trained.calibration_evaluation.metrics().items()}
        | {f"cpu_seconds_{step}": seconds for step, seconds in trained.timings.items()}
    )
    return registry.Entry(
        mode=shop.settings.trading_mode.value,
        market=challenger.market,
        profile=challenger.profile,
        version=challenger.version,
        folder=challenger.folder,
        parameters=parameters,
        metrics=metrics,
        tags={
            "market": challenger.market,
            "profile": challenger.profile,
            "recipe": str(metadata["recipe"]),
            "world": shop.world.name,
            "made_at": str(challenger.record["made_at"]),
            "dagster_run_id": str(challenger.record["run_id"] or ""),
        },
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def model_age_limit(settings: Settings) -> timedelta:
    """How long after its last confirmation a model may still enter trades."""
    return timedelta(hours=float(settings.entries_stop_after_hours))
