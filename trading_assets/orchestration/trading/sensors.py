"""What trading watches. A sensor reads like a label; what it asks for lives in the domain."""

import dagster as dg


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
