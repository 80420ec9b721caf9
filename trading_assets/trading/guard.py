"""The guard: holds one position until a reason to leave it, then sells it, however long that takes.

It watches the bids of the order book, because a market sell meets the bid. An exit never gives up:
it waits longer and alerts. Not here: the exit rule (`rules.exits`), sending orders (`order_desk`),
taking the lease (`trade`).
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy.exc import SQLAlchemyError

from trading_assets.alerts import Severity
from trading_assets.database import read
from trading_assets.errors import (
    BadRequest,
    CredentialsRefused,
    LeaseLost,
    LedgerError,
    PricesStopped,
    TradingAssetsError,
)
from trading_assets.exchange import price_units
from trading_assets.exchange.amounts import cut_volume
from trading_assets.exchange.api import Price, PriceStream
from trading_assets.exchange.model import MarketRules, OrderRequest, OrderType, Side, TimeInForce
from trading_assets.rules.exits import ExitPlan, exit_reason
from trading_assets.trading import books, halts, ledger, records
from trading_assets.trading.account import baseline
from trading_assets.trading.books import Outside
from trading_assets.trading.entry import sell_signal_after
from trading_assets.trading.floor import Floor, seconds
from trading_assets.trading.heart import Heart
from trading_assets.trading.leases import Lease
from trading_assets.trading.order_desk import NO_NEWS, OrderDesk, Pauses, said
from trading_assets.trading.reconcile import alert_refused_key, reconcile
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.states import IntentState, OrderReason, PositionState

# Upbit's minimum, until the exchange has told the market's own.
_MIN_NOTIONAL = Decimal(5000)
_LOOK_EVERY = timedelta(seconds=1)  # at the books: halts, SELL signals
_LONGEST_WAIT = 1.0
_ALERT_AFTER = 3
_BLIND_AFTER = timedelta(minutes=10)
_NOTHING = Decimal(0)
# A market sell that is refused (thicker than the book) becomes a limit this far below the bid.
_BELOW_BID = Decimal("0.03")


@dataclass(slots=True)
class Guard:
    """Holds the position of a market for the holder of its lease.

    tested: whether the exchange has judged an order of this run already. rules: what the market
    takes, None until it was asked. outside: of the account, from the last settled look; what proves
    an exit lost.
    """

    floor: Floor
    lease: Lease
    desk: OrderDesk
    heart: Heart
    prices: PriceStream
    tested: bool = False
    outside: Outside | None = None
    rules: MarketRules | None = None
    _looked_at: datetime | None = field(default=None, init=False)
    _reconciled_at: datetime | None = field(default=None, init=False)
    _told_old: bool = field(default=False, init=False)
    _told_stopped: bool = field(default=False, init=False)
    _looking: bool = field(default=False, init=False)
    _blind_since: datetime | None = field(default=None, init=False)

    def hold(self, position: Position) -> Position:
        """`position`, closed. The present bid is judged first.

        Raises LeaseLost, and PricesStopped: whoever takes over opens a stream anew.
        """
        number = 0
        while position.state is PositionState.OPEN:
            self.heart.check()
            price = self.prices.latest(position.market)
            reason = self._reason(position, price)
            if reason is not None:
                position = self.leave(position, reason)
                continue
            self._look_around(position)
            number = 0 if price is None else price.number
            self.prices.wait_for_next(position.market, number, self._wait_seconds(position))
        with self._told(position):
            # What the sale has cost counts at once, and may be the loss that halts.
            self._mark(position, None)
        return position

    # --- whether to leave -----------------------------------------------------------------------

    def _reason(self, position: Position, price: Price | None) -> OrderReason | None:
        """Why to leave now: barrier, deadline, halt or a newer SELL; None to go on holding."""
        now = self.floor.now()
        plan = _plan(position)
        sees = price is not None and not self._is_old(price, now)
        if price is not None and sees:
            bid = price.quote.bid
            reason = exit_reason(plan, bid, now)
            self.heart.judged(now, bid)
            if reason is not None:
                return OrderReason(reason.value)  # told afterwards: first it is sold
        elif now >= plan.deadline:
            return OrderReason.TIME_LIMIT  # needs no price
        if not _is_due(self._looked_at, _LOOK_EVERY, now):
            return None
        self._looked_at = now
        self._check_stream(position.market, sees)
        try:
            return self._reason_of_books(position, now)
        except SQLAlchemyError as exc:
            # The barriers need no database: a guard that ended here would leave its stop-loss.
            self.floor.tell(f"{position.market}: the books could not be read, {exc}")
            return None

    def _check_stream(self, market: str, sees: bool) -> None:
        """A thread of the stream that died says nothing. While the other one brings prices the
        guard holds on and tells it; without any it ends, because a new stream may see."""
        health = self.prices.health()
        if health.running:
            return
        told = f"the price stream of {market} ended in part (last: {health.last_problem})"
        if not sees:
            raise PricesStopped(told)
        if not self._told_stopped:
            self._told_stopped = True
            self.floor.alert(
                Severity.CRITICAL,
                "prices_stopped",
                f"prices-stopped-{self.lease.subject}-{self.lease.token}",
                f"{told}; its guard holds on by what is left of it",
            )

    def _reason_of_books(self, position: Position, now: datetime) -> OrderReason | None:
        with read(self.floor.engine) as connection:
            halt = halts.active_halt(connection)
        if halt is not None and halt.sells:
            return OrderReason.HALT
        if sell_signal_after(self.floor, position, now) is not None:
            return OrderReason.SELL_SIGNAL
        return None

    def _is_old(self, price: Price, now: datetime) -> bool:
        old = price.age(now) > seconds(self.floor.knobs.max_price_age_seconds)
        if old and not self._told_old:
            told = (
                f"{price.quote.market}: the price is {price.age(now).total_seconds():.0f} s old, "
                "its stop-loss cannot be judged"
            )
            try:
                self.floor.alert(
                    Severity.WARNING,
                    "price_old",
                    f"price-old-{price.quote.market}-{now:%Y-%m-%dT%H:%M}",
                    told,
                )
            except SQLAlchemyError as exc:
                self.floor.tell(f"{told}; the alert could not be written, {exc}")
        self._told_old = old
        return old

    def _wait_seconds(self, position: Position) -> float:
        left = (_plan(position).deadline - self.floor.now()).total_seconds()
        return min(_LONGEST_WAIT, max(left, 0.0))

    # --- leaving --------------------------------------------------------------------------------

    def leave(self, position: Position, reason: OrderReason) -> Position:
        """`position`, sold, or closed as dust. Never gives up, and looks at the account and the
        orders every minute all the same. Raises LeaseLost."""
        self.tested = True  # by the order itself
        pauses = Pauses(self.floor)
        limit: Decimal | None = None
        volume: Decimal | None = None
        tries = 0
        while position.state is PositionState.OPEN:
            self.heart.check()
            closed = self._closed_as_dust(position, reason)
            if closed is not None:
                return closed
            if tries:
                self._look_around(position)
            if tries >= _ALERT_AFTER and not self._would_be_taken(position, limit, volume):
                limit = self._limit(position.market) if limit is None else None
                volume = self._left_of(position)
                pauses.pause()
                continue
            ended = self._sold(position, reason, limit, volume)
            position = self._read(position.id)
            if position.state is not PositionState.OPEN:
                break
            tries += 1
            self._note_failure(position, ended, tries)
            limit = self._next_limit(ended, limit)
            volume = self._left_of(position) if ended.state is IntentState.REJECTED else None
            if not ended.executed_volume:
                pauses.pause()
        self.floor.tell(
            f"{position.market}: left ({reason}), {position.cash_flow:+,.4f} KRW after fees"
        )
        return position

    def _sold(
        self,
        position: Position,
        reason: OrderReason,
        limit: Decimal | None,
        volume: Decimal | None,
    ) -> Intent:
        with self.floor.step("write the exit's intent"):
            intent = ledger.intend_exit(
                self.floor.engine,
                self.lease,
                position.id,
                reason,
                prefix=self.floor.knobs.order_prefix,
                now=self.floor.now(),
                price=limit,
                volume=volume,
                outside=self._outside(position),
            )
        return self.desk.settle(intent.identifier, meanwhile=lambda: self._look_around(position))

    def _left_of(self, position: Position) -> Decimal | None:
        """What the account has left of a position that a person has sold or bound a part of; None
        to ask for all of it: that is what it has, or it has nothing, or does not tell."""
        base = position.market.partition("-")[2]
        try:
            with self.floor.step("read the account"):
                balances = self.floor.account.balances()
        except (*NO_NEWS, BadRequest):
            return None
        free = cut_volume(next((b.balance for b in balances if b.currency == base), _NOTHING))
        if not _NOTHING < free < position.held_volume:
            return None
        self.floor.tell(f"{position.market}: the account has only {free:f} of what is held")
        return free

    def _outside(self, position: Position) -> Outside | None:
        if self.outside is not None:
            return self.outside
        with read(self.floor.engine) as connection:
            return baseline(connection, position.id)

    def _closed_as_dust(self, position: Position, reason: OrderReason) -> Position | None:
        """`position` closed because its rest is worth less than can be sold, else None."""
        price = self.prices.latest(position.market)
        if price is None or self._is_old(price, self.floor.now()):
            return None
        least = _MIN_NOTIONAL if self.rules is None else self.rules.min_total_ask
        bid = price.quote.bid
        if position.value(bid) >= least:
            return None
        try:
            with self.floor.step("close as dust"):
                closed = ledger.close_as_dust(
                    self.floor.engine,
                    self.lease,
                    position.id,
                    reason,
                    bid=bid,
                    min_notional=least,
                    now=self.floor.now(),
                )
        except LedgerError:
            # An exit order is under way: it is settled first, then looked at again.
            with read(self.floor.engine) as connection:
                if not any(o.state.is_live for o in records.intents_of(connection, position.id)):
                    raise
            return None
        self.floor.tell(f"{position.market}: {closed.dust_volume:f} left as dust")
        return closed

    def _next_limit(self, ended: Intent, limit: Decimal | None) -> Decimal | None:
        """After a refused market sell a limit IOC, after a refused limit the market again."""
        if ended.state is not IntentState.REJECTED or limit is not None:
            return None
        return self._limit(ended.market)

    def _limit(self, market: str) -> Decimal | None:
        price = self.prices.latest(market)
        if price is None:
            return None
        return price_units.floor_to_tick(price.quote.bid * (1 - _BELOW_BID))

    def _would_be_taken(
        self, position: Position, limit: Decimal | None, volume: Decimal | None
    ) -> bool:
        """Whether the exchange's test takes such an exit: through a maintenance of hours, asking
        costs nothing, and every order would be one more of the ledger's."""
        try:
            self._test(position, limit, volume)
        except TradingAssetsError as exc:
            self.floor.tell(f"{position.market}: an exit would fail, {said(exc)}")
            return False
        return True

    def _test(
        self, position: Position, limit: Decimal | None, volume: Decimal | None = None
    ) -> None:
        """Have the exchange check a sell of all that is held, or of `volume`. Raises as
        Trading.test_order."""
        request = OrderRequest(
            market=position.market,
            side=Side.ASK,
            ord_type=OrderType.MARKET if limit is None else OrderType.LIMIT,
            identifier=f"{self.floor.knobs.order_prefix}-test-{uuid.uuid4().hex}",
            volume=position.held_volume if volume is None else volume,
            price=limit,
            time_in_force=None if limit is None else TimeInForce.IOC,
        )
        with self.floor.step("test the order"):
            self.floor.account.test_order(request)

    def _note_failure(self, position: Position, ended: Intent, tries: int) -> None:
        self.floor.tell(f"{position.market}: exit order {ended.identifier} ended as {ended.state}")
        if tries == _ALERT_AFTER:
            self.floor.alert(
                Severity.CRITICAL,
                "exit_trouble",
                f"exit-trouble-{position.id}",
                f"{position.market}: {tries} exit orders have not sold {position.held_volume:f} "
                f"(the last ended as {ended.state}); the exit goes on",
            )

    # --- every minute ---------------------------------------------------------------------------

    def _look_around(self, position: Position) -> None:
        """Once a minute and first at the start, aside: a slow answer must not hold up a stop."""
        now = self.floor.now()
        every = seconds(self.floor.knobs.reconcile_seconds)
        if self._looking or not _is_due(self._reconciled_at, every, now):
            return
        self._reconciled_at = now
        self._looking = True
        price = self.prices.latest(position.market)
        self.floor.aside(lambda: self._look(position, price))

    def _look(self, position: Position, price: Price | None) -> None:
        """Mark the equity and judge the peak, reconcile, compare the clocks."""
        try:
            # First, and whatever asking comes to: the loss from the peak must halt without answers.
            with self._told(position):
                self._mark(position, price)
            with self._told(position):
                self._ask(position)
                self._check_skew(position.market, self.floor.now())
                self._blind_since = None
        except LeaseLost:
            return  # the heart tells the thread that trades
        finally:
            self._looking = False

    @contextmanager
    def _told(self, position: Position) -> Iterator[None]:
        """Around what a guard does besides: it goes on when that fails, and says so. Raises
        LeaseLost: a guard whose position is another's by now does nothing more."""
        market = position.market
        try:
            yield
        except LeaseLost:
            raise
        except CredentialsRefused as exc:
            alert_refused_key(self.floor, exc)
        except NO_NEWS as exc:
            self._note_no_news(position, exc)
        except Exception as exc:  # noqa: BLE001  # the edge of a thread: it becomes an alert
            # The guard goes on without its look; a person has to know that it is blind there.
            self.floor.alert(
                Severity.CRITICAL,
                "look_failed",
                f"look-failed-{position.id}-{type(exc).__name__}",
                f"{market}: the guard holds on, but its minute's check failed: {exc}",
            )

    def _note_no_news(self, position: Position, exc: Exception) -> None:
        """One minute without news is nothing; ten may hide a stray or a sale by hand."""
        now = self.floor.now()
        told = f"{position.market}: not reconciled, {said(exc)}"
        self.floor.tell(told)
        since = self._blind_since or now
        self._blind_since = since
        if now - since >= _BLIND_AFTER:
            self.floor.alert(
                Severity.WARNING,
                "not_reconciled",
                f"not-reconciled-{position.id}-{since:%Y-%m-%dT%H:%M}",
                f"{told}; so since {since:%H:%M} UTC, the guard holds on without it",
            )

    def _ask(self, position: Position) -> None:
        if self.rules is None:
            self._learn_rules(position)
        if not self.tested:
            self._test_an_exit(position)
        account = reconcile(self.floor, self.lease.holder).account
        if account.settled:
            self.outside = account.outside(position.market)

    def _learn_rules(self, position: Position) -> None:
        """What the market takes, for judging dust; without an answer asked again at the next look,
        because the rest of this one does not need it."""
        try:
            with self.floor.step("ask what the market takes"):
                self.rules = self.floor.account.rules(position.market)
        except (*NO_NEWS, BadRequest) as exc:
            self.floor.tell(f"{position.market}: not told what it takes, {said(exc)}")

    def _test_an_exit(self, position: Position) -> None:
        """A run that took over learns so that its exit will be refused before it is needed.

        Without an answer it is asked again at the next look.
        """
        try:
            self._test(position, None)
        except (BadRequest, CredentialsRefused) as exc:
            self.floor.alert(
                Severity.CRITICAL,
                "exit_refused_in_test",
                f"exit-test-{position.id}",
                f"{position.market}: the exchange would refuse to sell what is held: {exc}",
            )
        except NO_NEWS as exc:
            self.floor.tell(f"{position.market}: its exit could not be tested, {said(exc)}")
            return
        self.tested = True

    def _mark(self, position: Position, price: Price | None) -> None:
        bids = {} if price is None else {position.market: price.quote.bid}
        with self.floor.step("write the equity mark"):
            mark = books.save_mark(
                self.floor.engine, now=self.floor.now(), bids=bids, lease=self.lease
            )
        if mark.peak_loss_reaches(self.floor.knobs.max_peak_loss):
            halts.halt(
                self.floor.engine,
                reason="peak_loss",
                detail=f"profit {mark.pnl:,.0f} KRW, its peak was {mark.peak_pnl:,.0f} KRW",
                now=self.floor.now(),
            )

    def _check_skew(self, market: str, now: datetime) -> None:
        lag = self.prices.health().lag
        if lag is not None and abs(lag) > seconds(self.floor.knobs.max_clock_skew_seconds):
            self.floor.alert(
                Severity.WARNING,
                "clock_skew",
                f"clock-skew-{now:%Y-%m-%d}",
                f"{market}: our clock and the exchange's are {lag.total_seconds():+.1f} s apart",
            )

    def _read(self, position_id: str) -> Position:
        with read(self.floor.engine) as connection:
            return records.position(connection, position_id)


def _is_due(last: datetime | None, every: timedelta, now: datetime) -> bool:
    """Whether `every` has passed since `last`, or the clock was set back since."""
    return last is None or not timedelta(0) <= now - last < every


def _plan(position: Position) -> ExitPlan:
    if position.plan is None:
        raise LedgerError(f"position {position.id} is not armed")
    return position.plan
