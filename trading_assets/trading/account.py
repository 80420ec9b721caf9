"""The account as the ledger sees it: what it has besides what the ledger explains, what it lacks.

The ledger is read before and after the account, so that a fill booked in between is noticed. Here:
reading and comparing. Not here: what follows from a difference (`reconcile`).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy.engine import Connection

from trading_assets.database import read
from trading_assets.exchange.amounts import EXACT, exact_sum, plain
from trading_assets.exchange.model import Balance, Order, Side
from trading_assets.trading import books, records
from trading_assets.trading.books import Outside
from trading_assets.trading.floor import Floor
from trading_assets.trading.states import Leg

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class LedgerView:
    """What of the ledger bears on the account. held: without dust; left: with it; by market."""

    live_orders: tuple[tuple[str, str], ...]  # (market, identifier)
    quote: Decimal
    held: Mapping[str, Decimal]
    left: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class AccountView:
    """The account beside the ledger, at one moment.

    steady: nothing was booked meanwhile. outside_krw: KRW that the ledger does not explain.
    available: free KRW. missing: what the account lacks against the ledger, None when nothing;
    markets with a live order are not judged. totals: free and locked; locked: bound in orders.
    """

    steady: bool
    outside_krw: Decimal
    available: Decimal
    missing: str | None
    totals: Mapping[str, Decimal]
    locked: Mapping[str, Decimal]
    ledger: LedgerView

    @property
    def settled(self) -> bool:
        """Whether no order was live and nothing was booked meanwhile: every difference is real."""
        return self.steady and not self.ledger.live_orders

    def settled_but_for(self, identifier: str) -> bool:
        """The same, whatever the order of this name does."""
        return self.steady and all(name == identifier for _, name in self.ledger.live_orders)

    def binds_more(self, market: str, side: Side, shown: Collection[Order]) -> bool:
        """Whether more of what an order of that market and side binds is locked than `shown`, the
        open orders of the whole account, say: one that is not shown may be waiting."""
        base, quote = market.partition("-")[2], market.partition("-")[0]
        currency = quote if side is Side.BID else base
        binding = (
            order.locked
            for order in shown
            if order.side is side and currency in order.market.split("-")
        )
        return self.locked.get(currency, NOTHING) > exact_sum(binding)

    def outside(self, market: str) -> Outside:
        """What the account has besides the ledger, KRW and the coin of `market`."""
        base = market.partition("-")[2]
        ours = self.ledger.left.get(market, NOTHING)
        return Outside(self.outside_krw, EXACT.subtract(self.totals.get(base, NOTHING), ours))


def view_account(floor: Floor) -> AccountView:
    """Ask for the balances and compare them with the ledger. Raises the errors of asking."""
    with read(floor.engine) as connection:
        before = _ledger_view(connection)
    with floor.step("read the account"):
        balances = floor.account.balances()
    with read(floor.engine) as connection:
        after = _ledger_view(connection)
    totals = {b.currency: b.total for b in balances}
    return AccountView(
        steady=before == after,
        outside_krw=EXACT.subtract(totals.get("KRW", NOTHING), after.quote),
        available=_free_krw(balances),
        missing=_missing(after, totals) if before == after else None,
        totals=totals,
        locked={b.currency: b.locked for b in balances},
        ledger=after,
    )


def _ledger_view(connection: Connection) -> LedgerView:
    quote, left = books.explained_by_market(connection)
    return LedgerView(
        live_orders=tuple((o.market, o.identifier) for o in records.live_intents(connection)),
        quote=quote,
        held=records.holdings(connection),
        left=left,
    )


def _free_krw(balances: tuple[Balance, ...]) -> Decimal:
    return next((b.balance for b in balances if b.currency == "KRW"), NOTHING)


def _missing(ledger: LedgerView, totals: Mapping[str, Decimal]) -> str | None:
    """The coins that the ledger holds and the account does not, as a sentence."""
    moving = {market for market, _ in ledger.live_orders}
    short = []
    for market, held in sorted(ledger.held.items()):
        there = totals.get(market.partition("-")[2], NOTHING)
        if market not in moving and there < held:
            short.append(f"{plain(EXACT.subtract(held, there))} of {plain(held)} {market}")
    return ", ".join(short) or None


def baseline(connection: Connection, position_id: str) -> Outside | None:
    """What the account had besides the ledger before this position's last order that knew it."""
    for leg in (Leg.EXIT, Leg.ENTRY):
        for intent in reversed(records.intents_of(connection, position_id, leg)):
            if intent.quote_outside is not None and intent.base_outside is not None:
                return Outside(intent.quote_outside, intent.base_outside)
    return None
