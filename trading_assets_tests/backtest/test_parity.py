"""Parity: random paths through the engine and through the trader's rules in Decimal.

Every decision must be identical and every amount of money equal within 1e-9. That this can fail is
shown with one rule changed at a time.
"""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import Phase, event, given, settings

from trading_assets.backtest.account.records import OUTCOMES
from trading_assets.backtest.engine import simulate, trades_of_each
from trading_assets.backtest.inputs import (
    TRADE_ENDS,
    AccountRules,
    EntryAt,
    MarketPath,
    Simulation,
    Trades,
)
from trading_assets.candles.frame import from_us
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.models.labels import floor_to_grid
from trading_assets.rules.costs import Costs
from trading_assets.rules.funnel import FunnelCode
from trading_assets.rules.limits import Limits
from trading_assets.rules.sizing import SizeRules, SizeStep
from trading_assets_tests.backtest.mutants import MUTANTS, Mutant, slow_account_of
from trading_assets_tests.backtest.paths import SIZE
from trading_assets_tests.backtest.slow_account import SlowAccount

MONEY = 1e-9
Case = tuple[list[MarketPath], AccountRules, Costs, EntryAt, int]


def _decimals(*values: str) -> st.SearchStrategy[Decimal]:
    return st.sampled_from([Decimal(value) for value in values])


def _spans(*minutes: int) -> st.SearchStrategy[timedelta]:
    return st.sampled_from([timedelta(minutes=m) for m in minutes])


_limits = st.builds(
    Limits,
    max_exposure=_decimals("0.04", "0.2", "0.5", "0.9", "1"),
    max_positions=st.sampled_from([1, 1, 2, 3, 5]),
    rest=_spans(0, 15, 60, 180),
    rest_after_stop=_spans(0, 60, 61, 600),
    max_stops=st.integers(1, 4),
    stop_window=_spans(0, 60, 1440),
    stop_pause=_spans(0, 120, 1440),
    max_day_loss=_decimals("0.003", "0.03", "0.5", "0.9"),
    max_peak_loss=_decimals("0.003", "0.01", "0.07", "0.9"),
)
_sizes = st.sampled_from(
    [
        SIZE,
        SizeRules(SIZE.steps, raise_to_minimum=True, minimum_buffer=Decimal("0.05")),
        SizeRules(
            (SizeStep(Decimal("0.55"), Decimal(1)), SizeStep(Decimal(0), Decimal("0.4"))),
            raise_to_minimum=True,
            minimum_buffer=Decimal(0),
        ),
    ]
)
_accounts = st.builds(
    AccountRules,
    size=_sizes,
    limits=_limits,
    starting_krw=_decimals(
        "5500", "60000", "107159", "107161", "1000000", "10000000", "3333333.33"
    ),
    min_notional=_decimals("5000"),
    max_slippage=_decimals("0", "0.002", "0.01"),
    resume_after=st.none() | _spans(0, 60, 240, 600),
)
_costs = st.builds(
    Costs,
    fee_rate=_decimals("0.0005", "0", "0.0005", "0.0139"),
    min_slippage_rate=_decimals("0.0003", "0", "0.0003", "0.01"),
)


@st.composite
def _paths(draw: st.DrawFn) -> list[MarketPath]:
    """One to four markets of up to 90 candles that share a grid and not much else."""
    interval = draw(st.sampled_from([Interval.M60, Interval.M60, Interval.M5, Interval.M1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    wild = draw(st.sampled_from([0.004, 0.0005, 0.02, 0.2]))
    holes = draw(st.sampled_from([0.02, 0.0, 0.2]))
    often = draw(st.sampled_from([0.2, 0.03, 1.0]))
    count = draw(st.integers(1, 4))
    rows = draw(st.sampled_from([80, 40, 60, 10, 1]))
    return [
        _path(rng, f"KRW-M{m}", interval, rows, wild=wild, holes=holes, often=often)
        for m in range(count)
    ]


def _path(
    rng: np.random.Generator,
    market: str,
    interval: Interval,
    rows: int,
    *,
    wild: float,
    holes: float,
    often: float,
) -> MarketPath:
    series = _series(rng, interval, rows, wild, holes)
    n = len(series)
    buy = rng.random(n) < often
    ratio = np.round(rng.choice([0.02, 0.3, wild], n) * rng.uniform(0.3, 2, n), 8)
    return MarketPath(
        market=market,
        series=series,
        buy=buy,
        sell=~buy & (rng.random(n) < 0.1 * rng.random()),
        p_buy=rng.choice([0.3, 0.55, 0.6, 0.7, 0.8, rng.random()], n),
        ev_net=rng.normal(0.002, 0.003, n),
        min_ev_net=np.full(n, rng.choice([-1.0, -1.0, 0.0, 0.0016])),
        stop_loss=np.clip(ratio, 1e-8, 0.9),
        take_profit=np.clip(np.round(ratio * rng.choice([0.5, 1.0, 3.0]), 8), 1e-8, None),
        timeout=interval.duration * int(rng.integers(1, 30))
        + timedelta(seconds=int(rng.integers(2))),
    )


def _series(
    rng: np.random.Generator, interval: Interval, rows: int, wild: float, holes: float
) -> CandleSeries:
    """A walk with fat tails on the tick grid, gaps between candles, and holes."""
    jumps = rng.choice([0.2, 1.5])
    moves = rng.standard_t(3, (rows, 4)) * wild * [1.0, 0.5, 0.5, jumps]
    close = 10 ** rng.uniform(-6, 8.2) * np.exp(np.clip(np.cumsum(moves[:, 0]), -4, 4))
    opened = np.concatenate([close[:1], close[:-1]]) * np.exp(moves[:, 3])
    high = np.maximum(opened, close) * np.exp(np.abs(moves[:, 1]))
    low = np.minimum(opened, close) * np.exp(-np.abs(moves[:, 2]))
    o, h, lo, c = (_on_grid(prices) for prices in (opened, high, low, close))
    missing = np.where(rng.random(rows) < holes, rng.integers(1, 20, rows), 0)
    slots = np.cumsum(missing) + np.arange(rows) + rng.integers(0, 3)
    start = np.datetime64("2024-03-01T00:00", "us") + int(rng.integers(0, 24)) * np.timedelta64(
        1, "h"
    )
    return CandleSeries(
        interval=interval,
        open_time=start + slots * np.timedelta64(interval.duration),
        open=o,
        high=h,
        low=lo,
        close=c,
        volume=np.ones(rows),
        filled=np.zeros(rows, dtype=np.bool_),
        segment=np.cumsum(missing > 0).astype(np.int64),
    )


def _on_grid(prices: np.ndarray) -> np.ndarray:
    return np.maximum(floor_to_grid(prices), 1e-8)


_entries = st.sampled_from(list(EntryAt))
_delays = st.sampled_from([0, 0, 1, 3])


@settings(max_examples=3 * settings().max_examples)
@given(_paths(), _accounts, _costs, _entries, _delays)
def test_the_engine_trades_as_the_rules_do(
    paths: list[MarketPath], rules: AccountRules, costs: Costs, entry: EntryAt, delay: int
) -> None:
    fast = simulate(paths, rules, costs, entry=entry, delay_candles=delay)
    slow = SlowAccount(paths, rules, costs, entry, delay).run()
    _same(fast, slow)
    for code in sorted(set(slow.outcomes.values())):
        event(f"outcome {code}")
    for reason in sorted({trade.reason for trade in slow.trades}):
        event(f"end {reason}")


@given(_paths(), _accounts, _costs)
def test_without_the_curve_the_trades_are_the_same(
    paths: list[MarketPath], rules: AccountRules, costs: Costs
) -> None:
    others = paths[::-1]
    expected = [simulate(each, rules, costs).trades for each in (paths, others)]
    found = list(trades_of_each([paths, others], rules, costs))
    for field in fields(Trades):
        for one, same in zip(found, expected, strict=True):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(same, field.name))


@pytest.fixture(scope="module")
def cases() -> list[tuple[Simulation, Case]]:
    """As many random cases as the property looks at, the same in every run, simulated."""
    made: list[tuple[Simulation, Case]] = []

    @settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
    @given(st.tuples(_paths(), _accounts, _costs, _entries, _delays))
    def make(case: Case) -> None:
        paths, rules, costs, entry, delay = case
        fast = simulate(paths, rules, costs, entry=entry, delay_candles=delay)
        made.append((fast, case))

    make()
    return made


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_changed_rule_is_noticed(mutant: Mutant, cases: list[tuple[Simulation, Case]]) -> None:
    """One rule of the slow account is another: on some random case the two differ."""
    account = slow_account_of(mutant)
    assert any(_differs(fast, account(*case).run()) for fast, case in cases)


def test_an_unchanged_rule_is_no_difference(cases: list[tuple[Simulation, Case]]) -> None:
    rule = MUTANTS[0]
    account = slow_account_of(replace(rule, new=rule.old))
    assert not any(_differs(fast, account(*case).run()) for fast, case in cases[:30])


def _differs(fast: Simulation, slow: SlowAccount) -> bool:
    try:
        _same(fast, slow)
    except AssertionError:
        return True
    return False


def _same(fast: Simulation, slow: SlowAccount) -> None:
    assert _outcomes(fast, slow) == slow.outcomes
    assert _halts(fast) == slow.halts
    _same_trades(fast, slow)
    np.testing.assert_array_equal(fast.times, [_stamp(t) for t in slow.times])
    np.testing.assert_allclose(fast.equity, [float(e) for e in slow.equity], rtol=MONEY)
    np.testing.assert_allclose(
        fast.exposure, [float(e) for e in slow.exposure], rtol=MONEY, atol=MONEY
    )


def _same_trades(fast: Simulation, slow: SlowAccount) -> None:
    t, expected = fast.trades, slow.trades
    assert [fast.markets[m] for m in t.market] == [x.market for x in expected]
    assert [TRADE_ENDS[r] for r in t.reason] == [x.reason for x in expected]
    np.testing.assert_array_equal(t.signal_time, [_stamp(x.held.signal_time) for x in expected])
    np.testing.assert_array_equal(t.entry_time, [_stamp(x.held.entry_time) for x in expected])
    np.testing.assert_array_equal(t.exit_time, [_stamp(x.exit_time) for x in expected])
    np.testing.assert_array_equal(t.stop_price, [float(x.held.plan.stop_price) for x in expected])
    np.testing.assert_array_equal(t.take_price, [float(x.held.plan.take_price) for x in expected])
    np.testing.assert_array_equal(t.p_buy, [x.held.p_buy for x in expected])
    np.testing.assert_array_equal(t.share, [float(x.held.share) for x in expected])
    funds = np.array([float(x.funds) for x in expected])
    for name, values in (
        ("entry_price", [x.held.price for x in expected]),
        ("exit_price", [x.exit_price for x in expected]),
        ("volume", [x.held.volume for x in expected]),
        ("funds_krw", [x.funds for x in expected]),
        ("fees_krw", [x.fees for x in expected]),
    ):
        np.testing.assert_allclose(
            getattr(t, name), [float(v) for v in values], rtol=MONEY, err_msg=name
        )
    # What is left of a trade can be any small part of its funds, also none.
    np.testing.assert_array_less(
        np.abs(t.net_krw - [float(x.net) for x in expected]), MONEY * funds + 1e-300
    )
    np.testing.assert_allclose(t.net_bp, t.net_krw / funds * 1e4, rtol=MONEY, atol=1e-9)
    np.testing.assert_allclose(
        t.gross_bp, [float(x.gross * 10_000) for x in expected], rtol=MONEY, atol=1e-6
    )


_NOTHING_LEFT = {FunnelCode.MAX_EXPOSURE, FunnelCode.NO_CASH}


def _outcomes(fast: Simulation, slow: SlowAccount) -> dict[tuple[str, datetime], FunnelCode]:
    """How each BUY ended; where nothing was left to buy with, under the slow account's name."""
    c = fast.candidates
    found = {
        (fast.markets[m], _moment(time)): OUTCOMES[code]
        for m, time, code in zip(c.market, c.signal_time, c.outcome, strict=True)
    }
    for key in slow.penniless & found.keys():
        if {found[key], slow.outcomes[key]} == _NOTHING_LEFT:
            found[key] = slow.outcomes[key]
    return found


def _halts(fast: Simulation) -> list[datetime]:
    return [_moment(time) for time in fast.halts]


def _stamp(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")


def _moment(stamp: np.datetime64) -> datetime:
    return from_us(int(stamp.astype(np.int64)))
