"""Verdict rows: from checks, stored once per model version, read back as they were."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from trading_assets.database import connect, prepare
from trading_assets.models.staleness import age_hours, confirmed_at, is_expired, is_stale
from trading_assets.models.verdicts import (
    Verdict,
    VerdictKind,
    latest_verdict,
    record_verdict,
    verdict_of_checks,
)
from trading_assets.rules.check import CheckOutcome
from trading_assets.world import World

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
DAY, TWO_DAYS = timedelta(hours=24), timedelta(hours=48)


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    engine = connect(f"sqlite:///{tmp_path / 'db.sqlite'}")
    prepare(engine, World("sandbox-test", tmp_path / "data", tmp_path / "mlruns"))
    return engine


def _promotion(passed: bool, at: datetime, version: str = "v1", market: str = "KRW-BTC") -> Verdict:
    return Verdict(
        VerdictKind.PROMOTION, market, "swing", passed, ("why",), at, {"n": 3}, version, "run-1"
    )


def test_checks_pass_together_unless_a_blocking_one_fails() -> None:
    warned = (CheckOutcome("fresh", True, "12 s"), CheckOutcome("drift", False, "9 %", False))
    verdict = verdict_of_checks(VerdictKind.MAY_TRAIN, "KRW-BTC", "swing", warned, now=NOW)
    assert verdict.passed
    assert verdict.reasons == ()
    assert verdict.details["drift"] == {"passed": False, "blocking": False, "reason": "9 %"}


def test_a_verdict_lists_each_blocking_failure_with_its_numbers() -> None:
    outcomes = (
        CheckOutcome("fresh", False, "61 min old", values={"minutes": 61}),
        CheckOutcome("gaps", False, "40 hours missing"),
    )
    verdict = verdict_of_checks(VerdictKind.MAY_SIGNAL, "KRW-BTC", "swing", outcomes, now=NOW)
    assert not verdict.passed
    assert verdict.reasons == ("fresh: 61 min old", "gaps: 40 hours missing")
    assert verdict.details["fresh"]["minutes"] == 61


def test_a_verdict_comes_back_as_it_was_stored(engine: sa.Engine) -> None:
    verdict = _promotion(False, NOW)
    assert record_verdict(engine, verdict)
    assert latest_verdict(engine, VerdictKind.PROMOTION, "KRW-BTC", "swing") == verdict


def test_a_model_version_is_judged_once(engine: sa.Engine) -> None:
    assert record_verdict(engine, _promotion(True, NOW))
    assert not record_verdict(engine, _promotion(True, NOW + DAY))
    assert record_verdict(engine, _promotion(False, NOW + DAY, version="v2"))
    assert record_verdict(engine, _promotion(True, NOW, market="KRW-ETH"))


def test_the_newest_verdict_of_the_kind_market_and_profile_is_the_latest(
    engine: sa.Engine,
) -> None:
    record_verdict(engine, _promotion(False, NOW + DAY, "v2"))
    record_verdict(engine, _promotion(True, NOW, "v1"))
    checks = verdict_of_checks(VerdictKind.MAY_TRAIN, "KRW-BTC", "swing", (), now=NOW + TWO_DAYS)
    record_verdict(engine, checks)
    latest = latest_verdict(engine, VerdictKind.PROMOTION, "KRW-BTC", "swing")
    assert latest is not None
    assert latest.model_version == "v2"
    assert latest_verdict(engine, VerdictKind.PROMOTION, "KRW-ETH", "swing") is None
    assert latest_verdict(engine, VerdictKind.PROMOTION, "KRW-BTC", "scalp") is None


def test_a_refused_challenger_confirms_as_a_promoted_one_does(engine: sa.Engine) -> None:
    assert confirmed_at(engine, "KRW-BTC", "swing") is None
    record_verdict(engine, _promotion(True, NOW, "v1"))
    assert confirmed_at(engine, "KRW-BTC", "swing") == NOW
    record_verdict(engine, _promotion(False, NOW + DAY, "v2"))
    assert confirmed_at(engine, "KRW-BTC", "swing") == NOW + DAY


def test_checks_confirm_nothing(engine: sa.Engine) -> None:
    record_verdict(
        engine, verdict_of_checks(VerdictKind.MAY_TRAIN, "KRW-BTC", "swing", (), now=NOW)
    )
    assert confirmed_at(engine, "KRW-BTC", "swing") is None


@pytest.mark.parametrize(
    ("age", "stale"),
    [
        (timedelta(hours=23, minutes=59), False),
        (timedelta(hours=24), False),
        (timedelta(hours=24, microseconds=1), True),
        (timedelta(hours=24, minutes=1), True),
    ],
)
def test_a_model_is_stale_after_more_than_24_hours(age: timedelta, stale: bool) -> None:
    assert is_stale(NOW, NOW + age, DAY) is stale


@pytest.mark.parametrize(
    ("age", "expired"), [(TWO_DAYS, False), (TWO_DAYS + timedelta(seconds=1), True)]
)
def test_entries_stop_after_more_than_48_hours(age: timedelta, expired: bool) -> None:
    assert is_expired(NOW, NOW + age, TWO_DAYS) is expired


def test_what_was_never_confirmed_is_stale_and_expired() -> None:
    assert is_stale(None, NOW, DAY)
    assert is_expired(None, NOW, TWO_DAYS)
    assert age_hours(None, NOW) is None


def test_the_age_is_counted_in_hours() -> None:
    assert age_hours(NOW, NOW + timedelta(hours=30, minutes=30)) == 30.5
