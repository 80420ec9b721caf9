"""The bot's money: capital, flows, marks, halts, and the funnel's rows."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import alerts, capital_changes, read, signals, write
from trading_assets.errors import LedgerError
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.rules.limits import EquityMark, limit_refusal
from trading_assets.trading import books, funnel, halts, leases
from trading_assets.trading.books import Outside
from trading_assets_tests.rules.test_limits import LIMITS
from trading_assets_tests.trading.ledger_world import (
    EIGHT_SECONDS,
    MINUTE,
    NOW,
    bought,
    enter,
    entered,
    lease_of,
    sold,
)

HOUR = timedelta(hours=1)


def capital(engine: Engine) -> Decimal | None:
    with read(engine) as connection:
        return books.capital(connection)


def alert_messages(engine: Engine) -> list[str]:
    with read(engine) as connection:
        return list(connection.execute(sa.select(alerts.c.message).order_by(alerts.c.id)).scalars())


def test_capital_is_what_was_declared_and_the_flows_since(books_engine: Engine) -> None:
    books.record_flow(books_engine, Decimal(-250_000), now=NOW, detail="withdrawal")
    books.record_flow(books_engine, Decimal("0.5"), now=NOW, detail="interest")
    assert capital(books_engine) == Decimal("750000.5")
    assert alert_messages(books_engine)[0] == (
        "-250,000 KRW moved without the bot: withdrawal. The capital follows."
    )


def test_declaring_the_same_capital_at_the_next_start_keeps_the_flows(
    books_engine: Engine,
) -> None:
    books.record_flow(books_engine, Decimal(-250_000), now=NOW, detail="withdrawal")
    again = books.declare_capital(books_engine, Decimal(1_000_000), now=NOW, detail="setting")
    assert not again
    assert capital(books_engine) == 750_000
    assert books.declare_capital(books_engine, Decimal(500_000), now=NOW, detail="setting")
    assert capital(books_engine) == 500_000


def test_without_a_capital_nothing_is_measured(books_engine: Engine) -> None:
    with write(books_engine) as connection:
        connection.execute(capital_changes.delete())
    assert capital(books_engine) is None
    with pytest.raises(LedgerError, match="capital was never declared"):
        books.save_mark(books_engine, now=NOW, bids={})
    with pytest.raises(LedgerError, match="needs a capital to change"):
        books.record_flow(books_engine, Decimal(1), now=NOW, detail="")


def test_profit_is_realised_and_unrealised_at_the_bid_minus_fees(books_engine: Engine) -> None:
    btc = lease_of(books_engine)
    sold(books_engine, btc, bought(books_engine, btc))  # 10,200 - 10,000 - 10 = 190
    bought(books_engine, lease_of(books_engine, "KRW-ETH"), signal_id=2)  # -10,000 - 5
    mark = books.save_mark(books_engine, now=NOW, bids={"KRW-ETH": Decimal(990)})
    # 190 + 9,900 - 10,005 = 85.
    assert mark.pnl == 85
    assert mark.equity == 1_000_085
    with read(books_engine) as connection:
        assert books.last_mark(connection) == mark


def test_without_a_given_bid_the_guards_last_one_counts_and_else_the_cost(
    books_engine: Engine,
) -> None:
    lease = lease_of(books_engine)
    # A bid judged before this position is another trade's.
    leases.renew(
        books_engine,
        lease,
        now=NOW,
        duration=EIGHT_SECONDS,
        judged=(NOW - MINUTE, Decimal(500)),
    )
    bought(books_engine, lease)
    assert books.save_mark(books_engine, now=NOW, bids={}).pnl == -5
    leases.renew(books_engine, lease, now=NOW, duration=EIGHT_SECONDS, judged=(NOW, Decimal(990)))
    # 10 x 990 - 10,000 - 5.
    assert books.save_mark(books_engine, now=NOW, bids={}).pnl == -105


def test_the_peak_and_the_day_are_remembered_from_mark_to_mark(books_engine: Engine) -> None:
    lease = lease_of(books_engine)
    bought(books_engine, lease, volume="100", fee="0")

    def mark_at(now: datetime, bid: int) -> EquityMark:
        return books.save_mark(books_engine, now=now, bids={"KRW-BTC": Decimal(bid)})

    assert mark_at(NOW, 1500).peak_pnl == 50_000
    low = mark_at(NOW + HOUR, 1100)
    assert (low.pnl, low.peak_pnl) == (Decimal(10_000), Decimal(50_000))
    next_day = mark_at(NOW + timedelta(days=1), 1200)
    assert next_day.day_start_pnl == 10_000
    assert next_day.day_low_pnl == 10_000
    assert next_day.peak_pnl == 50_000


def test_a_mark_of_a_slow_clock_does_not_go_back_in_time(books_engine: Engine) -> None:
    books.save_mark(books_engine, now=NOW, bids={})
    assert books.save_mark(books_engine, now=NOW - MINUTE, bids={}).at == NOW


def test_a_withdrawal_is_no_loss(books_engine: Engine) -> None:
    books.save_mark(books_engine, now=NOW, bids={})
    books.record_flow(books_engine, Decimal(-900_000), now=NOW, detail="withdrawal")
    mark = books.save_mark(books_engine, now=NOW, bids={})
    assert mark.equity == 100_000
    assert (
        limit_refusal(LIMITS, market="KRW-BTC", mark=mark, live_positions=0, past_exits=(), now=NOW)
        is None
    )


def test_what_the_ledger_explains_are_flows_and_trades(books_engine: Engine) -> None:
    bought(books_engine, lease_of(books_engine), volume="2.5", fee="1.25")
    books.record_flow(books_engine, Decimal(700), now=NOW, detail="deposit")
    with read(books_engine) as connection:
        ours = books.explained(connection, "KRW-BTC")
        rest = books.outside(connection, "KRW-BTC", Outside(Decimal(10_000), Decimal(3)))
    # 700 - 2,500 - 1.25 KRW; of the 3 coins 0.5 were somebody else's.
    assert ours == Outside(Decimal("-1801.25"), Decimal("2.5"))
    assert rest == Outside(Decimal("11801.25"), Decimal("0.5"))


# --- halts ----------------------------------------------------------------------------------


def test_a_halt_stays_until_a_person_resumes(books_engine: Engine) -> None:
    first = halts.halt(books_engine, reason="peak_loss", detail="-7.1 %", now=NOW)
    assert halts.halt(books_engine, reason="by_hand", detail="me too", now=NOW) == first
    assert alert_messages(books_engine) == [
        "Halted (peak_loss): -7.1 %. No entries until `trading-assets resume`."
    ]
    with read(books_engine) as connection:
        assert books.read_books(connection, "KRW-BTC", now=NOW, bids={}).halt == (
            "peak_loss: -7.1 %"
        )
    assert books.resume(books_engine, by="a person", now=NOW + HOUR, bids={})
    assert not books.resume(books_engine, by="a person", now=NOW + HOUR, bids={})
    with read(books_engine) as connection:
        assert halts.active_halt(connection) is None


def test_a_halt_that_sells_goes_before_one_for_the_books_and_a_resume_ends_both(
    books_engine: Engine,
) -> None:
    quiet = halts.halt(books_engine, reason="ledger_mismatch", detail="a fill", now=NOW)
    assert not quiet.sells
    selling = halts.halt(books_engine, reason="by_hand", detail="sell", now=NOW)
    assert (selling.reason, selling.sells) == ("by_hand", True)
    assert halts.halt(books_engine, reason="ledger_mismatch", detail="a fill", now=NOW) == selling
    assert len(alert_messages(books_engine)) == 2
    assert books.resume(books_engine, by="a person", now=NOW + HOUR, bids={})
    with read(books_engine) as connection:
        assert halts.active_halt(connection) is None


def test_after_a_resume_the_peak_starts_again_and_the_day_does_not(books_engine: Engine) -> None:
    bought(books_engine, lease_of(books_engine), volume="100", fee="0")
    bids = {"KRW-BTC": Decimal(200)}  # 100 x (200 - 1,000) = -80,000
    books.save_mark(books_engine, now=NOW, bids=bids)
    halts.halt(books_engine, reason="peak_loss", detail="-8 %", now=NOW)
    books.resume(books_engine, by="a person", now=NOW + MINUTE, bids=bids)
    mark = books.save_mark(books_engine, now=NOW + MINUTE, bids=bids)
    assert not mark.peak_loss_reaches(LIMITS.max_peak_loss)
    assert mark.day_loss_reaches(LIMITS.max_day_loss)


# --- funnel ---------------------------------------------------------------------------------


def signal(engine: Engine, signal_id: int, **changed: object) -> None:
    row: dict[str, object] = {
        "id": signal_id,
        "market": "KRW-BTC",
        "profile": "scalp",
        "traded": True,
        "created_at": NOW + timedelta(seconds=signal_id),
        "expires_at": NOW + HOUR,
        "decision": "BUY",
        "reason": "buy",
        "detail": "",
    }
    with write(engine) as connection:
        connection.execute(signals.insert().values({**row, **changed}))


def test_only_the_newest_unexpired_undecided_buys_ask_for_an_entry(books_engine: Engine) -> None:
    signal(books_engine, 1)
    signal(books_engine, 2)  # replaces 1
    signal(books_engine, 3, market="KRW-ETH", decision="SELL")
    signal(books_engine, 4, market="KRW-XRP", traded=False)
    signal(books_engine, 5, market="KRW-SOL", expires_at=NOW)
    signal(books_engine, 6, market="KRW-ADA")
    assert funnel.candidates(books_engine, NOW) == (2, 6)
    entered(books_engine, lease_of(books_engine, "KRW-ADA"), signal_id=6)
    enter(books_engine, lease_of(books_engine), Refusal(FunnelCode.PRICE_OLD, ""), signal_id=2)
    assert funnel.candidates(books_engine, NOW) == ()


def test_every_candidate_ends_in_exactly_one_row(books_engine: Engine) -> None:
    for number in (1, 2):
        signal(books_engine, number)
    signal(books_engine, 3, market="KRW-ETH", expires_at=NOW)
    signal(books_engine, 4, market="KRW-XRP")
    signal(books_engine, 5, market="KRW-SOL")
    entered(books_engine, lease_of(books_engine, "KRW-XRP"), signal_id=4)
    assert funnel.end_missed_candidates(books_engine, NOW) == 2
    assert funnel.end_missed_candidates(books_engine, NOW) == 0
    found = {o.signal_id: o.code for o in funnel.outcomes(books_engine, NOW)}
    assert found == {1: FunnelCode.SUPERSEDED, 3: FunnelCode.EXPIRED}
    assert funnel.end_missed_candidates(books_engine, NOW + HOUR) == 2  # 2 and 5; 4 is under way
    assert funnel.counts(books_engine, NOW) == {FunnelCode.EXPIRED: 3, FunnelCode.SUPERSEDED: 1}
    assert funnel.counts(books_engine, NOW + timedelta(days=1)) == {}


def test_a_second_row_for_a_candidate_is_refused(books_engine: Engine) -> None:
    refusal = Refusal(FunnelCode.EXPIRED, "")
    enter(books_engine, lease_of(books_engine), refusal)
    with (
        write(books_engine) as connection,
        pytest.raises(LedgerError, match="ended as expired, not as no_cash"),
    ):
        funnel.write_outcome(
            connection,
            signal_id=1,
            market="KRW-BTC",
            profile="scalp",
            outcome=replace(refusal, code=FunnelCode.NO_CASH),
            position_id=None,
            now=NOW,
        )
