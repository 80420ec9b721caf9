"""How fast the account simulation and the labels are, and what memory ten million candles take.

The race: vectorbt's `from_signals` and backtesting.py in one run on the same signals, after a check
that all make the same trades. All are given their inputs ready (frames, paths, sizes, barriers).
Ours makes all trades, the outcome of each signal, equity and exposure at each candle; vectorbt its
orders, then the value at each candle and its trades; backtesting.py its trades and statistics. One
trade in 80 candles is what `swing` makes; the other lines say what more trades and more markets do.

The grid: 100 pairs of barriers, one path after the other made, checked and simulated, against one
call of vectorbt that broadcasts them to 100 columns. Twice: trades and the return of each against
orders and the return of each; trades, equity and exposure against trades and value.

The labels: those of `scalp` against a plain loop over the rows of a frame, which is given the
barriers; checked to be the same.

Memory: peak resident memory of a process of its own while it simulates, beyond what it had before
(the candles and the decisions) and beyond what it returns.

CPU seconds, medians after a first call (which compiles), one thread.

    python benchmarks/backtest.py        needs: pip install -e '.[bench]'
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for the peers of the tests

from trading_assets.backtest.engine import simulate, trades_of_each
from trading_assets.backtest.inputs import Candidates, EntryAt, MarketPath, Simulation, Trades
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.models.labels import (
    Labels,
    ceil_to_grid,
    floor_to_grid,
    make_labels,
    round_trip_costs,
    tick_sizes,
)
from trading_assets.models.profiles import costs, profile
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, Settings
from trading_assets_tests.backtest import peers

BARRIER = 0.01
SHARE = "0.02"  # of the account in a trade, so that costs do not end a long race early
# vectorbt makes one order a candle: after an exit, the next entry is the next candle's.
REST = timedelta(microseconds=1)
GRID = np.linspace(0.005, 0.03, 10)
LOOP_ROWS = 2_000
COSTS = costs(Settings())


def main() -> None:
    if sys.argv[1:2] == ["memory"]:
        measure_memory(int(sys.argv[2]), int(sys.argv[3]))
        return
    print("account simulation, the same trades; CPU, medians")
    race(200_000, 1, 80, goals=True)
    race(200_000, 1, 20)
    race(1_000_000, 1, 80)
    race(200_000, 4, 80)
    against_grid(100_000)
    against_loops(100_000)
    memory_table()


# --- the race -------------------------------------------------------------------------------------


def race(candles: int, markets: int, one_in: int, *, goals: bool = False) -> None:
    paths = traded_paths(candles, markets, one_in)
    made = run(paths)
    print(
        f"{markets} market(s), {candles:,} candles each, a trade in {one_in} candles: "
        f"{len(made.trades):,} trades"
    )
    ours = cpu_seconds(lambda: run(paths), times=25)
    rows = markets * candles
    print(f"  {'this code':36}{ours * 1e3:10.2f} ms {ours / rows * 1e9:8.1f} ns a candle")
    inputs = peers.inputs_for_our_trades(paths, made)
    require_same_trades(peers.vectorbt_trades(peers.vectorbt_portfolio(inputs)), paths, made)
    orders = cpu_seconds(lambda: peers.vectorbt_portfolio(inputs), times=5)
    print_peer("vectorbt, orders alone", orders, ours, None)

    whole = cpu_seconds(lambda: value_and_trades(inputs), times=5)
    print_peer("vectorbt, value and trades", whole, ours, 20 if goals else None)
    if markets > 1 or candles > 200_000:
        return
    units = np.rint(peers.volumes(made, paths, 0) * 1e8).astype(np.int64)
    stop, take = (prices * 1e-8 for prices in peers.barriers(paths[0]))

    def backtesting() -> pd.DataFrame:
        stats = peers.run_backtesting(paths[0], units, stop, take, EntryAt.CLOSE)
        return pd.DataFrame(stats["_trades"])

    require_same_rows(backtesting()[["EntryBar", "ExitBar"]].to_numpy(), paths, made)
    print_peer("backtesting.py", cpu_seconds(backtesting, times=1), ours, 1000 if goals else None)


def value_and_trades(inputs: Mapping[str, Any]) -> object:
    portfolio = peers.vectorbt_portfolio(inputs)
    return portfolio.value(), portfolio.trades.records


def traded_paths(candles: int, markets: int, one_in: int) -> list[MarketPath]:
    """Walks with a BUY at each candle on which the account trades, and only there."""
    drawn = peers.random_paths(
        candles, markets, seed=1, often=1.1 / one_in, sells=0.0, barrier=BARRIER
    )
    paths = [peers.without_sells(path) for path in drawn]
    made = run(paths)
    return [
        replace(path, buy=peers.volumes(made, paths, m) > peers.NO_VOLUME)
        for m, path in enumerate(paths)
    ]


def run(paths: list[MarketPath]) -> Simulation:
    return simulate(paths, peers.free_rules(len(paths), REST, SHARE), peers.COSTS)


def require_same_trades(theirs: pd.DataFrame, paths: list[MarketPath], made: Simulation) -> None:
    """Raises AssertionError: other candles, or other money."""
    theirs = theirs.sort_values(["market", "entry_row"], ignore_index=True)
    require_same_rows(theirs[["entry_row", "exit_row"]].to_numpy(), paths, made)
    ours = peers.our_trades(paths, made, EntryAt.CLOSE)
    whole = ours["exit_row"] < len(paths[0]) - 1  # a rest at the end is open in theirs
    for name in ("entry_price", "exit_price", "volume"):
        np.testing.assert_allclose(theirs[name][whole], ours[name][whole], rtol=1e-9)


def require_same_rows(theirs: np.ndarray, paths: list[MarketPath], made: Simulation) -> None:
    ours = peers.our_trades(paths, made, EntryAt.CLOSE)[["entry_row", "exit_row"]].to_numpy()
    last = len(paths[0]) - 1
    np.testing.assert_array_equal(theirs[theirs[:, 1] < last], ours[ours[:, 1] < last])


def print_peer(name: str, theirs: float, ours: float, goal: float | None) -> None:
    ratio = theirs / ours
    print(f"  {name:36}{theirs * 1e3:10.1f} ms {ratio:8.1f} x ours   {goal_text(ratio, goal)}")


def goal_text(ratio: float, goal: float | None) -> str:
    return "" if goal is None else f"goal >= {goal:g} {'met' if ratio >= goal else 'MISSED'}"


def cpu_seconds(call: Callable[[], object], *, times: int) -> float:
    """Median CPU seconds of `call` after one warm-up."""
    call()
    taken = []
    for _ in range(times):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


# --- the grid -------------------------------------------------------------------------------------


def against_grid(candles: int) -> None:
    (drawn,) = peers.random_paths(candles, 1, seed=2, often=1 / 80, sells=0.0, barrier=BARRIER)
    path = peers.without_sells(drawn)
    pairs = [(stop, take) for stop in GRID for take in GRID]

    rules = peers.free_rules(1, REST, SHARE)

    def settings() -> Iterator[list[MarketPath]]:
        return ([with_barriers(path, stop, take)] for stop, take in pairs)

    def returns() -> list[float]:
        capital = float(rules.starting_krw)
        each = trades_of_each(settings(), rules, peers.COSTS)
        return [made.net_krw.sum() / capital for made in each]

    def last_equities() -> list[float]:
        return [run(paths).equity[-1] for paths in settings()]

    stops, takes = np.array(pairs).T[:, None, :]
    size = peers.column([path], [np.full(candles, 1e-3)])
    inputs = peers.vectorbt_inputs([path], size, size, size)
    inputs |= {"sl_stop": stops, "tp_stop": takes, "cash_sharing": False, "group_by": None}

    counts = [len(made) for made in trades_of_each(settings(), rules, peers.COSTS)]
    # Their barriers are not on the tick grid: a few trades end elsewhere.
    np.testing.assert_allclose(peers.vectorbt_portfolio(inputs).trades.count(), counts, rtol=0.01)
    grown = np.array(last_equities()) / float(rules.starting_krw)
    np.testing.assert_allclose(1 + np.array(returns()), grown, rtol=1e-9)
    print(f"a grid of {len(pairs)} barriers, 1 market, {candles:,} candles, {sum(counts):,} trades")
    mine = cpu_seconds(returns, times=15)
    print(f"  {'this code, trades and total return':36}{mine * 1e3:10.1f} ms")
    theirs = cpu_seconds(lambda: peers.vectorbt_portfolio(inputs).total_return(), times=3)
    print_peer("vectorbt, orders and total return", theirs, mine, 50)
    mine = cpu_seconds(last_equities, times=15)
    print(f"  {'this code, trades and curve':36}{mine * 1e3:10.1f} ms")
    theirs = cpu_seconds(lambda: value_and_trades(inputs), times=2)
    print_peer("vectorbt, value and trades", theirs, mine, 50)


def with_barriers(path: MarketPath, stop: float, take: float) -> MarketPath:
    n = len(path)
    return path.with_exits(np.broadcast_to(stop, n), np.broadcast_to(take, n))


# --- labels ---------------------------------------------------------------------------------------


def against_loops(candles: int) -> None:
    scalp = profile(Settings(), ProfileName.SCALP)
    series = five_minutes(candles)
    ours = cpu_seconds(lambda: labels_of(series, scalp), times=5) / candles
    few = series.slice(0, LOOP_ROWS)
    expected = labels_of(few, scalp)
    frame = frame_with_barriers(few, scalp)
    print(f"labels of scalp, {candles:,} candles of 5 minutes")
    print(f"  {'this code':36}{ours * 1e9:10.0f} ns a candle")
    for name, loop, goal in (
        ("a loop over the frame's rows", loop_over_frame, 1000),
        ("the same over its arrays", loop_over_arrays, None),
    ):
        np.testing.assert_array_equal(loop(frame, scalp.horizon_candles), expected.label)
        theirs = cpu_seconds(partial(loop, frame, scalp.horizon_candles), times=1) / LOOP_ROWS
        ratio = theirs / ours
        print(
            f"  {name:36}{theirs * 1e9:10.0f} ns a candle {ratio:8.1f} x ours   "
            f"{goal_text(ratio, goal)}"
        )


def labels_of(series: CandleSeries, scalp: Profile) -> Labels:
    return make_labels(series, scalp, COSTS, np.full(len(series), 0.002))


def five_minutes(candles: int) -> CandleSeries:
    (path,) = peers.random_paths(candles, 1, seed=3, often=0.1, sells=0.0, barrier=BARRIER)
    step = np.timedelta64(Interval.M5.duration)
    times = path.series.open_time[0] + np.arange(candles) * step
    return replace(path.series, interval=Interval.M5, open_time=times)


def frame_with_barriers(series: CandleSeries, scalp: Profile) -> pd.DataFrame:
    close = series.close
    ratio = 0.02  # of both barriers
    return pd.DataFrame(
        {
            **{name: getattr(series, name) for name in ("open", "high", "low", "close")},
            "cost": round_trip_costs(COSTS, close, tick_sizes(close)),
            "stop": ceil_to_grid(close * (1 - ratio)),
            "take": floor_to_grid(close * (1 + ratio)),
            "short_stop": floor_to_grid(close * (1 + ratio)),
            "short_take": ceil_to_grid(close * (1 - ratio)),
        }
    )


def loop_over_frame(frame: pd.DataFrame, horizon: int) -> list[int]:
    """As one would write it: row by row, looking at the next rows."""
    labels = []
    for i in range(len(frame)):
        if i + horizon >= len(frame):
            labels.append(-1)
            continue
        row = frame.iloc[i]
        long_exit = short_exit = None
        for j in range(i + 1, i + horizon + 1):
            later = frame.iloc[j]
            if long_exit is None:
                if later["low"] <= row["stop"]:
                    long_exit = min(row["stop"], later["open"])
                elif later["high"] >= row["take"]:
                    long_exit = max(row["take"], later["open"])
            if short_exit is None:
                if later["high"] >= row["short_stop"]:
                    short_exit = max(row["short_stop"], later["open"])
                elif later["low"] <= row["short_take"]:
                    short_exit = min(row["short_take"], later["open"])
        last = later["close"]
        labels.append(label_of(row["close"], row["cost"], long_exit or last, short_exit or last))
    return labels


def loop_over_arrays(frame: pd.DataFrame, horizon: int) -> list[int]:
    """The same on Python numbers: what a loop costs without pandas."""
    o, h, low, c, cost, stop, take, short_stop, short_take = frame.to_numpy().T.tolist()
    labels = []
    for i in range(len(c)):
        if i + horizon >= len(c):
            labels.append(-1)
            continue
        long_exit = short_exit = None
        for j in range(i + 1, i + horizon + 1):
            if long_exit is None:
                if low[j] <= stop[i]:
                    long_exit = min(stop[i], o[j])
                elif h[j] >= take[i]:
                    long_exit = max(take[i], o[j])
            if short_exit is None:
                if h[j] >= short_stop[i]:
                    short_exit = max(short_stop[i], o[j])
                elif low[j] <= short_take[i]:
                    short_exit = min(short_take[i], o[j])
        last = c[i + horizon]
        labels.append(label_of(c[i], cost[i], long_exit or last, short_exit or last))
    return labels


def label_of(close: float, cost: float, long_exit: float, short_exit: float) -> int:
    long_net, short_net = long_exit / close - 1 - cost, 1 - short_exit / close - cost
    if long_net > 1e-12 and long_net > short_net:
        return 2
    return 0 if short_net > 1e-12 and short_net > long_net else 1


# --- memory ---------------------------------------------------------------------------------------


def memory_table() -> None:
    print("memory while simulating, in a process of its own; a BUY in 80 candles")
    for markets, candles in ((1, 1_000_000), (1, 10_000_000), (4, 2_500_000)):
        command = [sys.executable, __file__, "memory", str(candles), str(markets)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def measure_memory(candles: int, markets: int) -> None:
    run(peers.random_paths(1000, markets, seed=4, often=1 / 80, sells=0.0, barrier=BARRIER))
    paths = peers.random_paths(candles, markets, seed=4, often=1 / 80, sells=0.0, barrier=BARRIER)
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = resident("VmRSS")
    made = run(paths)
    peak, after = resident("VmHWM"), resident("VmRSS")
    arrays = (made.equity, made.exposure, *columns(made.trades), *columns(made.candidates))
    result = sum(array.nbytes for array in arrays) / 2**20
    print(
        f"  {markets} x {candles:>12,} candles: {before:7.0f} MB before, {result:5.0f} returned; "
        f"beyond both {peak - before - result:+5.0f} MB at the peak, "
        f"{after - before - result:+5.0f} MB afterwards"
    )


def columns(table: Trades | Candidates) -> list[np.ndarray]:
    return [getattr(table, field.name) for field in fields(table)]


def resident(name: str) -> float:
    """VmRSS (now) or VmHWM (the peak) of this process, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    main()
