"""The heartbeat of a lease."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.engine import Engine

from trading_assets.database import read
from trading_assets.errors import LeaseLost
from trading_assets.trading import leases
from trading_assets.trading.heart import Heart
from trading_assets.trading.leases import Lease, LeaseStatus
from trading_assets_tests.trading.fake_exchange import BTC, FakeExchange, fake_floor, stepped
from trading_assets_tests.trading.ledger_world import EIGHT_SECONDS, NOW, lease_of


def status(engine: Engine) -> LeaseStatus:
    with read(engine) as connection:
        found = leases.status_of(connection, BTC)
    assert found is not None
    return found


def heart_of(engine: Engine, exchange: FakeExchange, lease: Lease) -> Heart:
    return Heart(fake_floor(engine, exchange, heartbeat_seconds="0.001"), lease)


def test_a_beat_tells_the_price_that_was_judged_last(books_engine: Engine) -> None:
    exchange = FakeExchange(stepped())
    heart = heart_of(books_engine, exchange, lease_of(books_engine))
    judged_at = NOW + timedelta(seconds=1)
    heart.judged(judged_at, Decimal(999))
    exchange.clock.advance(timedelta(seconds=2))
    with heart:
        while status(books_engine).heartbeat_at == NOW:
            heart.check()
    now = status(books_engine)
    assert now.heartbeat_at == NOW + timedelta(seconds=2)
    assert now.expires_at == NOW + timedelta(seconds=2) + EIGHT_SECONDS
    assert now.progress_at == judged_at
    assert now.bid == 999


def test_a_heart_whose_lease_was_taken_says_so_and_stops(books_engine: Engine) -> None:
    exchange = FakeExchange(stepped())
    lease = lease_of(books_engine)
    exchange.clock.advance(EIGHT_SECONDS)
    later = exchange.clock.now()
    assert leases.take(books_engine, BTC, "other", now=later, duration=EIGHT_SECONDS)
    heart = heart_of(books_engine, exchange, lease)

    def until_it_says_so() -> None:
        while True:
            heart.check()

    with heart, pytest.raises(LeaseLost, match="belongs to other"):
        until_it_says_so()
    assert status(books_engine).heartbeat_at == later
