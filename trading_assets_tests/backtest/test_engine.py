"""The account simulation, event by event, with numbers by hand. (test_parity.py: at random.)"""

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from trading_assets.backtest.account import records
from trading_assets.backtest.account.run import simulate_account
from trading_assets.backtest.engine import simulate, trades_of_each
from trading_assets.backtest.inputs import (
    TRADE_ENDS,
    EntryAt,
    MarketPath,
    Simulation,
    TradeEnd,
)
from trading_assets.exchange.model import Interval
from trading_assets.rules.funnel import FunnelCode
from trading_assets.rules.sizing import SizeRules, SizeStep
from trading_assets_tests.backtest.paths import (
    COSTS,
    NO_COSTS,
    RULES,
    SIZE,
    START,
    Candle,
    path_of,
    rules_with,
    series_of,
)

# Between 1,000 and 5,000 KRW a tick is 1 KRW, so without other costs a side costs half a KRW:
# bought at 2000.5, sold at 1999.5.
FLAT: Candle = (2000.0, 2000.0, 2000.0, 2000.0)
# With stops of 2 %: 2000.5 x 0.98 = 1960.49, so 1961. Takes: 2000.5 x 1.02 = 2040.51, so 2040.
STOP: Candle = (2000.0, 2000.0, 1961.0, 1990.0)
TAKE: Candle = (2000.0, 2040.0, 2000.0, 2010.0)
PRICES = ("open", "high", "low", "close")


def flat(n: int, **others: Candle) -> list[Candle]:
    """n quiet candles, but for those named by their row: `r3=STOP`."""
    candles = [FLAT] * n
    for name, candle in others.items():
        candles[int(name[1:])] = candle
    return candles


def traded(candles: Sequence[Candle], **inputs: Any) -> Simulation:
    """One market without fees, RULES, BUY at row 0 unless told otherwise."""
    breaks = inputs.pop("breaks", None)
    rules = inputs.pop("rules", RULES)
    how = {name: inputs.pop(name) for name in ("entry", "delay_candles") if name in inputs}
    path = path_of(series_of(candles, breaks=breaks), **{"buy": [0], **inputs})
    return simulate([path], rules, NO_COSTS, **how)


def ends(made: Simulation) -> list[TradeEnd]:
    return [TRADE_ENDS[r] for r in made.trades.reason]


def hours(times: np.ndarray) -> list[float]:
    """Hours after START."""
    first = np.datetime64(START.replace(tzinfo=None), "us")
    return [float(h) for h in (times - first) / np.timedelta64(1, "h")]


def outcomes(made: Simulation) -> list[FunnelCode]:
    return [records.OUTCOMES[code] for code in made.candidates.outcome]


# --- one trade ------------------------------------------------------------------------------------


def test_a_trade_costs_fees_and_slippage_and_its_barriers_lie_on_the_grid() -> None:
    candles = [(1e8, 1e8, 1e8, 1e8), (1e8, 1e8, 9.8e7, 9.9e7), (9.9e7, 9.9e7, 9.9e7, 9.9e7)]
    made = simulate([path_of(series_of(candles), buy=[0])], RULES, COSTS).trades
    # Slippage 0.03 %: bought at 100,030,000. Limit 0.2 % above, on the grid of 1,000: 100,230,000.
    assert made.entry_price[0] == pytest.approx(100_030_000, rel=1e-14)
    # 5 % of 10,000,000 / 100,230,000 = 0.004988526...
    assert made.volume[0] == 0.00498852
    # 100,030,000 x 0.98 = 98,029,400, up to the next 1,000; x 1.02 = 102,030,600, down.
    assert made.stop_price[0] == 98_030_000
    assert made.take_price[0] == 102_030_000
    # Stopped at 98,030,000, sold 0.03 % below: 98,000,591.
    assert made.exit_price[0] == pytest.approx(98_000_591, rel=1e-14)
    # 0.00498852 x 100,030,000 = 499,001.6556 and x 98,000,591 = 488,877.90821532
    # fees 0.05 % of both: 249.5008278 + 244.43895410766 = 493.93978190766
    assert made.funds_krw[0] == pytest.approx(499_001.6556, rel=1e-13)
    assert made.fees_krw[0] == pytest.approx(493.93978190766, rel=1e-13)
    # 488,877.90821532 - 499,001.6556 - 493.93978190766
    assert made.net_krw[0] == pytest.approx(-10_617.68716658766, rel=1e-12)
    # -10,617.68716658766 / 499,001.6556 and 98,030,000 / 100,000,000 - 1
    assert made.net_bp[0] == pytest.approx(-212.77859, rel=1e-7)
    assert made.gross_bp[0] == pytest.approx(-197, rel=1e-12)


def test_an_exit_inside_a_candle_is_stamped_with_its_close() -> None:
    made = traded(flat(4, r2=STOP))
    assert hours(made.trades.signal_time) == [1]
    assert hours(made.trades.entry_time) == [1]
    assert hours(made.trades.exit_time) == [3]
    assert ends(made) == [TradeEnd.STOP_LOSS]


def test_the_candle_of_the_signal_is_not_looked_at() -> None:
    assert ends(traded(flat(3, r0=(2000.0, 3000.0, 1000.0, 2000.0)))) == [TradeEnd.END_OF_DATA]


@pytest.mark.parametrize(
    ("candle", "end", "level"),
    [
        (STOP, TradeEnd.STOP_LOSS, 1961),
        ((2000.0, 2000.0, 1962.0, 1990.0), TradeEnd.END_OF_DATA, 2000),
        ((1950.0, 2000.0, 1940.0, 1990.0), TradeEnd.STOP_LOSS, 1950),
        (TAKE, TradeEnd.TAKE_PROFIT, 2040),
        ((2000.0, 2039.0, 2000.0, 2010.0), TradeEnd.END_OF_DATA, 2000),
        ((2050.0, 2060.0, 2050.0, 2050.0), TradeEnd.TAKE_PROFIT, 2050),
        ((2000.0, 2100.0, 1900.0, 2000.0), TradeEnd.STOP_LOSS, 1961),
    ],
    ids=["stop", "no stop", "gap below", "take", "no take", "gap above", "both: stop first"],
)
def test_barriers_are_filled_at_their_price_or_at_a_worse_or_better_open(
    candle: Candle, end: TradeEnd, level: float
) -> None:
    made = traded(flat(4, r1=candle))
    assert ends(made) == [end]
    assert made.trades.exit_price[0] == level - 0.5
    assert made.trades.gross_bp[0] == pytest.approx((level / 2000 - 1) * 1e4)


def test_the_time_limit_is_a_close() -> None:
    made = traded(flat(6), timeout=timedelta(hours=3))
    assert ends(made) == [TradeEnd.TIME_LIMIT]
    assert hours(made.trades.exit_time) == [4]
    late = traded(flat(6), timeout=timedelta(hours=3, seconds=1))
    assert hours(late.trades.exit_time) == [5]


def test_a_sell_leaves_at_its_close_unless_it_is_over_already() -> None:
    assert hours(traded(flat(6), sell=[2]).trades.exit_time) == [3]
    assert ends(traded(flat(6), sell=[2])) == [TradeEnd.SELL_SIGNAL]
    assert ends(traded(flat(6, r2=STOP), sell=[2])) == [TradeEnd.STOP_LOSS]
    assert ends(traded(flat(6), sell=[2], timeout=timedelta(hours=2))) == [TradeEnd.TIME_LIMIT]


def test_what_is_held_at_the_end_is_sold_there_and_nothing_is_bought_there() -> None:
    made = traded(flat(3), buy=[0, 2])
    assert ends(made) == [TradeEnd.END_OF_DATA]
    assert hours(made.trades.exit_time) == [3]
    assert outcomes(made) == [FunnelCode.TRADED]  # row 2 has no candle to be judged on
    assert made.exposure[-1] == 0


# --- breaks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opened", "timeout", "end", "at"),
    [
        (1950.0, 12, TradeEnd.STOP_LOSS, 7),
        (2050.0, 12, TradeEnd.TAKE_PROFIT, 7),
        (2001.0, 5, TradeEnd.TIME_LIMIT, 7),
        (1950.0, 5, TradeEnd.STOP_LOSS, 7),
        (2001.0, 12, TradeEnd.END_OF_DATA, 9),
    ],
)
def test_after_a_break_the_open_is_judged_first(
    opened: float, timeout: int, end: TradeEnd, at: float
) -> None:
    # Rows 0 and 1 are hours 0 and 1, then five hours are missing: row 2 opens at hour 7.
    candles = [FLAT, FLAT, (opened, opened, opened, opened), (opened, opened, opened, opened)]
    made = traded(candles, breaks={2: 5}, timeout=timedelta(hours=timeout))
    assert ends(made) == [end]
    assert hours(made.trades.exit_time) == [at]
    assert made.trades.exit_price[0] == opened - 0.5


def test_a_signal_does_not_outlive_a_break() -> None:
    at_open = traded(flat(4), breaks={1: 1}, entry=EntryAt.NEXT_OPEN)
    assert outcomes(at_open) == [FunnelCode.EXPIRED]
    late = traded(flat(4), breaks={1: 1}, delay_candles=1)
    assert outcomes(late) == [FunnelCode.EXPIRED]
    assert outcomes(traded(flat(4), breaks={1: 1})) == [FunnelCode.TRADED]


# --- when an entry is filled ----------------------------------------------------------------------


def test_an_entry_at_the_next_open_pays_that_open_and_is_judged_from_there() -> None:
    # Bought at 2010 + 0.5; 2010.5 x 0.98 = 1970.29, so 1971 stops it in the very same candle.
    made = traded(flat(3, r1=(2010.0, 2010.0, 1971.0, 2000.0)), entry=EntryAt.NEXT_OPEN)
    assert made.trades.entry_price[0] == 2010.5
    assert hours(made.trades.entry_time) == [1]
    assert ends(made) == [TradeEnd.STOP_LOSS]
    assert hours(made.trades.exit_time) == [2]


def test_delayed_decisions_act_so_many_closes_later() -> None:
    candles = flat(9, r2=(2000.0, 2020.0, 2000.0, 2020.0))
    made = traded(candles, sell=[4], delay_candles=2, ev_net=0.02)
    assert hours(made.trades.signal_time) == [1]
    assert hours(made.trades.entry_time) == [3]
    assert made.trades.entry_price[0] == 2020.5
    assert hours(made.trades.exit_time) == [7]  # SELL of row 4 acts at the close of row 6
    assert ends(made) == [TradeEnd.SELL_SIGNAL]


def test_an_entry_that_the_delay_made_too_dear_is_not_made() -> None:
    # The value was 0.3 %; at 2020.5 instead of 2000.5 a full percent of it is gone.
    candles = flat(5, r1=(2000.0, 2020.0, 2000.0, 2020.0))
    made = traded(candles, delay_candles=1, ev_net=0.003)
    assert outcomes(made) == [FunnelCode.PRICE_MOVED]
    assert outcomes(traded(candles, delay_candles=1, ev_net=0.013)) == [FunnelCode.TRADED]


# --- the limits -----------------------------------------------------------------------------------


def test_a_market_rests_after_its_exit_and_longer_after_a_stop() -> None:
    # The stop of row 1 is stamped hour 2, so the market rests until hour 3: not before, but then.
    made = traded(flat(6, r1=STOP), buy=[0, 1, 2])
    assert outcomes(made) == [FunnelCode.TRADED, FunnelCode.RESTING, FunnelCode.TRADED]
    no_stop = traded(flat(6, r1=TAKE), buy=[0, 1, 2])  # rests for 15 minutes
    assert outcomes(no_stop) == [FunnelCode.TRADED, FunnelCode.RESTING, FunnelCode.TRADED]
    long = rules_with(rest=timedelta(minutes=61))
    assert outcomes(traded(flat(6, r1=TAKE), buy=[0, 2], rules=long))[1] is FunnelCode.RESTING


def test_a_position_is_not_added_to() -> None:
    assert outcomes(traded(flat(6), buy=[0, 1])) == [FunnelCode.TRADED, FunnelCode.POSITION_OPEN]


def test_stops_in_a_row_pause_all_entries() -> None:
    rules = rules_with(max_stops=2, rest_after_stop=timedelta(0), stop_pause=timedelta(hours=2))
    # Stops at hours 2 and 3 (bought at 1990.5: 1950.69, so 1951): no entry before hour 5.
    candles = flat(9, r1=STOP, r2=(1990.0, 2000.0, 1951.0, 1990.0))
    made = traded(candles, buy=[0, 1, 2, 3, 4], rules=rules)
    assert outcomes(made) == [
        FunnelCode.TRADED,
        FunnelCode.TRADED,
        FunnelCode.STOP_STREAK,
        FunnelCode.STOP_STREAK,
        FunnelCode.TRADED,
    ]
    apart = replace(rules, limits=replace(rules.limits, stop_window=timedelta(minutes=59)))
    assert FunnelCode.STOP_STREAK not in outcomes(traded(candles, buy=[0, 1, 2, 3, 4], rules=apart))


def test_a_lost_day_ends_at_midnight_in_korea() -> None:
    # A stop takes 2000.5 -> 1960.5: 2 % of the 5 % invested, 0.1 % of equity; 0.09 % are allowed.
    rules = rules_with(max_day_loss=Decimal("0.0009"))
    # START is 09:00 in Korea: the closes of hours 2 to 14 are that day's, hour 15 is midnight.
    made = traded(flat(20, r1=STOP), buy=[0, 3, 13, 14], rules=rules)
    assert outcomes(made) == [
        FunnelCode.TRADED,
        FunnelCode.DAY_LOSS,
        FunnelCode.DAY_LOSS,
        FunnelCode.TRADED,
    ]


def two(
    first: Sequence[Candle], second: Sequence[Candle], buy: Sequence[int] = (0,)
) -> list[MarketPath]:
    return [
        path_of(series_of(first), buy=buy, market="KRW-ETH"),
        path_of(series_of(second), buy=buy, market="KRW-XRP"),
    ]


def test_markets_share_positions_and_exposure_in_the_order_they_are_given() -> None:
    paths = two(flat(4), flat(4))
    one = simulate(paths, rules_with(max_positions=1), NO_COSTS)
    assert outcomes(one) == [FunnelCode.TRADED, FunnelCode.MAX_POSITIONS]
    # 5 % each and 5.04 % allowed: 4,000 KRW are left, the smallest order is 5,358.
    narrow = simulate(paths, rules_with(max_exposure=Decimal("0.0504")), NO_COSTS)
    assert outcomes(narrow) == [FunnelCode.TRADED, FunnelCode.MAX_EXPOSURE]
    # With 6 % allowed the second is as large as what is left: the first has 500,000 / 2004 =
    # 249.500998 coins, worth 498,877.2455 at 1999.5, which leaves equity at 9,999,750.499; 6 % of
    # that less the first are 101,107.7844, / 2004 = 50.45298624 coins, x 2000.5 = 100,931.199.
    wider = simulate(paths, rules_with(max_exposure=Decimal("0.06")), NO_COSTS)
    assert outcomes(wider) == [FunnelCode.TRADED, FunnelCode.TRADED]
    assert wider.trades.funds_krw[1] == pytest.approx(100_931.199, rel=1e-8)


def test_exits_of_all_markets_come_before_entries() -> None:
    # The second market leaves at hour 2; at that close the first takes its place.
    paths = [
        path_of(series_of(flat(4)), buy=[1], market="KRW-ETH"),
        path_of(series_of(flat(4)), buy=[0], sell=[1], market="KRW-XRP"),
    ]
    made = simulate(paths, rules_with(max_positions=1), NO_COSTS)
    assert outcomes(made) == [FunnelCode.TRADED, FunnelCode.TRADED]


def test_without_cash_for_fee_and_order_nothing_is_bought() -> None:
    # 99 % of 100,000 are invested in the first; exposure may be all, but cash is about 900 KRW.
    size = SizeRules((SizeStep(Decimal(0), Decimal("0.99")),), False, Decimal(0))
    rules = replace(rules_with(starting_krw=100_000, max_exposure=Decimal(1)), size=size)
    made = simulate(two(flat(4), flat(4)), rules, COSTS)
    assert outcomes(made) == [FunnelCode.TRADED, FunnelCode.NO_CASH]


def test_an_account_too_small_for_its_step_skips_or_raises() -> None:
    # 5,000 x 1.05 / 0.98 = 5,357.14, so 5,358: 5 % of 107,160. At 100,000 the step is 5,000.
    small = rules_with(starting_krw=100_000)
    assert outcomes(traded(flat(4), rules=small)) == [FunnelCode.ACCOUNT_TOO_SMALL]
    raised = replace(small, size=replace(SIZE, raise_to_minimum=True))
    made = traded(flat(4), rules=raised)
    # Limit 2000.5 x 1.002 = 2004.501, so 2004: 5,358 / 2004 = 2.67365270 coins at 2000.5.
    assert made.trades.volume[0] == pytest.approx(2.67365270, rel=1e-12)
    assert made.trades.share[0] == 0.05


# --- halts ----------------------------------------------------------------------------------------

# The stop of row 1 loses 0.1 % of equity: more than 0.05 % below the peak.
NERVOUS = rules_with(max_peak_loss=Decimal("0.0005"))


def test_a_fall_from_the_peak_sells_everything_and_stops_entries() -> None:
    made = simulate(two(flat(6, r1=STOP), flat(6), buy=[0, 3]), NERVOUS, NO_COSTS)
    assert ends(made) == [TradeEnd.STOP_LOSS, TradeEnd.HALT]
    assert hours(made.trades.exit_time) == [2, 2]
    assert hours(made.halts) == [2]
    assert outcomes(made)[1] is FunnelCode.HALTED
    assert made.refusals == {FunnelCode.HALTED: 2}


def test_after_a_resume_the_peak_starts_again() -> None:
    # Halted at hour 2, resumed at hour 5: not at the close of hour 4.
    rules = replace(NERVOUS, resume_after=timedelta(hours=3))
    made = traded(flat(9, r1=STOP), buy=[0, 3, 4], rules=rules)
    assert outcomes(made) == [FunnelCode.TRADED, FunnelCode.HALTED, FunnelCode.TRADED]
    assert hours(made.halts) == [2]


def test_a_resume_counts_before_an_entry_at_the_open() -> None:
    # Halted at hour 2, resumed at the close of hour 5, which is the open of row 5: row 4's entry.
    rules = replace(NERVOUS, resume_after=timedelta(hours=3))
    # Bought at the open of row 1, stopped inside it.
    made = traded(flat(9, r1=STOP), buy=[0, 3, 4], rules=rules, entry=EntryAt.NEXT_OPEN)
    assert outcomes(made) == [FunnelCode.TRADED, FunnelCode.HALTED, FunnelCode.TRADED]


def test_a_halted_position_without_a_candle_leaves_at_its_next_open() -> None:
    # The second market has no candle at hour 1 to 3; the halt of hour 2 reaches it at hour 4.
    paths = two(flat(6, r1=STOP), flat(4))
    paths[1] = path_of(series_of(flat(4), breaks={1: 3}), buy=[0], market="KRW-XRP")
    made = simulate(paths, NERVOUS, NO_COSTS)
    assert ends(made) == [TradeEnd.STOP_LOSS, TradeEnd.HALT]
    assert hours(made.trades.exit_time) == [2, 4]


def test_a_fall_by_the_costs_of_an_entry_forbids_the_next_of_the_same_close() -> None:
    # 5 % bought at 2000.5 and marked at 1999.5 are 0.0025 % of equity; 0.002 % are allowed.
    made = simulate(two(flat(4), flat(4)), rules_with(max_peak_loss=Decimal("0.00002")), NO_COSTS)
    assert outcomes(made) == [FunnelCode.TRADED, FunnelCode.PEAK_LOSS]
    assert hours(made.halts) == [2]  # judged at the next close


# --- the whole ------------------------------------------------------------------------------------


def test_the_account_is_what_its_trades_left() -> None:
    made = simulate(two(flat(30, r3=STOP, r9=TAKE), flat(30, r5=TAKE), [0, 6, 20]), RULES, COSTS)
    assert len(made.trades) == 6
    assert made.equity[-1] == pytest.approx(10_000_000 + made.trades.net_krw.sum(), rel=1e-14)
    assert len(made.times) == len(made.equity) == 30
    assert hours(made.times[[0, -1]]) == [1, 30]


def test_no_signal_leaves_the_account_as_it_was() -> None:
    made = traded(flat(5), buy=[])
    np.testing.assert_array_equal(made.equity, np.full(5, 1e7))
    assert len(made.trades) == len(made.candidates) == len(made.halts) == 0
    assert made.refusals == {}


def test_an_empty_market_is_an_empty_simulation() -> None:
    assert len(traded([], buy=[]).times) == 0


def test_inputs_are_not_written_to() -> None:
    path = path_of(series_of(flat(9, r3=STOP)), buy=[0, 5])
    before = [np.array(getattr(path, name)) for name in ("buy", "sell", "p_buy", "stop_loss")]
    first = simulate([path], RULES, COSTS)
    second = simulate([path], RULES, COSTS)
    np.testing.assert_array_equal(first.equity, second.equity)
    for name, array in zip(("buy", "sell", "p_buy", "stop_loss"), before, strict=True):
        np.testing.assert_array_equal(getattr(path, name), array)


def test_the_same_first_market_beside_another_one_has_that_ones_candles() -> None:
    """What is kept of a series is that series' own. 2 % fall in one second market."""
    first = path_of(series_of(flat(9)), buy=[0])
    calm = path_of(series_of(flat(9)), buy=[0], market="KRW-ETH")
    falls = path_of(series_of(flat(9, r3=STOP)), buy=[0], market="KRW-ETH")
    ends = [
        [TRADE_ENDS[reason] for reason in simulate(paths, RULES, COSTS).trades.reason]
        for paths in ([first, calm], [first, falls], [first], [first, calm])
    ]
    held = TradeEnd.END_OF_DATA
    assert ends == [[held, held], [TradeEnd.STOP_LOSS, held], [held], [held, held]]


def off_by_a_byte(column: np.ndarray) -> np.ndarray:
    """The same numbers where no number of this size should begin."""
    moved = np.empty(column.nbytes + 1, np.uint8)[1:].view(column.dtype)
    moved[:] = column
    return moved


def one_in_two(column: np.ndarray) -> np.ndarray:
    """The same numbers with others between them."""
    wide = np.repeat(column[::-1], 2)
    wide[::2] = column
    return wide[::2]


def read_only(column: np.ndarray) -> np.ndarray:
    column = column.copy()
    column.flags.writeable = False
    return column


@pytest.mark.parametrize(
    "stored",
    [
        one_in_two,
        off_by_a_byte,
        read_only,
        lambda column: column[::-1].copy()[::-1],
        lambda column: column.astype(np.float32),  # all prices here are whole
        lambda column: column.astype(np.int64),
        lambda column: column.astype(">f8"),
    ],
    ids=["strided", "unaligned", "read-only", "backwards", "float32", "int64", "big-endian"],
)
def test_candles_may_lie_anywhere_in_memory(stored: Callable[[np.ndarray], np.ndarray]) -> None:
    """Whichever way the columns are stored: the same trades, and one compiled program."""
    series = series_of(flat(9, r3=STOP), breaks={7: 1})
    columns: dict[str, Any] = {name: stored(getattr(series, name)) for name in PRICES}
    if stored in (one_in_two, off_by_a_byte, read_only):
        columns["open_time"] = stored(series.open_time)
    there = replace(series, **columns)
    sell = np.zeros(9, dtype=np.bool_)
    sell[3] = True  # row 5 of what is read backwards
    here, elsewhere = (
        simulate([replace(path_of(each, buy=[0, 4]), sell=sell[::-1])], RULES, COSTS)
        for each in (series, there)
    )
    assert ends(here) == [TradeEnd.STOP_LOSS, TradeEnd.SELL_SIGNAL]
    assert hours(here.trades.exit_time) == [4, 6]
    np.testing.assert_array_equal(elsewhere.equity, here.equity)
    np.testing.assert_array_equal(elsewhere.times, here.times)
    dispatcher: Any = simulate_account
    assert len(dispatcher.signatures) == 1


@pytest.mark.parametrize("columns", [0, 1, 2])
def test_a_table_is_no_column(columns: int) -> None:
    """As long as a column, and read by its address it would be other numbers, or none at all."""
    series = series_of(flat(9))
    tables: dict[str, Any] = {
        name: np.repeat(getattr(series, name)[:, None], columns, axis=1) for name in PRICES
    }
    with pytest.raises(ValueError, match=rf"open of 9 candles .* was \(9, {columns}\)"):
        simulate([path_of(replace(series, **tables))], RULES, COSTS)


def test_a_column_that_became_shorter_is_not_read_past_its_end() -> None:
    path = path_of(series_of(flat(9)), buy=[0])
    path.series.close.resize(2, refcheck=False)
    with pytest.raises(ValueError, match=r"close of 9 candles must have shape \(9,\), was \(2,\)"):
        simulate([path], RULES, COSTS)
    path = path_of(series_of(flat(9)), buy=[0])
    path.sell.resize(2, refcheck=False)
    with pytest.raises(ValueError, match=r"sell of 9 candles must have shape \(9,\), was \(2,\)"):
        simulate([path], RULES, COSTS)


class Unkept(Sequence[MarketPath]):
    """Markets that nobody keeps: made anew when they are asked for, of columns to be copied."""

    def __init__(self, candles: Sequence[Sequence[Candle]]) -> None:
        self.candles = candles

    def __len__(self) -> int:
        return len(self.candles)

    def __getitem__(self, m: Any) -> Any:
        if isinstance(m, slice):
            return [self[i] for i in range(len(self))[m]]
        gc.collect()
        series = series_of(self.candles[m])
        narrow: dict[str, Any] = {p: getattr(series, p).astype(np.float32) for p in PRICES}
        path = path_of(replace(series, **narrow), buy=[0, 6], market=f"KRW-{m}")
        return replace(path, sell=one_in_two(path.sell))


def test_columns_live_until_the_simulation_has_ended() -> None:
    """Memory that is given back is soon another market's: the trades would be that one's."""
    markets = Unkept([flat(9, **{f"r{m + 2}": STOP if m % 2 else TAKE}) for m in range(5)])
    rules = rules_with(max_positions=9, max_stops=9)
    kept = simulate(list(markets), rules, COSTS)
    assert len(kept.trades) == 9  # the last market rests at its second BUY
    made = simulate(markets, rules, COSTS)
    np.testing.assert_array_equal(made.trades.exit_time, kept.trades.exit_time)
    np.testing.assert_array_equal(made.trades.reason, kept.trades.reason)
    np.testing.assert_array_equal(made.equity, kept.equity)


def test_only_trades_are_asked_for_and_only_they_are_made() -> None:
    paths = two(flat(30, r3=STOP, r9=TAKE), flat(30, r5=TAKE), [0, 6, 20])
    both, first = trades_of_each([paths, paths[:1]], RULES, COSTS)
    assert len(both) == 6
    assert len(first) == 3
    np.testing.assert_array_equal(both.net_krw, simulate(paths, RULES, COSTS).trades.net_krw)
    assert list(trades_of_each([], RULES, COSTS)) == []
    with pytest.raises(ValueError, match="at least one market"):
        list(trades_of_each([paths, []], RULES, COSTS))


def test_what_cannot_be_simulated_is_refused() -> None:
    path = path_of(series_of([FLAT]))
    with pytest.raises(ValueError, match="at least one market"):
        simulate([], RULES, COSTS)
    with pytest.raises(ValueError, match="every market may come once"):
        simulate([path, path], RULES, COSTS)
    with pytest.raises(ValueError, match="delay_candles must not be negative, was -1"):
        simulate([path], RULES, COSTS, delay_candles=-1)
    other = path_of(series_of([FLAT], interval=Interval.M5), market="KRW-ETH")
    with pytest.raises(ValueError, match=r"candles of one interval, were \['5m', '60m'\]"):
        simulate([path, other], RULES, COSTS)
    steps = tuple(SizeStep(Decimal(9 - i) / 9, Decimal(1) / (i + 2)) for i in range(10))
    many = replace(RULES, size=replace(SIZE, steps=steps))
    with pytest.raises(ValueError, match="at most 8 size steps, were 10"):
        simulate([path], many, COSTS)


def test_the_codes_of_the_compiled_part_are_those_of_the_values() -> None:
    names = [FunnelCode(code).name for code in records.OUTCOMES]
    assert [getattr(records, name) for name in names] == list(range(len(names)))
    assert [getattr(records, end.name) for end in TRADE_ENDS] == list(range(len(TRADE_ENDS)))
    for columns in (records.TRADE_TIMES, records.TRADE_NUMBERS):
        numbers = [getattr(records, name.upper()) for name in columns]
        assert numbers == list(range(len(columns)))
