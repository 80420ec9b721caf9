"""The order desk: the only writer of orders. Each is sent at most once, whatever dies.

An order is in the ledger before it is sent, under an identifier that anyone would compute alike. An
unclear outcome is UNKNOWN: it is looked up, and sent again under the same identifier, which the
exchange takes only once. Only when an order is proven never to have existed does it end as BURNT.
No transaction is open during a request. Not here: what to order and why (`trade`).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from trading_assets.alerts import Severity
from trading_assets.database import read
from trading_assets.errors import (
    BadData,
    BadRequest,
    CredentialsRefused,
    DuplicatedIdentifier,
    ExchangeMaintenance,
    IpBlocked,
    LeaseLost,
    LedgerMismatch,
    OrderNotFound,
    OrderOutcomeUnknown,
    OrderRejected,
    TradingAssetsError,
    TryAgain,
)
from trading_assets.exchange.amounts import plain
from trading_assets.exchange.model import Order
from trading_assets.trading import booking, halts, leases, records
from trading_assets.trading.account import AccountView, view_account
from trading_assets.trading.books import Outside
from trading_assets.trading.floor import Floor, seconds
from trading_assets.trading.leases import Lease
from trading_assets.trading.records import Intent
from trading_assets.trading.states import IntentState, Leg

# What asking the exchange may raise without telling anything about the order.
NO_NEWS = (TryAgain, BadData, CredentialsRefused, IpBlocked)

_ALERT_AFTER = 3  # troubles in a row
_CANCEL_AFTER = timedelta(seconds=10)
_OTHERS_SETTLE_IN = 3  # times what an order needs to be lost
_CLOCKS_APART = timedelta(minutes=10)  # what the exchange's clock may differ from ours, at most


def _nothing() -> None:
    """Nothing is done while an order is awaited."""


class Pauses:
    """Waits that double from the polling interval to its longest; `reset` begins anew."""

    def __init__(self, floor: Floor) -> None:
        self._floor = floor
        self._next = floor.knobs.order_poll_seconds

    def reset(self) -> None:
        self._next = self._floor.knobs.order_poll_seconds

    def pause(self) -> None:
        self._floor.pause(self._next)
        self._next = min(self._next * 2, self._floor.knobs.order_poll_most_seconds)


class OrderDesk:
    """Sends and settles the orders of one market, for the holder of its lease.

    check: raises LeaseLost when the lease is known to be lost; asked before every request.
    """

    def __init__(self, floor: Floor, lease: Lease, check: Callable[[], None]) -> None:
        self._floor = floor
        self._lease = lease
        self._check = check
        self._used_up: set[str] = set()
        self._troubles = 0
        self._differs: tuple[Outside, datetime] | None = None  # since when the account is so

    # --- bringing an order to its end -----------------------------------------------------------

    def settle(
        self,
        identifier: str,
        *,
        resend_until: datetime | None = None,
        meanwhile: Callable[[], None] = _nothing,
    ) -> Intent:
        """The order of `identifier`, ended: sent if it was not yet, looked up, booked.

        Never gives up: while the exchange tells nothing it waits longer and alerts. resend_until:
        an entry is not sent (again) after it; None for exits, which are sent at once. meanwhile:
        done after each wait, whose length may be hours in all. Raises LeaseLost, and
        LedgerMismatch after having stopped entries.
        """
        intent = self._inherited(self._read(identifier))
        self._differs = None
        pauses = Pauses(self._floor)
        while intent.state.is_live:
            self._check()
            before = intent
            intent = self._advance(intent, resend_until)
            if not intent.state.is_live:
                break
            # News are followed up at once: a fill is one poll away, a lost answer one resending.
            if intent.state is before.state:
                pauses.pause()
                meanwhile()
            else:
                pauses.reset()
        self._troubles = 0
        return intent

    def look_up(self, identifier: str) -> Intent:
        """What the exchange says of an order now, booked; nothing is sent and nothing awaited.

        Raises the errors of asking.
        """
        intent = self._read(identifier)
        if intent.sends == 0:
            return intent
        found = self._find(intent)
        if found is None:
            return intent if intent.state is IntentState.UNKNOWN else self._inherited(intent)
        return self._book(found)

    def drop(self, identifier: str, detail: str) -> Intent:
        """Give up an order that was never sent."""
        with self._floor.step("drop the order"):
            return booking.mark_dropped(
                self._floor.engine, self._lease, identifier, now=self._floor.now(), detail=detail
            )

    # --- one step -------------------------------------------------------------------------------

    def _advance(self, intent: Intent, resend_until: datetime | None) -> Intent:
        if intent.state is IntentState.INTENDED:
            if not self._may_send(resend_until):
                return self.drop(intent.identifier, "its time was over before it was sent")
            if self._is_halted(intent):
                return self.drop(intent.identifier, "a halt began before it was sent")
            return self._send(intent)
        try:
            if intent.state is IntentState.OPEN:
                return self._poll(intent)
            return self._clear_up(intent, resend_until)
        except (*NO_NEWS, BadRequest) as exc:
            # A refused question says nothing about the order, and to end would leave it alone.
            self._note_trouble(intent, exc)
            return intent

    def _inherited(self, intent: Intent) -> Intent:
        """SENT in the ledger and nobody waits for the answer: its sender died."""
        if intent.state is not IntentState.SENT:
            return intent
        return self._mark_unknown(intent, "the process that sent it never told the outcome")

    def _send(self, intent: Intent) -> Intent:
        began = self._floor.now()
        with self._floor.step("mark the order sent"):
            sent = booking.mark_sent(self._floor.engine, self._lease, intent.identifier, began)
        self._check_awake(sent, began)
        try:
            with self._floor.step("post the order"):
                order = self._floor.account.place(intent.request)
        except (OrderRejected, ExchangeMaintenance, CredentialsRefused) as exc:
            return self._refused(sent, exc)
        except (OrderOutcomeUnknown, TryAgain, IpBlocked) as exc:
            if isinstance(exc, DuplicatedIdentifier):
                self._used_up.add(intent.identifier)
            self._note_trouble(sent, exc)
            return self._mark_unknown(sent, said(exc))
        return self._book(order)

    def _check_awake(self, intent: Intent, began: datetime) -> None:
        """Since `began` less than a lease's length has passed, or the lease holds all the same.

        A process that slept here may no longer be the holder: its successor settles the order. An
        exit that only waited for its turn to write goes on; an entry would come to another price.
        Raises LeaseLost.
        """
        lasts = seconds(self._floor.knobs.lease_seconds)
        while self._floor.now() - began >= lasts:
            if intent.leg is Leg.ENTRY:
                raise LeaseLost(f"slept since {began} before sending an entry of {intent.market}")
            began = self._floor.now()
            leases.renew(self._floor.engine, self._lease, now=began, duration=lasts)
        self._check()

    def _refused(self, intent: Intent, refusal: TradingAssetsError) -> Intent:
        """Refused by name. Of an order sent before, that proves nothing: it stays UNKNOWN.

        A refusal of the order itself may have used its identifier up; one of the key or for a
        maintenance was made before that, and the next sending may be taken.
        """
        if intent.state is IntentState.UNKNOWN:
            if isinstance(refusal, OrderRejected):
                self._used_up.add(intent.identifier)
            self._note_trouble(intent, refusal)
            return intent
        with self._floor.step("mark the order rejected"):
            return booking.mark_rejected(
                self._floor.engine,
                self._lease,
                intent.identifier,
                now=self._floor.now(),
                detail=said(refusal),
            )

    def _clear_up(self, intent: Intent, resend_until: datetime | None) -> Intent:
        """An UNKNOWN order: found, sent again under the same identifier, proven lost, or still."""
        found = self._find(intent)
        if found is not None:
            return self._book(found)
        may_send = self._may_send(resend_until) and not self._is_halted(intent)
        if intent.identifier not in self._used_up and may_send:
            return self._send(intent)
        return self._burnt_if_lost(intent)

    def _burnt_if_lost(self, intent: Intent) -> Intent:
        """BURNT once nothing speaks for the order any more; the ledger checks time and money."""
        now = self._floor.now()
        lost_after = seconds(self._floor.knobs.lost_order_seconds)
        if intent.unknown_since is None or now - intent.unknown_since < lost_after:
            return intent
        waiting = self._waiting_unless_listed(intent, now)
        if waiting is None:
            return intent
        with self._floor.step("read the account"):
            account = view_account(self._floor)
        outside = account.outside(intent.market)
        if (intent.quote_outside, intent.base_outside) != (outside.quote, outside.base):
            if self._is_its_own(intent, account, outside, now):
                self._tell_stuck(intent, _moved(intent, outside))
            return intent
        if account.binds_more(intent.market, intent.side, waiting):
            # An order that waits unseen moves nothing, it only binds; so do orders not booked yet.
            if now - intent.unknown_since >= lost_after * _OTHERS_SETTLE_IN:
                self._tell_stuck(intent, "more is locked than the open orders of the account bind")
            return intent
        with self._floor.step("mark the order burnt"):
            return booking.mark_burnt(
                self._floor.engine,
                self._lease,
                intent.identifier,
                now=self._floor.now(),
                lost_after=lost_after,
                outside=outside,
                detail="in no list of the exchange, the account is as it was before it",
            )

    def _is_its_own(
        self, intent: Intent, account: AccountView, outside: Outside, now: datetime
    ) -> bool:
        """Whether a difference cannot be what other orders have done and nobody has booked yet.

        Only this market's order moves its coin. KRW that others moved change again as they are
        booked, so a sum that stays the same for long is nobody's who is still at work.
        """
        if self._differs is None or self._differs[0] != outside:
            self._differs = (outside, now)
        if intent.base_outside != outside.base or account.settled_but_for(intent.identifier):
            return True
        others_settle_in = seconds(self._floor.knobs.lost_order_seconds) * _OTHERS_SETTLE_IN
        return now - self._differs[1] >= others_settle_in

    def _waiting_unless_listed(self, intent: Intent, now: datetime) -> tuple[Order, ...] | None:
        """All open orders of the account; None when any of the exchange's lists has this one."""
        account = self._floor.account
        with self._floor.step("read the lists of orders"):
            since = intent.created_at - _CLOCKS_APART
            named = account.orders_by_identifier([intent.identifier])
            waiting = account.open_orders()
            ended = account.closed_orders(since, now + _CLOCKS_APART, intent.market)
        if any(o.identifier == intent.identifier for o in (*named, *waiting, *ended)):
            return None
        return waiting

    def _poll(self, intent: Intent) -> Intent:
        found = self._find(intent)
        waited = self._floor.now() - (intent.sent_at or intent.created_at)
        if found is None:
            # Taken, but not shown yet; after so long that is a trouble like any other.
            if waited >= seconds(self._floor.knobs.lost_order_seconds):
                self._note_trouble(intent, OrderNotFound("taken, and not shown since"))
            return intent
        if not found.is_terminal and waited >= _CANCEL_AFTER:
            # Ours are all to end at once; one that rests is taken back and then polled on.
            try:
                with self._floor.step("cancel the order"):
                    self._floor.account.cancel(uuid=found.uuid)
            except (OrderNotFound, OrderRejected):
                pass  # it has ended meanwhile: the next poll tells
        return self._book(found)

    def _find(self, intent: Intent) -> Order | None:
        """The order as the exchange shows it, None while it does not."""
        try:
            with self._floor.step("look the order up"):
                return self._floor.account.order(identifier=intent.identifier)
        except OrderNotFound:
            return None

    # --- writing it down ------------------------------------------------------------------------

    def _read(self, identifier: str) -> Intent:
        with read(self._floor.engine) as connection:
            return records.intent(connection, identifier)

    def _mark_unknown(self, intent: Intent, detail: str) -> Intent:
        with self._floor.step("mark the order unknown"):
            return booking.mark_unknown(
                self._floor.engine,
                self._lease,
                intent.identifier,
                now=self._floor.now(),
                detail=detail,
            )

    def _book(self, order: Order) -> Intent:
        try:
            with self._floor.step("book the order"):
                booked = booking.book(self._floor.engine, self._lease, order, self._floor.now())
        except LedgerMismatch as exc:
            halts.halt(
                self._floor.engine,
                reason=halts.LEDGER_MISMATCH,
                detail=str(exc),
                now=self._floor.now(),
            )
            self._tell_mismatch(order, exc)
            raise
        self._troubles = 0
        for fill in booked.new_fills:
            self._floor.tell(
                f"{fill.side} {fill.volume:f} {booked.intent.market} at {fill.price:,f} KRW"
            )
        return booked.intent

    # --- small ----------------------------------------------------------------------------------

    def _may_send(self, until: datetime | None) -> bool:
        return until is None or self._floor.now() < until

    def _is_halted(self, intent: Intent) -> bool:
        """Whether a halt forbids to send this order: an entry that was decided before it began."""
        if intent.leg is not Leg.ENTRY:
            return False
        with read(self._floor.engine) as connection:
            return halts.active_halt(connection) is not None

    def _note_trouble(self, intent: Intent, trouble: TradingAssetsError) -> None:
        self._troubles += 1
        self._floor.tell(f"order {intent.identifier}: {said(trouble)}")
        if self._troubles == _ALERT_AFTER:
            exit_goes_on = " The exit goes on." if intent.leg is Leg.EXIT else ""
            self._floor.alert(
                Severity.CRITICAL,
                "order_trouble",
                f"order-trouble-{intent.identifier}",
                f"{intent.market}: the {intent.leg} order {intent.identifier} is not clear after "
                f"{self._troubles} tries: {said(trouble)}.{exit_goes_on}",
            )

    def _tell_mismatch(self, order: Order, mismatch: LedgerMismatch) -> None:
        """Besides the halt's alert, which is not written while another halt is on."""
        self._floor.alert(
            Severity.CRITICAL,
            "ledger_mismatch",
            f"ledger-mismatch-{order.uuid}",
            f"{order.market}: {mismatch}. Until both agree an order of ours under way there is not "
            "settled and no second one is sent, so the bot does NOT sell what is held. It asks "
            "again about once a minute and goes on by itself. Look at the order at the exchange; "
            "the way out is in docs/trading.md.",
        )

    def _tell_stuck(self, intent: Intent, why: str) -> None:
        self._floor.alert(
            Severity.CRITICAL,
            "order_stuck",
            f"order-stuck-{intent.identifier}",
            f"{intent.market}: order {intent.identifier} is in no list of the exchange, but {why}. "
            "So the order stays UNKNOWN. Look at the account.",
        )


def _moved(intent: Intent, outside: Outside) -> str:
    coin = intent.market.partition("-")[2]
    return (
        "the account is not as it was before it: besides the ledger it had "
        f"{_amount(intent.quote_outside)} KRW and {_amount(intent.base_outside)} {coin}, it has "
        f"{_amount(outside.quote)} KRW and {_amount(outside.base)} {coin}"
    )


def _amount(amount: Decimal | None) -> str:
    return "an unknown amount of" if amount is None else plain(amount)


def said(error: BaseException) -> str:
    """An error in a sentence: its kind and its words."""
    return f"{type(error).__name__}: {error}"
