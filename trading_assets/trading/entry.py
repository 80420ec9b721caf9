"""The entry of a trade: look at signal, market, account and books, decide, order, book, arm.

Here: gathering what the rules of `rules.entry` ask for and carrying out what they say. Not here:
the rules, and holding what was bought (`trade`).
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.alerts import Severity
from trading_assets.database import read, signals
from trading_assets.errors import (
    BadRequest,
    CredentialsRefused,
    ExchangeMaintenance,
    LedgerError,
    TradingAssetsError,
)
from trading_assets.exchange import price_units
from trading_assets.exchange.amounts import price_text
from trading_assets.exchange.api import Price, PriceSource, PriceStream
from trading_assets.exchange.model import Instrument, MarketRules
from trading_assets.rules.costs import Costs
from trading_assets.rules.decision import Action
from trading_assets.rules.entry import Candidate, Entry, MarketView, decide_entry
from trading_assets.rules.exits import ExitTerms, TickAt, exit_plan
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.settings import ProfileName, Settings, TradingMode
from trading_assets.trading import halts, ledger, records
from trading_assets.trading.account import AccountView
from trading_assets.trading.books import Books
from trading_assets.trading.floor import Floor
from trading_assets.trading.leases import Lease
from trading_assets.trading.ledger import Origin
from trading_assets.trading.order_desk import OrderDesk
from trading_assets.trading.reconcile import outside_before, reconcile
from trading_assets.trading.records import Intent, Position
from trading_assets.trading.rules import entry_rules
from trading_assets.trading.steps import unpaid_steps
from trading_assets.world import world_of

LIVE_SWITCH = "i-accept-the-risk"
_FIRST_PRICE_SECONDS = 5.0
# An entry answers the price it was decided at: it is not sent again long after.
_ENTRY_PATIENCE = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Sight:
    """The market as an entry sees it."""

    price: Price
    rules: MarketRules
    view: MarketView


def not_enabled(settings: Settings) -> str | None:
    """Why `live` places no entries, None when it may; play money needs nothing.

    Asked before every entry: servers may have been started without the command that asks a person.
    """
    if settings.trading_mode is not TradingMode.LIVE:
        return None
    if settings.enable_live_orders != LIVE_SWITCH:
        return "live entries need ENABLE_LIVE_ORDERS"
    marker = world_of(settings).live_start
    try:
        confirmed = marker.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        confirmed = ""
    except (OSError, UnicodeDecodeError) as exc:
        return f"whether the first live start was confirmed cannot be read: {exc}"
    if not confirmed:
        return "live entries need the phrase that `trading-assets run` asks for at its first start"
    return None


def candidate_of(engine: Engine, settings: Settings, signal_id: int) -> tuple[Candidate, Origin]:
    """The signal of this id as a candidate entry. Raises LedgerError: it asks for no entry."""
    query = sa.select(signals).where(signals.c.id == signal_id)
    with read(engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None or row.decision != Action.BUY.value or not row.traded:
        raise LedgerError(f"signal {signal_id} asks for no entry")
    costs = Costs(settings.fee_rate, settings.min_slippage_rate)
    round_trip = costs.round_trip(row.close, price_units.tick_size(row.close))
    profile = ProfileName(row.profile)
    knobs = settings.scalp if profile is ProfileName.SCALP else settings.swing
    candidate = Candidate(
        signal_id=signal_id,
        market=row.market,
        action=Action.BUY,
        expires_at=row.expires_at,
        p_buy=row.p_buy,
        ev_net=row.ev_net,
        min_ev_net=float(knobs.min_ev_costs * round_trip),
        close=row.close,
        terms=ExitTerms(row.stop_loss, row.take_profit, timedelta(seconds=row.timeout_seconds)),
        model_confirmed_at=row.model_confirmed_at,
    )
    return candidate, Origin(row.created_at, row.profile, row.model_version)


def tick_at(instrument: Instrument, price: Decimal) -> TickAt:
    """The market's own tick in the band of its present price, the table's in the others."""
    here = price_units.tick_size(price)

    def tick(at: Decimal) -> Decimal:
        listed = price_units.tick_size(at)
        return instrument.tick_size if listed == here else listed

    return tick


def enter(
    floor: Floor, lease: Lease, desk: OrderDesk, prices: PriceStream, signal_id: int
) -> Position | Refusal:
    """Buy what the signal asks for: the open, armed position, or why there is none.

    Asked again for the same signal it goes on where it was. Raises the errors of asking before
    anything was decided; afterwards nothing is left half done.
    """
    candidate, origin = candidate_of(floor.engine, floor.settings, signal_id)
    account = reconcile(floor, lease.holder, own=lease).account
    sight = _look(floor, prices, candidate, origin)
    with floor.step("write the entry's decision"):
        decided = ledger.enter(
            floor.engine,
            lease,
            candidate,
            origin,
            _decision(floor, candidate, sight, account, unpaid_steps(floor.engine, origin.profile)),
            prefix=floor.knobs.order_prefix,
            now=floor.now(),
            bids={candidate.market: sight.price.quote.bid},
            outside=outside_before(floor, account, candidate.market),
        )
    if isinstance(decided, Refusal):
        floor.tell(f"{candidate.market}: no entry, {decided.code}: {decided.detail}")
        if decided.code is FunnelCode.PEAK_LOSS:
            # A guard that died before its last mark did not halt; without a halt none is resumed.
            with floor.step("halt"):
                halts.halt(floor.engine, reason="peak_loss", detail=decided.detail, now=floor.now())
        return decided
    decided_at = floor.now()
    refusal = _tested(floor, decided)
    if refusal is not None:
        desk.drop(decided.identifier, refusal)
    else:
        until = min(candidate.expires_at, decided_at + _ENTRY_PATIENCE)
        desk.settle(decided.identifier, resend_until=until)
    return finish_entry(floor, lease, decided.position_id, refusal or "the entry bought nothing")


def finish_entry(floor: Floor, lease: Lease, position_id: str, detail: str) -> Position | Refusal:
    """After its entry order has ended: the position armed, or given up without a fill."""
    with read(floor.engine) as connection:
        position = records.position(connection, position_id)
    if not position.bought_volume:
        with floor.step("give the entry up"):
            return ledger.give_up(floor.engine, lease, position_id, now=floor.now(), detail=detail)
    return arm(floor, lease, position)


def arm(floor: Floor, lease: Lease, position: Position) -> Position:
    """`position` with its barriers as prices, computed once from its average fill price."""
    average, opened = position.average_price, position.opened_at
    assert average is not None
    assert opened is not None
    terms = ExitTerms(
        position.stop_loss, position.take_profit, timedelta(seconds=position.timeout_seconds)
    )
    plan = exit_plan(terms, average, price_units.tick_size, opened)
    with floor.step("arm the position"):
        armed = ledger.arm(floor.engine, lease, position.id, plan, floor.now())
    floor.tell(
        f"{position.market}: holding {position.held_volume:f} at {price_text(average)}, stop "
        f"{plan.stop_price:,f}, take {plan.take_price:,f}, until {plan.deadline:%H:%M:%S} UTC"
    )
    return armed


def _look(floor: Floor, prices: PriceStream, candidate: Candidate, origin: Origin) -> Sight:
    """Price, rules and flags of the market now."""
    market = candidate.market
    with floor.step("ask what the market takes"):
        rules = floor.account.rules(market)
    with floor.step("ask for the market's flags"):
        listed = {m.code: m for m in floor.quotation.markets()}.get(market)
    with floor.step("ask for the tick size"):
        (instrument,) = floor.quotation.instruments([market])
    price = prices.latest(market) or prices.wait_for_next(market, 0, _FIRST_PRICE_SECONDS)
    if price is None:
        with floor.step("ask for the order book"):
            (book,) = floor.quotation.order_books([market])
        price = Price(book.quote, 1, book.received_at, PriceSource.REST)
    _check_tick(floor, instrument, price.quote.ask)
    view = MarketView(
        ask=price.quote.ask,
        confirmed_at=price.confirmed_at,
        tick_at=tick_at(instrument, price.quote.ask),
        costs=Costs(rules.bid_fee, floor.settings.min_slippage_rate),
        min_notional=max(rules.min_total_bid, rules.min_total_ask),
        active=rules.is_active and listed is not None,
        warning=listed is not None and listed.warning,
        cautions=frozenset() if listed is None else listed.cautions,
        newest_signal_id=_newest_signal(floor, market, origin.profile),
    )
    return Sight(price, rules, view)


def _check_tick(floor: Floor, instrument: Instrument, price: Decimal) -> None:
    """Tell when the exchange's tick is not the table's: barriers and the limit of a hard exit are
    rounded by the table."""
    listed = price_units.tick_size(price)
    if instrument.tick_size != listed:
        floor.alert(
            Severity.WARNING,
            "tick_size",
            f"tick-size-{instrument.market}-{instrument.tick_size:f}-{listed:f}",
            f"{instrument.market}: the exchange's tick at {price:,f} KRW is "
            f"{instrument.tick_size:f}, that of exchange/price_units.py is {listed:f}. Entries "
            "follow the exchange; the table may be out of date.",
        )


def _decision(
    floor: Floor,
    candidate: Candidate,
    sight: Sight,
    account: AccountView,
    unpaid: frozenset[Decimal],
) -> Callable[[Books], Entry | Refusal]:
    """What `ledger.enter` asks inside its transaction. unpaid: steps that lost their size."""
    rules = entry_rules(floor.settings, unpaid)

    def decide(books: Books) -> Entry | Refusal:
        bot = books.bot_view(
            not_enabled=not_enabled(floor.settings),
            missing=account.missing,
            available=account.available,
        )
        return decide_entry(rules, candidate, sight.view, bot, floor.now())

    return decide


def _tested(floor: Floor, intent: Intent) -> str | None:
    """Why the exchange would refuse the order, None when it would take it.

    Under another identifier: whether a test uses one up is not documented.
    """
    request = replace(
        intent.request, identifier=f"{floor.knobs.order_prefix}-test-{uuid.uuid4().hex}"
    )
    try:
        with floor.step("test the order"):
            floor.account.test_order(request)
    except (BadRequest, CredentialsRefused, ExchangeMaintenance) as exc:
        return f"the exchange's test refused it: {exc}"
    except TradingAssetsError as exc:
        return f"the exchange's test could not be made: {exc}"
    return None


def _newest_signal(floor: Floor, market: str, profile: str) -> int:
    query = sa.select(sa.func.max(signals.c.id)).where(
        signals.c.market == market, signals.c.profile == profile
    )
    with read(floor.engine) as connection:
        return int(connection.execute(query).scalar_one())


def sell_signal_after(floor: Floor, position: Position, now: datetime) -> int | None:
    """The newest signal of the position's market and profile, when it is a live SELL newer than
    the position's own; else None."""
    query = (
        sa.select(signals.c.id, signals.c.decision, signals.c.expires_at)
        .where(signals.c.market == position.market, signals.c.profile == position.profile)
        .order_by(signals.c.id.desc())
        .limit(1)
    )
    with read(floor.engine) as connection:
        row = connection.execute(query).one_or_none()
    if row is None or row.id <= position.signal_id or row.decision != Action.SELL.value:
        return None
    return int(row.id) if now < row.expires_at else None
