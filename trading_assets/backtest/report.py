"""What a backtest found, as one frozen value: the same for Dagster, MLflow, files and the terminal.

Here: the shape, and the few numbers that follow from others. Not here: how it is measured
(`measure.py`, `assess.py`), how it is printed (`report_text.py`) or drawn (`reporting/charts.py`).
What each number means, and does not prove, is in docs/evaluation.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np

from trading_assets.backtest import documents
from trading_assets.backtest.documents import Number
from trading_assets.backtest.overfitting import DeflatedSharpe, Overfitting
from trading_assets.backtest.statistics import Interval

SYNTHETIC = "SYNTHETIC prices"


@dataclass(frozen=True, slots=True)
class Subject:
    """What was judged, on what.

    world: whose prices. prices: what they are, in words for titles ("SYNTHETIC prices", ...).
    rule: when it enters and how it leaves, one line. seeds: models averaged into one prediction.
    start, end: of the judged stretch, aware UTC. candle_hash: of the candles, "" when not known.
    """

    world: str
    prices: str
    profile: str
    recipe: str
    rule: str
    markets: tuple[str, ...]
    start: datetime
    end: datetime
    interval_minutes: int
    seeds: int
    candle_hash: str = ""

    @property
    def title(self) -> str:
        return f"{self.profile} ({self.recipe}), {self.prices}, world {self.world}"


@dataclass(frozen=True, slots=True)
class Measured:
    """One simulated account.

    Per trade in basis points (1e-4) of the funds: gross before slippage and fees, net after. A hit
    ends above 0 net. account_return, max_drawdown: ratios over the whole stretch. mean_exposure:
    mean share of the equity that was paid for what was held. sharpe, sortino: of daily returns, 365
    days a year. ends: trades by how they ended. refusals: BUYs that the trader's rules stopped, by
    funnel code.
    """

    trades: int
    trades_a_day: Interval
    hit_rate: Interval
    gross_bp: Interval
    net_bp: Interval
    account_return: float
    max_drawdown: float
    mean_exposure: float
    sharpe: Interval
    sortino: Interval
    ends: Mapping[str, int]
    refusals: Mapping[str, int]
    halts: int


@dataclass(frozen=True, slots=True)
class CostVariant:
    """The same signals at a round trip of at least `round_trip_bp`."""

    round_trip_bp: float
    measured: Measured


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """Each seed's model alone: its net per trade and its number of trades."""

    net_bp: tuple[Number, ...]
    trades: tuple[int, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.net_bp))

    @property
    def sd(self) -> float:
        return float(np.std(self.net_bp, ddof=1)) if len(self.net_bp) > 1 else float("nan")


@dataclass(frozen=True, slots=True)
class BestWeeks:
    """The trades that are left without the `weeks` most profitable weeks."""

    weeks: int
    trades: int
    net_bp: Number


@dataclass(frozen=True, slots=True)
class Luck:
    """What as many entries earn without knowing anything, over `draws` repetitions.

    net_bp: of each repetition, per trade. trades: their mean number; the account refuses some.
    reached: share of the repetitions that earned as much per trade as the real one or more.
    """

    net_bp: tuple[Number, ...]
    trades: float
    reached: Number

    @property
    def draws(self) -> int:
        return len(self.net_bp)

    @property
    def p_value(self) -> float:
        """How probable so good a result is without knowing anything: the real one counts as a draw.

        Source: Davison and Hinkley (1997), Bootstrap Methods and their Application, eq. 4.11.
        """
        known = int(np.isfinite(self.net_bp).sum())
        return (self.reached * known + 1) / (known + 1)

    @property
    def mean(self) -> float:
        return float(np.nanmean(self.net_bp))

    @property
    def sd(self) -> float:
        return float(np.nanstd(self.net_bp, ddof=1))

    @property
    def largest(self) -> float:
        return float(np.nanmax(self.net_bp))


@dataclass(frozen=True, slots=True)
class Held:
    """Equal amounts of every market bought at the start and held, one round trip paid."""

    account_return: float
    max_drawdown: float


@dataclass(frozen=True, slots=True)
class Skill:
    """How good the probabilities of one market were on all judged rows, traded or not.

    ratio_prior, ratio_volatility: log loss over that of the class prior and of the model that
    knows volatility and time of day only. auc_direction: with its 90 % interval. hold_share,
    p_hold: how often HOLD happened and how often it was promised.
    """

    market: str
    rows: int
    ratio_prior: Number
    ratio_volatility: Number
    auc_direction: Number
    auc_direction_low: Number
    auc_direction_high: Number
    ece: Number
    ece_bound: Number
    hold_share: Number
    p_hold: Number


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows of similar prediction: what was promised on average, what happened, how many."""

    promised: Number
    happened: Number
    rows: int


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the probabilities promised against what happened, on all judged rows.

    reliability: bins of p_buy against the share of BUY outcomes. deciles: tenths of the expected
    value against the mean net return of a long trade from each row, in basis points.
    """

    skill: tuple[Skill, ...]
    reliability: tuple[Bin, ...]
    deciles: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month (UTC) of the account: return and trades."""

    first: date
    account_return: float
    trades: int
    net_bp: Number


@dataclass(frozen=True, slots=True)
class Histogram:
    """Trades by net basis points. edges: (n + 1), the outermost bins hold all beyond.

    counts: for each way to end, (n) trades.
    """

    edges: tuple[float, ...]
    counts: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Curve:
    """The account at the end of each UTC day. equity: KRW. invested: mean share of the day."""

    days: tuple[date, ...]
    equity: tuple[float, ...]
    invested: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """What choosing among several settings does to the result.

    settings: names, in order. net_bp: of each. deflated: of the chosen one. overfitting: of
    choosing among those with enough trades, None with fewer than two.
    """

    settings: tuple[str, ...]
    net_bp: tuple[Number, ...]
    chosen: str
    deflated: DeflatedSharpe
    overfitting: Overfitting | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is known about one rule on one stretch of unseen time.

    measured: as the trader would have traded. next_open, delayed: entries at the next candle's
    open, and one hour late. None: could not be measured, or there was nothing to measure it on.
    """

    subject: Subject
    measured: Measured
    next_open: Measured
    delayed: Measured
    costs: tuple[CostVariant, ...]
    seeds: SeedSpread | None
    without_best: BestWeeks
    placebo: Luck | None
    random: Luck | None
    held: Held
    months: tuple[Month, ...]
    histogram: Histogram
    curve: Curve
    predicted: Predicted | None = None
    search: Search | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; NaN becomes null."""
        return documents.to_json(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Report":
        """The inverse of `to_json`. Raises pydantic's ValidationError."""
        return documents.from_json(cls, document)

    def metrics(self) -> dict[str, float]:
        """The numbers that are compared, by flat names, for MLflow and metadata; no NaN."""
        flat: dict[str, float] = {}
        for name, measured in (
            ("", self.measured),
            ("next_open_", self.next_open),
            ("delayed_", self.delayed),
            *((f"cost_{v.round_trip_bp:g}_", v.measured) for v in self.costs),
        ):
            flat |= {f"{name}{key}": value for key, value in _numbers(measured).items()}
        flat["without_best_weeks_net_bp"] = self.without_best.net_bp
        flat["held_return"] = self.held.account_return
        if self.seeds is not None:
            flat |= {"seeds_net_bp": self.seeds.mean, "seeds_net_bp_sd": self.seeds.sd}
        for name, luck in (("placebo", self.placebo), ("random", self.random)):
            if luck is not None:
                flat |= {
                    f"{name}_net_bp": luck.mean,
                    f"{name}_net_bp_sd": luck.sd,
                    f"{name}_net_bp_max": luck.largest,
                    f"{name}_reached": luck.reached,
                }
        if self.search is not None:
            flat["deflated_sharpe"] = self.search.deflated.probability
            if self.search.overfitting is not None:
                flat["overfitting"] = self.search.overfitting.probability
        return {name: float(value) for name, value in flat.items() if np.isfinite(value)}


def _numbers(measured: Measured) -> dict[str, float]:
    return {
        "trades": measured.trades,
        "trades_a_day": measured.trades_a_day.value,
        "hit_rate": measured.hit_rate.value,
        "gross_bp": measured.gross_bp.value,
        "net_bp": measured.net_bp.value,
        "net_bp_low": measured.net_bp.low,
        "net_bp_high": measured.net_bp.high,
        "account_return": measured.account_return,
        "max_drawdown": measured.max_drawdown,
        "mean_exposure": measured.mean_exposure,
        "sharpe": measured.sharpe.value,
        "sortino": measured.sortino.value,
    }
