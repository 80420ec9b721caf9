"""Moments that the calendar fixes."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.backtest.cadence import Cadence, CadenceUnit

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(-(10**9), 3 * 10**9).map(lambda s: EPOCH + timedelta(seconds=s))
cadences = st.builds(Cadence, st.integers(1, 40), st.sampled_from(CadenceUnit))


def test_quarters_begin_in_january_april_july_and_october() -> None:
    found = Cadence.parse("3mo").moments(
        datetime(2023, 1, 1, tzinfo=UTC), datetime(2023, 12, 31, tzinfo=UTC)
    )
    assert [m.strftime("%m-%d %H:%M") for m in found] == [
        "01-01 00:00",
        "04-01 00:00",
        "07-01 00:00",
        "10-01 00:00",
    ]


def test_ten_days_are_counted_from_1970() -> None:
    # 2026-01-01 is day 20454 = 2045 x 10 + 4, so the next moment is six days later.
    found = Cadence.parse("10d").moments(
        datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 20, tzinfo=UTC)
    )
    assert [m.date().isoformat() for m in found] == ["2026-01-07", "2026-01-17"]


def test_both_ends_are_included() -> None:
    first, last = datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC)
    assert Cadence.parse("1mo").moments(first, last) == (first, last)
    second = timedelta(seconds=1)
    assert Cadence.parse("1mo").moments(first + second, last - second) == ()


def test_korean_time_is_taken_as_the_moment_that_it_is() -> None:
    korea = timezone(timedelta(hours=9))
    # 08:59 in Korea on the first of March is still February in UTC.
    assert Cadence.parse("1mo").moments(
        datetime(2024, 3, 1, 8, 59, tzinfo=korea), datetime(2024, 3, 1, 9, 0, tzinfo=korea)
    ) == (datetime(2024, 3, 1, tzinfo=UTC),)


@given(cadences, moments, moments, moments)
def test_a_longer_stretch_has_the_same_moments_inside(
    cadence: Cadence, one: datetime, two: datetime, three: datetime
) -> None:
    first, middle, last = sorted((one, two, three))
    whole = cadence.moments(first, last)
    assert cadence.moments(middle, last) == tuple(m for m in whole if m >= middle)
    assert cadence.moments(first, middle) == tuple(m for m in whole if m <= middle)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1d", "every day"),
        ("10d", "every 10 days"),
        ("1mo", "every month"),
        ("3mo", "every 3 months"),
    ],
)
def test_a_cadence_is_said_in_words(text: str, words: str) -> None:
    assert str(Cadence.parse(text)) == words


@pytest.mark.parametrize("text", ["", "0d", "3", "mo", "-1d", "3 mo", "1y", "99999d"])
def test_anything_else_is_not_a_cadence(text: str) -> None:
    with pytest.raises(ValueError, match="must be like 10d or 3mo"):
        Cadence.parse(text)
