"""What trading watches. A sensor reads like a label; what it asks for lives in the domain."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from trading_assets.orchestration.shared import tags
from trading_assets.orchestration.trading.jobs import (
    EMERGENCY_JOB,
    RECONCILE_JOB,
    TRADE_JOB,
    emergency_job,
    trade_job,
)

if TYPE_CHECKING:
    from trading_assets.orchestration.trading.watch import Takeover, Wanted

_UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"clock", "database"},
    description="Shows that the trading location is alive and how many signals it could act on.",
)
def trading_status_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    # Not at the top: loading the location must not wait for SQLAlchemy.
    from trading_assets.signals.store import live_signals
    from trading_assets.trading.status import beat

    database, now = context.resources.database, context.resources.clock.now()
    live = sum(signal.traded for signal in live_signals(database, now))
    message = f"{live} live signal{'' if live == 1 else 's'}"
    beat(database, "trading_status_sensor", now, message)
    return dg.SkipReason(message)


@dg.sensor(
    job=trade_job,
    minimum_interval_seconds=5,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"clock", "database", "settings"},
    description="Starts a trade run for each position that nobody holds, and for each BUY signal "
    "of the traded profile that is undecided and not expired.",
)
def trading_sensor(
    context: dg.SensorEvaluationContext,
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    from trading_assets.errors import CredentialsRefused, DatabaseBusy
    from trading_assets.exchange.upbit import account_keys
    from trading_assets.orchestration.trading.watch import wanted_entries, wanted_takeovers
    from trading_assets.trading.funnel import end_missed_candidates

    resources = context.resources
    database, settings, now = resources.database, resources.settings, resources.clock.now()
    try:
        account_keys(settings)
    except CredentialsRefused as exc:
        # Live mode without keys makes signals only; a failed tick every five seconds says no more.
        yield dg.SkipReason(str(exc))
        return
    requests = [
        request
        for wanted in wanted_takeovers(database, now)
        if (request := _takeover_request(context.instance, wanted, now)) is not None
    ]
    try:
        end_missed_candidates(database, now)
        requests += [_entry_request(w) for w in wanted_entries(database, settings, now)]
    except DatabaseBusy as exc:
        # Nobody can enter now. A takeover starts all the same, to be there when it can write.
        context.log.warning(str(exc))
    except Exception:
        # What is wrong with a candidate must not keep a position without its guard. The next tick,
        # which has none to start, fails and is seen.
        if not requests:
            raise
        context.log.exception("no entry could be asked for; takeovers start all the same")
    yield from requests
    if not requests:
        yield dg.SkipReason("every position is held, and no signal asks for an entry")


def _entry_request(wanted: "Wanted") -> dg.RunRequest:
    return trade_request(wanted, f"signal {wanted.signal_id}")


def _takeover_request(
    instance: dg.DagsterInstance, wanted: "Wanted", now: datetime
) -> dg.RunRequest | None:
    """The next takeover of a market, None while the last may still begin.

    A run key is used once for ever, so it carries the attempt too: a run that dies before it takes
    the lease must be followed by another.
    """
    from trading_assets.orchestration.trading.watch import TAKEOVERS_COUNTED, may_take_over

    assert wanted.lost_token is not None
    market = {tags.MARKET: wanted.market}
    runs = instance.get_run_records(
        dg.RunsFilter(job_name=TRADE_JOB, tags=market, created_after=now - TAKEOVERS_COUNTED)
    )
    earlier = [_takeover(run) for run in runs if tags.LOST_TOKEN in run.dagster_run.tags]
    if not may_take_over(wanted.lost_token, earlier, now, wanted.lost_at):
        return None
    repeated = any(takeover.lost_token == wanted.lost_token for takeover in earlier)
    attempt = f"{now:%Y-%m-%dT%H:%M:%S}" if repeated else "first"
    return trade_request(wanted, f"takeover {wanted.market} {wanted.lost_token} {attempt}")


def _takeover(run: dg.RunRecord) -> "Takeover":
    from trading_assets.orchestration.trading.watch import Takeover

    ended_at = None
    if run.dagster_run.status not in _UNDER_WAY:
        ended_at = run.create_timestamp
        if run.end_time is not None:
            ended_at = datetime.fromtimestamp(run.end_time, UTC)
    lost_token = int(run.dagster_run.tags[tags.LOST_TOKEN])
    lost_at = run.dagster_run.tags.get(tags.LOST_AT)
    return Takeover(
        lost_token,
        run.create_timestamp,
        ended_at,
        None if lost_at is None else datetime.fromisoformat(lost_at),
    )


def trade_request(wanted: "Wanted", run_key: str) -> dg.RunRequest:
    """A run of `trade` as `wanted`."""
    about = {
        tags.MARKET: wanted.market,
        tags.SIGNAL: wanted.signal_id,
        tags.LOST_TOKEN: wanted.lost_token,
        tags.LOST_AT: None if wanted.lost_at is None else wanted.lost_at.isoformat(),
        tags.MODEL_VERSION: wanted.model_version,
        tags.MAX_RETRIES: 0,
        tags.MAX_RUNTIME: int(wanted.longest.total_seconds()),
    }
    config = {"market": wanted.market, "signal_id": wanted.signal_id}
    return dg.RunRequest(
        run_key=run_key,
        job_name=TRADE_JOB,
        run_config={"ops": {"hold_trade": {"config": config}}},
        tags={name: str(value) for name, value in about.items() if value is not None},
    )


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"clock", "database", "open_floor", "settings"},
    description="Reconciles ledger and account once a minute while no trade run does so itself.",
)
def reconcile_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    from trading_assets.errors import CredentialsRefused, LeaseLost, TryAgain
    from trading_assets.exchange.upbit import account_keys
    from trading_assets.trading.leases import all_leases
    from trading_assets.trading.reconcile import alert_refused_key, open_books, reconcile

    resources = context.resources
    now = resources.clock.now()
    try:
        account_keys(resources.settings)
    except CredentialsRefused as exc:
        return dg.SkipReason(str(exc))  # live mode without keys makes signals only
    if any(lease.is_live(now) for lease in all_leases(resources.database)):
        return dg.SkipReason("a trade run holds a position and reconciles itself")
    floor = resources.open_floor(context.log.info)
    try:
        open_books(floor, RECONCILE_JOB)
        found = reconcile(floor, RECONCILE_JOB)
    except (TryAgain, LeaseLost) as exc:
        # What the next minute may mend. Anything else, above all a ledger that disagrees with the
        # account, fails the tick and is seen.
        return dg.SkipReason(f"not reconciled: {exc}")
    except CredentialsRefused as exc:
        alert_refused_key(floor, exc)
        raise
    missing = found.account.missing or "nothing"
    return dg.SkipReason(f"{len(found.adopted)} orders adopted, missing: {missing}")


@dg.sensor(
    job=emergency_job,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"clock", "database"},
    description="Starts an emergency check only when there is something to tell.",
)
def emergency_sensor(
    context: dg.SensorEvaluationContext,
) -> dg.RunRequest | dg.SkipReason:
    from trading_assets.orchestration.trading.checks import urgent

    now = context.resources.clock.now()
    found = urgent(context.resources.database, now)
    if not found:
        return dg.SkipReason("all is well")
    what = ",".join(sorted(f"{e.kind} {e.market}" for e in found))
    return dg.RunRequest(run_key=f"{what} {now:%Y-%m-%dT%H}", job_name=EMERGENCY_JOB)
