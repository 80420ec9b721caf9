"""Confidence steps and drift, measured on candles and models, kept as verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import Labels, make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.models.verdicts import Verdict, VerdictKind, latest_verdict
from trading_assets.rules.check import Level
from trading_assets.rules.sizing import STEP_STARTS
from trading_assets.rules.steps import NO_EVIDENCE, UNPAID, Evidence, Outcome
from trading_assets.settings import ProfileName
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.health import LEVEL
from trading_assets.signals.matured import by_step, judge_steps, matured_outcomes, outcomes_of
from trading_assets.signals.recent import decided
from trading_assets.signals.watch import watch_signals
from trading_assets.trading.steps import unpaid_steps
from trading_assets_tests.signals.market_world import (
    BTC,
    CLOSE,
    CLOSING,
    NOW,
    Desk,
    desk,
    fill,
    series,
)
from trading_assets_tests.signals.said import HOUR, bought

LOWEST = Decimal(0)
PAYS = Evidence(30, 12, 0.004, 0.002, 0.65, 0.6)  # score +2
LOSES = Evidence(30, 12, -0.004, 0.002, 0.65, 0.3)  # score -2


def steps(**seen: Evidence) -> dict[Decimal, Evidence]:
    """By step; those not named had no signal. `p80=...`, `low=...`."""
    names = dict(zip(STEP_STARTS, ("p80", "p70", "p60", "low"), strict=True))
    return {start: seen.get(name, NO_EVIDENCE) for start, name in names.items()}


def judged(seen: Mapping[Decimal, Evidence], last: Verdict | None = None) -> Verdict:
    return judge_steps("swing", seen, last, now=NOW)


# --- the verdict on the steps -------------------------------------------------------------------


def test_signals_stand_on_the_step_of_their_p_buy() -> None:
    def outcome(claimed: float) -> Outcome:
        return Outcome(date(2026, 1, 1), 0.01, claimed, True)

    found = by_step([outcome(p) for p in (0.8, 0.799, 0.7, 0.6, 0.59, 0.2)])
    assert {str(start): seen.signals for start, seen in found.items()} == {
        "0.8": 1,
        "0.7": 2,
        "0.6": 1,
        "0": 2,
    }


def test_a_losing_step_is_named_and_warns() -> None:
    verdict = judged(steps(p70=LOSES, p60=PAYS, low=PAYS))
    assert verdict.details[UNPAID] == ["0.7"]
    assert (verdict.details[LEVEL], verdict.passed) == ("WARN", False)
    assert verdict.reasons[0] == "from 80% no BUY"
    assert verdict.reasons[1] == (
        "from 70% 30 BUY on 12 days -40 bp, 65% claimed 30% true, size lowered"
    )


def test_a_step_once_lowered_stays_until_the_evidence_turns() -> None:
    lowered = judged(steps(p70=LOSES))
    nothing = judged(steps(), lowered)
    assert nothing.details[UNPAID] == ["0.7"]
    between = judged(steps(p70=replace(PAYS, mean_net=0.0)), nothing)
    assert between.details[UNPAID] == ["0.7"]
    again = judged(steps(p70=PAYS), between)
    assert again.details[UNPAID] == []
    assert (again.details[LEVEL], again.passed) == ("OK", True)


@pytest.mark.parametrize(
    ("score", "level"), [(-2.33, Level.OK), (-2.34, Level.FAIL), (-1.5, Level.OK)]
)
def test_the_lowest_step_cannot_fall_and_fails_when_it_surely_loses(
    score: float, level: Level
) -> None:
    verdict = judged(steps(low=Evidence(30, 12, score * 0.01, 0.01, 0.4, 0.3)))
    assert verdict.details[UNPAID] == []
    assert verdict.details[LEVEL] == level.value


def test_an_infinite_error_is_plain_json() -> None:
    assert judged(steps()).details["steps"]["0.8"]["standard_error"] is None
    assert math.isinf(NO_EVIDENCE.standard_error)


# --- joining signals with what became of them ---------------------------------------------------


def labels_at(*rows: tuple[int, int, float, bool]) -> Labels:
    """(hours after CLOSE, label, long_net, valid), for outcomes_of alone."""
    times = np.array([CLOSE.replace(tzinfo=None) + r[0] * HOUR for r in rows], "datetime64[us]")
    nothing = np.zeros(len(rows))
    return Labels(
        open_time=times,
        label=np.array([r[1] for r in rows], np.int8),
        end_time=times,
        long_net=np.array([r[2] for r in rows]),
        short_net=nothing,
        stop_loss=nothing,
        take_profit=nothing,
        exit_reason=np.zeros(len(rows), np.int8),
        valid=np.array([r[3] for r in rows]),
    )


@pytest.fixture
def place(tmp_path: Path) -> Desk:
    return desk(tmp_path, markets=BTC)


def test_a_signal_gets_the_label_of_its_own_candle_once_it_is_known(place: Desk) -> None:
    for hours in range(4):
        bought(place.engine, CLOSE + hours * HOUR, p=(0.1, 0.2, 0.7))
    rows = decided(place.engine, "swing", [BTC], CLOSE, CLOSE + 9 * HOUR)
    labels = labels_at((0, 2, 0.03, True), (1, 0, -0.02, True), (2, 1, 0.0, False))
    assert outcomes_of(rows, labels) == (
        Outcome(CLOSE.date(), 0.03, 0.7, True),
        Outcome(CLOSE.date(), -0.02, 0.7, False),
    )


def test_outcomes_are_those_of_the_labels_that_training_uses(place: Desk) -> None:
    swing = profile(place.settings, ProfileName.SWING)
    for hours in (13, 12, 11):  # the timeout is 12 h: the last of them is not over yet
        bought(place.engine, CLOSING - hours * HOUR)
    rows = decided(place.engine, "swing", [BTC], CLOSE - 30 * HOUR, NOW)
    found = matured_outcomes(rows, series(), swing, costs(place.settings))
    assert len(found) == 2
    assert {o.claimed for o in found} == {0.6}


# --- watching -----------------------------------------------------------------------------------


def by_check(findings: Sequence[Finding], check: Check) -> Finding:
    (finding,) = (f for f in findings if f.check is check)
    return finding


def watched(place: Desk, hours: int = 0) -> list[Finding]:
    return watch_signals(
        place.settings,
        place.engine,
        place.store,
        place.champions,
        name=ProfileName.SWING,
        now=NOW + hours * HOUR,
    )


def test_without_signals_and_models_nothing_is_wrong(place: Desk) -> None:
    findings = watched(place)
    assert by_check(findings, Check.CONFIDENCE_STEPS).level is Level.OK
    assert Check.INPUT_DRIFT not in {f.check for f in findings}


def test_losing_signals_of_twelve_days_take_the_size_that_trading_reads(place: Desk) -> None:
    """Every BUY is of p_buy 0.65; what it earned is put into the labels by the market's candles, so
    the days are chosen whose long trade ended at the stop."""
    fill(place.store, BTC)
    labels = matured_losses(place)
    for at in labels:
        bought(place.engine, at, p=(0.1, 0.25, 0.65))
    finding = by_check(watched(place), Check.CONFIDENCE_STEPS)
    assert finding.level is Level.WARN
    assert f"from 60% {len(labels)} BUY on {len(labels)} days" in finding.text
    assert unpaid_steps(place.engine, "swing") == {Decimal("0.6")}
    assert unpaid_steps(place.engine, "scalp") == frozenset()


def matured_losses(place: Desk) -> list[datetime]:
    """One candle a day, for 15 days, whose long trade lost."""
    swing = profile(place.settings, ProfileName.SWING)
    labels = make_labels(series(), swing, costs(place.settings), ewm_sigma(series()))
    lost = np.flatnonzero(labels.valid & (labels.long_net < -0.005))[::-1]
    by_day: dict[date, datetime] = {}
    for row in lost:
        at = labels.open_time[row].item().replace(tzinfo=UTC)
        by_day.setdefault(at.date(), at)
    return [at for _, at in sorted(by_day.items())][-15:]


def test_features_of_the_training_market_are_no_failure_and_verdicts_are_not_repeated(
    place: Desk,
) -> None:
    fill(place.store, BTC)
    place.promote()
    first = by_check(watched(place), Check.INPUT_DRIFT)
    assert first.level is not Level.FAIL
    assert "PSI of 0.25 or more" in first.text
    kept = latest_verdict(place.engine, VerdictKind.INPUT_DRIFT, BTC, "swing")
    watched(place, hours=1)
    again = latest_verdict(place.engine, VerdictKind.INPUT_DRIFT, BTC, "swing")
    assert kept is not None
    assert again is not None
    assert again.decided_at == kept.decided_at == NOW
    watched(place, hours=24)
    anew = latest_verdict(place.engine, VerdictKind.INPUT_DRIFT, BTC, "swing")
    assert anew is not None
    assert anew.decided_at == NOW + timedelta(hours=24)


def test_features_that_left_their_training_range_fail(
    place: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference is of another market: every tenth of it lies where these features never are."""
    fill(place.store, BTC)
    place.promote()
    champion = place.champions.current(BTC, "swing")
    assert champion is not None
    far = tuple(tuple(1e6 + i for i in range(9)) for _ in champion.reference.edges)
    calm = replace(champion.reference, edges=far, worst=(0.25,) * len(far))
    monkeypatch.setitem(place.champions._loaded, (BTC, "swing"), replace(champion, reference=calm))
    assert by_check(watched(place), Check.INPUT_DRIFT).level is Level.FAIL
