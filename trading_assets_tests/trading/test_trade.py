"""One run, one trade: from a signal to a closed position, and the ends in between."""

import signal
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import alerts, read, signals, write
from trading_assets.errors import (
    ExchangeUnavailable,
    LedgerError,
    LedgerMismatch,
    MalformedAnswer,
    OrderOutcomeUnknown,
    OrderRejected,
)
from trading_assets.exchange.model import Instrument, Market, OrderType, Side, TimeInForce
from trading_assets.models.verdicts import Verdict, VerdictKind, record_verdict
from trading_assets.rules.funnel import FunnelCode
from trading_assets.rules.steps import ALL_MARKETS, UNPAID
from trading_assets.settings import Settings, TradingMode
from trading_assets.trading import booking, books, halts, leases, records
from trading_assets.trading.entry import not_enabled, tick_at
from trading_assets.trading.floor import Floor
from trading_assets.trading.funnel import outcome_of
from trading_assets.trading.leases import Lease
from trading_assets.trading.reconcile import open_books
from trading_assets.trading.states import IntentState, Leg, OrderReason, PositionState
from trading_assets.trading.trade import TradeEnd, TradeReport, trade
from trading_assets.world import world_of
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
    check_books,
    entered,
    exit_of,
    lease_of,
    sold,
)


class Scene:
    """A BUY signal at 1,000 KRW on an account of 1,000,000 KRW."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.exchange = FakeExchange(stepped())
        self.prices = FakePrices(self.exchange.clock, [])
        self.floor: Floor = fake_floor(engine, self.exchange, self.prices)
        open_books(self.floor, "setup")
        self.give_signal(1)

    def give_signal(self, number: int, **changes: Any) -> None:
        row: dict[str, Any] = {
            "id": number,
            "market": BTC,
            "profile": "scalp",
            "traded": True,
            "created_at": NOW,
            "expires_at": NOW + timedelta(minutes=5),
            "p_buy": 0.65,
            "decision": "BUY",
            "reason": "buy",
            "detail": "",
            "ev_net": 0.01,
            "close": Decimal(1000),
            "stop_loss": Decimal("0.02"),
            "take_profit": Decimal("0.02"),
            "timeout_seconds": 1800,
            "model_version": "v1",
            "model_confirmed_at": NOW,
        }
        with write(self.engine) as connection:
            connection.execute(signals.insert().values(**row | changes))

    def change_signal(self, **changes: Any) -> None:
        with write(self.engine) as connection:
            connection.execute(signals.update().values(**changes))

    def trade(self, *script: tuple[float, str | None], signal_id: int | None = 1) -> TradeReport:
        self.prices.script = list(script)
        return trade(self.floor, BTC, "run-1", signal_id=signal_id)

    def code(self) -> FunnelCode:
        with read(self.engine) as connection:
            check_books(connection)
            outcome = outcome_of(connection, 1)
        assert outcome is not None
        return outcome.code

    def lease_is_free(self) -> bool:
        with read(self.engine) as connection:
            status = leases.status_of(connection, BTC)
        return status is not None and status.released_at is not None


@pytest.fixture
def scene(books_engine: Engine) -> Scene:
    return Scene(books_engine)


def test_a_signal_becomes_a_position_that_is_left_at_its_take(scene: Scene) -> None:
    """7 % of 1,000,000 KRW at the limit of 1,001 x 1.002 = 1,003.002, so 1,003: 69.79062811 coins.
    Bought at 1,000: the take lies at 1,020."""
    report = scene.trade((0, "1000"), (1, "1020"))
    assert report.end is TradeEnd.LEFT
    position = report.position
    assert position is not None
    assert position.bought_volume == Decimal("69.79062811")
    assert position.stop_price == 980
    assert position.take_price == 1020
    assert position.deadline == NOW + timedelta(minutes=30)
    assert position.exit_reason is OrderReason.TAKE_PROFIT
    assert scene.code() is FunnelCode.TRADED
    assert scene.lease_is_free()


def test_an_entry_is_a_limit_ioc_that_was_tested_under_another_name(scene: Scene) -> None:
    scene.trade((0, "1000"), (1, "1020"))
    entry = scene.exchange.posts[0]
    assert (entry.side, entry.ord_type, entry.time_in_force) == (
        Side.BID,
        OrderType.LIMIT,
        TimeInForce.IOC,
    )
    assert entry.price == 1003
    (test,) = scene.exchange.tests
    assert test.identifier != entry.identifier
    assert (test.volume, test.price) == (entry.volume, entry.price)


@pytest.mark.parametrize(
    ("profile", "unpaid", "volume"),
    [
        # p_buy 0.65 stands on the step from 60 %, 7 % of 1,000,000 KRW; below it are 5 %:
        # 50,000 / 1,003 = 49.85044865. The other two are another step's and profile's verdicts.
        ("scalp", ["0.6"], "49.85044865"),
        ("scalp", ["0.7"], "69.79062811"),
        ("swing", ["0.6"], "69.79062811"),
    ],
)
def test_a_step_that_does_not_pay_is_entered_with_the_size_of_the_next_lower_one(
    scene: Scene, profile: str, unpaid: list[str], volume: str
) -> None:
    newest = Verdict(
        VerdictKind.CONFIDENCE_STEPS, ALL_MARKETS, profile, False, (), NOW, {UNPAID: unpaid}
    )
    record_verdict(scene.engine, replace(newest, details={UNPAID: ["0.8", "0.6"]}))
    record_verdict(scene.engine, newest)
    report = scene.trade((0, "1000"), (1, "1020"))
    assert report.position is not None
    assert report.position.bought_volume == Decimal(volume)


def test_a_second_run_ends_at_the_lease(scene: Scene) -> None:
    lease_of(scene.engine, holder="other")
    assert scene.trade().end is TradeEnd.HELD_BY_ANOTHER
    assert scene.exchange.posts == []


def test_an_entry_refused_for_the_loss_from_the_peak_halts_so_that_it_can_be_resumed(
    scene: Scene,
) -> None:
    """100 coins bought at 1,000 and sold at 250 without a mark since: 7.5 % of 1,000,000 KRW."""
    lease = lease_of(scene.engine, "KRW-ETH")
    position = bought(scene.engine, lease, signal_id=9, volume="100", fee="0")
    sold(scene.engine, lease, position, price="250", fee="0")
    leases.release(scene.engine, lease, NOW)
    scene.exchange.totals["KRW"] -= 75_000
    assert scene.trade((0, "1000")).end is TradeEnd.REFUSED
    assert scene.code() is FunnelCode.PEAK_LOSS
    with read(scene.engine) as connection:
        halt = halts.active_halt(connection)
    assert halt is not None
    assert halt.reason == "peak_loss"
    assert books.resume(scene.engine, by="a person", now=NOW, bids={})


def test_the_price_that_moved_is_refused(scene: Scene) -> None:
    """1 % was expected at 1,000; at an ask of 1,012 nothing is left of it."""
    report = scene.trade((0, "1011"))
    assert report.end is TradeEnd.REFUSED
    assert scene.code() is FunnelCode.PRICE_MOVED
    assert scene.exchange.posts == []
    assert scene.lease_is_free()


def test_an_old_price_is_refused(scene: Scene) -> None:
    def pass_time(step: str) -> None:
        if step == "before write the entry's decision":
            scene.exchange.clock.advance(timedelta(seconds=6))

    object.__setattr__(scene.floor, "on_step", pass_time)
    assert scene.trade((0, "1000")).end is TradeEnd.REFUSED
    assert scene.code() is FunnelCode.PRICE_OLD


@pytest.mark.parametrize(
    ("listed", "code"),
    [
        ((), FunnelCode.MARKET_INACTIVE),
        ((Market(BTC, warning=True, cautions=frozenset()),), FunnelCode.MARKET_WARNING),
        (
            (Market(BTC, warning=False, cautions=frozenset({"PRICE_FLUCTUATIONS"})),),
            FunnelCode.MARKET_CAUTION,
        ),
    ],
)
def test_flags_of_the_market_are_refused(
    scene: Scene, listed: tuple[Market, ...], code: FunnelCode
) -> None:
    scene.exchange.listed = listed
    scene.trade((0, "1000"))
    assert scene.code() is code


def test_an_expired_signal_is_refused(scene: Scene) -> None:
    scene.change_signal(expires_at=NOW)
    scene.trade((0, "1000"))
    assert scene.code() is FunnelCode.EXPIRED


def test_a_replaced_signal_is_refused(scene: Scene) -> None:
    scene.give_signal(2, decision="HOLD")
    scene.trade((0, "1000"))
    assert scene.code() is FunnelCode.SUPERSEDED


def test_a_signal_that_asks_for_no_entry_is_an_error(scene: Scene) -> None:
    scene.change_signal(decision="HOLD")
    with pytest.raises(LedgerError, match="asks for no entry"):
        scene.trade((0, "1000"))
    assert scene.lease_is_free()


def test_a_missing_coin_stops_the_entry(scene: Scene) -> None:
    """Another market's 10 coins are in the ledger and not on the account."""
    lease = lease_of(scene.engine, "KRW-ETH")
    bought(scene.engine, lease, signal_id=9, fee="0")
    scene.exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(0)}
    scene.trade((0, "1000"))
    assert scene.code() is FunnelCode.ACCOUNT_SHORT


def test_an_order_given_up_as_lost_that_lives_after_all_stops_the_next_entry(scene: Scene) -> None:
    """Rejected in the ledger, bought on the exchange: no second one in that market."""
    lease = lease_of(scene.engine, holder="dead")
    stray = entered(scene.engine, lease, signal_id=9)
    booking.mark_sent(scene.engine, lease, stray.identifier, NOW)
    booking.mark_rejected(scene.engine, lease, stray.identifier, now=NOW, detail="test")
    leases.release(scene.engine, lease, NOW)
    scene.exchange.make(stray.request)
    scene.exchange.clock.advance(timedelta(seconds=1))
    assert scene.trade((0, "1000")).end is TradeEnd.REFUSED
    assert scene.code() is FunnelCode.POSITION_OPEN
    assert scene.exchange.posts == []
    report = scene.trade((0, "1000"), (1, "980"), signal_id=None)
    assert report.position is not None
    assert report.position.id == stray.position_id
    assert report.position.exit_reason is OrderReason.STOP_LOSS


def test_an_entry_that_the_test_refuses_is_never_sent(scene: Scene) -> None:
    scene.exchange.test_error = OrderRejected("no", "invalid_price_bid")
    report = scene.trade((0, "1000"))
    assert report.refusal is not None
    assert report.refusal.detail == "the exchange's test refused it: no"
    assert scene.exchange.posts == []
    assert scene.code() is FunnelCode.STOPPED


def test_an_entry_that_is_refused_gives_the_candidate_up(scene: Scene) -> None:
    scene.exchange.outcomes = [(False, OrderRejected("no", "some_error"))]
    assert scene.trade((0, "1000")).end is TradeEnd.REFUSED
    assert scene.code() is FunnelCode.REJECTED


def test_an_entry_without_a_fill_gives_the_candidate_up(scene: Scene) -> None:
    scene.exchange.share = Decimal(0)
    assert scene.trade((0, "1000")).end is TradeEnd.REFUSED
    assert scene.code() is FunnelCode.NOT_FILLED


def test_an_unbooked_fill_elsewhere_does_not_spoil_the_proof_of_a_lost_entry(
    scene: Scene,
) -> None:
    """10,000 KRW went into another market's order that is not booked yet: the entry is measured
    against the 1,000,000 KRW of the beginning."""
    lease = lease_of(scene.engine, "KRW-ETH")
    other = entered(scene.engine, lease, signal_id=9)
    booking.mark_sent(scene.engine, lease, other.identifier, NOW)
    scene.exchange.totals["KRW"] -= 10_000
    scene.trade((0, "1000"), (1, "980"))
    with read(scene.engine) as connection:
        position = records.position_of_signal(connection, 1)
        assert position is not None
        (entry,) = records.intents_of(connection, position.id, Leg.ENTRY)
    assert entry.quote_outside == 1_000_000
    assert entry.base_outside == 0


def test_a_partial_entry_is_held_for_what_it_bought(scene: Scene) -> None:
    scene.exchange.share = Decimal("0.5")

    def whole(step: str) -> None:
        if step == "after arm the position":
            scene.exchange.share = Decimal(1)

    object.__setattr__(scene.floor, "on_step", whole)
    position = scene.trade((0, "1000"), (1, "980")).position
    assert position is not None
    assert position.sold_volume == position.bought_volume == Decimal("34.89531405")


def test_an_exchange_that_cannot_be_asked_decides_nothing(scene: Scene) -> None:
    scene.exchange.reading = ExchangeUnavailable("down")
    with pytest.raises(ExchangeUnavailable):
        scene.trade((0, "1000"))
    with read(scene.engine) as connection:
        assert outcome_of(connection, 1) is None
    assert scene.lease_is_free()
    scene.exchange.reading = None
    assert scene.trade((0, "1000"), (1, "980")).end is TradeEnd.LEFT


def test_a_takeover_with_nothing_to_do_ends(scene: Scene) -> None:
    assert scene.trade(signal_id=None).end is TradeEnd.NOTHING_TO_DO


def test_an_entry_that_was_never_sent_is_not_sent_by_the_successor(scene: Scene) -> None:
    intent = entered(scene.engine, lease_of(scene.engine, holder="dead"))
    scene.exchange.clock.advance(EIGHT_SECONDS)
    assert scene.trade(signal_id=None).end is TradeEnd.NOTHING_TO_DO
    assert scene.exchange.posts == []
    assert scene.code() is FunnelCode.STOPPED
    with read(scene.engine) as connection:
        assert records.intent(connection, intent.identifier).state is IntentState.DROPPED


def test_an_entry_that_may_have_been_sent_is_looked_for_and_not_sent_again(scene: Scene) -> None:
    """Lost: UNKNOWN for a minute, then given up without a single post."""
    lease = lease_of(scene.engine, holder="dead")
    intent = entered(scene.engine, lease)
    booking.mark_sent(scene.engine, lease, intent.identifier, NOW)
    scene.exchange.clock.advance(EIGHT_SECONDS)
    assert scene.trade(signal_id=None).end is TradeEnd.NOTHING_TO_DO
    assert scene.exchange.posts == []
    assert scene.code() is FunnelCode.ORDER_LOST
    assert scene.exchange.clock.now() >= NOW + EIGHT_SECONDS + timedelta(seconds=60)


def test_an_exit_that_contradicts_the_ledger_is_told_and_never_sent_twice(scene: Scene) -> None:
    """Not even under a halt, by which a person wants it sold: the order that contradicts may have
    sold it. As soon as the exchange tells what the ledger can hold, the next takeover goes on."""
    lease = lease_of(scene.engine, holder="dead")
    position = bought(scene.engine, lease)
    intent = exit_of(scene.engine, lease, position)
    scene.exchange.totals["BTC"] = Decimal(10)
    scene.exchange.make(intent.request)
    right = scene.exchange.made[intent.identifier]
    scene.exchange.made[intent.identifier] = replace(right, executed_volume=Decimal(20))
    halts.halt(scene.engine, reason="by_hand", detail="a person's", now=NOW)
    scene.exchange.clock.advance(EIGHT_SECONDS)
    for _ in range(2):
        with pytest.raises(LedgerMismatch, match="of 10 has 20 executed"):
            scene.trade(signal_id=None)
        assert scene.lease_is_free()
    with read(scene.engine) as connection:
        kinds = list(connection.execute(sa.select(alerts.c.kind)).scalars())
        told = connection.execute(
            sa.select(alerts.c.message).where(alerts.c.kind == "ledger_mismatch")
        ).scalar_one()
    assert kinds == ["halt", "ledger_mismatch"]
    assert told.startswith("KRW-BTC: order ")
    assert "does NOT sell what is held" in told
    scene.exchange.made[intent.identifier] = right
    assert scene.trade(signal_id=None).end is TradeEnd.NOTHING_TO_DO  # it was sold meanwhile
    with read(scene.engine) as connection:
        check_books(connection)
        assert records.position(connection, position.id).state is PositionState.CLOSED
    assert scene.exchange.posts == []


def test_a_stop_sells_although_an_order_of_a_person_makes_the_lists_unreadable(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object, **__: object) -> None:
        raise MalformedAnswer('orders/open row 0, order u-1: ord_type = "stop" must be ...')

    lease = lease_of(scene.engine, holder="dead")
    bought(scene.engine, lease)
    scene.exchange.totals["BTC"] = Decimal(10)
    scene.exchange.clock.advance(EIGHT_SECONDS)
    monkeypatch.setattr(scene.exchange, "open_orders", unreadable)
    monkeypatch.setattr(scene.exchange, "closed_orders", unreadable)
    told: list[str] = []
    scene.floor = replace(scene.floor, tell=told.append)
    report = scene.trade((0, "1000"), (1, "980"), signal_id=None)
    assert report.position is not None
    assert report.position.exit_reason is OrderReason.STOP_LOSS
    assert any('order u-1: ord_type = "stop"' in sentence for sentence in told)


def test_an_entry_that_was_filled_is_armed_and_guarded_by_the_successor(scene: Scene) -> None:
    lease = lease_of(scene.engine, holder="dead")
    intent = entered(scene.engine, lease)
    booking.mark_sent(scene.engine, lease, intent.identifier, NOW)
    scene.exchange.make(intent.request)
    scene.exchange.clock.advance(EIGHT_SECONDS)
    report = scene.trade((0, "1000"), (1, "980"), signal_id=None)
    assert report.position is not None
    assert report.position.exit_reason is OrderReason.STOP_LOSS
    assert scene.code() is FunnelCode.TRADED


def test_an_exit_that_may_have_been_sent_is_sent_again_under_its_name(scene: Scene) -> None:
    lease = lease_of(scene.engine, holder="dead")
    position = bought(scene.engine, lease, fee="0")
    scene.exchange.totals = {"KRW": Decimal(990_000), "BTC": Decimal(10)}
    intent = exit_of(scene.engine, lease, position)
    scene.exchange.clock.advance(EIGHT_SECONDS)
    scene.trade(signal_id=None)
    assert [p.identifier for p in scene.exchange.posts] == [intent.identifier]
    with read(scene.engine) as connection:
        assert records.position(connection, position.id).state is PositionState.CLOSED


def test_an_entry_whose_answer_was_lost_is_one_order(scene: Scene) -> None:
    scene.exchange.outcomes = [(True, OrderOutcomeUnknown("timeout"))]
    scene.trade((0, "1000"), (1, "980"))
    entries = [p for p in scene.exchange.posts if p.side is Side.BID]
    assert len(entries) == 1
    with read(scene.engine) as connection:
        (position,) = records.all_positions(connection)
        assert len(records.intents_of(connection, position.id, Leg.ENTRY)) == 1


def test_ending_a_run_from_outside_sends_nothing_and_frees_the_lease(scene: Scene) -> None:
    def end(step: str) -> None:
        if step == "after arm the position":
            raise KeyboardInterrupt

    object.__setattr__(scene.floor, "on_step", end)
    with pytest.raises(KeyboardInterrupt):
        scene.trade((0, "1000"))
    assert [p.side for p in scene.exchange.posts] == [Side.BID]
    assert scene.lease_is_free()
    with read(scene.engine) as connection:
        (position,) = records.live_positions(connection)
    assert position.state is PositionState.OPEN


class _Interrupt(BaseException):
    """What a signal's handler raises in the main thread."""


def test_a_second_interrupt_while_the_lease_is_released_does_not_keep_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise _Interrupt

    def end(step: str) -> None:
        if step == "after arm the position":
            interrupt()

    release = leases.release

    def interrupted(engine: Engine, lease: Lease, now: datetime) -> bool:
        signal.raise_signal(signal.SIGUSR1)
        return release(engine, lease, now)

    object.__setattr__(scene.floor, "on_step", end)
    monkeypatch.setattr("trading_assets.trading.trade.leases.release", interrupted)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(_Interrupt):
            scene.trade((0, "1000"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    for thread in threading.enumerate():
        if thread.name == "let go":
            thread.join()
    assert scene.lease_is_free()


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("switch", [None, "yes", "i-accept-the-risk"])
def test_live_entries_need_the_switch_and_a_confirmed_start(
    scene: Scene, isolated_settings: Path, switch: str | None, confirmed: bool
) -> None:
    live = scene.floor.settings.model_copy(
        update={"trading_mode": TradingMode.LIVE, "enable_live_orders": switch}
    )
    if confirmed:
        confirm(live)
    said = not_enabled(live)
    if switch != "i-accept-the-risk":
        assert said == "live entries need ENABLE_LIVE_ORDERS"
    elif not confirmed:
        assert said is not None
        assert "`trading-assets run`" in said
    else:
        assert said is None


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe", None])
def test_a_marker_that_says_nothing_confirms_nothing(
    scene: Scene, isolated_settings: Path, content: bytes | None
) -> None:
    """What a kill left, or a folder in its place: no entry, and why-hold can say so."""
    live = as_live(scene, "i-accept-the-risk")
    marker = world_of(live).live_start
    marker.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        marker.mkdir()
    else:
        marker.write_bytes(content)
    assert not_enabled(live) is not None
    report = scene.trade((0, "1000"))
    assert report.refusal is not None
    assert report.refusal.code is FunnelCode.NOT_ENABLED


def test_play_money_needs_neither_switch_nor_confirmation(scene: Scene) -> None:
    assert not_enabled(scene.floor.settings) is None


def confirm(settings: Settings) -> None:
    world = world_of(settings)
    world.data.mkdir(parents=True, exist_ok=True)
    world.live_start.write_text("typed\n")


def as_live(scene: Scene, switch: str | None) -> Settings:
    """The scene in live mode: what an entry reads of it are mode and switch."""
    live = scene.floor.settings.model_copy(
        update={"trading_mode": TradingMode.LIVE, "enable_live_orders": switch}
    )
    object.__setattr__(scene.floor, "settings", live)
    return live


def test_servers_that_nobody_confirmed_enter_nothing_although_the_switch_is_on(
    scene: Scene, isolated_settings: Path
) -> None:
    as_live(scene, "i-accept-the-risk")
    report = scene.trade((0, "1000"))
    assert report.refusal is not None
    assert report.refusal.code is FunnelCode.NOT_ENABLED
    assert "phrase" in report.refusal.detail
    assert scene.exchange.posts == []


def test_a_confirmed_live_start_enters(scene: Scene, isolated_settings: Path) -> None:
    confirm(as_live(scene, "i-accept-the-risk"))
    assert scene.trade((0, "1000"), (1, "1020")).end is TradeEnd.LEFT


def test_what_is_held_in_live_is_sold_without_switch_and_confirmation(
    scene: Scene, isolated_settings: Path
) -> None:
    """It was bought under both; then somebody took both away, and another run takes over."""
    with pytest.raises(AssertionError, match="still held"):
        scene.trade((0, "1000"))
    as_live(scene, None)
    report = scene.trade((0, "970"), signal_id=None)
    assert report.position is not None
    assert report.position.exit_reason is OrderReason.STOP_LOSS


def test_the_markets_own_tick_counts_in_its_band_only(scene: Scene) -> None:
    """At 1,500 the table says 1 KRW; the market says 0.5 there. At 5,000 the table's 5 counts."""
    tick = tick_at(Instrument("KRW-USDT", "KRW", Decimal("0.5")), Decimal(1500))
    assert tick(Decimal(1400)) == Decimal("0.5")
    assert tick(Decimal(5000)) == 5


@pytest.mark.parametrize(("tick", "told"), [("1", []), ("0.5", ["tick_size"])])
def test_a_tick_that_is_not_the_tables_is_told(scene: Scene, tick: str, told: list[str]) -> None:
    scene.exchange.tick = Decimal(tick)
    assert scene.trade((0, "1000"), (1, "1020")).end is TradeEnd.LEFT
    with read(scene.engine) as connection:
        kinds = connection.execute(sa.select(alerts.c.kind)).scalars().all()
    assert list(kinds) == told


def test_every_candidate_has_one_row(scene: Scene) -> None:
    scene.trade((0, "1000"), (1, "980"))
    with read(scene.engine) as connection:
        count = connection.execute(sa.text("SELECT count(*) FROM funnel")).scalar_one()
    assert count == 1


class Watched:
    """An exchange whose every method must be called inside a step."""

    def __init__(self, exchange: FakeExchange, steps: "Steps") -> None:
        self._exchange = exchange
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        self._steps.note(f"the request {name}")
        return getattr(self._exchange, name)


class Steps:
    """Which step is under way, and what happened outside of any."""

    def __init__(self) -> None:
        self.inside = False
        self.noted: list[str] = []
        self.outside: list[str] = []

    def on_step(self, name: str) -> None:
        self.inside = name.startswith("before")

    def note(self, what: str) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # the heart beats in a thread of its own and is no step
        self.noted.append(what)
        if not self.inside:
            self.outside.append(what)


def test_every_request_and_every_write_of_a_trade_is_a_step(scene: Scene) -> None:
    """So that the crash matrix, which dies at steps, leaves none out."""
    steps = Steps()
    watched: Any = Watched(scene.exchange, steps)
    scene.floor = replace(scene.floor, on_step=steps.on_step, account=watched, quotation=watched)

    def committed(_connection: object) -> None:
        steps.note("a write")

    sa.event.listen(scene.engine, "commit", committed)
    try:
        assert scene.trade((0, "1000"), (1, "980")).end is TradeEnd.LEFT
    finally:
        sa.event.remove(scene.engine, "commit", committed)
    assert steps.outside == []
    assert steps.noted.count("the request place") == 2
    # Lease, decision, arming, intent of the exit, mark, release; each order: sent, booked twice.
    assert steps.noted.count("a write") >= 12
