"""The account: balances, orders, trades and used identifiers in one SQLite file of its own.

Every change is one transaction that checks its own books before it commits, so a kill at any moment
leaves either all of it or nothing. All orders of the exchange are this account's. Not here: what
orders meet (`matching.py`), when (`desk.py`), and how answers look (`forms.py`).
"""

import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from trading_assets.exchange.model import OrderState, Side
from trading_assets.paper_exchange.account_rows import (
    SCHEMA,
    balance_of,
    order_of,
    order_row,
    trade_of,
    trade_row,
)
from trading_assets.paper_exchange.exact import average, exactly, plain
from trading_assets.paper_exchange.orders import OrderTerms, PaperBalance, PaperOrder, PaperTrade
from trading_assets.paper_exchange.refusals import Refusal, duplicated_identifier

STARTING_KRW = Decimal(10_000_000)
FEE_RATE = Decimal("0.0005")
_ZERO = Decimal(0)


class BrokenBooks(AssertionError):
    """A change would have left the account's books wrong; it was not written."""


class EventKind(StrEnum):
    """What a private stream says of an order; TRADE and PREVENTED are no states of REST."""

    WAIT = "wait"
    TRADE = "trade"
    PREVENTED = "prevented"
    DONE = "done"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """The order just after something happened to it; trade: the fill of a TRADE."""

    kind: EventKind
    order: PaperOrder
    made_us: int
    trade: PaperTrade | None = None


class Account:
    """The account of one exchange. Safe across threads; one process at a time.

    path: its file, None for one in memory. fee_rate: of both sides, maker and taker. starting_krw:
    what a new account holds.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        fee_rate: Decimal = FEE_RATE,
        starting_krw: Decimal = STARTING_KRW,
    ) -> None:
        self.fee_rate = fee_rate
        self._lock = threading.RLock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(
            path or ":memory:", isolation_level=None, check_same_thread=False, timeout=10
        )
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._id = self._open(starting_krw)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _open(self, starting_krw: Decimal) -> uuid.UUID:
        """The account's own id, new with a new file: order uuids of a lost file never come back."""
        self._db.executescript(SCHEMA)
        with self.change() as change:
            found = self._db.execute("SELECT value FROM about WHERE name = 'id'").fetchone()
            if found is not None:
                return uuid.UUID(found["value"])
            new = uuid.uuid4()
            self._db.execute("INSERT INTO about VALUES ('id', ?)", (str(new),))
            change.write_balance(PaperBalance("KRW", starting_krw, _ZERO, _ZERO))
            return new

    @contextmanager
    def change(self) -> Iterator["Change"]:
        """A transaction: committed with its books checked, or without a trace."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                change = Change(self, self._db)
                yield change
                self._check_books()
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # --- reading ----------------------------------------------------------------------------------

    def balances(self) -> tuple[PaperBalance, ...]:
        """What was ever held, oldest first: KRW, then coins."""
        rows = self._all("SELECT * FROM balances ORDER BY rowid")
        return tuple(balance_of(row) for row in rows)

    def balance(self, currency: str) -> PaperBalance:
        """Zero for what was never held."""
        rows = self._all("SELECT * FROM balances WHERE currency = ?", currency)
        return balance_of(rows[0]) if rows else PaperBalance(currency, _ZERO, _ZERO, _ZERO)

    def open_orders(self, market: str | None = None) -> tuple[PaperOrder, ...]:
        """Oldest first."""
        found = map(
            order_of, self._all("SELECT * FROM orders WHERE state = 'wait' ORDER BY number")
        )
        return tuple(order for order in found if market in (None, order.terms.market))

    def order(self, *, order_uuid: str | None = None, identifier: str | None = None) -> PaperOrder:
        """Raises KeyError for an unknown one."""
        name, value = ("uuid", order_uuid) if order_uuid is not None else ("identifier", identifier)
        rows = self._all(f"SELECT * FROM orders WHERE {name} = ?", value)
        if not rows:
            raise KeyError(value)
        return order_of(rows[0])

    def orders(
        self, states: Sequence[OrderState], start_ms: int = 0, end_ms: int = 2**62
    ) -> tuple[PaperOrder, ...]:
        """Those made with start_ms <= created_ms <= end_ms, oldest first."""
        marks = ", ".join("?" * len(states))
        rows = self._all(
            f"SELECT * FROM orders WHERE state IN ({marks}) AND created_ms BETWEEN ? AND ? "
            "ORDER BY number",
            *states,
            start_ms,
            end_ms,
        )
        return tuple(map(order_of, rows))

    def trades(self, order_uuid: str) -> tuple[PaperTrade, ...]:
        """The fills of an order, oldest first."""
        rows = self._all("SELECT * FROM trades WHERE order_uuid = ? ORDER BY number", order_uuid)
        return tuple(map(trade_of, rows))

    def knows_identifier(self, identifier: str) -> bool:
        """Whether it was ever sent with an order, made or refused."""
        rows = self._all("SELECT 1 FROM identifiers WHERE identifier = ?", identifier)
        return bool(rows)

    @exactly
    def reserve(self, terms: OrderTerms) -> tuple[Decimal, Decimal]:
        """(what an order of `terms` locks, its fee within that). Raises Refusal without funds."""
        locked, fee = _reserved(terms, self.fee_rate)
        if self.balance(terms.currency).balance < locked:
            what = "금액" if terms.side is Side.BID else "수량"
            raise Refusal(
                400,
                f"insufficient_funds_{terms.side}",
                f"주문 가능한 {what}({terms.currency})이 부족합니다.",
            )
        return locked, fee

    def new_uuid(self, kind: str, number: int) -> str:
        return str(uuid.uuid5(self._id, f"{kind} {number}"))

    def _all(self, query: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    @exactly
    def _check_books(self) -> None:
        bound: dict[str, Decimal] = {}
        for order in self.open_orders():
            currency = order.terms.currency
            bound[currency] = bound.get(currency, _ZERO) + order.locked
        for held in self.balances():
            if held.balance < 0 or held.locked != bound.pop(held.currency, _ZERO):
                raise BrokenBooks(f"{held} does not go with its open orders")
        if any(bound.values()):
            raise BrokenBooks(f"orders bind {bound}, which the account does not have")


class Change:
    """The writing half of an account, inside one transaction. `events`: what happened in it."""

    def __init__(self, account: Account, db: sqlite3.Connection) -> None:
        self._account = account
        self._db = db
        self.events: list[OrderEvent] = []

    def use_identifier(self, identifier: str, now_ms: int) -> None:
        """Use it up for ever. Raises Refusal when it was used before."""
        if self._account.knows_identifier(identifier):
            raise duplicated_identifier()
        self._db.execute("INSERT INTO identifiers VALUES (?, ?)", (identifier, now_ms))

    @contextmanager
    def or_nothing(self) -> Iterator[None]:
        """A part that leaves no trace when it raises, while what came before it stays."""
        self._db.execute("SAVEPOINT part")
        happened = len(self.events)
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK TO part")
            self._db.execute("RELEASE part")
            del self.events[happened:]
            raise
        self._db.execute("RELEASE part")

    @exactly
    def accept(
        self, terms: OrderTerms, now_ms: int, *, visible_ms: int = 0, held_until_ms: int = 0
    ) -> PaperOrder:
        """The new order, its funds locked. Raises Refusal without funds."""
        locked, fee = self._account.reserve(terms)
        self._move(terms.currency, balance=-locked, locked=locked)
        number = self._next_number()
        order = replace(
            unfilled(terms, self._account.new_uuid("order", number), now_ms, locked, fee),
            number=number,
            visible_ms=visible_ms,
            held_until_ms=held_until_ms,
        )
        self._insert("orders", order_row(order))
        self.events.append(OrderEvent(EventKind.WAIT, order, now_ms * 1000))
        return order

    @exactly
    def trade(
        self, order: PaperOrder, price: Decimal, volume: Decimal, made_us: int, *, is_maker: bool
    ) -> PaperOrder:
        """`order` after a fill of `volume` coins at `price`, money and coins moved, fee taken."""
        funds = price * volume
        fee = funds * self._account.fee_rate
        remaining = _less(order, volume, funds)
        locked, remaining_fee = _bound(remaining, self._account.fee_rate)
        after = replace(
            remaining,
            executed_volume=order.executed_volume + volume,
            executed_funds=order.executed_funds + funds,
            paid_fee=order.paid_fee + fee,
            remaining_fee=remaining_fee,
            locked=locked,
            trades_count=order.trades_count + 1,
        )
        released = order.locked - locked
        if order.terms.side is Side.BID:
            # A fill below the limit gives back what it did not need, at once.
            self._move(order.terms.quote, balance=released - funds - fee, locked=-released)
            self._buy(order.terms.base, volume, funds)
        else:
            self._move(order.terms.base, locked=-released)
            self._move(order.terms.quote, balance=funds - fee)
            self._forget_average(order.terms.base)
        fill = PaperTrade(
            uuid=self._account.new_uuid(f"trade of {order.uuid}", after.trades_count),
            order_uuid=order.uuid,
            market=order.terms.market,
            side=order.terms.side,
            price=price,
            volume=volume,
            funds=funds,
            fee=fee,
            made_us=made_us,
            is_maker=is_maker,
        )
        self._insert("trades", trade_row(fill))
        return self._keep(after, EventKind.TRADE, made_us, fill)

    @exactly
    def prevent(
        self, order: PaperOrder, volume: Decimal, funds: Decimal, made_us: int
    ) -> PaperOrder:
        """`order` less `volume` coins or `funds` KRW that self-match prevention takes out of it."""
        remaining = _less(order, volume, funds)
        locked, remaining_fee = _bound(remaining, self._account.fee_rate)
        released = order.locked - locked
        self._move(order.terms.currency, balance=released, locked=-released)
        after = replace(
            remaining,
            locked=locked,
            remaining_fee=remaining_fee,
            prevented_volume=order.prevented_volume + volume,
            prevented_locked=order.prevented_locked
            + (funds if order.terms.side is Side.BID else volume),
        )
        return self._keep(after, EventKind.PREVENTED, made_us)

    @exactly
    def end(self, order: PaperOrder, made_us: int, *, filled: bool) -> PaperOrder:
        """`order` as it stays for ever, done or cancelled, what it still locked given back."""
        self._move(order.terms.currency, balance=order.locked, locked=-order.locked)
        state = OrderState.DONE if filled else OrderState.CANCEL
        after = replace(order, state=state, locked=_ZERO, remaining_fee=_ZERO, cancel_asked=False)
        return self._keep(after, EventKind(state.value), made_us)

    def ask_cancel(self, order: PaperOrder) -> None:
        """Remember that a cancel of `order` was accepted; the order itself stays as it is."""
        self._db.execute("UPDATE orders SET cancel_asked = 1 WHERE number = ?", (order.number,))

    def write_balance(self, held: PaperBalance) -> None:
        self._db.execute(
            "INSERT INTO balances VALUES (:currency, :balance, :locked, :average) "
            "ON CONFLICT (currency) DO UPDATE SET balance = :balance, locked = :locked, "
            "average = :average",
            {
                "currency": held.currency,
                "balance": plain(held.balance),
                "locked": plain(held.locked),
                "average": plain(held.average_buy_price),
            },
        )

    @exactly
    def deposit(self, currency: str, amount: Decimal) -> None:
        """Put money or coins into the account from outside; below zero, take them out."""
        self._move(currency, balance=amount)

    def _move(self, currency: str, *, balance: Decimal = _ZERO, locked: Decimal = _ZERO) -> None:
        held = self._account.balance(currency)
        self.write_balance(
            replace(held, balance=held.balance + balance, locked=held.locked + locked)
        )

    def _buy(self, currency: str, volume: Decimal, funds: Decimal) -> None:
        held = self._account.balance(currency)
        before = held.balance + held.locked
        paid = held.average_buy_price * before + funds
        self.write_balance(
            replace(
                held,
                balance=held.balance + volume,
                average_buy_price=average(paid, before + volume),
            )
        )

    def _forget_average(self, currency: str) -> None:
        """Of a coin that is sold out nothing is remembered."""
        held = self._account.balance(currency)
        if not held.balance + held.locked:
            self.write_balance(replace(held, average_buy_price=_ZERO))

    def _keep(
        self, order: PaperOrder, kind: EventKind, made_us: int, fill: PaperTrade | None = None
    ) -> PaperOrder:
        row = order_row(order)
        places = ", ".join(f"{name} = :{name}" for name in row)
        self._db.execute(f"UPDATE orders SET {places} WHERE number = :number", row)
        self.events.append(OrderEvent(kind, order, made_us, fill))
        return order

    def _next_number(self) -> int:
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'orders'").fetchone()
        return 1 if found is None else int(found["seq"]) + 1

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        names = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        self._db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)


def unfilled(
    terms: OrderTerms, order_uuid: str, now_ms: int, locked: Decimal, fee: Decimal
) -> PaperOrder:
    """An order to which nothing has happened yet; number 0 until the account gives it one."""
    return PaperOrder(
        number=0,
        uuid=order_uuid,
        terms=terms,
        state=OrderState.WAIT,
        created_ms=now_ms,
        remaining_volume=terms.volume,
        remaining_funds=terms.price if terms.spends_amount else None,
        executed_volume=_ZERO,
        executed_funds=_ZERO,
        reserved_fee=fee,
        remaining_fee=fee,
        paid_fee=_ZERO,
        locked=locked,
        trades_count=0,
        prevented_volume=_ZERO,
        prevented_locked=_ZERO,
        visible_ms=0,
        held_until_ms=0,
        cancel_asked=False,
    )


# --- sums ---------------------------------------------------------------------------------------


def _reserved(terms: OrderTerms, fee_rate: Decimal) -> tuple[Decimal, Decimal]:
    if terms.side is Side.ASK:
        assert terms.volume is not None
        return terms.volume, _ZERO
    assert terms.price is not None
    value = terms.price if terms.volume is None else terms.price * terms.volume
    fee = value * fee_rate
    return value + fee, fee


def _less(order: PaperOrder, volume: Decimal, funds: Decimal) -> PaperOrder:
    if order.remaining_volume is not None:
        return replace(order, remaining_volume=order.remaining_volume - volume)
    assert order.remaining_funds is not None
    return replace(order, remaining_funds=order.remaining_funds - funds)


def _bound(order: PaperOrder, fee_rate: Decimal) -> tuple[Decimal, Decimal]:
    """(locked, the fee within it) of what remains of `order`."""
    if order.terms.side is Side.ASK:
        assert order.remaining_volume is not None
        return order.remaining_volume, _ZERO
    if order.remaining_volume is None:
        assert order.remaining_funds is not None
        value = order.remaining_funds
    else:
        assert order.terms.price is not None
        value = order.terms.price * order.remaining_volume
    fee = value * fee_rate
    return value + fee, fee
