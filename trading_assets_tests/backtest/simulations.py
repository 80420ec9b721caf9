"""Simulated accounts made by hand, and a report on one, for what only reads them."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from trading_assets.backtest import measure as m
from trading_assets.backtest.account.records import OUTCOMES
from trading_assets.backtest.inputs import (
    TRADE_ENDS,
    Candidates,
    Simulation,
    TradeEnd,
    Trades,
)
from trading_assets.backtest.report import (
    Bin,
    CostVariant,
    Held,
    Luck,
    Predicted,
    Report,
    SeedSpread,
    Skill,
    Subject,
)
from trading_assets.rules.funnel import FunnelCode

START = np.datetime64("2024-01-01T00:00:00", "us")
HOUR = np.timedelta64(1, "h")
SUBJECT = Subject(
    world="recorded-example-60m",
    prices="recorded prices",
    profile="swing",
    recipe="lightgbm",
    rule="EV after costs above one more round trip; barriers 1 sigma, 12 h",
    markets=("KRW-BTC", "KRW-ETH"),
    start=datetime(2024, 1, 1, tzinfo=UTC),
    end=datetime(2024, 3, 1, tzinfo=UTC),
    interval_minutes=60,
    seeds=5,
)


def trades(
    hours: list[float], net_bp: list[float], ends: list[TradeEnd], funds: float = 1e6
) -> Trades:
    """Trades whose signal was so many hours after START, each held for two hours."""
    n = len(hours)
    at = START + np.array([round(3600 * h) for h in hours], dtype="timedelta64[s]")
    net = np.array(net_bp, dtype=np.float64)
    ones = np.ones(n)
    return Trades(
        market=np.zeros(n, dtype=np.int16),
        signal_time=at.astype("datetime64[us]"),
        entry_time=at.astype("datetime64[us]"),
        exit_time=(at + 2 * HOUR).astype("datetime64[us]"),
        entry_price=100 * ones,
        exit_price=100 * (1 + net / 1e4),
        stop_price=98 * ones,
        take_price=102 * ones,
        volume=funds / 100 * ones,
        funds_krw=funds * ones,
        fees_krw=0.001 * funds * ones,
        net_krw=funds * net / 1e4,
        gross_bp=net + 16,
        net_bp=net,
        reason=np.array([TRADE_ENDS.index(e) for e in ends], dtype=np.int8),
        p_buy=0.5 * ones,
        share=0.05 * ones,
    )


def simulation(
    equity: list[float], made: Trades, exposure: list[float] | None = None, start: float = 1e7
) -> Simulation:
    """An account marked every hour from START + 1 h on."""
    n = len(equity)
    return Simulation(
        markets=("KRW-BTC", "KRW-ETH"),
        starting_krw=start,
        trades=made,
        candidates=Candidates(
            market=np.zeros(3, dtype=np.int16),
            signal_time=START + np.arange(1, 4) * HOUR,
            outcome=np.full(3, OUTCOMES.index(FunnelCode.RESTING), dtype=np.int8),
        ),
        times=START + np.arange(1, n + 1) * HOUR,
        equity=np.array(equity),
        exposure=np.zeros(n) if exposure is None else np.array(exposure),
        halts=np.empty(0, dtype="datetime64[us]"),
    )


def random_account(days: int = 60, seed: int = 1) -> Simulation:
    """Two trades a day of +10 bp and much noise; equity follows them."""
    rng = np.random.default_rng(seed)
    n = 2 * days
    hours = np.sort(rng.uniform(0, 24 * days - 3, n))
    net = rng.normal(10, 150, n)
    ends = [TradeEnd.TAKE_PROFIT if v > 0 else TradeEnd.STOP_LOSS for v in net]
    made = trades(hours.tolist(), net.tolist(), ends)
    equity = np.full(24 * days, 1e7)
    for hour, earned in zip(hours + 2, made.net_krw, strict=True):
        equity[int(hour) :] += earned
    return simulation(equity.tolist(), made, (0.1 * equity).tolist())


def report(account: Simulation | None = None, subject: Subject = SUBJECT) -> Report:
    """A whole report whose variants are the account itself: for printing, storing and drawing."""
    account = account or random_account()
    measured = m.measure(account, m.blocks_of(account), seed=1)
    bins = tuple(Bin(0.1 * i, 0.09 * i + 0.01, 100) for i in range(1, 11))
    tenths = tuple(Bin(10.0 * i - 60, 8.0 * i - 50, 100) for i in range(10))
    skill = Skill("KRW-BTC", 1000, 0.96, 0.98, 0.55, 0.52, float("nan"), 0.02, 0.03, 0.5, 0.49)
    return Report(
        subject=subject,
        measured=measured,
        next_open=replace(measured, trades=measured.trades - 1),
        delayed=measured,
        costs=tuple(CostVariant(bp, measured) for bp in (16.0, 20.0, 40.0)),
        seeds=SeedSpread((9.0, 11.0, 13.0), (100, 110, 120)),
        without_best=m.best_weeks(account, m.blocks_of(account)),
        placebo=Luck((-12.0, -8.0, float("nan")), 100.0, 0.0),
        random=Luck((-14.0, -16.0), 110.0, 0.0),
        held=Held(1.5, 0.4),
        months=m.months(account),
        histogram=m.histogram(account),
        curve=m.curve(account),
        predicted=Predicted((skill,), bins, tenths),
    )
