"""Leases: one holder at a time, told apart by a growing token, ended by release or silence."""

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.engine import Engine

from trading_assets.database import read
from trading_assets.errors import LeaseLost
from trading_assets.trading import leases
from trading_assets_tests.trading.ledger_world import EIGHT_SECONDS, MINUTE, NOW, lease_of

MICROSECOND = timedelta(microseconds=1)


def test_a_live_lease_is_taken_by_nobody_not_even_its_holder(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    just_before = NOW + EIGHT_SECONDS - MICROSECOND
    for holder in ("run-1", "run-2"):
        taken = leases.take(
            books_engine, "KRW-BTC", holder, now=just_before, duration=EIGHT_SECONDS
        )
        assert taken is None
    assert lease.token == 1


def test_an_expired_lease_goes_to_the_next_with_a_higher_token(books_engine: Engine) -> None:
    old = lease_of(books_engine)
    new = leases.take(
        books_engine, "KRW-BTC", "run-2", now=NOW + EIGHT_SECONDS, duration=EIGHT_SECONDS
    )
    assert new is not None
    assert new.token == 2
    with pytest.raises(LeaseLost, match=r"belongs to run-2 \(token 2\)"):
        leases.renew(books_engine, old, now=NOW + EIGHT_SECONDS, duration=EIGHT_SECONDS)
    assert not leases.release(books_engine, old, NOW + EIGHT_SECONDS)


def test_a_heartbeat_moves_the_expiry_and_tells_the_last_judged_price(
    books_engine: Engine,
) -> None:
    lease = lease_of(books_engine)
    later = NOW + timedelta(seconds=2)
    leases.renew(
        books_engine,
        lease,
        now=later,
        duration=EIGHT_SECONDS,
        judged=(NOW + timedelta(seconds=1), Decimal(990)),
    )
    leases.renew(books_engine, lease, now=later, duration=EIGHT_SECONDS)
    (status,) = leases.all_leases(books_engine)
    assert (status.heartbeat_at, status.expires_at) == (later, NOW + timedelta(seconds=10))
    assert (status.progress_at, status.bid) == (NOW + timedelta(seconds=1), Decimal(990))


def test_a_late_holder_keeps_its_lease_while_nobody_has_taken_it(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    leases.renew(books_engine, lease, now=NOW + MINUTE, duration=EIGHT_SECONDS)
    (status,) = leases.all_leases(books_engine)
    assert status.is_live(NOW + MINUTE)


def test_a_released_lease_is_free_at_once_and_over_for_its_holder(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    assert leases.release(books_engine, lease, NOW)
    with pytest.raises(LeaseLost, match="was released by run-1"):
        leases.renew(books_engine, lease, now=NOW, duration=EIGHT_SECONDS)
    again = lease_of(books_engine, holder="run-1")
    assert again.token == 2
    with read(books_engine) as connection, pytest.raises(LeaseLost, match="token 2"):
        leases.require(connection, lease)


def test_a_lease_from_before_the_clock_was_set_back_is_free(books_engine: Engine) -> None:
    """By less than it lasts, it is only a little younger; by nine hours, its holder would have to
    beat again to be believed."""
    old = lease_of(books_engine)
    (status,) = leases.all_leases(books_engine)
    assert status.is_live(NOW - EIGHT_SECONDS)
    back = NOW - timedelta(hours=9)
    assert not status.is_live(back)
    leases.renew(books_engine, old, now=back, duration=EIGHT_SECONDS)
    assert leases.take(books_engine, "KRW-BTC", "run-2", now=back, duration=EIGHT_SECONDS) is None
    free = back + EIGHT_SECONDS
    new = leases.take(books_engine, "KRW-BTC", "run-2", now=free, duration=EIGHT_SECONDS)
    assert new is not None
    assert new.token == 2


def test_leases_of_different_markets_do_not_meet(books_engine: Engine) -> None:
    assert lease_of(books_engine).token == lease_of(books_engine, "KRW-ETH").token == 1


def test_a_lease_that_was_never_taken_is_nobodys(books_engine: Engine) -> None:
    made_up = leases.Lease("KRW-BTC", "run-1", 1)
    with pytest.raises(LeaseLost, match="belongs to nobody"):
        leases.renew(books_engine, made_up, now=NOW, duration=EIGHT_SECONDS)
