"""How old a model is: the time since a retraining last reached a verdict.

A refused challenger confirms the champion as much as a promoted one replaces it; a retraining that
failed or timed out writes no verdict and confirms nothing. Importable without pandas or numpy.
"""

from datetime import datetime, timedelta

from sqlalchemy.engine import Engine

from trading_assets.models.verdicts import VerdictKind, latest_verdict


def confirmed_at(engine: Engine, market: str, profile: str) -> datetime | None:
    """When the last promotion verdict was reached, promoted or refused; None when never."""
    verdict = latest_verdict(engine, VerdictKind.PROMOTION, market, profile)
    return None if verdict is None else verdict.decided_at


def is_stale(confirmed: datetime | None, now: datetime, retrain_after: timedelta) -> bool:
    """Whether to retrain: never confirmed, or longer ago than `retrain_after` (not equal)."""
    return confirmed is None or now - confirmed > retrain_after


def is_expired(confirmed: datetime | None, now: datetime, entries_stop_after: timedelta) -> bool:
    """Whether entries stop: never confirmed, or longer ago than `entries_stop_after`."""
    return is_stale(confirmed, now, entries_stop_after)


def age_hours(confirmed: datetime | None, now: datetime) -> float | None:
    """Hours since the confirmation, None when there never was one."""
    return None if confirmed is None else (now - confirmed) / timedelta(hours=1)
