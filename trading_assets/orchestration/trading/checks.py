"""Emergencies that a person has to be told of, and telling them. Nothing is sold or sent here."""

from datetime import datetime, timedelta

from sqlalchemy.engine import Engine

from trading_assets.alerts import Severity, write_alert
from trading_assets.database import write
from trading_assets.trading.emergency import Emergency, Remedy, Scene, emergencies, read_scene

# Longer than a takeover may take: then whoever starts takeovers does not do so.
TAKEOVER_PATIENCE = timedelta(minutes=1)


def urgent(engine: Engine, now: datetime) -> tuple[Emergency, ...]:
    """What does not pass by itself: everything but a takeover that is still young."""
    scene = read_scene(engine)
    return tuple(e for e in emergencies(scene, now) if not _is_young(scene, e, now))


def _is_young(scene: Scene, emergency: Emergency, now: datetime) -> bool:
    if emergency.remedy is not Remedy.TAKE_OVER or emergency.market is None:
        return False
    lease = scene.leases.get(emergency.market)
    return lease is not None and abs(now - lease.heartbeat_at) < TAKEOVER_PATIENCE


def alert_emergencies(engine: Engine, now: datetime) -> tuple[Emergency, ...]:
    """Put each urgent emergency into the outbox, the same one at most once an hour."""
    found = urgent(engine, now)
    with write(engine) as connection:
        for emergency in found:
            write_alert(
                connection,
                severity=Severity.CRITICAL,
                kind=emergency.kind.value,
                dedupe_key=f"emergency-{emergency.kind}-{emergency.market}-{now:%Y-%m-%dT%H}",
                message=emergency.detail + _help(emergency),
                now=now,
            )
    return found


def _help(emergency: Emergency) -> str:
    if emergency.remedy is not Remedy.TAKE_OVER:
        return ""
    return ". `trading-assets guard` holds it without Dagster, `trading-assets halt` sells it."
