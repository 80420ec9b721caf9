"""Whether a signal becomes an entry order, at what price and how large.

Pure values in, values out, standard library only: every rule of "no entries while" in one order,
each with its funnel code. Not here: where the values come from, writing the outcome
(`trading.ledger`), and the decision that made the signal (`decision`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Context, Decimal, localcontext

from trading_assets.rules.costs import Costs
from trading_assets.rules.decision import Action
from trading_assets.rules.exits import ExitTerms, TickAt
from trading_assets.rules.funnel import FunnelCode, Refusal
from trading_assets.rules.limits import (
    EquityMark,
    Limits,
    PastExit,
    exposure_room,
    limit_refusal,
)
from trading_assets.rules.sizing import Funds, Size, SizeRules, size_entry

_WIDE = Context(prec=60)


@dataclass(frozen=True, slots=True)
class EntryRules:
    """The user's rules for entries.

    max_price_age: of the last confirmation. max_model_age: since the model's last verdict.
    blocking_cautions: Upbit's names. max_slippage: how far above the ask the limit price may lie,
    a ratio.
    """

    limits: Limits
    size: SizeRules
    max_price_age: timedelta
    max_model_age: timedelta
    blocking_cautions: frozenset[str]
    max_slippage: Decimal


@dataclass(frozen=True, slots=True)
class Candidate:
    """A signal that asks for an entry. Times aware UTC, ev_net and min_ev_net ratios.

    close: of the candle that the signal stands on; ev_net was computed for an entry there, after
    one round trip. min_ev_net: what the expected value must exceed.
    """

    signal_id: int
    market: str
    action: Action
    expires_at: datetime
    p_buy: float
    ev_net: float
    min_ev_net: float
    close: Decimal
    terms: ExitTerms
    model_confirmed_at: datetime | None


@dataclass(frozen=True, slots=True)
class MarketView:
    """The market as the exchange shows it now.

    confirmed_at: when the price was last known to be right. costs: with the account's fee rate.
    min_notional: KRW. newest_signal_id: of this market and profile.
    """

    ask: Decimal
    confirmed_at: datetime
    tick_at: TickAt
    costs: Costs
    min_notional: Decimal
    active: bool
    warning: bool
    cautions: frozenset[str]
    newest_signal_id: int


@dataclass(frozen=True, slots=True)
class BotView:
    """The bot's own state, read in the transaction that writes the outcome. KRW.

    halt: why, None when none is on. not_enabled: why `live` may not enter, None when it may.
    missing: what the account lacks against the ledger, None when nothing. live_order,
    unknown_order: of the candidate's market. available: free cash. exposure: positions at the bid
    and entries under way.
    """

    halt: str | None
    not_enabled: str | None
    missing: str | None
    position_open: bool
    live_order: bool
    unknown_order: bool
    live_positions: int
    past_exits: tuple[PastExit, ...]
    mark: EquityMark
    exposure: Decimal
    available: Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """A limit IOC buy to send. ev_now: expected value at the ask, a ratio."""

    limit_price: Decimal
    size: Size
    ev_now: float


def decide_entry(
    rules: EntryRules, candidate: Candidate, market: MarketView, bot: BotView, now: datetime
) -> Entry | Refusal:
    """The order for `candidate`, or the first rule that forbids it.

    Raises ValueError: the candidate does not ask for a buy.
    """
    if candidate.action is not Action.BUY:
        raise ValueError(f"only a BUY is a candidate entry, was {candidate.action}")
    refusal = next(_refusals(rules, candidate, market, bot, now), None)
    if refusal is not None:
        return refusal
    ev_now = ev_at_ask(
        candidate.ev_net,
        close=candidate.close,
        ask=market.ask,
        tick_size=market.tick_at(candidate.close),
        costs=market.costs,
    )
    if not ev_now > candidate.min_ev_net:
        return Refusal(
            FunnelCode.PRICE_MOVED,
            f"EV {ev_now * 1e4:.2f} bp at the ask {market.ask:,f} is not above "
            f"{candidate.min_ev_net * 1e4:.2f} bp; it was {candidate.ev_net * 1e4:.2f} bp at "
            f"{candidate.close:,f}",
        )
    price = entry_limit_price(market.ask, rules.max_slippage, market.tick_at)
    size = size_entry(
        rules.size,
        p_buy=Decimal(str(candidate.p_buy)),
        funds=Funds(
            equity=bot.mark.equity,
            room=exposure_room(rules.limits, bot.mark.equity, bot.exposure),
            available=bot.available,
        ),
        limit_price=price,
        fee_rate=market.costs.fee_rate,
        min_notional=market.min_notional,
        stop_loss=candidate.terms.stop_loss,
    )
    return size if isinstance(size, Refusal) else Entry(price, size, ev_now)


def ev_at_ask(
    ev_net: float, *, close: Decimal, ask: Decimal, tick_size: Decimal, costs: Costs
) -> float:
    """Expected value of buying at `ask` what was judged at `close` (a ratio, after costs).

    The label's net return is exit / close - 1 - round trip. With the same exit, bought at the ask,
    and the slippage of the way in already paid by that: exit / ask - 1 - (round trip - slippage).
    So an ask one slippage above the close leaves the value as it was.
    """
    round_trip = float(costs.round_trip(close, tick_size))
    slippage = float(costs.slippage_rate(close, tick_size))
    gross = (1 + ev_net + round_trip) * float(close / ask)
    return gross - 1 - round_trip + slippage


def entry_limit_price(ask: Decimal, max_slippage: Decimal, tick_at: TickAt) -> Decimal:
    """The most an entry pays: the highest grid price within `max_slippage` of the ask.

    Never below the ask itself, also where one tick is wider than the bound. KRW per coin.
    """
    if not ask > 0:
        raise ValueError(f"ask must be above 0, was {ask}")
    with localcontext(_WIDE):
        bound = ask * (1 + max_slippage)
        tick = tick_at(bound)
        return max(ask, (bound / tick).to_integral_value(rounding=ROUND_FLOOR) * tick)


def _refusals(
    rules: EntryRules, candidate: Candidate, market: MarketView, bot: BotView, now: datetime
) -> Iterator[Refusal]:
    """Every rule that forbids the entry, the one that explains most first."""
    if bot.halt is not None:
        yield Refusal(FunnelCode.HALTED, f"halted: {bot.halt}")
    if bot.not_enabled is not None:
        yield Refusal(FunnelCode.NOT_ENABLED, bot.not_enabled)
    yield from _signal_refusals(rules, candidate, market, now)
    yield from _books_refusals(candidate.market, bot)
    yield from _market_refusals(rules, candidate.market, market, now)
    limit = limit_refusal(
        rules.limits,
        market=candidate.market,
        mark=bot.mark,
        live_positions=bot.live_positions,
        past_exits=bot.past_exits,
        now=now,
    )
    if limit is not None:
        yield limit


def _signal_refusals(
    rules: EntryRules, candidate: Candidate, market: MarketView, now: datetime
) -> Iterator[Refusal]:
    if now >= candidate.expires_at:
        yield Refusal(
            FunnelCode.EXPIRED, f"the signal expired at {candidate.expires_at:%H:%M:%S} UTC"
        )
    if market.newest_signal_id > candidate.signal_id:
        yield Refusal(
            FunnelCode.SUPERSEDED,
            f"signal {market.newest_signal_id} replaced signal {candidate.signal_id}",
        )
    confirmed = candidate.model_confirmed_at
    if confirmed is None or now - confirmed > rules.max_model_age:
        since = "never" if confirmed is None else f"last {now - confirmed} ago"
        yield Refusal(
            FunnelCode.MODEL_UNCONFIRMED,
            f"the model was confirmed {since}, entries stop after {rules.max_model_age}",
        )


def _books_refusals(market: str, bot: BotView) -> Iterator[Refusal]:
    if bot.unknown_order:
        yield Refusal(FunnelCode.ORDER_UNKNOWN, f"an order of {market} is UNKNOWN")
    if bot.position_open:
        yield Refusal(FunnelCode.POSITION_OPEN, f"{market} already has a position")
    if bot.live_order:
        yield Refusal(FunnelCode.ORDER_LIVE, f"an order of {market} has not ended yet")
    if bot.missing is not None:
        yield Refusal(FunnelCode.ACCOUNT_SHORT, f"the account lacks {bot.missing}")


def _market_refusals(
    rules: EntryRules, name: str, market: MarketView, now: datetime
) -> Iterator[Refusal]:
    if not market.active:
        yield Refusal(FunnelCode.MARKET_INACTIVE, f"{name} is not active on the exchange")
    if market.warning:
        yield Refusal(FunnelCode.MARKET_WARNING, f"{name} is under review by the exchange")
    blocked = sorted(market.cautions & rules.blocking_cautions)
    if blocked:
        yield Refusal(FunnelCode.MARKET_CAUTION, f"{name} carries {', '.join(blocked)}")
    age = abs(now - market.confirmed_at)  # below 0 after the clock was set back
    if age > rules.max_price_age:
        yield Refusal(
            FunnelCode.PRICE_OLD,
            f"the price of {name} is {age.total_seconds():.1f} s old, at most "
            f"{rules.max_price_age.total_seconds():.1f} s are allowed",
        )
