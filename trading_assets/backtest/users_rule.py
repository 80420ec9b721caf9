"""The user's own rule, so that it can be judged: +-2 % or 30 minutes, entered at a confidence.

Hourly candles cannot show 30 minutes: there the exit is the next close (`hourly_proxy`). Minutes
can, and are too few to train on: there every minute is an entry (`every_candle`). Nothing trades
by these; `scalp` is the user's rule with its faults mended.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np

from trading_assets.backtest import measure as m
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import AccountRules, MarketPath
from trading_assets.backtest.report_text import interval_text, percent, signed, table
from trading_assets.backtest.statistics import Blocks, IntArray, mean_interval
from trading_assets.backtest.study import Study
from trading_assets.candles.series import CandleSeries
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import EXIT_REASONS, make_labels
from trading_assets.models.model import HOLD
from trading_assets.rules.costs import Costs
from trading_assets.rules.exits import ExitReason, FixedExits
from trading_assets.rules.profile import LabelKind, Profile
from trading_assets.settings import Recipe

TWO_PERCENT = Decimal("0.02")
CONFIDENCE = Decimal("0.4")
_DAY = np.timedelta64(1, "D")


def two_percent(shipped: Profile, name: str, interval_minutes: int, timeout: timedelta) -> Profile:
    """+-2 % within `timeout`, entered at 40 % whatever is expected; the rest of `shipped`."""
    return replace(
        shipped,
        name=name,
        interval_minutes=interval_minutes,
        label=LabelKind.TRIPLE_BARRIER,
        exits=FixedExits(TWO_PERCENT, TWO_PERCENT, timeout),
        min_confidence=CONFIDENCE,
        min_ev_costs=Decimal(-10_000),
    )


def hourly_proxy(shipped: Profile) -> Study:
    """Learns +-2 % in 12 hours by logistic regression; enters at 40 %, leaves at the next close."""
    return Study(
        two_percent(shipped, "proxy", 60, timedelta(hours=12)),
        two_percent(shipped, "proxy", 60, timedelta(hours=1)),
        Recipe.LOGISTIC,
        "enters when p_buy of the +-2 %/12 h label is at least 40 %; leaves at the next hourly "
        "close, or at +-2 % before",
    )


def minutes_table(
    series: Mapping[str, CandleSeries],
    shipped: Profile,
    rules: AccountRules,
    costs: Costs,
    seed: int,
) -> str:
    """The true rule on 1-minute candles, without a model; intervals by days, for there are few.

    First every minute as an entry of its own, then an account that enters whenever it may.
    """
    rule = two_percent(shipped, "thirty_minutes", 1, timedelta(minutes=30))
    rows = []
    for market, candles in series.items():
        labels = make_labels(candles, rule, costs, ewm_sigma(candles))
        at = np.flatnonzero(labels.valid)
        times = labels.open_time[at]
        days = Blocks(times[0], times[-1] + np.timedelta64(1, "us"), _DAY)
        net = mean_interval(times, 1e4 * labels.long_net[at], days, seed)
        timeouts = labels.exit_reason[at] == EXIT_REASONS.index(ExitReason.TIME_LIMIT)
        account = simulate([every_candle(market, candles, rule, at)], rules, costs)
        rows.append(
            (
                market,
                str(len(at)),
                percent(float((labels.label[at] == HOLD).mean())),
                percent(float(timeouts.mean())),
                interval_text(net, 1),
                str(len(account.trades)),
                signed(m.mean_net(account.trades.net_bp), 1),
            )
        )
    head = ("market", "entries", "HOLD", "left at the time limit", "net bp, every minute [95 %]",
            "trades of an account", "net bp")  # fmt: skip
    return table(head, rows)


def every_candle(market: str, series: CandleSeries, rule: Profile, rows: IntArray) -> MarketPath:
    """A BUY at each of these rows, whatever is expected of it."""
    n = len(series)
    buy = np.zeros(n, dtype=np.bool_)
    buy[rows] = True
    barrier = np.full(n, float(TWO_PERCENT))
    return MarketPath(
        market=market,
        series=series,
        buy=buy,
        sell=np.zeros(n, dtype=np.bool_),
        p_buy=np.full(n, float(CONFIDENCE)),
        ev_net=np.ones(n),
        min_ev_net=np.zeros(n),
        stop_loss=barrier,
        take_profit=barrier,
        timeout=rule.exits.timeout,
    )
