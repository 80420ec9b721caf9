"""From the domain's values to what Dagster shows: asset checks and metadata."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from trading_assets.rules.check import CheckOutcome
from trading_assets.signals.produce import SignalsReport

if TYPE_CHECKING:
    Result: TypeAlias = dg.MaterializeResult[Any]
else:
    # At run time Dagster reads the annotation of an asset and knows only the bare class.
    Result = dg.MaterializeResult


def check_specs(
    asset: dg.AssetKey,
    names: Iterable[str],
    partitions: dg.PartitionsDefinition[str] | None,
    *,
    blocking: bool = True,
) -> list[dg.AssetCheckSpec]:
    """The declaration of the checks `names` on `asset`, with one result a partition.

    partitions: None for an asset without. blocking: a failure of severity ERROR stops the steps
    after it. Each failure's severity is its outcome's (`check_results`), because a domain check may
    warn up to one bound and block from another.
    """
    return [
        dg.AssetCheckSpec(name, asset=asset, blocking=blocking, partitions_def=partitions)
        for name in names
    ]


def check_results(outcomes: Iterable[CheckOutcome]) -> list[dg.AssetCheckResult]:
    """What the checks found. A failure that does not block is a warning, which stops nothing."""
    return [
        dg.AssetCheckResult(
            check_name=outcome.name,
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.ERROR
            if outcome.blocking
            else dg.AssetCheckSeverity.WARN,
            description=outcome.reason,
            metadata=dict(outcome.values),
        )
        for outcome in outcomes
    ]


def signals_result(context: dg.AssetExecutionContext, report: SignalsReport) -> Result:
    """The materialization of the markets of this run.

    Raises Failure, after everything is written and the good markets are marked as materialized,
    when a market failed: the others' signals stand, and the run shows what is wrong.
    """
    decisions = {f"{s.market} {s.profile}": f"{s.decision} ({s.reason})" for s in report.rows}
    failed = {failure.market for failure in report.failures}
    if not failed:
        return Result(metadata={"decisions": decisions, "new_rows": len(report.inserted)})
    for market in context.partition_keys:
        if market not in failed:
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=market))
    raise dg.Failure(
        "; ".join(f"{f.market} {f.profile}: {f.message}" for f in report.failures),
        metadata={"decisions": decisions},
    )
