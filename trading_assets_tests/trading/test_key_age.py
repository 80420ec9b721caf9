"""Being told before the account's key ends."""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.alerts import Severity
from trading_assets.database import alerts, read
from trading_assets.trading.key_age import key_left
from trading_assets_tests.trading.fake_exchange import FakeExchange, fake_floor, stepped
from trading_assets_tests.trading.ledger_world import NOW

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)


def told(engine: Engine) -> list[str]:
    with read(engine) as connection:
        return list(connection.execute(sa.select(alerts.c.severity)).scalars())


@pytest.mark.parametrize(
    ("left", "severity"),
    [
        (30 * DAY, None),
        (30 * DAY - SECOND, Severity.WARNING),
        (7 * DAY, Severity.WARNING),
        (7 * DAY - SECOND, Severity.CRITICAL),
        (-DAY, Severity.CRITICAL),
    ],
)
def test_a_key_is_told_of_before_it_ends(
    books_engine: Engine, left: timedelta, severity: Severity | None
) -> None:
    exchange = FakeExchange(stepped())
    exchange.key_ends = NOW + left
    floor = fake_floor(books_engine, exchange)
    assert key_left(floor) == left
    assert key_left(floor) == left  # an hour's job tells it once
    assert told(books_engine) == ([] if severity is None else [severity])


def test_a_key_that_ends_is_told_once_a_week_and_in_its_last_week_once_a_day(
    books_engine: Engine,
) -> None:
    """28 days from a Monday on: three weeks of warnings, then a day at exactly seven, then six."""
    exchange = FakeExchange(stepped())
    exchange.key_ends = NOW + 28 * DAY
    floor = fake_floor(books_engine, exchange)
    for _ in range(28):
        key_left(floor)
        exchange.clock.advance(DAY)
    assert told(books_engine) == [Severity.WARNING] * 4 + [Severity.CRITICAL] * 6
