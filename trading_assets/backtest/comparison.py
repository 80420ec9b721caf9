"""Which of several ways to predict is better, and whether the difference is more than noise.

Everybody speaks on the same candles: the challenger of the day, the champion before it, the recipes
that were not chosen and the baselines on the challenger's gate window; what served and the newest
refused challenger on live candles (`models.shadow`). Compared are log loss, row by row, and net per
trade in an account simulated with the trader's rules; both by a paired bootstrap of 3-day blocks
that hold all markets (90 % interval). Not here: the tables and MLflow's runs
(`comparison_table.py`, `models.comparison_runs`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np

from trading_assets.backtest.documents import Number
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import AccountRules, Simulation
from trading_assets.backtest.paths import market_path
from trading_assets.backtest.statistics import (
    Blocks,
    FloatArray,
    Interval,
    TimeArray,
    mean_difference_interval,
    paired_interval,
)
from trading_assets.candles.frame import from_us
from trading_assets.candles.series import CandleSeries
from trading_assets.models.candidates import CHALLENGER, Contest
from trading_assets.models.evaluation import BLOCK
from trading_assets.models.labels import Labels
from trading_assets.models.shadow import ShadowRows, refused_beside, said_at_each_candle
from trading_assets.rules.costs import Costs
from trading_assets.rules.profile import Profile

COVERAGE = 0.9
# As at the gate: with fewer blocks an interval says nothing.
LEAST_BLOCKS = 4


class Standing(StrEnum):
    """Where a difference puts somebody."""

    BETTER = "better"
    WORSE = "worse"
    NOISE = "not more than noise"
    UNKNOWN = "too little to say"


class Stage(StrEnum):
    """On which candles somebody was heard."""

    GATE = "gate window"
    LIVE = "live candles"


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """What one model said of one market. Arrays (n,), as `paths.Said`; losses: nats.

    loss_prior: of the class shares that the model was trained on.
    """

    market: str
    open_time: TimeArray
    close: FloatArray
    p: FloatArray
    ev_long: FloatArray
    ev_short: FloatArray
    stop_loss: FloatArray
    take_profit: FloatArray
    loss: FloatArray
    loss_prior: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """One way to predict, by market. name: who. recipe: how it was made."""

    name: str
    recipe: str
    lines: Mapping[str, Lines]


@dataclass(frozen=True, slots=True)
class Gain:
    """How much better than the one it is compared with: above 0 is better.

    low, high: 90 % interval over `blocks` of three days; NaN when it cannot be said.
    """

    mean: Number
    low: Number
    high: Number
    blocks: int

    @property
    def standing(self) -> Standing:
        if self.blocks < LEAST_BLOCKS or not (np.isfinite(self.low) and np.isfinite(self.high)):
            return Standing.UNKNOWN
        if self.low > 0:
            return Standing.BETTER
        return Standing.WORSE if self.high < 0 else Standing.NOISE


@dataclass(frozen=True, slots=True)
class Compared:
    """Somebody's numbers, and how they compare with the one that everybody is compared with.

    against: who that is; None for that one itself. first, last: open time of the first and last
    candle. log_loss, prior_log_loss: mean nats. net_bp: mean per trade, 1e-4. loss_gain: nats a row
    less than `against`. net_gain: bp a trade more.
    """

    profile: str
    stage: Stage
    name: str
    recipe: str
    against: str | None
    markets: tuple[str, ...]
    first: datetime
    last: datetime
    rows: int
    log_loss: Number
    prior_log_loss: Number
    trades: int
    net_bp: Number
    loss_gain: Gain | None
    net_gain: Gain | None

    @property
    def skill(self) -> float:
        """1 - log loss / that of the class prior."""
        return 1.0 - self.log_loss / self.prior_log_loss


@dataclass(slots=True)
class Arena:
    """One profile: its candles, rules and costs, and the accounts that were simulated in it.

    series: by market. seed: of resampling.
    """

    profile: Profile
    series: Mapping[str, CandleSeries]
    costs: Costs
    rules: AccountRules
    seed: int
    _accounts: dict[int, tuple[Voice, Simulation]] = field(default_factory=dict)

    def account(self, voice: Voice) -> Simulation:
        """All markets of `voice`, traded from one account; simulated once."""
        if id(voice) not in self._accounts:
            paths = [
                market_path(lines, self.series[market], self.profile, self.costs)
                for market, lines in voice.lines.items()
            ]
            # With the voice, so that its id stays its own.
            self._accounts[id(voice)] = voice, simulate(paths, self.rules, self.costs)
        return self._accounts[id(voice)][1]

    def trades(
        self, voice: Voice, candles: Mapping[str, TimeArray]
    ) -> tuple[TimeArray, FloatArray]:
        """(open time of the candle, net bp) of the trades of `voice` that began at these candles.

        candles: open times by market.
        """
        account = self.account(voice)
        trades = account.trades
        opened = trades.signal_time - np.timedelta64(self.profile.interval)
        inside = np.zeros(len(trades), dtype=np.bool_)
        for market, open_time in candles.items():
            own = trades.market == account.markets.index(market)
            inside |= own & np.isin(opened, open_time)
        return opened[inside], trades.net_bp[inside]


def compare(
    arena: Arena,
    stage: Stage,
    voice: Voice,
    against: Voice | None = None,
    markets: Sequence[str] | None = None,
) -> Compared:
    """`voice` beside `against` on the candles where both spoke; alone without `against`.

    markets: only these. Raises ValueError when there is no such candle.
    """
    heard = [
        _heard(voice.lines[market], None if against is None else against.lines[market])
        for market in voice.lines
        if (against is None or market in against.lines) and (markets is None or market in markets)
    ]
    heard = [h for h in heard if len(h.open_time)]
    if not heard:
        other = "" if against is None else f" and {against.name} have no candle in common"
        raise ValueError(f"{arena.profile.name}: {voice.name}{other or ' said nothing'}")
    together = _Heard(
        "", *(np.concatenate([getattr(h, name) for h in heard]) for name in _HEARD_ARRAYS)
    )
    candles = {h.market: h.open_time for h in heard}
    times = together.open_time
    at, net = arena.trades(voice, candles)
    gains: tuple[Gain | None, Gain | None] = None, None
    if against is not None:
        end = times.max() + np.timedelta64(arena.profile.interval)
        blocks = Blocks(times.min(), end, BLOCK)
        gains = (
            _gain(
                paired_interval(
                    times,
                    together.other_loss,
                    together.loss,
                    blocks,
                    arena.seed,
                    coverage=COVERAGE,
                )
            ),
            _gain(
                mean_difference_interval(
                    (at, net),
                    arena.trades(against, candles),
                    blocks,
                    arena.seed,
                    coverage=COVERAGE,
                )
            ),
        )
    return Compared(
        profile=arena.profile.name,
        stage=stage,
        name=voice.name,
        recipe=voice.recipe,
        against=None if against is None else against.name,
        markets=tuple(candles),
        first=from_us(int(times.min().astype(np.int64))),
        last=from_us(int(times.max().astype(np.int64))),
        rows=len(times),
        log_loss=float(together.loss.mean()),
        prior_log_loss=float(together.loss_prior.mean()),
        trades=len(net),
        net_bp=float(net.mean()) if len(net) else float("nan"),
        loss_gain=gains[0],
        net_gain=gains[1],
    )


def gate_voices(
    contests: Sequence[Contest], labels: Mapping[str, Labels], series: Mapping[str, CandleSeries]
) -> tuple[Voice, ...]:
    """Everybody of these contests (one a market, all of one profile), the challenger first.

    labels: by market, of the candles in `series`; they hold the exit terms.
    """
    voices: dict[str, dict[str, Lines]] = {}
    recipes: dict[str, str] = {}
    for one in contests:
        for candidate in one.candidates:
            recipes.setdefault(candidate.name, candidate.recipe)
            voices.setdefault(candidate.name, {})[one.market] = _lines(
                one.market,
                one.open_time,
                candidate.p,
                candidate.ev_long,
                candidate.ev_short,
                one.losses(candidate),
                one.loss_prior,
                labels[one.market],
                series[one.market],
            )
    order = sorted(voices, key=lambda name: name != CHALLENGER)
    return tuple(Voice(name, recipes[name], voices[name]) for name in order)


def live_voices(
    rows: Sequence[ShadowRows],
    labels: Mapping[str, Labels],
    series: Mapping[str, CandleSeries],
) -> tuple[Voice | None, Voice | None]:
    """(what served, the newest refused challengers) on live candles; None who never spoke.

    rows: one a market, all of one profile.
    """

    def voice(name: str, said: Sequence[ShadowRows]) -> Voice | None:
        lines = {
            s.market: _lines(
                s.market,
                s.open_time,
                s.p,
                s.ev_long,
                s.ev_short,
                s.losses,
                s.loss_prior,
                labels[s.market],
                series[s.market],
            )
            for s in said
            if len(s)
        }
        return Voice(name, "", lines) if lines else None

    served = voice("served", [said_at_each_candle(r, r.promoted) for r in rows])
    return served, voice("refused challengers", [refused_beside(r)[1] for r in rows])


def _lines(  # noqa: PLR0917  # a row of numbers, all of one shape
    market: str,
    open_time: TimeArray,
    p: FloatArray,
    ev_long: FloatArray,
    ev_short: FloatArray,
    loss: FloatArray,
    loss_prior: FloatArray,
    labels: Labels,
    series: CandleSeries,
) -> Lines:
    """With the close and the exit terms of each candle; without candles that are labelled no more.

    A correction of the candles can take a label away that was there when the model was judged.
    """
    place = np.minimum(np.searchsorted(series.open_time, open_time), len(series) - 1)
    there = (series.open_time[place] == open_time) & labels.valid[place]
    rows = place[there]
    return Lines(
        market=market,
        open_time=open_time[there],
        close=series.close[rows],
        p=p[there],
        ev_long=ev_long[there],
        ev_short=ev_short[there],
        stop_loss=labels.stop_loss[rows],
        take_profit=labels.take_profit[rows],
        loss=loss[there],
        loss_prior=loss_prior[there],
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """Rows of one market that two voices share; other_loss: of the second."""

    market: str
    open_time: TimeArray
    loss: FloatArray
    loss_prior: FloatArray
    other_loss: FloatArray


_HEARD_ARRAYS = ("open_time", "loss", "loss_prior", "other_loss")


def _heard(own: Lines, other: Lines | None) -> _Heard:
    if other is None:
        return _Heard(own.market, own.open_time, own.loss, own.loss_prior, own.loss)
    _, left, right = np.intersect1d(own.open_time, other.open_time, return_indices=True)
    return _Heard(
        own.market, own.open_time[left], own.loss[left], own.loss_prior[left], other.loss[right]
    )


def _gain(interval: Interval) -> Gain:
    return Gain(interval.value, interval.low, interval.high, interval.blocks)
