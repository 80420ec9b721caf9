"""The choice of a profile at its boundaries; every expected number is worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.backtest.selection import (
    ProfileEvaluation,
    choose,
    gain_bound,
    profile_numbers,
)
from trading_assets.candles.frame import TIMES
from trading_assets.signals.choices import Choice, ChoiceReason, ProfileNumbers

START = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
NOW = START + 20 * WEEK
VALID = timedelta(days=7)
FIVE = np.timedelta64(1, "D") * np.arange(5)


def evaluated(
    profile: str,
    *net_by_week: float,
    start: datetime = START,
    evaluated_at: datetime = NOW,
) -> ProfileEvaluation:
    """Five trades a week from `start` on, all of a week's with the same net (NaN: no trades)."""
    first = np.datetime64(start.replace(tzinfo=None)).astype(TIMES)
    weeks = [i for i, net in enumerate(net_by_week) if not np.isnan(net)]
    at = np.array([first + i * np.timedelta64(7, "D") + day for i in weeks for day in FIVE])
    net = np.repeat([net_by_week[i] for i in weeks], 5).astype(np.float64)
    return ProfileEvaluation(
        profile=profile,
        markets=("KRW-BTC", "KRW-ETH"),
        evaluated_at=evaluated_at,
        start=start,
        end=start + len(net_by_week) * WEEK,
        signal_time=at.astype(TIMES),
        net_bp=net,
        gross_bp=net + 16,
        random_bp=-16.0,
    )


def choice(*evaluations: ProfileEvaluation, before: Choice | None = None) -> Choice:
    return choose(evaluations, before, NOW, valid_for=VALID, seed=1)


def numbers(evaluation: ProfileEvaluation) -> ProfileNumbers:
    return profile_numbers(evaluation, NOW, valid_for=VALID, seed=1)


def held(profile: str, since: datetime = START) -> Choice:
    return Choice(since, profile, since, ChoiceReason.CHOSEN, "by the test", since, ())


STEADY = (20.0,) * 10


def test_the_numbers_of_a_profile_are_of_its_trades() -> None:
    found = numbers(evaluated("swing", *STEADY))
    # 5 trades a week for 10 weeks, all +20 net and +36 gross; no week differs, so nor does a draw.
    assert found.trades == 50
    assert found.trades_a_day == pytest.approx(5 / 7)
    assert (found.net_bp, found.gross_bp, found.random_bp) == (20.0, 36.0, -16.0)
    assert (found.net_low_bp, found.net_high_bp, found.bound_bp) == (20.0, 20.0, 20.0)
    assert (found.first, found.last) == (START, START + 10 * WEEK)
    assert found.has_edge
    assert found.verdict == "has an edge, a trade earns at least +20.0 bp after costs (90 %)"


def test_the_bound_is_the_tenth_percentile_of_resampled_weeks() -> None:
    # Half of 400 weeks earn 10, half 30: the mean of 400 drawn weeks is 20 with a standard
    # deviation of 10 / sqrt(400) = 0.5. A tenth lies below 20 - 1.28 x 0.5 = 19.36, a twentieth
    # below 20 - 1.645 x 0.5 = 19.18 and a twentieth above 20.82.
    found = numbers(replace(evaluated("swing", *([10.0, 30.0] * 200)), evaluated_at=NOW))
    assert found.bound_bp == pytest.approx(19.36, abs=0.05)
    assert found.net_low_bp == pytest.approx(19.18, abs=0.06)
    assert found.net_high_bp == pytest.approx(20.82, abs=0.06)


@pytest.mark.parametrize(("net", "has_edge"), [(0.0, False), (0.001, True), (-0.001, False)])
def test_an_edge_begins_above_zero(net: float, has_edge: bool) -> None:
    found = choice(evaluated("swing", *[net] * 10))
    assert found.numbers[0].has_edge is has_edge
    assert found.profile == ("swing" if has_edge else None)
    assert found.reason is (ChoiceReason.CHOSEN if has_edge else ChoiceReason.NO_EDGE)


def test_a_mean_above_zero_is_no_edge_while_chance_explains_it() -> None:
    # Mean +10; weeks of +70 and -50 vary with a standard deviation of 60 / sqrt(10) = 19 bp.
    found = choice(evaluated("swing", *([70.0, -50.0] * 5)))
    assert found.numbers[0].net_bp == 10.0
    assert found.numbers[0].bound_bp is not None
    assert found.numbers[0].bound_bp < 0
    assert found.profile is None
    assert found.detail.startswith("swing: no edge, a trade earns at least -")


@pytest.mark.parametrize(
    ("weeks", "has_edge"), [((20.0,) * 6, True), ((20.0,) * 5, False), ((), False)]
)
def test_thirty_trades_in_six_weeks_are_the_least_evidence(
    weeks: tuple[float, ...], has_edge: bool
) -> None:
    # Five trades a week: 30 in 6 weeks are just enough, 25 in 5 are not, however good.
    quiet = (float("nan"),) * (10 - len(weeks))
    found = numbers(evaluated("swing", *weeks, *quiet))
    assert found.has_edge is has_edge
    if not has_edge:
        assert found.bound_bp is None
        assert found.verdict.startswith(
            f"no edge proven, {5 * len(weeks)} trades in {len(weeks)} weeks are too few"
        )


def test_thirty_trades_in_fewer_weeks_are_not_enough() -> None:
    six = evaluated("swing", *[20.0] * 6)
    # The trades of the sixth week are moved into the fifth.
    crowded = replace(six, signal_time=np.minimum(six.signal_time, six.signal_time[24]))
    assert not numbers(crowded).has_edge


def test_an_evaluation_proves_an_edge_until_it_is_seven_days_old_exactly() -> None:
    assert choice(evaluated("swing", *STEADY, evaluated_at=NOW - VALID)).profile == "swing"
    late = evaluated("swing", *STEADY, evaluated_at=NOW - VALID - timedelta(minutes=1))
    assert choice(late).profile is None
    assert choice(late, before=held("swing")).detail == (
        "swing: no edge proven, evaluated 7.0 days ago (at most 7)"
    )


def test_the_best_of_several_is_chosen_first() -> None:
    found = choice(evaluated("scalp", *[5.0] * 10), evaluated("swing", *STEADY))
    assert (found.profile, found.since, found.reason) == ("swing", NOW, ChoiceReason.CHOSEN)
    assert found.detail == "swing earns +20.0 bp a trade after costs, the best of 2 with an edge"
    assert found.evaluated_at == NOW
    assert [n.profile for n in found.numbers] == ["scalp", "swing"]


def test_of_two_equal_ones_the_first_is_chosen() -> None:
    first = choice(evaluated("scalp", *STEADY), evaluated("swing", *STEADY))
    assert first.profile == "scalp"


def test_a_recording_with_one_profile_is_judged_alone() -> None:
    assert choice(evaluated("swing", *STEADY)).profile == "swing"
    assert choice(evaluated("swing", *[-3.0] * 10)).profile is None
    nothing = choose([], None, NOW, valid_for=VALID, seed=1, missing=("scalp", "swing"))
    assert nothing.detail == "scalp: not evaluated yet; swing: not evaluated yet"
    half = choose(
        [evaluated("swing", *STEADY)], None, NOW, valid_for=VALID, seed=1, missing=("scalp",)
    )
    assert half.detail.endswith("the best of 1 with an edge; scalp: not evaluated yet")


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        # Equal in each week: the bound of the difference is exactly 0, no more than the noise.
        (20.0, "scalp"),
        (20.001, "swing"),
        (19.0, "scalp"),
    ],
)
def test_the_traded_profile_is_kept_at_the_exact_noise_bound(other: float, expected: str) -> None:
    found = choice(
        evaluated("scalp", *STEADY), evaluated("swing", *[other] * 10), before=held("scalp")
    )
    assert found.profile == expected
    kept = expected == "scalp"
    assert found.reason is (ChoiceReason.KEPT if kept else ChoiceReason.SWITCHED)
    assert found.since == (START if kept else NOW)


def test_a_better_mean_within_the_noise_does_not_switch() -> None:
    # swing earns +30 on average against +20, in weeks of +130 and -70; the difference of +10 has a
    # standard deviation of 100 / sqrt(100) = 10 bp a trade, its 10 % bound is below 0. Yet both
    # have an edge: 30 - 1.28 x 10 > 0.
    found = choice(
        evaluated("scalp", *[20.0] * 100),
        evaluated("swing", *[130.0, -70.0] * 50),
        before=held("scalp"),
    )
    assert all(n.has_edge for n in found.numbers)
    assert (found.profile, found.reason, found.since) == ("scalp", ChoiceReason.KEPT, START)
    assert "swing earns +30.0 bp a trade after costs, not more than the noise" in found.detail


def test_pairing_cancels_what_both_profiles_share() -> None:
    # Both swing by 90 bp from week to week, together; swing is always 5 bp better.
    weeks = [110.0, -70.0] * 50
    found = choice(
        evaluated("scalp", *weeks),
        evaluated("swing", *[w + 5 for w in weeks]),
        before=held("scalp"),
    )
    assert (found.profile, found.reason) == ("swing", ChoiceReason.SWITCHED)
    assert "at least +5.0 bp more than scalp in the same weeks" in found.detail


def test_a_traded_profile_that_lost_its_edge_is_left_at_once() -> None:
    found = choice(
        evaluated("scalp", *[-1.0] * 10), evaluated("swing", *[0.5] * 10), before=held("scalp")
    )
    assert (found.profile, found.reason, found.since) == ("swing", ChoiceReason.SWITCHED, NOW)
    assert found.detail.endswith("scalp has no edge any more")
    none = choice(evaluated("scalp", *[-1.0] * 10), before=held("scalp"))
    assert (none.profile, none.since, none.reason) == (None, None, ChoiceReason.NO_EDGE)


def test_a_traded_profile_that_is_not_evaluated_any_more_is_left() -> None:
    assert choice(evaluated("swing", *STEADY), before=held("scalp")).profile == "swing"


def test_only_weeks_that_both_cover_are_compared() -> None:
    # scalp knows the last 10 weeks only. In those the two are equal; swing's first 10 were better.
    scalp = evaluated("scalp", *STEADY, start=START + 10 * WEEK)
    swing = evaluated("swing", *[60.0] * 10, *STEADY)
    assert gain_bound(swing, scalp, seed=1) == 0.0
    assert choice(scalp, swing, before=held("scalp")).profile == "scalp"
    assert choice(scalp, swing).profile == "swing"  # its own mean is +40


def test_too_few_common_weeks_switch_nothing() -> None:
    scalp = evaluated("scalp", *STEADY, start=START + 15 * WEEK)
    swing = evaluated("swing", *[60.0] * 20)
    assert gain_bound(swing, scalp, seed=1) is None  # five weeks in common
    found = choice(scalp, swing, before=held("scalp"))
    assert (found.profile, found.reason) == ("scalp", ChoiceReason.KEPT)
    assert "too few weeks in common" in found.detail
    six = evaluated("scalp", *STEADY, start=START + 14 * WEEK)
    assert gain_bound(swing, six, seed=1) == 40.0


def test_a_profile_is_evaluated_once() -> None:
    with pytest.raises(ValueError, match="evaluated once"):
        choice(evaluated("swing", *STEADY), evaluated("swing", *STEADY))


@given(
    st.lists(st.floats(-50, 80), min_size=6, max_size=20),
    st.lists(st.floats(-50, 80), min_size=6, max_size=20),
    st.sampled_from([None, "scalp", "swing"]),
)
def test_what_is_chosen_always_has_an_edge_and_a_second_look_changes_nothing(
    scalp: list[float], swing: list[float], before: str | None
) -> None:
    evaluations = (evaluated("scalp", *scalp), evaluated("swing", *swing))
    first = choice(*evaluations, before=None if before is None else held(before))
    edges = {n.profile for n in first.numbers if n.has_edge}
    assert (first.profile in edges) if edges else (first.profile is None)
    again = choice(*evaluations, before=first)
    assert again.profile == first.profile
    assert again.since == first.since
