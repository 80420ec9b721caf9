"""Verdict rows: what one run decided for another (may train, may signal, promotion).

Here: writing and reading them. Not here: deciding; that is done by pure functions, whose results
(`CheckOutcome` tuples, `PromotionVerdict`) are the same values that Dagster's checks show.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine, Row

from trading_assets.database import read, verdicts, write
from trading_assets.rules import steps
from trading_assets.rules.check import CheckOutcome, blocking_failures

# How the reason of a refusal for want of rows begins.
HISTORY = "history: "


class VerdictKind(StrEnum):
    MAY_TRAIN = "may_train"
    MAY_SIGNAL = "may_signal"
    PROMOTION = "promotion"
    EVALUATION = "evaluation"  # a walk-forward was done, or could not be for want of rows
    CONFIDENCE_STEPS = steps.VERDICT
    INPUT_DRIFT = "input_drift"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One decision as stored.

    reasons: sentences for a person. details: JSON values (every gate's or check's number).
    model_version: what was judged, None when no model was. run_id: of Dagster, None outside it.
    """

    kind: VerdictKind
    market: str
    profile: str
    passed: bool
    reasons: tuple[str, ...]
    decided_at: datetime
    details: Mapping[str, Any] = field(default_factory=dict)
    model_version: str | None = None
    run_id: str | None = None


def verdict_of_checks(
    kind: VerdictKind,
    market: str,
    profile: str,
    outcomes: Iterable[CheckOutcome],
    *,
    now: datetime,
    run_id: str | None = None,
) -> Verdict:
    """What `outcomes` decide together: passed unless a blocking one failed. Pure."""
    every = tuple(outcomes)
    failed = blocking_failures(every)
    return Verdict(
        kind=kind,
        market=market,
        profile=profile,
        passed=not failed,
        reasons=tuple(f"{o.name}: {o.reason}" for o in failed),
        decided_at=now,
        details={
            o.name: {"passed": o.passed, "blocking": o.blocking, "reason": o.reason}
            | dict(o.values)
            for o in every
        },
        run_id=run_id,
    )


def record_verdict(engine: Engine, verdict: Verdict) -> bool:
    """Store `verdict`; False when the same model version was judged (same kind) before.

    A verdict without a model version is always stored. Safe to repeat after a kill.
    """
    with write(engine) as connection:
        return insert_verdict(connection, verdict)


def insert_verdict(connection: Connection, verdict: Verdict) -> bool:
    """`record_verdict` inside the caller's write transaction."""
    if verdict.model_version is not None and _is_recorded(connection, verdict):
        return False
    connection.execute(
        verdicts.insert().values(
            kind=verdict.kind.value,
            market=verdict.market,
            profile=verdict.profile,
            passed=verdict.passed,
            reasons=list(verdict.reasons),
            details=dict(verdict.details),
            decided_at=verdict.decided_at,
            model_version=verdict.model_version,
            run_id=verdict.run_id,
        )
    )
    return True


def latest_verdict(engine: Engine, kind: VerdictKind, market: str, profile: str) -> Verdict | None:
    """The newest verdict of `kind` on `market` and `profile`, None when there never was one."""
    query = (
        sa.select(verdicts)
        .where(
            verdicts.c.kind == kind.value,
            verdicts.c.market == market,
            verdicts.c.profile == profile,
        )
        .order_by(verdicts.c.decided_at.desc(), verdicts.c.id.desc())
        .limit(1)
    )
    with read(engine) as connection:
        row = connection.execute(query).one_or_none()
    return None if row is None else _verdict(row)


def is_too_little_history(verdict: Verdict) -> bool:
    """Whether a promotion was refused because nothing could be trained on so few rows."""
    return not verdict.passed and any(r.startswith(HISTORY) for r in verdict.reasons)


def _is_recorded(connection: Connection, verdict: Verdict) -> bool:
    same = sa.select(verdicts.c.id).where(
        verdicts.c.kind == verdict.kind.value,
        verdicts.c.market == verdict.market,
        verdicts.c.profile == verdict.profile,
        verdicts.c.model_version == verdict.model_version,
    )
    return connection.execute(same.limit(1)).first() is not None


def _verdict(row: Row[Any]) -> Verdict:
    return Verdict(
        kind=VerdictKind(row.kind),
        market=row.market,
        profile=row.profile,
        passed=row.passed,
        reasons=tuple(row.reasons),
        decided_at=row.decided_at,
        details=row.details,
        model_version=row.model_version,
        run_id=row.run_id,
    )


def training_verdict(engine: Engine, market: str, profile: str) -> Verdict | None:
    """How the last training ended: the gate's verdict, or the one that refused to train at all."""
    promotion = latest_verdict(engine, VerdictKind.PROMOTION, market, profile)
    if promotion is not None:
        return promotion
    may_train = latest_verdict(engine, VerdictKind.MAY_TRAIN, market, profile)
    return may_train if may_train is not None and not may_train.passed else None
