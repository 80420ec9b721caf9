"""The ledger against the account and its orders: adopt what is ours, report everything else.

The account may hold more than the ledger, never less: then entries stop. KRW that came or went
without us is an external flow: recorded, alerted, the capital re-based. A coin that a person bought
and an order that a person placed are left alone. Not here: selling and guarding.
"""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trading_assets.alerts import Severity
from trading_assets.database import read, verdicts, write
from trading_assets.errors import CredentialsRefused, LeaseLost
from trading_assets.exchange.amounts import EXACT, plain
from trading_assets.exchange.model import Order
from trading_assets.trading import books, leases, records
from trading_assets.trading.account import AccountView, view_account
from trading_assets.trading.books import Outside
from trading_assets.trading.floor import Floor, seconds
from trading_assets.trading.identifiers import is_ours
from trading_assets.trading.leases import Lease
from trading_assets.trading.order_desk import OrderDesk
from trading_assets.trading.records import Intent

ACCOUNT = "account"  # the subject of the lease under which flows are recorded
_KIND = "reconcile"
_LOOK_BACK = timedelta(hours=24)
_SMALLEST_FLOW = Decimal(1)  # KRW; the exchange may round what it shows
# How far the account may lag behind its orders, which is not documented: a difference is real when
# it is still there after so many seconds.
_LAG_SECONDS = Decimal(2)
_LOOKS_FOR_STEADY = 4


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was found. adopted: identifiers booked; reports: sentences for a person; flow: KRW."""

    account: AccountView
    adopted: tuple[str, ...]
    reports: tuple[str, ...]
    flow: Decimal


def reconcile(floor: Floor, holder: str, *, own: Lease | None = None) -> Reconciled:
    """Adopt our strays, then compare: record flows and what is missing.

    holder: who takes a free market's lease to adopt its orders. own: a lease of the caller's, under
    which nothing else is going on: it adopts the orders of its market by that. Raises the errors of
    asking.
    """
    adopted, reports = adopt_strays(floor, holder, own)
    account, flow = _compare(floor, holder)
    return Reconciled(account, adopted, reports, flow)


def _compare(floor: Floor, holder: str) -> tuple[AccountView, Decimal]:
    """The account beside the ledger, what it lacks recorded, and the flow that was (KRW)."""
    account = view_account(floor)
    for _ in range(_LOOKS_FOR_STEADY):
        if account.steady:
            break
        # Another trade wrote meanwhile, so whether coins are missing could not be said.
        floor.pause(floor.knobs.order_poll_seconds)
        account = view_account(floor)
    if account.missing is not None:
        floor.pause(_LAG_SECONDS)
        account = view_account(floor)
    flow = _recorded_flow(floor, holder, account)
    if flow:
        account = view_account(floor)
    _record(floor, account)
    return account, flow


def outside_before(floor: Floor, account: AccountView, market: str) -> Outside:
    """What the account has besides the ledger, to measure a new order of `market` against.

    While another market's order is under way, its KRW may have moved without being booked; what was
    besides the ledger at the beginning, which recorded flows keep the same, holds then as well.
    """
    now = account.outside(market)
    if account.settled:
        return now
    with read(floor.engine) as connection:
        first = _first_outside(connection)
    return now if first is None else Outside(first, now.base)


def open_books(floor: Floor, holder: str) -> None:
    """Declare the capital, by the setting or else the account's KRW at the first start.

    Call it at every start, before anything trades. Raises the errors of asking.
    """
    wanted = floor.knobs.capital_krw
    with read(floor.engine) as connection:
        known = books.capital(connection)
    if wanted is None and known is None:
        wanted = view_account(floor).available
    if wanted is not None:
        books.declare_capital(floor.engine, wanted, now=floor.now(), detail=f"by {holder}")
    _compare(floor, holder)


def alert_refused_key(floor: Floor, refusal: CredentialsRefused) -> None:
    """Tell a person, once a day and reason: nothing by itself mends it, and no exit can be sent.

    A key is good for a year, and only from the addresses it was made for.
    """
    floor.alert(
        Severity.CRITICAL,
        "key_refused",
        f"key-refused-{floor.now():%Y-%m-%d}-{refusal.name}"[:200],
        f"The exchange refuses the account's key: {refusal}. Nothing can be bought or sold until "
        "it is mended; positions are held and their stops cannot be carried out.",
    )


# --- orders ---------------------------------------------------------------------------------


def adopt_strays(
    floor: Floor, holder: str, own: Lease | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Book what the exchange has of our orders and the ledger does not: (adopted, reports).

    Those of markets whose lease is live are their holder's to settle; `own` is the caller's.
    """
    now = floor.now()
    prefix = floor.knobs.order_prefix
    account = floor.account
    with floor.step("read the lists of orders"):
        shown = (*account.open_orders(), *account.closed_orders(now - _LOOK_BACK, now))
    adopted: list[str] = []
    reports: list[str] = []
    for order in shown:
        if not is_ours(order.identifier, prefix):
            if not order.is_terminal:
                reports.append(f"{order.market}: order {order.uuid} is not ours, left alone")
            continue
        assert order.identifier is not None
        with read(floor.engine) as connection:
            intent = records.find_intent(connection, order.identifier)
        if intent is None:
            reports.append(_report_unknown(floor, order))
        elif _has_news(intent, order) and _adopt(floor, holder, intent, own):
            adopted.append(order.identifier)
    return tuple(adopted), tuple(reports)


def _has_news(intent: Intent, order: Order) -> bool:
    if order.is_terminal != (intent.ended_at is not None):
        return True
    return order.executed_volume != intent.executed_volume or intent.uuid != order.uuid


def _adopt(floor: Floor, holder: str, intent: Intent, own: Lease | None) -> bool:
    if own is not None and own.subject == intent.market:
        _book(floor, own, intent)
        return True
    lease = _taken(floor, intent.market, holder)
    if lease is None:
        return False
    try:
        _book(floor, lease, intent)
    except LeaseLost:
        return False  # asking took so long that a run took the market: it books the order
    finally:
        leases.release(floor.engine, lease, floor.now())
    return True


def _book(floor: Floor, lease: Lease, intent: Intent) -> None:
    OrderDesk(floor, lease, check=_nothing).look_up(intent.identifier)
    floor.tell(f"{intent.market}: booked the stray order {intent.identifier}")


def _report_unknown(floor: Floor, order: Order) -> str:
    """Our name and not in our ledger: another database's, so never touched."""
    message = (
        f"{order.market}: order {order.identifier} carries our prefix and is not in the ledger "
        f"({order.side} {order.executed_volume:f} executed); left alone"
    )
    floor.alert(Severity.CRITICAL, "stray_order", f"stray-order-{order.uuid}", message)
    return message


# --- the account ----------------------------------------------------------------------------


def _recorded_flow(floor: Floor, holder: str, account: AccountView) -> Decimal:
    """KRW that moved without us since the last look; recorded once it is seen twice."""
    nothing = Decimal(0)
    if not account.settled or _moved(floor, account) == nothing:
        return nothing
    floor.pause(_LAG_SECONDS)
    # One at a time, or two processes would both record it.
    lease = _taken(floor, ACCOUNT, holder)
    if lease is None:
        return nothing
    try:
        again = view_account(floor)
        moved = _moved(floor, again)
        if not again.settled or moved == nothing or again.outside_krw != account.outside_krw:
            return nothing
        with floor.step("record the flow"):
            books.record_flow(
                floor.engine, moved, now=floor.now(), detail="the account changed without us"
            )
        return moved
    finally:
        leases.release(floor.engine, lease, floor.now())


def _moved(floor: Floor, account: AccountView) -> Decimal:
    """How far the KRW besides the ledger are from what they were at the beginning."""
    with read(floor.engine) as connection:
        first = _first_outside(connection)
        if first is None or books.capital(connection) is None:
            return Decimal(0)
    moved = EXACT.subtract(account.outside_krw, first)
    return moved if abs(moved) >= _SMALLEST_FLOW else Decimal(0)


def _first_outside(connection: Connection) -> Decimal | None:
    """KRW besides the ledger at the beginning; recorded flows keep it the same for ever."""
    query = sa.select(verdicts.c.details).where(verdicts.c.kind == _KIND).order_by(verdicts.c.id)
    for details in connection.execute(query).scalars():
        if details["settled"]:
            return Decimal(details["outside_krw"])
    return None


def _record(floor: Floor, account: AccountView) -> None:
    """The verdict of this look when it says something new, with an alert when coins are missing."""
    row = {
        "kind": _KIND,
        "market": ACCOUNT,
        "profile": "",
        "passed": account.missing is None,
        "reasons": [] if account.missing is None else [account.missing],
        "details": {"settled": account.settled, "outside_krw": _shortest(account.outside_krw)},
    }
    if not account.settled and account.missing is None:
        return  # nothing can be said while an order is under way
    with read(floor.engine) as connection:
        last = connection.execute(
            sa.select(verdicts)
            .where(verdicts.c.kind == _KIND)
            .order_by(verdicts.c.id.desc())
            .limit(1)
        ).one_or_none()
    if last is not None and {name: last._mapping[name] for name in row} == row:
        return
    with floor.step("write the reconcile verdict"), write(floor.engine) as connection:
        connection.execute(verdicts.insert().values(**row, decided_at=floor.now()))
    if account.missing is not None:
        floor.alert(
            Severity.CRITICAL,
            "account_short",
            f"account-short-{floor.now():%Y-%m-%d}-{account.missing}"[:200],
            f"The account lacks {account.missing}. No entries until it is back.",
        )


def entries_stopped_by(connection: Connection) -> str | None:
    """What the account lacked at the last reconcile, None when nothing."""
    query = (
        sa.select(verdicts.c.passed, verdicts.c.reasons)
        .where(verdicts.c.kind == _KIND)
        .order_by(verdicts.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None or row.passed else ", ".join(row.reasons)


def _taken(floor: Floor, subject: str, holder: str) -> Lease | None:
    return leases.take(
        floor.engine,
        subject,
        holder,
        now=floor.now(),
        duration=seconds(floor.knobs.lease_seconds),
    )


def _nothing() -> None:
    """A check for short work: its lease is taken for longer than it lasts."""


def _shortest(amount: Decimal) -> str:
    """The same text for equal amounts, whatever zeros they carry."""
    return plain(EXACT.normalize(amount))
