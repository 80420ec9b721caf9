"""What to expect of the signals of a profile, measured on the predictions of its walk-forward.

How many BUYs and trades a day, how often none comes in 21 hours, how long silences are, and what
windows of predictions look like: the value that live checks compare with (`signals.forecast`).
Every share is counted over the windows of the walk-forward itself; BUYs come in clusters, so a
Poisson law with the same rate would promise far fewer empty windows. Not here: the predictions
(`walk_forward`), the account (`engine`) and the bounds on predictions (`forecast_bands`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from trading_assets.backtest.decisions import decisions
from trading_assets.backtest.forecast_bands import Seen, bands, statistics_of, window_sums
from trading_assets.backtest.forward import allowance, forward_parts
from trading_assets.backtest.predicted import outcomes
from trading_assets.backtest.predictions import Predictions
from trading_assets.candles.frame import BoolArray, FloatArray, TimeArray, from_us
from trading_assets.errors import NotEnoughHistory
from trading_assets.models.labels import Labels, round_trip_costs, tick_sizes
from trading_assets.models.model import BUY, HOLD, SELL
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile
from trading_assets.rules.sizing import STEP_STARTS
from trading_assets.rules.steps import ALL_MARKETS, Outcome, evidence
from trading_assets.signals.forecast import (
    DROUGHT_HOURS,
    PROFILE_RULE,
    THRESHOLDS,
    Band,
    Forecast,
    MarketForecast,
    Rate,
    Silence,
    Statistic,
    StepForecast,
    threshold_rule,
)

# For the BUYs of every market: which became trades of one account, (n,) like the BUYs.
TradesOf = Callable[[Mapping[str, BoolArray]], Mapping[str, BoolArray]]

_PERCENTILES = np.arange(101) / 100


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """One market's walk-forward with what became of its rows; arrays (n,).

    min_ev_net: what the expected value must be above, a ratio. label: 0 SELL, 1 HOLD, 2 BUY, -1
    where it is not known. long_net: ratio after costs, NaN where it is not known.
    """

    predictions: Predictions
    min_ev_net: FloatArray
    label: NDArray[np.int8]
    long_net: FloatArray

    def __len__(self) -> int:
        return len(self.predictions)


def walk(predictions: Predictions, labels: Labels, profile: Profile, costs: Costs) -> Walk:
    """`predictions` joined with `labels` by candle, and the profile's minimum at each close."""
    close = predictions.close
    known = outcomes(predictions, labels)
    label = np.full(len(predictions), -1, dtype=np.int8)
    long_net = np.full(len(predictions), np.nan)
    label[known.rows], long_net[known.rows] = known.y, known.long_net
    least = float(profile.min_ev_costs) * round_trip_costs(costs, close, tick_sizes(close))
    return Walk(predictions, least, label, long_net)


def forecast(
    walks: Mapping[str, Walk],
    profile: Profile,
    *,
    made_at: datetime,
    trades_of: TradesOf | None = None,
) -> Forecast:
    """What to expect, by market and for all together.

    walks: by market, of one profile and recipe. trades_of: the account; without it the numbers of
    trades stay empty. Raises NotEnoughHistory: a market has no whole window of DROUGHT_HOURS.
    """
    if not walks:
        raise NotEnoughHistory("a forecast needs the walk-forward of at least one market")
    recipes = {w.predictions.recipe for w in walks.values()}
    if len(recipes) != 1:
        raise ValueError(f"a forecast is of one recipe, was of {', '.join(sorted(recipes))}")
    parts = _parts(walks)
    for part in parts:
        _require_window(part, profile.interval)
    buys = _buys(walks, profile)
    trades = {rule: None if trades_of is None else trades_of(of) for rule, of in buys.items()}
    rates = {rule: _rates(parts, of, trades[rule], profile.interval) for rule, of in buys.items()}
    shapes = bands({part.market: part.seen() for part in parts}, profile.interval)
    return Forecast(
        profile=profile.name,
        recipe=recipes.pop(),
        made_at=made_at,
        interval_minutes=profile.interval_minutes,
        min_confidence=profile.min_confidence,
        min_ev_costs=profile.min_ev_costs,
        markets={
            part.market: _market_forecast(
                part,
                {rule: of[part.market] for rule, of in rates.items()},
                shapes[part.market],
                _steps(part.walks, buys[PROFILE_RULE]),
                profile.interval,
            )
            for part in parts
        },
    )


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One market, or all together on the candles that all of them have. times: (n,)."""

    market: str
    walks: Mapping[str, Walk]
    times: TimeArray

    def __len__(self) -> int:
        return len(self.times)

    def rows(self, market: str) -> NDArray[np.intp]:
        """Where `times` are among the market's own predictions, (n,)."""
        return np.searchsorted(self.walks[market].predictions.open_time, self.times)

    def counts(self, flags: Mapping[str, BoolArray]) -> FloatArray:
        """In how many of the markets the flag is set, (n,)."""
        return np.asarray(
            np.sum([flags[m][self.rows(m)] for m in self.walks], axis=0), dtype=np.float64
        )

    def seen(self) -> Seen:
        """The mean of the markets' statistics at each time."""
        of = {m: statistics_of(w.predictions.p[self.rows(m)]) for m, w in self.walks.items()}
        return Seen(
            self.times,
            {s: np.asarray(np.mean([of[m][s] for m in of], axis=0)) for s in Statistic},
        )


def _parts(walks: Mapping[str, Walk]) -> list[Part]:
    shared = next(iter(walks.values())).predictions.open_time
    for w in walks.values():
        shared = np.intersect1d(shared, w.predictions.open_time, assume_unique=True)
    alone = [Part(market, {market: w}, w.predictions.open_time) for market, w in walks.items()]
    return [*alone, Part(ALL_MARKETS, walks, shared)]


def _require_window(part: Part, interval: timedelta) -> None:
    if not np.isfinite(_whole_windows(part.times, interval)).any():
        raise NotEnoughHistory(
            f"{part.market}: the walk-forward has no whole window of {DROUGHT_HOURS} h in "
            f"{len(part)} predictions"
        )


def _buys(walks: Mapping[str, Walk], profile: Profile) -> dict[str, dict[str, BoolArray]]:
    """By rule and market: the rows that say BUY."""
    least = float(profile.min_confidence)
    own = {}
    for name, w in walks.items():
        p = w.predictions
        own[name] = decisions(p.p, p.ev_long, p.ev_short, least, w.min_ev_net).buy
    by_threshold = {
        threshold_rule(t): {name: w.predictions.p[:, BUY] >= t for name, w in walks.items()}
        for t in THRESHOLDS
    }
    return {PROFILE_RULE: own, **by_threshold}


def _market_forecast(
    part: Part,
    rates: Mapping[str, Rate],
    shapes: Mapping[Statistic, Mapping[int, Band]],
    steps: tuple[StepForecast, ...],
    interval: timedelta,
) -> MarketForecast:
    p = np.concatenate([w.predictions.p for w in part.walks.values()])
    label = np.concatenate([w.label for w in part.walks.values()])
    sigma = () if part.market == ALL_MARKETS else part.walks[part.market].predictions.sigma
    return MarketForecast(
        market=part.market,
        first=from_us(int(part.times[0].astype(np.int64))),
        last=from_us(int(part.times[-1].astype(np.int64))),
        rows=len(part),
        windows=int(np.isfinite(_whole_windows(part.times, interval)).sum()),
        independent=len(part) // _candles(interval),
        rates=rates,
        bands=shapes,
        label_shares=_shares(label[label >= 0]),
        predicted_shares=_shares(_predicted(p)),
        volatility=tuple(np.quantile(sigma, _PERCENTILES).tolist()) if len(sigma) else (),
        highest_p_buy=float(p[:, BUY].max()),
        steps=steps,
    )


def _candles(interval: timedelta) -> int:
    """Candles in a window of DROUGHT_HOURS."""
    return max(1, int(timedelta(hours=DROUGHT_HOURS) / interval))


def _whole_windows(times: TimeArray, interval: timedelta) -> FloatArray:
    """NaN where the window of DROUGHT_HOURS that ends at a row is not whole, (n,)."""
    return window_sums(np.ones(len(times)), times, np.timedelta64(interval), _candles(interval))


# --- rates and silences ---------------------------------------------------------------------


def _rates(
    parts: Sequence[Part],
    buys: Mapping[str, BoolArray],
    trades: Mapping[str, BoolArray] | None,
    interval: timedelta,
) -> dict[str, Rate]:
    """By market: what one rule gives."""
    signals = {part.market: part.counts(buys) for part in parts}
    silences = _silences(signals, interval)
    entered = None if trades is None else {part.market: part.counts(trades) for part in parts}
    trade_silences = None if entered is None else _silences(entered, interval)
    found = {}
    for part in parts:
        name, days = part.market, len(part) * (interval / timedelta(days=1))
        mine = None if entered is None else entered[name]
        found[name] = Rate(
            signals_a_day=float(signals[name].sum() / days),
            no_signal=_empty_windows(signals[name], part.times, interval),
            signal_silence=silences[name],
            trades_a_day=None if mine is None else float(mine.sum() / days),
            no_trade=None if mine is None else _empty_windows(mine, part.times, interval),
            trade_silence=None if trade_silences is None else trade_silences[name],
        )
    return found


def _empty_windows(counts: FloatArray, times: TimeArray, interval: timedelta) -> float:
    """Share of the whole windows of DROUGHT_HOURS in which there was none."""
    sums = window_sums(counts, times, np.timedelta64(interval), _candles(interval))
    return float((sums[np.isfinite(sums)] == 0).mean())


def _silences(counts: Mapping[str, FloatArray], interval: timedelta) -> dict[str, Silence]:
    """By market: how long it had been quiet, asked at every row.

    The allowances of all markets are one: a single market has few long silences to go by.
    """
    hours = {m: quiet_rows(of) * (interval / timedelta(hours=1)) for m, of in counts.items()}
    warn = allowance(_beyond(hours, 0.95), warn=0.05, error=0.01)
    error = allowance(_beyond(hours, 0.99), warn=0.05, error=0.01)
    found = {}
    for market, quiet in hours.items():
        five, one = (float(v) for v in np.quantile(quiet, (0.95, 0.99), method="higher"))
        found[market] = Silence(
            five=five,
            one=one,
            longest=float(quiet.max()),
            warn=five * (1 if warn is None else warn.warn),
            error=one * (1 if error is None else error.error),
        )
    return found


def quiet_rows(counts: FloatArray) -> FloatArray:
    """Rows since the last one with any, 0 there, (n,); before the first, since the beginning.

    Counted in rows, as live candles are: a time without predictions is not a silent one.
    """
    place = np.arange(len(counts))
    last = np.maximum.accumulate(np.where(counts > 0, place, -1))
    return np.asarray(place - last, dtype=np.float64)


def _beyond(hours: Mapping[str, FloatArray], level: float) -> list[FloatArray]:
    """Later silences in units of the quantile `level` of those before."""
    found = []
    for quiet in hours.values():
        for before, after in forward_parts(len(quiet)):
            reach = float(np.quantile(quiet[before], level, method="higher"))
            if reach > 0:
                found.append(quiet[after] / reach)
    return found


def _predicted(p: FloatArray) -> NDArray[np.int8]:
    """The most probable class; of equal ones HOLD, then SELL (`rules.decision`)."""
    best = p.max(axis=1)
    return np.where(p[:, HOLD] == best, HOLD, np.where(p[:, SELL] == best, SELL, BUY)).astype(
        np.int8
    )


def _shares(classes: NDArray[np.int8]) -> tuple[float, float, float]:
    sell, hold, buy = np.bincount(classes, minlength=3) / max(1, len(classes))
    return float(sell), float(hold), float(buy)


def _steps(walks: Mapping[str, Walk], buys: Mapping[str, BoolArray]) -> tuple[StepForecast, ...]:
    """What the BUYs of each confidence step became, highest step first."""
    by_step: dict[Decimal, list[Outcome]] = {start: [] for start in STEP_STARTS}
    for market, w in walks.items():
        p_buy = w.predictions.p[:, BUY]
        for row in np.flatnonzero(buys[market] & (w.label >= 0)):
            start = next(s for s in STEP_STARTS if p_buy[row] >= float(s))
            by_step[start].append(
                Outcome(
                    day=from_us(int(w.predictions.open_time[row].astype(np.int64))).date(),
                    net=float(w.long_net[row]),
                    claimed=float(p_buy[row]),
                    came_true=bool(w.label[row] == BUY),
                )
            )
    return tuple(_step(start, found) for start, found in by_step.items())


def _step(start: Decimal, found: Sequence[Outcome]) -> StepForecast:
    seen = evidence(found)
    return StepForecast(float(start), seen.signals, seen.claimed, seen.came_true, seen.mean_net)
