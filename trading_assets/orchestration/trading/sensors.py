"""What trading watches. A sensor reads like a label; what it asks for lives in the domain."""

import dagster as dg
from sqlalchemy.engine import Engine

from trading_assets.clock import Clock
from trading_assets.trading.status import beat, live_signals


@dg.sensor(
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Shows that the trading location is alive and how many signals it could act on.",
)
def trading_status_sensor(
    clock: dg.ResourceParam[Clock], database: dg.ResourceParam[Engine]
) -> dg.SkipReason:
    now = clock.now()
    live = live_signals(database, now)
    message = f"{live} live signal{'' if live == 1 else 's'}"
    beat(database, "trading_status_sensor", now, message)
    return dg.SkipReason(message)
