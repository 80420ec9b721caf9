"""Experiments on the synthetic market, whose predictability is known: what a training must find.

One experiment = one generator seed, one market, profile `scalp` with its own windows, judged on
all rows that training had not seen (calibration and gate window, 29 days).
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import MarketPath
from trading_assets.backtest.paths import account_rules
from trading_assets.backtest.variants import rolled
from trading_assets.candles.frame import open_times_us
from trading_assets.candles.gaps import Gap, GapKind, gap_frame, missing_spans
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.exchange.model import Interval
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.dataset import Dataset, make_dataset
from trading_assets.models.evaluation import auc
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.models.trained import Trained
from trading_assets.models.training import train
from trading_assets.paper_exchange.synthetic import EPOCH, SyntheticMarkets, SyntheticParameters
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, Recipe, Settings

MARKETS = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL")
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Size:
    """How much of everything an experiment takes."""

    days: int
    model_seeds: int
    max_rounds: int


def scalp(size: Size) -> Profile:
    """The shipped profile; only its minimum history yields to a smaller experiment."""
    shipped = profile(Settings(), ProfileName.SCALP)
    least = min(shipped.min_history, timedelta(days=size.days - 2))
    return replace(shipped, min_history=least)


def synthetic_series(market: SyntheticMarkets, name: str, days: int) -> CandleSeries:
    """The first `days` of 5-minute candles; all that is missing is known to be without trades."""
    frame = market.candles(name, Interval.M5, EPOCH, EPOCH + timedelta(days=days))
    missing = missing_spans(open_times_us(frame), Interval.M5)
    return regular_series(
        frame, gap_frame(Gap(span, GapKind.NO_TRADES) for span in missing), Interval.M5
    )


def synthetic_dataset(market: SyntheticMarkets, name: str, size: Size) -> Dataset:
    series = synthetic_series(market, name, size.days)
    charges = costs(Settings())
    labels = make_labels(series, scalp(size), charges, ewm_sigma(series))
    sequences = make_sequences(feature_matrix(series), series)
    return make_dataset(name, scalp(size), sequences, labels, costs=charges)


def market_of(seed: int, edge: str) -> tuple[SyntheticMarkets, str]:
    """Another market of the four for each seed."""
    name = MARKETS[seed % len(MARKETS)]
    return SyntheticMarkets(SyntheticParameters(seed, Decimal(edge)), [name]), name


def fit(dataset: Dataset, size: Size) -> Trained:
    seeds = range(1, size.model_seeds + 1)
    return train(dataset, scalp(size), Recipe.LIGHTGBM, seeds, max_rounds=size.max_rounds)


@dataclass(frozen=True, slots=True, eq=False)
class Money:
    """What an account under the trader's own rules made of the unseen rows, KRW per KRW traded.

    It enters the tenth of the rows with the highest expected value. trades, net: their number and
    the sum of their net returns. moved_trades, moved_net: (SHIFTS,) the same with the signals
    rolled by a quarter to three quarters of the stretch: right signals, wrong time.
    """

    trades: int
    net: float
    moved_trades: FloatArray
    moved_net: FloatArray


SHIFTS = 20


def money(series: CandleSeries, name: str, made: Trained, size: Size) -> Money:
    path = signals(series, name, made, size)
    candles = len(path)
    accounts = [
        simulate([moved], account_rules(Settings()), costs(Settings())).trades.net_bp / 1e4
        for moved in (
            path,
            *(rolled(path, candles // 4 + candles * i // (2 * SHIFTS)) for i in range(SHIFTS)),
        )
    ]
    trades = np.array([len(net) for net in accounts], dtype=np.float64)
    earned = np.array([net.sum() for net in accounts])
    return Money(int(trades[0]), float(earned[0]), trades[1:], earned[1:])


def signals(series: CandleSeries, name: str, made: Trained, size: Size) -> MarketPath:
    """BUY at the tenth of the unseen rows with the highest expected value."""
    rows, chosen = made.unseen_rows, scalp(size)
    at = np.searchsorted(series.open_time, rows.open_time)
    stretch = series.slice(at[0], min(at[-1] + chosen.horizon_candles + 1, len(series)))

    def spread(values: FloatArray) -> FloatArray:
        whole = np.full(len(stretch), np.nan)
        whole[at - at[0]] = values
        return whole

    expected = made.twin.ev_long(rows.p)
    value = spread(expected)
    barrier = spread(np.full(len(at), 0.02))
    return MarketPath(
        market=name,
        series=stretch,
        buy=value >= np.quantile(expected, 0.9),
        sell=np.zeros(len(stretch), dtype=np.bool_),
        p_buy=spread(rows.p[:, 2]),
        # The tenth is taken whatever it promises.
        ev_net=np.ones(len(stretch)),
        min_ev_net=np.zeros(len(stretch)),
        stop_loss=barrier,
        take_profit=barrier,
        timeout=chosen.exits.timeout,
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """What one experiment found on its unseen rows.

    t_volatility: t value, over the daily means, of the volatility-only baseline's loss less the
    model's (above 0: the model is better); days: how many there were. auc_direction, oracle_auc:
    of the model and of the generator's own knowledge, same rows. chosen_net, random_net: mean net
    return of the long trade on the tenth of the rows with the highest expected value, and on all.
    """

    t_volatility: float
    days: int
    auc_direction: float
    oracle_auc: float
    chosen_net: float
    random_net: float
    money: Money


def experiment(seed: int, edge: str, size: Size) -> Finding:
    """One synthetic market, one training, one finding."""
    market, name = market_of(seed, edge)
    made = fit(synthetic_dataset(market, name, size), size)
    rows = made.unseen_rows
    closes = rows.open_time + np.timedelta64(5, "m")
    score = market.oracle(name, closes, timedelta(minutes=30)).score
    moved = rows.y != 1
    daily = _daily_means(rows.open_time, rows.loss_volatility - rows.loss_model)
    expected = made.twin.ev_long(rows.p)
    chosen = expected >= np.quantile(expected, 0.9)
    return Finding(
        t_volatility=t_value(daily),
        days=len(daily),
        auc_direction=made.unseen_evaluation().auc_direction,
        oracle_auc=auc(score[moved], rows.y[moved] == 2),
        chosen_net=float(rows.long_net[chosen].mean()),
        random_net=float(rows.long_net.mean()),
        money=money(synthetic_series(market, name, size.days), name, made, size),
    )


def t_value(values: FloatArray) -> float:
    """Student's t of the mean against 0."""
    return float(values.mean() / (values.std(ddof=1) / np.sqrt(len(values))))


def _daily_means(open_time: NDArray[np.datetime64], values: FloatArray) -> FloatArray:
    day = np.unique(open_time.astype("datetime64[D]"), return_inverse=True)[1]
    return np.asarray(np.bincount(day, weights=values) / np.bincount(day))
