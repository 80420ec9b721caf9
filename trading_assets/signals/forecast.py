"""What to expect of the signals of a profile: the value that live checks compare with.

Measured on the out-of-sample predictions of the walk-forward and stored in the database, so that
the signal path, the doctor and a person can read it without the evaluation's code. Here: the value,
its JSON and its rows. Standard library and SQLAlchemy only. Not here: how it is measured
(`backtest.forecast`) and the checks (`bands`, `drought`, `regime`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import forecasts, read, write
from trading_assets.errors import CorruptStore
from trading_assets.rules.steps import ALL_MARKETS

# Hours of the windows over which live signals are compared with the forecast; the last one is the
# silence that people ask about.
WINDOW_HOURS = (1, 3, 6, 21, 168)
DROUGHT_HOURS = 21
# Thresholds of p_buy, beside the profile's own rule.
THRESHOLDS = (0.4, 0.5, 0.6)
PROFILE_RULE = "profile"
FORMAT = 1
# Forecasts of a profile that stay in the database, the newest ones: about a month of days.
KEPT = 30


class Statistic(StrEnum):
    """What is averaged over a window of predictions.

    HOLD_SHARE: of predictions whose most probable class is HOLD. ENTROPY: of the three
    probabilities, in units of log 3, so from 0 (sure) to 1 (knows nothing). CONFIDENCE: probability
    of the predicted class.
    """

    HOLD_SHARE = "hold_share"
    ENTROPY = "entropy"
    CONFIDENCE = "confidence"

    @property
    def is_worse_above(self) -> bool:
        """Whether the sick side is above (all HOLD); for the others it is below: predictions that
        are always the same class have little entropy, flat ones little confidence."""
        return self is Statistic.HOLD_SHARE

    def is_beyond(self, value: float, bound: float) -> bool:
        """Whether `value` lies on the sick side of `bound`, at which it does not yet."""
        return value > bound if self.is_worse_above else value < bound


def threshold_rule(threshold: float) -> str:
    """The name of the rule "p_buy is at least `threshold`, whatever the expected value"."""
    return f"p_buy_{threshold:.0%}".removesuffix("%")


@dataclass(frozen=True, slots=True)
class Silence:
    """How long it had been quiet, asked at every candle of the walk-forward; hours.

    five, one: in 5 % and in 1 % of the candles it had been quiet for longer. longest: ever. warn,
    error: bounds for alarms, those quantiles with an allowance for what earlier candles had not
    shown of later ones (`backtest.forward`).
    """

    five: float
    one: float
    longest: float
    warn: float
    error: float


@dataclass(frozen=True, slots=True)
class Rate:
    """What a rule gives. Signals are candles that say BUY, trades are what the account entered.

    signals_a_day, trades_a_day: means over the walk-forward. no_signal, no_trade: share of the
    windows of DROUGHT_HOURS without any. The trade numbers are None where no simulation was made.
    """

    signals_a_day: float
    no_signal: float
    signal_silence: Silence
    trades_a_day: float | None = None
    no_trade: float | None = None
    trade_silence: Silence | None = None

    @property
    def buys_a_day(self) -> str:
        """As people read it: `0.46 BUY a day`, `182 BUY a day`."""
        digits = ".2g" if self.signals_a_day < 10 else ".0f"
        return f"{self.signals_a_day:{digits}} BUY a day"


@dataclass(frozen=True, slots=True)
class Band:
    """What windows of one length show of one statistic.

    usual: the median. five, one: the quantiles that 5 % and 1 % of the windows were beyond, on the
    sick side. warn, error: bounds for alarms, moved out until the three statistics together warned
    in 5 % and failed in 1 % of the moments of the walk-forward when only earlier ones were known.
    A bound at the end of what is possible means that no window of this length is odd.
    """

    usual: float
    five: float
    one: float
    warn: float
    error: float


@dataclass(frozen=True, slots=True)
class StepForecast:
    """BUY signals of one confidence step in the walk-forward. p_buy: where the step begins."""

    p_buy: float
    signals: int
    claimed: float
    came_true: float
    mean_net: float


@dataclass(frozen=True, slots=True)
class MarketForecast:
    """One market, or all of them together (`market` is ALL_MARKETS).

    rows: predictions. windows: of DROUGHT_HOURS, one ending at each candle; they overlap,
    `independent` of them fit side by side. label_shares, predicted_shares: of SELL, HOLD, BUY.
    volatility: 101 percentiles (0 to 100) of the volatility per candle, empty for all markets
    together. highest_p_buy: of any prediction.
    """

    market: str
    first: datetime
    last: datetime
    rows: int
    windows: int
    independent: int
    rates: Mapping[str, Rate]
    bands: Mapping[Statistic, Mapping[int, Band]]
    label_shares: tuple[float, float, float]
    predicted_shares: tuple[float, float, float]
    volatility: tuple[float, ...]
    highest_p_buy: float
    steps: tuple[StepForecast, ...]

    @property
    def rate(self) -> Rate:
        """Of the profile's own rule."""
        return self.rates[PROFILE_RULE]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What to expect of a profile, by market and for all together.

    min_confidence, min_ev_costs: the profile's rule when it was measured.
    """

    profile: str
    recipe: str
    made_at: datetime
    interval_minutes: int
    min_confidence: Decimal
    min_ev_costs: Decimal
    markets: Mapping[str, MarketForecast]

    @property
    def interval(self) -> timedelta:
        return timedelta(minutes=self.interval_minutes)

    @property
    def whole(self) -> MarketForecast:
        return self.markets[ALL_MARKETS]

    def candles(self, hours: int) -> int:
        """How many candles make a window of so many hours, at least one."""
        return max(1, hours * 60 // self.interval_minutes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` gives it back exactly."""
        return {
            "format": FORMAT,
            "profile": self.profile,
            "recipe": self.recipe,
            "made_at": self.made_at.isoformat(),
            "interval_minutes": self.interval_minutes,
            "min_confidence": str(self.min_confidence),
            "min_ev_costs": str(self.min_ev_costs),
            "markets": [_market_to_json(m) for m in self.markets.values()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Back from `to_json`. Raises CorruptStore naming what is missing."""
        if data.get("format") != FORMAT:
            raise CorruptStore(f"a forecast's format must be {FORMAT}, was {data.get('format')}")
        try:
            markets = [_market_from_json(m) for m in data["markets"]]
            return cls(
                profile=data["profile"],
                recipe=data["recipe"],
                made_at=datetime.fromisoformat(data["made_at"]),
                interval_minutes=data["interval_minutes"],
                min_confidence=Decimal(data["min_confidence"]),
                min_ev_costs=Decimal(data["min_ev_costs"]),
                markets={m.market: m for m in markets},
            )
        except (KeyError, TypeError, ValueError) as exc:
            raise CorruptStore(f"not a stored forecast: {exc!r}") from exc


def store_forecast(engine: Engine, forecast: Forecast) -> None:
    """Keep `forecast`; the newest of a profile counts, KEPT of them stay for a person to compare.

    One is made a day and profile, and a document is as large as many rows of signals.
    """
    newest = (
        sa.select(forecasts.c.id)
        .where(forecasts.c.profile == forecast.profile)
        .order_by(forecasts.c.made_at.desc(), forecasts.c.id.desc())
        .limit(KEPT)
    )
    with write(engine) as connection:
        connection.execute(
            forecasts.insert().values(
                profile=forecast.profile,
                made_at=forecast.made_at,
                document=forecast.to_json(),
            )
        )
        connection.execute(
            forecasts.delete().where(
                forecasts.c.profile == forecast.profile, forecasts.c.id.not_in(newest)
            )
        )


def latest_forecast(engine: Engine, profile: str) -> Forecast | None:
    """The newest forecast of `profile`, None before the first evaluation."""
    query = (
        sa.select(forecasts.c.document)
        .where(forecasts.c.profile == profile)
        .order_by(forecasts.c.made_at.desc(), forecasts.c.id.desc())
        .limit(1)
    )
    with read(engine) as connection:
        document = connection.execute(query).scalar_one_or_none()
    return None if document is None else Forecast.from_json(document)


def _market_to_json(market: MarketForecast) -> dict[str, Any]:
    return {
        "market": market.market,
        "first": market.first.isoformat(),
        "last": market.last.isoformat(),
        "rows": market.rows,
        "windows": market.windows,
        "independent": market.independent,
        "rates": {name: _rate_to_json(rate) for name, rate in market.rates.items()},
        "bands": {
            statistic.value: {str(hours): _values(band) for hours, band in by_hours.items()}
            for statistic, by_hours in market.bands.items()
        },
        "label_shares": list(market.label_shares),
        "predicted_shares": list(market.predicted_shares),
        "volatility": list(market.volatility),
        "highest_p_buy": market.highest_p_buy,
        "steps": [_values(step) for step in market.steps],
    }


def _market_from_json(data: Mapping[str, Any]) -> MarketForecast:
    return MarketForecast(
        market=data["market"],
        first=datetime.fromisoformat(data["first"]),
        last=datetime.fromisoformat(data["last"]),
        rows=data["rows"],
        windows=data["windows"],
        independent=data["independent"],
        rates={name: _rate_from_json(rate) for name, rate in data["rates"].items()},
        bands={
            Statistic(name): {int(hours): Band(**band) for hours, band in by_hours.items()}
            for name, by_hours in data["bands"].items()
        },
        label_shares=_three(data["label_shares"]),
        predicted_shares=_three(data["predicted_shares"]),
        volatility=tuple(data["volatility"]),
        highest_p_buy=data["highest_p_buy"],
        steps=tuple(StepForecast(**step) for step in data["steps"]),
    )


def _rate_to_json(rate: Rate) -> dict[str, Any]:
    silence = rate.trade_silence
    return {
        **_values(rate),
        "signal_silence": _values(rate.signal_silence),
        "trade_silence": None if silence is None else _values(silence),
    }


def _rate_from_json(data: Mapping[str, Any]) -> Rate:
    silence = data["trade_silence"]
    return Rate(
        **{
            **data,
            "signal_silence": Silence(**data["signal_silence"]),
            "trade_silence": None if silence is None else Silence(**silence),
        }
    )


def _values(value: Rate | Silence | Band | StepForecast) -> dict[str, Any]:
    return {name: getattr(value, name) for name in type(value).__slots__}


def _three(values: list[float]) -> tuple[float, float, float]:
    sell, hold, buy = values
    return float(sell), float(hold), float(buy)
