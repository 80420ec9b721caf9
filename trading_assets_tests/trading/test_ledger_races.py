"""Several writers at once: one wins, the others see what it wrote."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy.engine import Engine

from trading_assets.database import connect, read
from trading_assets.rules.entry import Entry
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.trading import funnel, leases, ledger, records
from trading_assets.trading.books import Books
from trading_assets.trading.records import Intent
from trading_assets.trading.states import OrderReason
from trading_assets_tests.trading.ledger_world import (
    EIGHT_SECONDS,
    NOW,
    ORIGIN,
    UNTOUCHED,
    bought,
    candidate,
    entry,
    lease_of,
)

Answer = TypeVar("Answer")
WRITERS = 6


def at_once(engine: Engine, act: Callable[[Engine, int], Answer]) -> list[Answer]:
    """What `act` answers to each of several threads, every one with connections of its own."""
    start = threading.Barrier(WRITERS)

    def run(number: int) -> Answer:
        own = connect(engine.url.render_as_string(hide_password=False))
        try:
            start.wait()
            return act(own, number)
        finally:
            own.dispose()

    with ThreadPoolExecutor(WRITERS) as pool:
        return list(pool.map(run, range(WRITERS)))


def test_one_of_many_gets_the_lease(books_engine: Engine) -> None:
    def take(engine: Engine, number: int) -> leases.Lease | None:
        return leases.take(engine, "KRW-BTC", f"run-{number}", now=NOW, duration=EIGHT_SECONDS)

    assert [lease.token for lease in at_once(books_engine, take) if lease is not None] == [1]


def test_entries_at_once_do_not_share_the_last_place(books_engine: Engine) -> None:
    def one_place(books: Books) -> Entry | Refusal:
        if books.live_positions >= 1:
            return Refusal(FunnelCode.MAX_POSITIONS, "one is enough")
        return entry()

    def enter(engine: Engine, number: int) -> Intent | Refusal:
        market = f"KRW-M{number}"
        return ledger.enter(
            engine,
            lease_of(engine, market),
            candidate(number, market),
            ORIGIN,
            one_place,
            prefix="ta",
            now=NOW,
            bids={},
            outside=UNTOUCHED,
        )

    answers = at_once(books_engine, enter)
    assert len([a for a in answers if isinstance(a, Intent)]) == 1
    assert funnel.counts(books_engine, NOW) == {FunnelCode.MAX_POSITIONS: WRITERS - 1}


def test_exits_at_once_are_one_order(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    position = bought(books_engine, lease)

    def leave(engine: Engine, number: int) -> Intent:
        reason = list(OrderReason)[1 + number % 3]
        return ledger.intend_exit(engine, lease, position.id, reason, prefix="ta", now=NOW)

    answers = at_once(books_engine, leave)
    assert len(answers) == WRITERS
    assert len({a.identifier for a in answers}) == 1
    with read(books_engine) as connection:
        assert len(records.live_intents(connection, "KRW-BTC")) == 1
