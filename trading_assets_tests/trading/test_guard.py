"""Holding and leaving a position, on a stepped clock with chosen prices."""

from datetime import timedelta
from decimal import Decimal

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.clock import SteppedClock
from trading_assets.database import alerts, read, signals, write
from trading_assets.errors import (
    BadData,
    CredentialsRefused,
    ExchangeMaintenance,
    ExchangeUnavailable,
    LeaseLost,
    OrderRejected,
    PricesStopped,
    UnderMinimum,
)
from trading_assets.exchange.model import OrderType
from trading_assets.rules.exits import ExitPlan
from trading_assets.trading import booking, books, halts, leases, ledger, records
from trading_assets.trading.floor import Floor
from trading_assets.trading.guard import Guard
from trading_assets.trading.heart import Heart
from trading_assets.trading.leases import Lease
from trading_assets.trading.order_desk import OrderDesk
from trading_assets.trading.records import Position
from trading_assets.trading.states import Leg, OrderReason, PositionState
from trading_assets_tests.trading.fake_exchange import (
    BTC,
    FakeExchange,
    FakePrices,
    fake_floor,
    stepped,
)
from trading_assets_tests.trading.ledger_world import (
    EIGHT_SECONDS,
    NOW,
    bought,
    entered,
    lease_of,
    position_now,
)

# Bought at 1,000: the stop lies at 980, the take at 1,020, the deadline half an hour later.
PLAN = ExitPlan(Decimal(980), Decimal(1020), NOW + timedelta(minutes=30))


class Held:
    """10 coins bought at 1,000 KRW, and what their guard makes of a story."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.exchange = FakeExchange(stepped())
        self.lease: Lease = lease_of(engine)
        self.position: Position = bought(engine, self.lease, fee="0")
        self.exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}
        ledger.arm(engine, self.lease, self.position.id, PLAN, NOW)
        self.prices = FakePrices(self.exchange.clock, [])
        self.floor: Floor = fake_floor(engine, self.exchange, self.prices)

    def hold(self, *script: tuple[float, str | None]) -> Position:
        """script: (seconds later, bid). Raises AssertionError when it ends unsold."""
        self.prices.script = list(script)
        self.prices.start()
        heart = Heart(self.floor, self.lease)
        desk = OrderDesk(self.floor, self.lease, heart.check)
        guard = Guard(self.floor, self.lease, desk, heart, self.prices)
        with read(self.engine) as connection:
            position = records.position(connection, self.position.id)
        return guard.hold(position)

    def exits(self) -> list[records.Intent]:
        with read(self.engine) as connection:
            return list(records.intents_of(connection, self.position.id, Leg.EXIT))

    def alert_kinds(self) -> list[str]:
        with read(self.engine) as connection:
            return list(connection.execute(sa.select(alerts.c.kind)).scalars())


@pytest.fixture
def held(books_engine: Engine) -> Held:
    return Held(books_engine)


def test_a_bid_at_the_stop_sells_at_the_market_at_once(held: Held) -> None:
    closed = held.hold((0, "1000"), (1, "980"))
    assert closed.state is PositionState.CLOSED
    assert closed.exit_reason is OrderReason.STOP_LOSS
    assert [p.ord_type for p in held.exchange.posts] == [OrderType.MARKET]
    assert held.exchange.clock.now() == NOW + timedelta(seconds=1)


def test_a_bid_a_tick_above_the_stop_holds(held: Held) -> None:
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (1, "981"))


def test_the_present_bid_is_judged_before_anything_is_asked(held: Held) -> None:
    """A takeover of a position that fell meanwhile: sold before reconcile, rules or a wait."""
    steps: list[str] = []
    object.__setattr__(held.floor, "on_step", steps.append)
    assert held.hold((0, "900")).exit_reason is OrderReason.STOP_LOSS
    assert steps[0] == "before write the exit's intent"
    assert held.prices.waits == 0


def test_a_bid_at_the_take_sells(held: Held) -> None:
    assert held.hold((0, "1000"), (1, "1020")).exit_reason is OrderReason.TAKE_PROFIT


def test_the_deadline_sells(held: Held) -> None:
    closed = held.hold((0, "1000"), (1799, "1000"), (1, "1000"))
    assert closed.exit_reason is OrderReason.TIME_LIMIT
    assert held.exchange.clock.now() == NOW + timedelta(minutes=30)


def test_the_deadline_sells_without_any_price(held: Held) -> None:
    closed = held.hold((0, None), (1799, None), (1, None))
    assert closed.exit_reason is OrderReason.TIME_LIMIT


def test_a_price_older_than_five_seconds_is_not_judged_and_alerts(held: Held) -> None:
    """The bid of 970 is seen 6 s after it was confirmed: no sale on it."""
    held.prices.on_wait = lambda wait: held.exchange.clock.advance(timedelta(seconds=6))
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (0, None))
    assert held.alert_kinds() == ["price_old"]


def give_signal(
    engine: Engine,
    decision: str,
    expires_in: int = 300,
    *,
    number: int = 2,
    profile: str = "scalp",
    traded: bool = True,
) -> None:
    row = {
        "id": number,
        "market": BTC,
        "profile": profile,
        "traded": traded,
        "created_at": NOW,
        "expires_at": NOW + timedelta(seconds=expires_in),
        "decision": decision,
        "reason": decision.lower(),
        "detail": "",
    }
    with write(engine) as connection:
        connection.execute(signals.insert().values(**row))


def test_a_newer_sell_signal_sells(held: Held) -> None:
    held.prices.on_wait = lambda wait: give_signal(held.engine, "SELL") if wait == 1 else None
    closed = held.hold((0, "1000"), (1, "1000"))
    assert closed.exit_reason is OrderReason.SELL_SIGNAL


@pytest.mark.parametrize(("decision", "expires_in"), [("HOLD", 300), ("BUY", 300), ("SELL", 1)])
def test_other_signals_and_expired_ones_sell_nothing(
    held: Held, decision: str, expires_in: int
) -> None:
    give_signal(held.engine, decision, expires_in)
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (2, "1000")) if expires_in > 1 else held.hold((1, "1000"))


def switch_to_swing(held: Held, at: int) -> None:
    """At the guard's wait number `at`, swing is traded and writes the same market's signals."""

    def on_wait(wait: int) -> None:
        if wait == at:
            give_signal(held.engine, "SELL", profile="swing")
            give_signal(held.engine, "BUY", number=3, traded=False)

    held.prices.on_wait = on_wait


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (((0, "1000"), (1, "1000"), (1, "980")), OrderReason.STOP_LOSS),
        (((0, "1000"), (1, "1000"), (1, "1020")), OrderReason.TAKE_PROFIT),
        (((0, "1000"), (1, "1000"), (1799, "1000")), OrderReason.TIME_LIMIT),
    ],
    ids=["stop", "take", "time limit"],
)
def test_after_a_switch_of_the_profile_a_position_keeps_its_own_plan(
    held: Held, script: tuple[tuple[float, str]], reason: OrderReason
) -> None:
    """Neither swing's SELL nor its own profile's row that counts no more changes anything."""
    switch_to_swing(held, at=1)
    closed = held.hold(*script)
    assert (closed.profile, closed.exit_reason) == ("scalp", reason)
    assert closed.stop_price == 980
    assert closed.take_price == 1020


def test_after_a_switch_of_the_profile_its_own_sell_still_sells(held: Held) -> None:
    held.prices.on_wait = lambda wait: (
        give_signal(held.engine, "SELL", traded=False) if wait == 1 else None
    )
    assert held.hold((0, "1000"), (1, "1000")).exit_reason is OrderReason.SELL_SIGNAL


def test_a_halt_sells(held: Held) -> None:
    halts.halt(held.engine, reason="by_hand", detail="test", now=NOW)
    assert held.hold((0, "1000")).exit_reason is OrderReason.HALT


def test_a_halt_for_the_books_only_stops_entries(held: Held) -> None:
    halts.halt(held.engine, reason="ledger_mismatch", detail="test", now=NOW)
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (1, "1000"))


def test_a_halt_by_hand_sells_although_one_for_the_books_is_on_already(held: Held) -> None:
    halts.halt(held.engine, reason="ledger_mismatch", detail="test", now=NOW)
    halts.halt(held.engine, reason="by_hand", detail="test", now=NOW)
    assert held.hold((0, "1000")).exit_reason is OrderReason.HALT


def test_the_loss_from_the_peak_halts_and_sells(held: Held) -> None:
    """Capital 100,000: at a bid of 981 the loss is 190 KRW; a limit of 0.1 % is reached at 100."""
    books.declare_capital(held.engine, Decimal(100_000), now=NOW, detail="test")
    held.floor = fake_floor(held.engine, held.exchange, held.prices, max_peak_loss="0.001")
    closed = held.hold((0, "981"), (1, "981"))
    assert closed.exit_reason is OrderReason.HALT
    with read(held.engine) as connection:
        halt = halts.active_halt(connection)
    assert halt is not None
    assert halt.reason == "peak_loss"


def test_a_loss_that_only_the_sale_made_halts(held: Held) -> None:
    """Judged at 1,000, sold at 970 (capital 100,000): 300 KRW lost, the limit is 100."""
    books.declare_capital(held.engine, Decimal(100_000), now=NOW, detail="test")
    held.floor = fake_floor(held.engine, held.exchange, held.prices, max_peak_loss="0.001")
    held.exchange.price = Decimal(970)
    closed = held.hold((0, "1000"), (1799, "1000"), (1, "1000"))
    assert closed.cash_flow == -300
    with read(held.engine) as connection:
        halt = halts.active_halt(connection)
        mark = books.last_mark(connection)
    assert halt is not None
    assert halt.reason == "peak_loss"
    assert mark is not None
    assert mark.pnl == -300
    assert mark.at == NOW + timedelta(minutes=30)


def test_a_refused_market_sell_is_followed_by_a_limit_below_the_bid(held: Held) -> None:
    """3 % below a bid of 980 is 950.6; the tick there is 1 KRW."""
    held.exchange.outcomes = [(False, OrderRejected("too thick", "create_ask_error"))]
    assert held.hold((0, "980")).state is PositionState.CLOSED
    first, second = held.exits()
    assert first.price is None
    assert second.price == 950
    assert second.attempt == 2


def test_an_exit_that_fails_three_times_alerts_and_goes_on(held: Held) -> None:
    refusal = (False, OrderRejected("no", "some_error"))
    held.exchange.outcomes = [refusal] * 5
    assert held.hold((0, "980")).state is PositionState.CLOSED
    assert len(held.exits()) == 6
    assert held.alert_kinds().count("exit_trouble") == 1


def test_an_exit_through_a_maintenance_asks_and_orders_again_when_it_is_over(held: Held) -> None:
    """Three orders are refused; for the next hour only tests are, then one order sells."""
    held.exchange.outcomes = [(False, ExchangeMaintenance("market_offline"))] * 3
    held.exchange.test_error = ExchangeMaintenance("market_offline")
    sleep = held.exchange.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        if held.exchange.clock.now() - NOW > timedelta(hours=1):
            held.exchange.test_error = None

    held.exchange.clock.sleep = slept  # type: ignore[method-assign]
    assert held.hold((0, "980")).state is PositionState.CLOSED
    assert len(held.exits()) == 4
    # Pauses of 0.5, 1 and 2 s after the orders, 4 s and then 5 s between the tests.
    assert 700 < len(held.exchange.tests) < 730


def test_a_partial_exit_sells_the_rest_with_another_order(held: Held) -> None:
    held.exchange.share = Decimal("0.25")

    def whole(step: str) -> None:
        if step == "after book the order":
            held.exchange.share = Decimal(1)

    object.__setattr__(held.floor, "on_step", whole)
    closed = held.hold((0, "980"))
    assert closed.sold_volume == 10
    assert [o.volume for o in held.exits()] == [Decimal(10), Decimal("7.5")]


def test_a_rest_below_the_minimum_is_closed_as_dust(held: Held) -> None:
    """Half of 10 coins sold; 5 coins at 980 are 4,900 KRW, below 5,000."""
    held.exchange.share = Decimal("0.5")
    closed = held.hold((0, "980"))
    assert closed.state is PositionState.CLOSED
    assert closed.dust_volume == 5
    assert len(held.exchange.posts) == 1


def test_a_position_that_falls_below_the_minimum_at_its_stop_counts_as_a_stop(held: Held) -> None:
    """10 coins at 499 are 4,990 KRW: nothing is ordered, and the stop counts all the same."""
    closed = held.hold((0, "499"))
    assert closed.exit_reason is OrderReason.STOP_LOSS
    assert held.exchange.posts == []
    assert held.alert_kinds() == ["dust_left"]
    with read(held.engine) as connection:
        assert [e.was_stop for e in records.past_exits(connection, NOW)] == [True]


@pytest.mark.parametrize(("there", "rest"), [("6.123456789", "3.87654322"), ("9.5", "0.5")])
def test_of_a_position_that_a_person_sold_a_part_of_the_rest_is_sold(
    held: Held, there: str, rest: str
) -> None:
    """Of 10 coins so many are there, and a sale of all is refused: 8 decimals of them are sold, and
    what the ledger still holds is below 5,000 KRW and closed as dust."""
    held.exchange.totals["BTC"] = Decimal(there)
    held.exchange.refuses_short_sales = True
    closed = held.hold((0, "980"))
    assert closed.state is PositionState.CLOSED
    assert closed.exit_reason is OrderReason.STOP_LOSS
    assert closed.dust_volume == Decimal(rest)
    assert [p.volume for p in held.exchange.posts] == [10, 10 - Decimal(rest)]


def test_of_a_position_that_a_person_sold_whole_all_is_asked_for_and_a_person_told(
    held: Held,
) -> None:
    """Until somebody brings the coins back: then it is sold."""
    held.exchange.totals["BTC"] = Decimal(0)
    held.exchange.refuses_short_sales = True
    sleep = held.exchange.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        if held.exchange.clock.now() - NOW > timedelta(hours=1):
            held.exchange.totals["BTC"] = Decimal(10)

    held.exchange.clock.sleep = slept  # type: ignore[method-assign]
    closed = held.hold((0, "980"))
    assert closed.sold_volume == 10
    assert {p.volume for p in held.exchange.posts} == {10}
    assert "exit_trouble" in held.alert_kinds()


def test_a_sale_refused_for_its_size_is_tried_again_until_it_is_dust(held: Held) -> None:
    """The bid falls to 499 meanwhile: 10 coins are worth 4,990 KRW."""
    held.exchange.outcomes = [(False, UnderMinimum("small", "under_min_total_ask"))]
    sleep = held.exchange.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        held.prices.script = [(0, "499")]
        held.prices.wait_for_next(BTC, 0, 1)

    held.exchange.clock.sleep = slept  # type: ignore[method-assign]
    closed = held.hold((0, "980"))
    assert closed.dust_volume == 10


def test_a_guard_goes_on_while_the_account_cannot_be_asked(held: Held) -> None:
    held.exchange.reading = ExchangeUnavailable("down")

    def back(step: str) -> None:
        if step == "after post the order":
            held.exchange.reading = None

    object.__setattr__(held.floor, "on_step", back)
    assert held.hold((0, "1000"), (1, "980")).exit_reason is OrderReason.STOP_LOSS


def test_ten_minutes_without_a_look_at_the_account_are_told_once(held: Held) -> None:
    held.exchange.reading = BadData("order a7 has ord_type 'iceberg'")
    with pytest.raises(AssertionError, match="still held"):
        held.hold(*[(60, "1000")] * 10)
    assert "not_reconciled" not in held.alert_kinds()
    with pytest.raises(AssertionError, match="still held"):
        held.hold(*[(60, "1000")] * 15)
    assert held.alert_kinds() == ["not_reconciled"]
    with read(held.engine) as connection:
        assert "iceberg" in str(connection.execute(sa.select(alerts.c.message)).scalar_one())


def test_a_new_spell_without_a_look_at_the_account_is_told_anew(held: Held) -> None:
    def come_and_go(wait: int) -> None:
        down = wait != 14
        held.exchange.reading = ExchangeUnavailable("down") if down else None

    held.prices.on_wait = come_and_go
    with pytest.raises(AssertionError, match="still held"):
        held.hold(*[(60, "1000")] * 28)
    assert held.alert_kinds() == ["not_reconciled", "not_reconciled"]


def test_a_guard_books_a_stray_of_a_market_that_nobody_holds_within_its_minute(held: Held) -> None:
    lease = lease_of(held.engine, "KRW-ETH")
    stray = entered(held.engine, lease, signal_id=2)
    booking.mark_sent(held.engine, lease, stray.identifier, NOW)
    booking.mark_rejected(held.engine, lease, stray.identifier, now=NOW, detail="test")
    leases.release(held.engine, lease, NOW)
    held.exchange.make(stray.request)
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (60, "1000"))
    assert position_now(held.engine, stray.position_id).state is PositionState.OPEN


def test_a_guard_whose_key_is_refused_holds_on_and_tells_a_person(held: Held) -> None:
    held.exchange.reading = CredentialsRefused("401 expired_access_key", "expired_access_key")
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (60, "1000"))
    assert held.alert_kinds() == ["key_refused"]


def test_a_lost_lease_ends_the_guard_and_sells_nothing(held: Held) -> None:
    def lose(wait: int) -> None:
        held.exchange.clock.advance(EIGHT_SECONDS)
        now = held.exchange.clock.now()
        assert leases.take(held.engine, BTC, "other", now=now, duration=EIGHT_SECONDS)

    held.prices.on_wait = lose
    with pytest.raises(LeaseLost):
        held.hold((0, "1000"), (0, "900"))
    assert held.exchange.posts == []


def test_a_guard_that_slept_after_its_sale_marks_nothing_under_anothers_lease(held: Held) -> None:
    def sleep(step: str) -> None:
        if step == "before write the equity mark":
            held.exchange.clock.advance(EIGHT_SECONDS)
            now = held.exchange.clock.now()
            assert leases.take(held.engine, BTC, "other", now=now, duration=EIGHT_SECONDS)

    object.__setattr__(held.floor, "on_step", sleep)
    with pytest.raises(LeaseLost, match="belongs to other"):
        held.hold((0, "900"))
    with read(held.engine) as connection:
        assert books.last_mark(connection) is None


def test_a_look_that_outlasts_the_lease_marks_nothing_and_is_no_alert(held: Held) -> None:
    def look(step: str) -> None:
        if step == "after ask what the market takes":
            held.exchange.clock.advance(EIGHT_SECONDS)
            now = held.exchange.clock.now()
            assert leases.take(held.engine, BTC, "other", now=now, duration=EIGHT_SECONDS)

    object.__setattr__(held.floor, "on_step", look)
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (1, "1000"))
    with read(held.engine) as connection:
        mark = books.last_mark(connection)
    # Marked before it asked, under its own lease; nothing afterwards.
    assert mark is not None
    assert mark.at < held.exchange.clock.now() - EIGHT_SECONDS
    assert held.alert_kinds() == []


def test_the_loss_from_the_peak_halts_although_the_account_cannot_be_asked(held: Held) -> None:
    books.declare_capital(held.engine, Decimal(100_000), now=NOW, detail="test")
    held.floor = fake_floor(held.engine, held.exchange, held.prices, max_peak_loss="0.001")
    held.exchange.reading = BadData("order a7 has ord_type 'iceberg'")

    def readable(wait: int) -> None:
        if wait == 1:
            held.exchange.reading = None  # or the fake exchange could not tell of the exit

    held.prices.on_wait = readable
    assert held.hold((0, "981"), (1, "981")).exit_reason is OrderReason.HALT


def test_a_failure_of_the_look_that_nobody_foresaw_is_an_alert(held: Held) -> None:
    def full(step: str) -> None:
        if step == "before ask what the market takes":
            raise OSError("no space left")

    object.__setattr__(held.floor, "on_step", full)
    assert held.hold((0, "1000"), (1, "980")).exit_reason is OrderReason.STOP_LOSS
    assert "look_failed" in held.alert_kinds()


def test_a_guard_whose_stream_died_ends_so_that_another_takes_over(held: Held) -> None:
    def die(_wait: int) -> None:
        held.prices.running = False

    held.prices.on_wait = die
    with pytest.raises(PricesStopped, match="KRW-BTC ended in part"):
        held.hold((0, "1000"), (5, None), (1, None))
    assert held.exchange.posts == []


def test_a_guard_that_still_sees_by_half_a_stream_holds_on_and_tells_it_once(held: Held) -> None:
    held.prices.running = False
    closed = held.hold((0, "1000"), (1, "1000"), (1, "980"))
    assert closed.exit_reason is OrderReason.STOP_LOSS
    assert held.alert_kinds() == ["prices_stopped"]


def set_back(held: Held, wait: int) -> None:
    """At that wait the clock goes back by nine hours, and a person halts."""

    def on_wait(number: int) -> None:
        if number != wait:
            return
        held.exchange.clock = held.prices.clock = SteppedClock(NOW - timedelta(hours=9))
        object.__setattr__(held.floor, "clock", held.exchange.clock)
        halts.halt(held.engine, reason="by_hand", detail="test", now=held.floor.now())

    held.prices.on_wait = on_wait


def test_a_guard_sees_a_halt_although_the_clock_was_set_back(held: Held) -> None:
    set_back(held, 2)
    assert held.hold((0, "1000"), (1, "1000"), (0, "1000")).exit_reason is OrderReason.HALT


def test_a_price_from_before_the_clock_was_set_back_is_not_judged(held: Held) -> None:
    """It was confirmed nine hours ahead, so it is told as old; the halt needs no price."""
    set_back(held, 2)
    assert held.hold((0, "1000"), (1, "1000"), (0, None)).exit_reason is OrderReason.HALT
    assert held.alert_kinds()[0] == "halt"
    assert "price_old" in held.alert_kinds()


def test_a_clock_that_is_apart_alerts(held: Held) -> None:
    held.prices.lag = timedelta(seconds=3)
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (1, "1000"))
    assert held.alert_kinds() == ["clock_skew"]


def test_an_exit_test_without_an_answer_is_tried_again_at_the_next_look(held: Held) -> None:
    held.exchange.test_error = ExchangeUnavailable("down")

    def answered(wait: int) -> None:
        if wait == 2:
            held.exchange.test_error = UnderMinimum("small", "under_min_total_ask")

    held.prices.on_wait = answered
    with pytest.raises(AssertionError, match="still held"):
        held.hold(*[(60, "1000")] * 4)
    assert len(held.exchange.tests) == 2 + 1
    assert held.alert_kinds() == ["exit_refused_in_test"]


@pytest.mark.parametrize("refusal", [ExchangeUnavailable("502"), OrderRejected("400 odd", "odd")])
def test_a_look_goes_on_without_the_market_s_rules_and_asks_again(
    held: Held, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    def refused(_market: str) -> None:
        raise refusal

    monkeypatch.setattr(held.exchange, "rules", refused)
    steps: list[str] = []
    object.__setattr__(held.floor, "on_step", steps.append)
    with pytest.raises(AssertionError, match="still held"):
        held.hold(*[(60, "1000")] * 3)
    assert steps.count("before ask what the market takes") == steps.count("after read the account")
    assert steps.count("after read the account") >= 3
    assert held.alert_kinds() == []


def test_the_rest_of_a_look_does_not_wait_for_the_exit_test(held: Held) -> None:
    held.exchange.test_error = ExchangeUnavailable("down")
    steps: list[str] = []
    object.__setattr__(held.floor, "on_step", steps.append)
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (1, "1000"))
    assert "after read the account" in steps


def test_an_exit_that_goes_on_for_hours_looks_at_the_account_every_minute(held: Held) -> None:
    """A maintenance of an hour: the equity is marked, a halt is seen by others, strays are told."""
    held.exchange.outcomes = [(False, ExchangeMaintenance("market_offline"))] * 3
    held.exchange.test_error = ExchangeMaintenance("market_offline")
    steps: list[str] = []
    object.__setattr__(held.floor, "on_step", steps.append)
    sleep = held.exchange.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        if held.exchange.clock.now() - NOW > timedelta(hours=1):
            held.exchange.test_error = None

    held.exchange.clock.sleep = slept  # type: ignore[method-assign]
    assert held.hold((0, "980")).exit_reason is OrderReason.STOP_LOSS
    assert 55 <= steps.count("after write the equity mark") <= 62
    assert 55 <= steps.count("after read the lists of orders") <= 62


def test_an_exit_whose_order_stays_unclear_looks_at_the_account_every_minute(held: Held) -> None:
    """It is not shown, and the coins are not there: the order is neither found nor lost."""
    held.exchange.visible_after = timedelta(minutes=30)
    held.exchange.outcomes = [(True, ExchangeUnavailable("502"))]
    steps: list[str] = []
    object.__setattr__(held.floor, "on_step", steps.append)
    sleep = held.exchange.clock.sleep

    def slept(seconds: float) -> None:
        sleep(seconds)
        # As its heart does, which does not beat here.
        leases.renew(held.engine, held.lease, now=held.floor.now(), duration=timedelta(minutes=1))

    held.exchange.clock.sleep = slept  # type: ignore[method-assign]
    assert held.hold((0, "980")).exit_reason is OrderReason.STOP_LOSS
    assert 25 <= steps.count("after write the equity mark") <= 33
    assert len(held.exchange.made) == 1


def test_an_exit_that_comes_off_at_once_looks_at_nothing_else(held: Held) -> None:
    steps: list[str] = []
    object.__setattr__(held.floor, "on_step", steps.append)
    held.hold((0, "980"))
    assert "before read the lists of orders" not in steps
    assert held.exchange.tests == []


def test_a_guard_whose_books_cannot_be_read_still_sells_at_its_stop(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_connection: object) -> None:
        raise sa.exc.OperationalError("SELECT halts", {}, OSError("disk I/O error"))

    monkeypatch.setattr("trading_assets.trading.guard.halts.active_halt", broken)
    told: list[str] = []
    object.__setattr__(held.floor, "tell", told.append)
    assert held.hold((0, "1000"), (1, "980")).exit_reason is OrderReason.STOP_LOSS
    assert any("the books could not be read" in sentence for sentence in told)


def test_a_run_that_took_over_has_its_exit_tested_without_selling(held: Held) -> None:
    held.exchange.test_error = UnderMinimum("small", "under_min_total_ask")
    with pytest.raises(AssertionError, match="still held"):
        held.hold((0, "1000"), (1, "1000"))
    assert [t.volume for t in held.exchange.tests] == [10]
    assert held.exchange.posts == []
    assert held.alert_kinds() == ["exit_refused_in_test"]
