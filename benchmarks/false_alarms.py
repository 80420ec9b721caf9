"""How often the live checks of signals cry wolf, and how soon they notice a sick model.

The walk-forward of `swing` on recorded hourly candles is replayed as if it were live: at the
beginning of each of its last twelve months a forecast is made of the predictions before it, and the
checks (HOLD share, entropy, confidence, silence of signals) are asked at every hour of the month
with the rows that they would read from the database. Each prediction was made by a model that had
not seen its candle, so nothing is sick here and every alarm is a false one.

Then a model breaks at the beginning of each month: from there on its probabilities are others. How
long until a check fails (which writes an alert) or warns? The healthy model is asked the same
question, because it too may fail by chance.

Before that: what the forecast of all predictions says, by rule.

Not replayed: the silence of trades, which needs the account; the confidence steps and the drift of
inputs, whose evidence is months and whose reference is a stored model; the ages of model and
candles, which have limits of their own (retraining after 24 hours, no entries after 48, candles two
intervals old).

    python benchmarks/false_alarms.py [--folder ../shared/data/candles] [--cache data/results]
"""

import argparse
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from inputs.recordings import ROOT, SHARED, hourly, is_missing, world_of

from trading_assets.backtest.cadence import Cadence
from trading_assets.backtest.decisions import decisions
from trading_assets.backtest.forecast import Walk, forecast, quiet_rows, walk
from trading_assets.backtest.predictions import Predictions, PredictionStore, expected_values
from trading_assets.backtest.profile_forecast import forecast_of
from trading_assets.backtest.study import Study, predict
from trading_assets.backtest.walked_forward import WalkedForward
from trading_assets.candles.frame import FloatArray, from_us
from trading_assets.candles.series import CandleSeries
from trading_assets.clock import SystemClock
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.rules.check import Level
from trading_assets.rules.profile import Profile
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.settings import ProfileName, Settings
from trading_assets.signals.bands import Predicted, check_predictions
from trading_assets.signals.drought import Quiet, check_signal_drought
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.forecast import DROUGHT_HOURS, Forecast

START = datetime(2023, 1, 1, tzinfo=UTC)
END = datetime(2100, 1, 1, tzinfo=UTC)
MONTHS = 12
READ_HOURS = DROUGHT_HOURS + 2  # what `signals.health` reads
LONGEST_HOURS = 14 * 24
CHECKS = (Check.HOLD_SHARE, Check.ENTROPY, Check.CONFIDENCE, Check.SIGNAL_DROUGHT)
TOGETHER = "all together"  # any check of all markets together
Sickness = Callable[[FloatArray, np.random.Generator], FloatArray]


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """What a system would have stored: of each market, on the hours that all have; (n, 3), (n,)."""

    times: tuple[datetime, ...]
    p: Mapping[str, FloatArray]
    buys: Mapping[str, np.ndarray]

    def rows(self, end: int) -> list[Predicted]:
        """The last hours' predictions at hour `end`."""
        first = self.times[end] - timedelta(hours=READ_HOURS - 1)
        found = []
        for i in range(max(0, end - READ_HOURS + 1), end + 1):
            if self.times[i] >= first:
                found += [Predicted(m, self.times[i], *of[i].tolist()) for m, of in self.p.items()]
        return found

    def silences(self) -> dict[str, FloatArray]:
        """Hours since the last BUY, at every hour."""
        every = np.sum(list(self.buys.values()), axis=0)
        counts = {**self.buys, ALL_MARKETS: every}
        return {m: quiet_rows(of.astype(np.float64)) for m, of in counts.items()}


@dataclass(slots=True)
class Alarms:
    """Hours asked, hours with a warning or worse, with a failure, and alerts written; by check."""

    hours: int = 0
    warned: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)


def main() -> None:
    chosen = _options()
    if is_missing(chosen.folder):
        return
    settings = Settings()
    shipped = profile(settings, ProfileName.SWING)
    series = hourly(chosen.folder, settings.markets)
    world = world_of(chosen.folder)
    study = Study(shipped, shipped, settings.recipe, "swing")
    store = PredictionStore(chosen.cache / world, world)
    made = predict(study, series, settings, store, start=START, end=END)
    walked = WalkedForward(shipped, made, series, {})
    tell_expected(forecast_of(settings, walked, SystemClock().now()))
    walks = walks_of(made, series, shipped, settings)
    months = last_months(made)
    healthy = live(walks, shipped)
    forecasts = {month: forecast_before(walks, shipped, month) for month, _ in months}
    tell_false(healthy, forecasts, months)
    tell_sick(healthy, walks, shipped, forecasts)


def walks_of(
    made: Sequence[Predictions],
    series: Mapping[str, CandleSeries],
    shipped: Profile,
    settings: Settings,
) -> dict[str, Walk]:
    charges = costs(settings)
    return {
        p.market: walk(
            p,
            make_labels(series[p.market], shipped, charges, ewm_sigma(series[p.market])),
            shipped,
            charges,
        )
        for p in made
    }


def last_months(made: Sequence[Predictions]) -> list[tuple[datetime, datetime]]:
    """The last whole months, each with its end."""
    first = max(from_us(int(p.open_time[0].astype(np.int64))) for p in made)
    last = min(from_us(int(p.closes[-1].astype(np.int64))) for p in made)
    moments = Cadence.parse("1mo").moments(first, last)
    return list(itertools.pairwise(moments))[-MONTHS:]


def live(walks: Mapping[str, Walk], shipped: Profile) -> Live:
    """The walk-forward as stored signals. A BUY that only the choice withheld is a BUY here."""
    shared = None
    for w in walks.values():
        times = w.predictions.open_time
        shared = times if shared is None else np.intersect1d(shared, times)
    assert shared is not None
    p, buys = {}, {}
    for market, w in walks.items():
        at = np.searchsorted(w.predictions.open_time, shared)
        p[market] = w.predictions.p[at]
        buys[market] = buys_of(w, w.predictions.p, shipped)[at]
    return Live(tuple(from_us(int(t)) for t in shared.astype(np.int64)), p, buys)


def buys_of(w: Walk, p: FloatArray, shipped: Profile) -> np.ndarray:
    """Where the profile's rule says BUY to probabilities `p` of this walk's rows."""
    of = w.predictions
    ev_long, ev_short = expected_values(p, of.fold, [fold.returns for fold in of.folds])
    least = float(shipped.min_confidence)
    return np.asarray(decisions(p, ev_long, ev_short, least, w.min_ev_net).buy)


def forecast_before(walks: Mapping[str, Walk], shipped: Profile, moment: datetime) -> Forecast:
    """What was expected when only the predictions before `moment` were there."""
    earlier = {}
    for market, w in walks.items():
        predictions = w.predictions.between(START, moment)
        n = len(predictions)
        earlier[market] = Walk(predictions, w.min_ev_net[:n], w.label[:n], w.long_net[:n])
    return forecast(earlier, shipped, made_at=moment)


def findings(
    stored: Live, silences: Mapping[str, FloatArray], expected: Forecast, hour: int
) -> Iterator[Finding]:
    """What the live checks say at the close of this hour."""
    yield from check_predictions(stored.rows(hour), expected)
    quiet = [Quiet(m, int(of[hour]), ever=True) for m, of in silences.items()]
    yield from check_signal_drought(quiet, expected)


def tell_expected(expected: Forecast) -> None:
    """Signals and trades of all markets together, by rule."""
    whole = expected.whole
    print(
        f"expected of {expected.profile}, all markets together, {whole.first:%Y-%m} to "
        f"{whole.last:%Y-%m} ({whole.rows} hours)"
    )
    print(
        f"  rule       BUY a day   none in {DROUGHT_HOURS} h   trades a day   none in "
        f"{DROUGHT_HOURS} h   silence of BUY: 5 %, 1 %, longest   warns, fails after"
    )
    for name, rate in whole.rates.items():
        quiet = rate.signal_silence
        silence = f"{quiet.five:.0f} h, {quiet.one:.0f} h, {quiet.longest:.0f} h"
        print(
            f"  {name:10} {rate.signals_a_day:9.2f} {rate.no_signal:14.0%} "
            f"{rate.trades_a_day:14.2f} {rate.no_trade:14.0%} {silence:>34}"
            f"   {quiet.warn:.0f} h, {quiet.error:.0f} h"
        )
    own = whole.rate.trade_silence
    assert own is not None
    print(
        f"  silence of trades, the profile's rule: {own.five:.0f} h, {own.one:.0f} h, longest "
        f"{own.longest:.0f} h; a BUY that waits for a trade fails after {own.error:.0f} h"
    )
    for market, of in expected.markets.items():
        quiet = of.rate.signal_silence
        print(
            f"  {market or 'together':10} {of.rate.signals_a_day:.2f} BUY a day, none in "
            f"{DROUGHT_HOURS} h {of.rate.no_signal:.0%}, warns after {quiet.warn:.0f} h, bound of "
            f"1 % {quiet.error:.0f} h"
        )
    print()


# --- a healthy model ------------------------------------------------------------------------


def tell_false(
    healthy: Live,
    forecasts: Mapping[datetime, Forecast],
    months: Sequence[tuple[datetime, datetime]],
) -> None:
    alarms, silences = Alarms(), healthy.silences()
    written: set[tuple[str, str, str]] = set()
    failed_days: set[str] = set()
    for start, end in months:
        for hour, time in enumerate(healthy.times):
            if not start <= time < end:
                continue
            count(alarms, findings(healthy, silences, forecasts[start], hour), time, written)
            failed_days |= {day for _, _, day in written}
    days = alarms.hours / 24
    print(
        f"a healthy model: {months[0][0]:%Y-%m} to {months[-1][0]:%Y-%m}, {alarms.hours} hours, "
        f"{len(healthy.p)} markets"
    )
    print("  check              hours with a warning   with a failure   alerts a month")
    for name in ("any", *(check.value for check in CHECKS), TOGETHER):
        print(
            f"  {name:18} {alarms.warned[name] / alarms.hours:20.1%} "
            f"{alarms.failed[name] / alarms.hours:16.1%} {alarms.alerts[name] / days * 30:16.1f}"
        )
    print(f"  days with an alert: {len(failed_days)} of {days:.0f}")
    print()


def count(
    alarms: Alarms,
    found: Iterator[Finding],
    time: datetime,
    written: set[tuple[str, str, str]],
) -> None:
    """An hour warns or fails when any market does; an alert is written once a check, market and
    day (`signals.health.alert_findings`)."""
    alarms.hours += 1
    levels: dict[str, set[Level]] = {}
    for finding in found:
        levels.setdefault(finding.check.value, set()).add(finding.level)
        if finding.market == ALL_MARKETS:
            levels.setdefault(TOGETHER, set()).add(finding.level)
        key = (finding.check.value, finding.market, f"{time:%Y-%m-%d}")
        if finding.level is Level.FAIL and key not in written:
            written.add(key)
            alarms.alerts["any"] += 1
            alarms.alerts[finding.check.value] += 1
            alarms.alerts[TOGETHER] += finding.market == ALL_MARKETS
    levels["any"] = set().union(*levels.values())
    for name, seen in levels.items():
        alarms.warned[name] += bool(seen - {Level.OK})
        alarms.failed[name] += Level.FAIL in seen


# --- sick ones ------------------------------------------------------------------------------


def flat(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Knows nothing: a third each, give or take half a point."""
    noise = 1 / 3 + rng.uniform(-0.005, 0.005, p.shape)
    return np.asarray(noise / noise.sum(axis=1, keepdims=True))


def unsure_hold(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Always HOLD with 34 to 40 %: the user's screen."""
    hold = rng.uniform(0.34, 0.40, len(p))
    sell = (1 - hold) * rng.uniform(0.48, 0.52, len(p))
    return np.stack([sell, hold, 1 - hold - sell], axis=1)


def sure_hold(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Always HOLD with 98 %, as a label that is always HOLD teaches."""
    return np.tile([0.01, 0.98, 0.01], (len(p), 1)) + 0 * rng.random((len(p), 1))


def over_sure(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Learnt by heart: the same opinions, three times as sure (logits x 3)."""
    del rng
    sharp = p**3
    return np.asarray(sharp / sharp.sum(axis=1, keepdims=True))


def frozen(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Inputs that stand still: the first hour's probabilities for ever."""
    del rng
    return np.tile(p[0], (len(p), 1))


def swapped(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """BUY and SELL exchanged."""
    del rng
    return np.asarray(p[:, ::-1])


def two_weeks_late(p: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Inputs of two weeks before: what it should have said then."""
    del rng
    return np.asarray(np.roll(p, 14 * 24, axis=0))


SICK: Mapping[str, Sickness] = {
    "flat probabilities": flat,
    "HOLD at 34 to 40 %": unsure_hold,
    "HOLD at 98 %": sure_hold,
    "three times too sure": over_sure,
    "inputs stand still": frozen,
    "inputs two weeks late": two_weeks_late,
    "BUY and SELL exchanged": swapped,
}


def tell_sick(
    healthy: Live,
    walks: Mapping[str, Walk],
    shipped: Profile,
    forecasts: Mapping[datetime, Forecast],
) -> None:
    print(
        f"a model that breaks at the beginning of {len(forecasts)} months: hours until the first "
        f"failure (median, longest; - not within {LONGEST_HOURS // 24} days)"
    )
    print(
        "  model                    warned within 24 h   failed within 24 h   median   longest   by"
    )
    for name in ("nothing breaks", *SICK):
        warned, failed, by = [], [], Counter[str]()
        for moment, expected in forecasts.items():
            broken = healthy
            if name in SICK:
                broken = break_at(healthy, walks, shipped, moment, SICK[name])
            first = first_alarms(broken, expected, moment)
            warned.append(first[Level.WARN][0])
            failed.append(first[Level.FAIL][0])
            by[first[Level.FAIL][1]] += 1
        print(
            f"  {name:24} {share_within(warned, 24):>18} {share_within(failed, 24):>20} "
            f"{hours_text(float(np.median(failed))):>8} {hours_text(max(failed)):>9}   "
            f"{', '.join(f'{check} {n}' for check, n in by.most_common() if check)}"
        )


def break_at(
    healthy: Live,
    walks: Mapping[str, Walk],
    shipped: Profile,
    moment: datetime,
    sickness: Sickness,
) -> Live:
    """`healthy` with other probabilities from `moment` on, and the BUYs that follow from them."""
    start = next(i for i, time in enumerate(healthy.times) if time >= moment)
    rng = np.random.default_rng(7)
    p, buys = {}, {}
    for market, w in walks.items():
        at = np.searchsorted(
            w.predictions.open_time.astype(np.int64),
            [int(t.timestamp() * 1_000_000) for t in healthy.times],
        )
        # The shift looks back over the moment: there the healthy model spoke.
        of = healthy.p[market]
        sick = (
            sickness(of, rng)[start:] if sickness is two_weeks_late else sickness(of[start:], rng)
        )
        p[market] = np.concatenate([of[:start], sick])
        whole = w.predictions.p.copy()
        whole[at] = p[market]
        buys[market] = buys_of(w, whole, shipped)[at]
    return replace(healthy, p=p, buys=buys)


def first_alarms(
    stored: Live, expected: Forecast, moment: datetime
) -> dict[Level, tuple[float, str]]:
    """Hours of the sick model until the first warning (or worse) and failure, and by which check;
    infinite and "" when there was none in time."""
    silences = stored.silences()
    start = next(i for i, time in enumerate(stored.times) if time >= moment)
    first = {Level.WARN: (np.inf, ""), Level.FAIL: (np.inf, "")}
    for hour in range(start, min(start + LONGEST_HOURS, len(stored.times))):
        for finding in findings(stored, silences, expected, hour):
            for level in (Level.WARN, Level.FAIL):
                reached = finding.level is Level.FAIL or finding.level is level
                if reached and first[level][0] == np.inf:
                    first[level] = (hour - start + 1, finding.check.value)
        if first[Level.FAIL][1]:
            break
    return first


def share_within(hours: Sequence[float], limit: float) -> str:
    return f"{sum(h <= limit for h in hours)} of {len(hours)}"


def hours_text(hours: float) -> str:
    return f"{hours:.0f} h" if np.isfinite(hours) else "-"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=SHARED)
    parser.add_argument("--cache", type=Path, default=ROOT / "data" / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
