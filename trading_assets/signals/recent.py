"""What the database knows of the signals of one profile lately, counted for the live checks.

Here: reading. Only SQLAlchemy. Not here: what is normal (`bands`, `drought`, `regime`). A candle
that was decided on more than once counts with its newest row.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.database import funnel, positions, read, signals
from trading_assets.exchange.price_units import tick_size
from trading_assets.rules.costs import Costs
from trading_assets.rules.decision import Action, Reason
from trading_assets.rules.funnel import FunnelCode
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.signals.bands import Predicted
from trading_assets.signals.drought import Ended, Quiet

# The rule said something else, and something above it made a HOLD of that.
_WITHHELD = (Reason.MODEL_EXPIRED.value, Reason.NO_EDGE.value)
ENDS_LOOKED_AT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class BuyRule:
    """When the rule of a profile says BUY: p_buy and expected value are high enough.

    min_confidence: inclusive. min_ev_costs: the expected value must be above that many round trips.
    """

    min_confidence: Decimal
    min_ev_costs: Decimal
    costs: Costs

    def min_ev_net(self, close: Decimal) -> float:
        """What the expected value must be above at this price, a ratio."""
        return float(self.min_ev_costs * self.costs.round_trip(close, tick_size(close)))

    def says_buy(self, p_buy: float, ev_net: float, close: Decimal) -> bool:
        """As `rules.decision.decide`, whatever else withheld the entry. ev_net: of the long."""
        return p_buy >= float(self.min_confidence) and ev_net > self.min_ev_net(close)


@dataclass(frozen=True, slots=True)
class Decided:
    """One candle of one market as the model judged it. Ratios; close in KRW."""

    predicted: Predicted
    decision: Action
    reason: Reason
    ev_net: float
    close: Decimal
    created_at: datetime


def decided(
    engine: Engine,
    profile: str,
    markets: Iterable[str],
    since: datetime,
    now: datetime,
    *,
    least_p_buy: Decimal = Decimal(0),
) -> tuple[Decided, ...]:
    """The newest judgement of every candle that opened at or after `since`, oldest first.

    least_p_buy: judgements with less are left out.
    """
    mine = _decided_between(profile, markets, since, now) & (signals.c.p_buy >= float(least_p_buy))
    rows = _newest(engine, sa.select(signals).where(mine))
    return tuple(_decided(row) for row in rows)


def predicted(
    engine: Engine, profile: str, markets: Iterable[str], since: datetime, now: datetime
) -> tuple[Predicted, ...]:
    """The probabilities alone of what `decided` gives, in the same order.

    A week of 5-minute candles is thousands of rows, and reading a moment or a price costs more
    than reading a probability.
    """
    columns = (
        signals.c.market,
        signals.c.candle_time,
        signals.c.p_sell,
        signals.c.p_hold,
        signals.c.p_buy,
    )
    query = sa.select(*columns).where(_decided_between(profile, markets, since, now))
    rows = _newest(engine, query)
    return tuple(
        Predicted(row.market, row.candle_time, row.p_sell, row.p_hold, row.p_buy) for row in rows
    )


def _decided_between(
    profile: str, markets: Iterable[str], since: datetime, now: datetime
) -> sa.ColumnElement[bool]:
    """Rows with a judgement of a candle that opened at or after `since`."""
    return sa.and_(
        signals.c.profile == profile,
        signals.c.market.in_(list(markets)),
        signals.c.p_buy.is_not(None),
        signals.c.candle_time >= since,
        # A candle's row is made after it opened: this lets the index help.
        signals.c.created_at >= since,
        signals.c.created_at <= now,
    )


def _newest(engine: Engine, query: sa.Select[Any]) -> list[sa.Row[Any]]:
    """The last row of every candle, oldest candle first."""
    with read(engine) as connection:
        rows = connection.execute(query.order_by(signals.c.id))
        newest = {(row.market, row.candle_time): row for row in rows}
    return sorted(newest.values(), key=lambda row: (row.candle_time, row.market))


def _decided(row: sa.Row[tuple[object, ...]]) -> Decided:
    r = row._mapping
    return Decided(
        Predicted(r["market"], r["candle_time"], r["p_sell"], r["p_hold"], r["p_buy"]),
        Action(r["decision"]),
        Reason(r["reason"]),
        r["ev_net"],
        r["close"],
        r["created_at"],
    )


def volatilities(
    engine: Engine, profile: str, markets: Iterable[str], since: datetime, now: datetime
) -> dict[str, float]:
    """By market, the volatility a candle at the newest candle since then that has one."""
    query = (
        sa.select(signals.c.market, signals.c.sigma)
        .where(
            signals.c.profile == profile,
            signals.c.market.in_(list(markets)),
            signals.c.sigma.is_not(None),
            signals.c.created_at >= since,
            signals.c.created_at <= now,
        )
        .order_by(signals.c.candle_time, signals.c.id)
    )
    with read(engine) as connection:
        return {row.market: row.sigma for row in connection.execute(query)}


def quiet(
    engine: Engine, profile: str, markets: Sequence[str], rule: BuyRule, now: datetime
) -> tuple[Quiet, ...]:
    """How long each market, and all of them together, has asked for nothing.

    Markets that were never decided on are left out.
    """
    with read(engine) as connection:
        last = {m: _last_buy(connection, profile, m, rule, now) for m in markets}
        found = [
            _quiet(connection, profile, (m,), name=m, last_buy=last[m], now=now) for m in markets
        ]
        newest = max((at for at in last.values() if at is not None), default=None)
        found.append(
            _quiet(connection, profile, markets, name=ALL_MARKETS, last_buy=newest, now=now)
        )
    return tuple(q for q in found if q is not None)


def _last_buy(
    connection: Connection, profile: str, market: str, rule: BuyRule, now: datetime
) -> datetime | None:
    """Open time of the last candle on which the rule said BUY."""
    mine = (
        (signals.c.profile == profile)
        & (signals.c.market == market)
        & (signals.c.created_at <= now)
    )
    bought: datetime | None = connection.execute(
        sa.select(sa.func.max(signals.c.candle_time)).where(
            mine, signals.c.decision == Action.BUY.value
        )
    ).scalar_one()
    withheld = (
        sa.select(signals.c.candle_time, signals.c.p_buy, signals.c.ev_net, signals.c.close)
        .where(mine, signals.c.reason.in_(_WITHHELD), signals.c.p_buy.is_not(None))
        .order_by(signals.c.candle_time.desc())
    )
    if bought is not None:
        withheld = withheld.where(signals.c.candle_time > bought)
    for row in connection.execute(withheld):
        if rule.says_buy(row.p_buy, row.ev_net, row.close):
            wanted: datetime = row.candle_time
            return wanted
    return bought


def _quiet(
    connection: Connection,
    profile: str,
    markets: Sequence[str],
    *,
    name: str,
    last_buy: datetime | None,
    now: datetime,
) -> Quiet | None:
    mine = (
        (signals.c.profile == profile)
        & signals.c.market.in_(list(markets))
        & signals.c.p_buy.is_not(None)
        & (signals.c.created_at <= now)
    )
    count = sa.select(sa.func.count(sa.distinct(signals.c.candle_time))).where(mine)
    if last_buy is not None:
        # A candle's row is made after it opened: this lets the index help.
        count = count.where(signals.c.candle_time > last_buy, signals.c.created_at > last_buy)
    candles = int(connection.execute(count).scalar_one())
    if last_buy is None and candles == 0:
        return None
    return Quiet(name, candles, last_buy is not None)


def undecided_reasons(
    engine: Engine, profile: str, market: str, since: datetime, now: datetime
) -> tuple[tuple[str, int], ...]:
    """Why signals since then carry no judgement: (reason, how many rows), most common first."""
    query = sa.select(signals.c.reason).where(
        signals.c.profile == profile,
        signals.c.market == market,
        signals.c.p_buy.is_(None),
        signals.c.created_at >= since,
        signals.c.created_at <= now,
    )
    with read(engine) as connection:
        return tuple(Counter(connection.execute(query).scalars()).most_common())


def first_signal(engine: Engine, profile: str, market: str) -> datetime | None:
    """When the first signal of all was made, None before."""
    query = sa.select(sa.func.min(signals.c.created_at)).where(
        signals.c.profile == profile, signals.c.market == market
    )
    with read(engine) as connection:
        found: datetime | None = connection.execute(query).scalar_one()
    return found


def ends(engine: Engine, now: datetime) -> tuple[Ended, ...]:
    """How BUY signals ended since the last trade (with it), within 30 days; oldest first."""
    query = (
        sa.select(funnel.c.market, funnel.c.code, funnel.c.decided_at)
        .where(funnel.c.decided_at >= now - ENDS_LOOKED_AT, funnel.c.decided_at <= now)
        .order_by(funnel.c.decided_at.desc(), funnel.c.signal_id.desc())
    )
    found: list[Ended] = []
    with read(engine) as connection:
        held = _holdings(connection, now - ENDS_LOOKED_AT)
        for row in connection.execute(query):
            code = FunnelCode(row.code)
            inside = any(
                market == row.market and start <= row.decided_at <= (end or now)
                for market, start, end in held
            )
            found.append(Ended(row.market, code, row.decided_at, inside))
            if code is FunnelCode.TRADED:
                break
    return tuple(reversed(found))


def _holdings(
    connection: Connection, since: datetime
) -> list[tuple[str, datetime, datetime | None]]:
    """(market, from, to) of every position that was there at or after `since`."""
    query = sa.select(positions.c.market, positions.c.created_at, positions.c.closed_at).where(
        positions.c.closed_at.is_(None) | (positions.c.closed_at >= since)
    )
    return [(m, start, end) for m, start, end in connection.execute(query)]
