"""What trading does in a run: hold one trade, reconcile, check for emergencies.

Each op is one call into the domain. Domain modules are imported when a run needs them: loading the
location must not wait for SQLAlchemy.
"""

import dagster as dg

from trading_assets.orchestration.shared import tags

TRADE_JOB = "trade"
RECONCILE_JOB = "reconcile"
EMERGENCY_JOB = "emergency_check"

CHECK_SECONDS = 600
_NEEDED = {"open_floor", "database", "clock"}
_ONCE = {tags.MAX_RETRIES: "0"}


class TradeConfig(dg.Config):
    """signal_id: enter for it; without one, hold what the market holds already."""

    market: str
    signal_id: int | None = None


def holder_of(run_id: str) -> str:
    """The name under which a run holds a lease."""
    return f"run-{run_id}"


@dg.op(required_resource_keys=_NEEDED, description="Enter, guard and leave: one trade.")
def hold_trade(context: dg.OpExecutionContext, config: TradeConfig) -> None:
    from trading_assets.orchestration.trading.story import Story
    from trading_assets.trading.reconcile import open_books
    from trading_assets.trading.trade import trade

    resources, holder = context.resources, holder_of(context.run_id)
    story = Story(
        resources.database,
        config.market,
        resources.clock.now(),
        say=context.log.info,
        show=context.log_event,
    )
    with story:
        floor = resources.open_floor(story.tell)
        if config.signal_id is not None:
            open_books(floor, holder)
        report = trade(floor, config.market, holder, signal_id=config.signal_id)
    told = {"market": config.market, "end": report.end.value}
    if report.refusal is not None:
        told |= {"refused": report.refusal.code.value, "because": report.refusal.detail}
    if report.position is not None:
        told |= {"profit_krw": f"{report.position.cash_flow:+f}", "position": report.position.id}
    context.add_output_metadata(told)


@dg.job(
    name=TRADE_JOB,
    tags=_ONCE,
    description="One run is one trade: it enters for a signal, guards the position by its "
    "stop-loss, take-profit and time limit, and sells it. Terminate stops the run, NOT the "
    "position: `trading_sensor` starts another run that holds it. To sell, use "
    "`trading-assets halt`.",
)
def trade_job() -> None:
    hold_trade()


@dg.op(required_resource_keys=_NEEDED, description="The ledger against account and orders.")
def reconcile_account(context: dg.OpExecutionContext) -> None:
    from trading_assets.errors import TradingAssetsError
    from trading_assets.trading.key_age import key_left
    from trading_assets.trading.reconcile import open_books, reconcile

    floor, holder = context.resources.open_floor(context.log.info), holder_of(context.run_id)
    open_books(floor, holder)
    found = reconcile(floor, holder)
    for report in found.reports:
        context.log.warning(report)
    try:
        key_days_left = str(key_left(floor).days)
    except TradingAssetsError as exc:
        # The books are whole; whether a key may ask for its end at all depends on its permissions.
        context.log.warning(f"the key's end is not known: {exc}")
        key_days_left = "not known"
    context.add_output_metadata(
        {
            "key_days_left": key_days_left,
            "adopted_orders": len(found.adopted),
            "reports": len(found.reports),
            "missing": found.account.missing or "nothing",
            "moved_without_us_krw": f"{found.flow:f}",
        }
    )


@dg.job(
    name=RECONCILE_JOB,
    tags={**_ONCE, tags.MAX_RUNTIME: str(CHECK_SECONDS)},
    description="Compares the ledger with the account and its orders: books our own stray orders, "
    "records money that moved without us, reports everything else and leaves it alone; tells weeks "
    "before the account's key ends.",
)
def reconcile_job() -> None:
    reconcile_account()


@dg.op(required_resource_keys={"database", "clock"}, description="What must be done now.")
def check_for_emergencies(context: dg.OpExecutionContext) -> None:
    from trading_assets.orchestration.trading.checks import alert_emergencies

    found = alert_emergencies(context.resources.database, context.resources.clock.now())
    for emergency in found:
        context.log.error(f"{emergency.kind}: {emergency.detail}")
    context.add_output_metadata(
        {"emergencies": len(found), "what": "; ".join(e.detail for e in found) or "all is well"}
    )


@dg.job(
    name=EMERGENCY_JOB,
    tags={**_ONCE, tags.MAX_RUNTIME: str(CHECK_SECONDS)},
    description="Looks for positions that nobody holds, orders of unknown outcome, guards that see "
    "no price, positions left after a halt, coins missing from the account; each becomes an alert. "
    "Takeovers are started by `trading_sensor`.",
)
def emergency_job() -> None:
    check_for_emergencies()
