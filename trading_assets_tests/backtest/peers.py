"""The same signals in vectorbt and in backtesting.py, as far as they can express our trades.

Both know barriers inside candles, entries at the close (backtesting.py at the next open too) and
costs in proportion. Neither knows the tick grid, sizes and limits of the trader, breaks, or halts;
vectorbt has no time limit, and backtesting.py asks an order's barriers before its closing. So they
are told barriers and volumes, and the limits are set so wide that they never refuse.

Not here: the comparison (`test_peers.py`) and the race (`benchmarks/backtest.py`).
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd

from trading_assets.backtest.inputs import AccountRules, EntryAt, MarketPath, Simulation
from trading_assets.candles.series import CandleSeries
from trading_assets.exchange.model import Interval
from trading_assets.exchange.price_units import tick_size
from trading_assets.models.labels import floor_to_grid
from trading_assets.rules.costs import Costs
from trading_assets.rules.exits import ExitTerms, exit_plan
from trading_assets.rules.limits import Limits
from trading_assets.rules.sizing import SizeRules, SizeStep

COSTS = Costs(fee_rate=Decimal("0.0005"), min_slippage_rate=Decimal("0.0003"))
_SLIPPAGE = float(COSTS.min_slippage_rate)
_FEE = float(COSTS.fee_rate)
FEE_ON_SLIPPAGE = _FEE * _SLIPPAGE
NO_VOLUME = 1e-8
_FOREVER = timedelta(days=36_500)
_PRICES = (100_000_000.0, 4_000_000.0, 300_000.0)  # half a tick is less than the slippage there


def free_rules(markets: int, rest: timedelta, invested: str = "0.1") -> AccountRules:
    """An account that refuses nothing but what rests. invested: its share in all markets."""
    share = Decimal(invested) / markets
    limits = Limits(
        max_exposure=Decimal(1),
        max_positions=markets,
        rest=rest,
        rest_after_stop=rest,
        max_stops=1_000_000,
        stop_window=timedelta(0),
        stop_pause=timedelta(0),
        max_day_loss=Decimal("0.99"),
        max_peak_loss=Decimal("0.99"),
    )
    return AccountRules(
        size=SizeRules((SizeStep(Decimal(0), share),), False, Decimal(0)),
        limits=limits,
        starting_krw=Decimal(100_000_000),
        min_notional=Decimal(5000),
        max_slippage=Decimal("0.002"),
        resume_after=None,
    )


def random_paths(
    candles: int, markets: int, seed: int, *, often: float, sells: float, barrier: float
) -> list[MarketPath]:
    """Hourly walks without breaks; each market has a SELL at its end, so that nothing is left."""
    rng = np.random.default_rng(seed)
    return [
        _random_path(rng, f"KRW-M{m}", candles, _PRICES[m % 3], often, sells, barrier)
        for m in range(markets)
    ]


def _random_path(  # noqa: PLR0917  what a walk is made of
    rng: np.random.Generator,
    market: str,
    n: int,
    price: float,
    often: float,
    sells: float,
    barrier: float,
) -> MarketPath:
    # Drawn back to its price, so that a long walk does not leave its price band.
    walk = _around_zero(rng.normal(0, 0.006, n))
    close = price * np.exp(walk)
    opened = np.concatenate([close[:1], close[:-1]]) * np.exp(rng.normal(0, 0.002, n))
    high = np.maximum(opened, close) * np.exp(np.abs(rng.normal(0, 0.003, n)))
    low = np.minimum(opened, close) * np.exp(-np.abs(rng.normal(0, 0.003, n)))
    o, h, lo, c = (floor_to_grid(p) for p in (opened, high, low, close))
    start = np.datetime64("2022-01-01", "us")
    series = CandleSeries(
        interval=Interval.M60,
        open_time=start + np.arange(n) * np.timedelta64(3_600_000_000, "us"),
        open=o,
        high=h,
        low=lo,
        close=c,
        volume=np.ones(n),
        filled=np.zeros(n, dtype=np.bool_),
        segment=np.zeros(n, dtype=np.int64),
    )
    buy = rng.random(n) < often
    buy[[0, -1]] = False  # backtesting.py does not ask its strategy about the first candle
    sell = ~buy & (rng.random(n) < sells)
    sell[-1] = True
    return MarketPath(
        market=market,
        series=series,
        buy=buy,
        sell=sell,
        p_buy=np.full(n, 0.5),
        ev_net=np.full(n, 1.0),
        min_ev_net=np.zeros(n),
        stop_loss=np.full(n, barrier),
        take_profit=np.full(n, barrier),
        timeout=_FOREVER,
    )


def _around_zero(moves: np.ndarray) -> np.ndarray:
    """A walk that loses a fiftieth of its distance at each step, without a Python loop."""
    return np.asarray(pd.Series(moves * 50).ewm(alpha=0.02, adjust=False).mean())


def without_sells(path: MarketPath) -> MarketPath:
    return replace(path, sell=np.zeros(len(path), dtype=np.bool_))


# --- what the peers are told ----------------------------------------------------------------------


def volumes(made: Simulation, paths: Sequence[MarketPath], m: int) -> np.ndarray:
    """(n,) coins that our account bought at each signal of market m, else NO_VOLUME."""
    mine = made.trades.market == m
    closes = paths[m].series.open_time + np.timedelta64(paths[m].series.interval.duration)
    found = np.full(len(closes), NO_VOLUME)
    found[np.searchsorted(closes, made.trades.signal_time[mine])] = made.trades.volume[mine]
    return found


def barriers(path: MarketPath, entry: EntryAt = EntryAt.CLOSE) -> tuple[np.ndarray, np.ndarray]:
    """(stop prices, take prices) of each BUY on the tick grid, by `rules.exits`; NaN elsewhere."""
    stop, take = np.full(len(path), np.nan), np.full(len(path), np.nan)
    for row in np.flatnonzero(path.buy):
        at_open = entry is EntryAt.NEXT_OPEN
        level = path.series.open[row + 1] if at_open else path.series.close[row]
        price = Decimal(repr(float(level)))
        ask = price * (1 + COSTS.slippage_rate(price, tick_size(price)))
        terms = ExitTerms(
            Decimal(repr(float(path.stop_loss[row]))),
            Decimal(repr(float(path.take_profit[row]))),
            path.timeout,
        )
        plan = exit_plan(terms, ask, tick_size, path.series.open_time[row].item())
        stop[row], take[row] = float(plan.stop_price), float(plan.take_price)
    return stop, take


# --- vectorbt -------------------------------------------------------------------------------------


def vectorbt_portfolio(inputs: Mapping[str, Any]) -> Any:
    """`Portfolio.from_signals` of markets that share cash."""
    import vectorbt as vbt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return vbt.Portfolio.from_signals(**inputs)


def vectorbt_inputs(
    paths: Sequence[MarketPath], size: pd.DataFrame, stop: pd.DataFrame, take: pd.DataFrame
) -> dict[str, Any]:
    """What `from_signals` is told. stop, take: ratios of the fill price."""
    return {
        "close": column(paths, [p.series.close for p in paths]),
        "entries": column(paths, [p.buy for p in paths]),
        "exits": column(paths, [p.sell for p in paths]),
        "open": column(paths, [p.series.open for p in paths]),
        "high": column(paths, [p.series.high for p in paths]),
        "low": column(paths, [p.series.low for p in paths]),
        "size": size,
        "sl_stop": stop,
        "tp_stop": take,
        "stop_entry_price": "FillPrice",
        "stop_exit_price": "StopMarket",
        "slippage": _SLIPPAGE,
        "fees": _FEE,
        "init_cash": 1e8,
        "cash_sharing": True,
        "group_by": True,
        "freq": "1h",
    }


def column(paths: Sequence[MarketPath], arrays: Sequence[np.ndarray]) -> pd.DataFrame:
    """One column for each market."""
    index = pd.DatetimeIndex(paths[0].series.open_time)
    return pd.DataFrame(dict(zip((p.market for p in paths), arrays, strict=True)), index=index)


def inputs_for_our_trades(paths: Sequence[MarketPath], made: Simulation) -> dict[str, Any]:
    """Our signals with our volumes and barriers."""
    asks = [p.series.close * (1 + _SLIPPAGE) for p in paths]
    plans = [barriers(p) for p in paths]
    # A hair towards the price: a ratio of a ratio must not miss a low exactly on the stop.
    stop = [1 - s * (1 + 1e-13) / ask for (s, _), ask in zip(plans, asks, strict=True)]
    take = [t * (1 - 1e-13) / ask - 1 for (_, t), ask in zip(plans, asks, strict=True)]
    size = [volumes(made, paths, m) for m in range(len(paths))]
    return vectorbt_inputs(paths, column(paths, size), column(paths, stop), column(paths, take))


def vectorbt_trades(portfolio: Any) -> pd.DataFrame:
    """vectorbt's trades: rows as of `our_trades`."""
    records = pd.DataFrame(portfolio.trades.records)
    return pd.DataFrame(
        {
            "market": records["col"],
            "entry_row": records["entry_idx"],
            "exit_row": records["exit_idx"],
            "entry_price": records["entry_price"],
            "exit_price": records["exit_price"],
            "volume": records["size"],
            "fees_krw": records["entry_fees"] + records["exit_fees"],
            "net_krw": records["pnl"],
        }
    )


# --- backtesting.py -------------------------------------------------------------------------------


def backtesting_trades(path: MarketPath, made: Simulation, entry: EntryAt) -> pd.DataFrame:
    """backtesting.py's trades of one market: rows as of `our_trades`.

    It trades whole units, so a unit is 1e-8 coins. It takes no slippage of exits: both slippages
    are part of its commission, its prices are those of the candles.
    """
    stop, take = barriers(path, entry)
    units = np.rint(volumes(made, [path], 0) * 1e8).astype(np.int64)
    stats = run_backtesting(path, units, stop * 1e-8, take * 1e-8, entry)
    trades = stats["_trades"]
    return pd.DataFrame(
        {
            "market": np.zeros(len(trades), dtype=np.int64),
            "entry_row": trades["EntryBar"],
            "exit_row": trades["ExitBar"],
            "entry_price": trades["EntryPrice"] * 1e8 * (1 + _SLIPPAGE),
            "exit_price": trades["ExitPrice"] * 1e8 * (1 - _SLIPPAGE),
            "volume": trades["Size"] * 1e-8,
            "net_krw": trades["PnL"],
        }
    )


def run_backtesting(
    path: MarketPath,
    units: np.ndarray,
    stop: np.ndarray,
    take: np.ndarray,
    entry: EntryAt,
) -> Any:
    """`Backtest.run`: BUYs while nothing is held, barriers as prices of a unit."""
    from backtesting import Backtest, Strategy

    class Follow(Strategy):  # type: ignore[misc]
        def init(self) -> None:
            pass

        def next(self) -> None:
            row = len(self.data) - 1
            if path.buy[row] and not self.position:
                self.buy(size=int(units[row]), sl=stop[row], tp=take[row])

    s = path.series
    frame = pd.DataFrame(
        {
            "Open": s.open * 1e-8,
            "High": s.high * 1e-8,
            "Low": s.low * 1e-8,
            "Close": s.close * 1e-8,
            "Volume": s.volume,
        },
        index=pd.DatetimeIndex(s.open_time),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test = Backtest(
            frame,
            Follow,
            cash=1e8,
            commission=_commission,
            trade_on_close=entry is EntryAt.CLOSE,
        )
        return test.run()


def _commission(size: float, price: float) -> float:
    """Slippage and fee. It is not told which side it is asked for, so what the slippage adds to the
    fee of one side and takes from that of the other is left out: `FEE_ON_SLIPPAGE` of the move."""
    return abs(size) * price * (_SLIPPAGE + _FEE)


# --- ours -----------------------------------------------------------------------------------------


def our_trades(paths: Sequence[MarketPath], made: Simulation, entry: EntryAt) -> pd.DataFrame:
    """Our trades by the row of their candles, in the order of markets and entries."""
    t = made.trades
    step = np.timedelta64(paths[0].series.interval.duration)
    first = paths[0].series.open_time[0]
    late = 0 if entry is EntryAt.NEXT_OPEN else 1
    frame = pd.DataFrame(
        {
            "market": t.market.astype(np.int64),
            "entry_row": (t.entry_time - first) // step - late,
            "exit_row": (t.exit_time - first) // step - 1,
            "entry_price": t.entry_price,
            "exit_price": t.exit_price,
            "volume": t.volume,
            "fees_krw": t.fees_krw,
            "net_krw": t.net_krw,
        }
    )
    return frame.sort_values(["market", "entry_row"], ignore_index=True)
