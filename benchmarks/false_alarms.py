"""How often the live checks of signals cry wolf, and how soon they notice a sick model.

A walk-forward is replayed as if it were live: `swing` on recorded hourly candles, or `scalp` on the
synthetic market. At the beginning of each of its last twelve months (four weeks of `scalp`) a
forecast is made of the predictions before it, and the checks (HOLD share, entropy, confidence,
silence of signals, BUYs that become no trade) are asked at every hour with the rows that they would
read from the database. Each prediction was made by a model that had not seen its candle, and each
BUY went to a simulated account, so nothing is sick here and every alarm is a false one.

Then something breaks at the beginning of each month: from there on a model's probabilities are
others, or no BUY is carried out. How long until a check fails (which writes an alert) or warns? The
healthy system is asked the same question, because it too may fail by chance.

Before that: what the forecast of all predictions says, by rule.

Not replayed: the confidence steps, whose evidence is months; the drift of inputs, whose reference
is a stored model (`feature_drift.py`); the ages of model and candles, which have limits of their
own (retraining after 24 hours, no entries after 48, candles two intervals old).

    python benchmarks/false_alarms.py [--profile scalp] [--cache data/results]
"""

import argparse
import itertools
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
from inputs import recordings, synthetic
from inputs.recordings import ROOT, SHARED

from trading_assets.backtest.account.records import OUTCOMES
from trading_assets.backtest.cadence import Cadence
from trading_assets.backtest.decisions import decisions
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.forecast import Walk, forecast, quiet_rows, walk
from trading_assets.backtest.paths import account_rules, market_path
from trading_assets.backtest.predictions import PredictionStore, expected_values
from trading_assets.backtest.profile_forecast import account_of, forecast_of
from trading_assets.backtest.study import Study, predict
from trading_assets.backtest.walked_forward import WalkedForward
from trading_assets.candles.frame import FloatArray, from_us
from trading_assets.clock import SystemClock
from trading_assets.features.volatility import ewm_sigma
from trading_assets.models.labels import make_labels
from trading_assets.models.profiles import costs, profile
from trading_assets.rules.check import Level
from trading_assets.rules.funnel import FunnelCode
from trading_assets.rules.profile import Profile
from trading_assets.rules.steps import ALL_MARKETS
from trading_assets.settings import ProfileName, Settings
from trading_assets.signals.bands import Predicted, check_predictions
from trading_assets.signals.drought import (
    Ended,
    Quiet,
    check_signal_drought,
    check_trade_drought,
)
from trading_assets.signals.findings import Check, Finding
from trading_assets.signals.forecast import DROUGHT_HOURS, Forecast
from trading_assets.signals.health import looked_at
from trading_assets.signals.recent import ENDS_LOOKED_AT

START = datetime(2023, 1, 1, tzinfo=UTC)
END = datetime(2100, 1, 1, tzinfo=UTC)
CHECKS = (
    Check.HOLD_SHARE,
    Check.ENTROPY,
    Check.CONFIDENCE,
    Check.SIGNAL_DROUGHT,
    Check.TRADE_DROUGHT,
)
TOGETHER = "all together"  # any check of all markets together
# What a model says, from all it has said: p (n, 3), the row from which it is sick, a generator.
Sickness = Callable[[FloatArray, int, np.random.Generator], FloatArray]


@dataclass(frozen=True, slots=True)
class Replay:
    """What is replayed of a profile. parts: so many last ones of `cadence`, a forecast at each.

    followed: how long a broken system is watched; two weeks, where the parts leave so many.
    """

    cadence: str
    parts: int
    followed: timedelta


REPLAYS = {
    ProfileName.SWING: Replay("1mo", 12, timedelta(days=14)),
    ProfileName.SCALP: Replay("7d", 4, timedelta(days=7)),
}


@dataclass(frozen=True, eq=False)
class Live:
    """What a system would have stored: of each market, on the candles that all have; (n, 3), (n,).

    ends: of its BUYs, oldest first.
    """

    profile: Profile
    times: tuple[datetime, ...]
    p: Mapping[str, FloatArray]
    buys: Mapping[str, np.ndarray]
    ends: tuple[Ended, ...]

    def asked(self, start: datetime, end: datetime) -> list[int]:
        """The candles of a stretch at whose close the checks are asked: every full hour, as in
        Dagster's `check_signals`."""
        return [
            i
            for i, time in enumerate(self.times)
            if start <= time < end and self.close(i).minute == 0
        ]

    def close(self, row: int) -> datetime:
        return self.times[row] + self.profile.interval

    def first(self, moment: datetime) -> int:
        """The first candle that opens at or after `moment`."""
        return next(i for i, time in enumerate(self.times) if time >= moment)

    def rows(self, row: int) -> list[Predicted]:
        """The predictions that the checks read at the close of candle `row`."""
        since = self.close(row) - looked_at(self.profile.interval)
        first = bisect_right(self.times, since)
        return list(itertools.chain.from_iterable(self._predicted[first : row + 1]))

    def ended(self, now: datetime) -> Sequence[Ended]:
        """Those since the last trade (with it), as `signals.recent.ends`."""
        end = bisect_right(self._ended_at, now)
        start = bisect_right(self._ended_at, now - ENDS_LOOKED_AT)
        known = self.ends[start:end]
        traded = [i for i, one in enumerate(known) if one.code is FunnelCode.TRADED]
        return known[traded[-1] :] if traded else known

    @cached_property
    def _predicted(self) -> list[list[Predicted]]:
        values = {market: p.tolist() for market, p in self.p.items()}
        return [
            [Predicted(market, time, *of[i]) for market, of in values.items()]
            for i, time in enumerate(self.times)
        ]

    @cached_property
    def _ended_at(self) -> list[datetime]:
        return [one.at for one in self.ends]

    @cached_property
    def silences(self) -> dict[str, FloatArray]:
        """Candles since the last BUY, at every candle."""
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
    settings, name = Settings(), ProfileName(chosen.profile)
    if name is ProfileName.SWING and recordings.is_missing(chosen.folder):
        return
    walked = walk_forward(settings, name, chosen.folder, chosen.cache)
    tell_expected(forecast_of(settings, walked, SystemClock().now()))
    walks = walks_of(walked, settings)
    parts = last_parts(walked, REPLAYS[name])
    healthy = live(walked, walks, settings)
    forecasts = {start: forecast_before(walked, walks, start, settings) for start, _ in parts}
    tell_false(healthy, forecasts, parts)
    tell_sick(healthy, walks, forecasts, REPLAYS[name].followed)


def walk_forward(settings: Settings, name: ProfileName, folder: Path, cache: Path) -> WalkedForward:
    """The recorded hours for `swing`, the synthetic market for `scalp`."""
    shipped = profile(settings, name)
    if name is ProfileName.SWING:
        series, world = recordings.hourly(folder, settings.markets), recordings.world_of(folder)
    else:
        series, world = synthetic.five_minutes(settings), synthetic.world_of(settings)
    study = Study(shipped, shipped, settings.recipe, name.value)
    store = PredictionStore(cache / world, world)
    made = predict(study, series, settings, store, start=START, end=END)
    return WalkedForward(shipped, made, series, {})


def walks_of(walked: WalkedForward, settings: Settings) -> dict[str, Walk]:
    charges, found = costs(settings), {}
    for p in walked.predictions:
        series = walked.series[p.market]
        labels = make_labels(series, walked.profile, charges, ewm_sigma(series))
        found[p.market] = walk(p, labels, walked.profile, charges)
    return found


def last_parts(walked: WalkedForward, replay: Replay) -> list[tuple[datetime, datetime]]:
    """The last whole parts, each with its end."""
    made = walked.predictions
    first = max(from_us(int(p.open_time[0].astype(np.int64))) for p in made)
    last = min(from_us(int(p.closes[-1].astype(np.int64))) for p in made)
    moments = Cadence.parse(replay.cadence).moments(first, last)
    return list(itertools.pairwise(moments))[-replay.parts :]


def live(walked: WalkedForward, walks: Mapping[str, Walk], settings: Settings) -> Live:
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
        buys[market] = buys_of(w, w.predictions.p, walked.profile)[at]
    opened = tuple(from_us(int(t)) for t in shared.astype(np.int64))
    return Live(walked.profile, opened, p, buys, ends_of(walked, settings))


def ends_of(walked: WalkedForward, settings: Settings) -> tuple[Ended, ...]:
    """How each BUY ended in one account over all markets."""
    charges = costs(settings)
    paths = [
        market_path(p, walked.series[p.market], walked.profile, charges) for p in walked.predictions
    ]
    account = simulate(paths, account_rules(settings), charges)
    of = account.candidates
    found = [
        Ended(account.markets[m], OUTCOMES[outcome], from_us(int(at)))
        for m, at, outcome in zip(
            of.market, of.signal_time.astype(np.int64), of.outcome, strict=True
        )
    ]
    return tuple(sorted(found, key=lambda end: end.at))


def buys_of(w: Walk, p: FloatArray, shipped: Profile) -> np.ndarray:
    """Where the profile's rule says BUY to probabilities `p` of this walk's rows."""
    of = w.predictions
    ev_long, ev_short = expected_values(p, of.fold, [fold.returns for fold in of.folds])
    least = float(shipped.min_confidence)
    return np.asarray(decisions(p, ev_long, ev_short, least, w.min_ev_net).buy)


def forecast_before(
    walked: WalkedForward, walks: Mapping[str, Walk], moment: datetime, settings: Settings
) -> Forecast:
    """What was expected when only the predictions before `moment` were there."""
    earlier = {}
    for market, w in walks.items():
        predictions = w.predictions.between(START, moment)
        n = len(predictions)
        earlier[market] = Walk(predictions, w.min_ev_net[:n], w.label[:n], w.long_net[:n])
    cut = replace(walked, predictions=tuple(w.predictions for w in earlier.values()))
    account = account_of(cut, account_rules(settings), costs(settings))
    return forecast(earlier, walked.profile, made_at=moment, trades_of=account)


def findings(stored: Live, expected: Forecast, row: int) -> Iterator[Finding]:
    """What the live checks say at the close of candle `row`."""
    now = stored.close(row)
    yield from check_predictions(stored.rows(row), expected)
    quiet = [Quiet(m, int(of[row]), ever=True) for m, of in stored.silences.items()]
    yield from check_signal_drought(quiet, expected)
    yield check_trade_drought(stored.ended(now), now, expected)


def tell_expected(expected: Forecast) -> None:
    """Signals and trades of all markets together, by rule."""
    whole = expected.whole
    print(
        f"expected of {expected.profile}, all markets together, {whole.first:%Y-%m} to "
        f"{whole.last:%Y-%m} ({whole.rows} candles)"
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
    parts: Sequence[tuple[datetime, datetime]],
) -> None:
    alarms = Alarms()
    written: set[tuple[str, str, str]] = set()
    for start, end in parts:
        for row in healthy.asked(start, end):
            count(alarms, findings(healthy, forecasts[start], row), healthy.close(row), written)
    days, failed_days = alarms.hours / 24, {day for _, _, day in written}
    print(
        f"a healthy system: {parts[0][0]:%Y-%m-%d} to {parts[-1][1]:%Y-%m-%d}, {alarms.hours} "
        f"hours, {len(healthy.p)} markets"
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


def flat(p: FloatArray, start: int, rng: np.random.Generator) -> FloatArray:
    """Knows nothing: a third each, give or take half a point."""
    noise = 1 / 3 + rng.uniform(-0.005, 0.005, p[start:].shape)
    return np.asarray(noise / noise.sum(axis=1, keepdims=True))


def unsure_hold(p: FloatArray, start: int, rng: np.random.Generator) -> FloatArray:
    """Always HOLD with 34 to 40 %: the user's screen."""
    n = len(p) - start
    hold = rng.uniform(0.34, 0.40, n)
    sell = (1 - hold) * rng.uniform(0.48, 0.52, n)
    return np.stack([sell, hold, 1 - hold - sell], axis=1)


def sure_hold(p: FloatArray, start: int, rng: np.random.Generator) -> FloatArray:
    """Always HOLD with 98 %, as a label that is always HOLD teaches."""
    del rng
    return np.tile([0.01, 0.98, 0.01], (len(p) - start, 1))


def over_sure(p: FloatArray, start: int, rng: np.random.Generator) -> FloatArray:
    """Learnt by heart: the same opinions, three times as sure (logits x 3)."""
    del rng
    sharp = p[start:] ** 3
    return np.asarray(sharp / sharp.sum(axis=1, keepdims=True))


def frozen(p: FloatArray, start: int, rng: np.random.Generator) -> FloatArray:
    """Inputs that stand still: the first hour's probabilities for ever."""
    del rng
    return np.tile(p[start], (len(p) - start, 1))


def swapped(p: FloatArray, start: int, rng: np.random.Generator) -> FloatArray:
    """BUY and SELL exchanged."""
    del rng
    return np.asarray(p[start:, ::-1])


def late_by(candles: int) -> Sickness:
    """Inputs of so many candles before: what it should have said then."""

    def late(p: FloatArray, start: int, rng: np.random.Generator) -> FloatArray:
        del rng
        return np.asarray(np.roll(p, candles, axis=0)[start:])

    return late


def sicknesses(shipped: Profile) -> Mapping[str, Sickness]:
    fortnight = timedelta(days=14) // shipped.interval
    return {
        "flat probabilities": flat,
        "HOLD at 34 to 40 %": unsure_hold,
        "HOLD at 98 %": sure_hold,
        "three times too sure": over_sure,
        "inputs stand still": frozen,
        "inputs two weeks late": late_by(fortnight),
        "BUY and SELL exchanged": swapped,
    }


def tell_sick(
    healthy: Live,
    walks: Mapping[str, Walk],
    forecasts: Mapping[datetime, Forecast],
    followed: timedelta,
) -> None:
    print(
        f"something breaks at the beginning of {len(forecasts)} months or weeks: hours until the "
        f"first failure (median, longest; - not within {followed.days} days)"
    )
    print(
        "  what breaks              warned within 24 h   failed within 24 h   median   longest   by"
    )
    sick = sicknesses(healthy.profile)
    for name in ("nothing breaks", *sick, "no BUY is carried out"):
        warned, failed, by = [], [], Counter[str]()
        for moment, expected in forecasts.items():
            broken = healthy
            if name in sick:
                broken = break_at(healthy, walks, moment, sick[name])
            elif name.startswith("no BUY"):
                broken = replace(healthy, ends=refused_from(healthy, moment))
            first = first_alarms(broken, expected, moment, followed)
            warned.append(first[Level.WARN][0])
            failed.append(first[Level.FAIL][0])
            by[first[Level.FAIL][1]] += 1
        print(
            f"  {name:24} {share_within(warned, 24):>18} {share_within(failed, 24):>20} "
            f"{hours_text(float(np.median(failed))):>8} {hours_text(max(failed)):>9}   "
            f"{', '.join(f'{check} {n}' for check, n in by.most_common() if check)}"
        )


def break_at(
    healthy: Live, walks: Mapping[str, Walk], moment: datetime, sickness: Sickness
) -> Live:
    """`healthy` with other probabilities from `moment` on, and the BUYs that follow from them.

    What became of those BUYs is not asked: the checks see no end after `moment`.
    """
    start = healthy.first(moment)
    rng = np.random.default_rng(7)
    stamps = [int(t.timestamp() * 1_000_000) for t in healthy.times]
    p, buys = {}, {}
    for market, w in walks.items():
        at = np.searchsorted(w.predictions.open_time.astype(np.int64), stamps)
        of = healthy.p[market]
        p[market] = np.concatenate([of[:start], sickness(of, start, rng)])
        whole = w.predictions.p.copy()
        whole[at] = p[market]
        buys[market] = buys_of(w, whole, healthy.profile)[at]
    before = tuple(end for end in healthy.ends if end.at <= moment)
    return replace(healthy, p=p, buys=buys, ends=before)


def refused_from(healthy: Live, moment: datetime) -> tuple[Ended, ...]:
    """From `moment` on every BUY ends with something that somebody has to mend."""
    before = [end for end in healthy.ends if end.at <= moment]
    after = [
        Ended(market, FunnelCode.NOT_ENABLED, healthy.close(row))
        for market, buys in healthy.buys.items()
        for row in np.flatnonzero(buys).tolist()
        if healthy.close(row) > moment
    ]
    return (*before, *sorted(after, key=lambda end: end.at))


def first_alarms(
    stored: Live, expected: Forecast, moment: datetime, followed: timedelta
) -> dict[Level, tuple[float, str]]:
    """Hours until the first warning (or worse) and failure, and by which check; infinite and ""
    when there was none in time.

    Counted are hours that were decided on: quarters begin with the exchange closed, and days pass
    until there are predictions again.
    """
    first = {Level.WARN: (np.inf, ""), Level.FAIL: (np.inf, "")}
    begin = stored.times[stored.first(moment)]
    for hours, row in enumerate(stored.asked(begin, begin + followed), start=1):
        for finding in findings(stored, expected, row):
            for level in (Level.WARN, Level.FAIL):
                reached = finding.level is Level.FAIL or finding.level is level
                if reached and first[level][0] == np.inf:
                    first[level] = (hours, finding.check.value)
        if first[Level.FAIL][1]:
            break
    return first


def share_within(hours: Sequence[float], limit: float) -> str:
    return f"{sum(h <= limit for h in hours)} of {len(hours)}"


def hours_text(hours: float) -> str:
    return f"{hours:.0f} h" if np.isfinite(hours) else "-"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", choices=[name.value for name in REPLAYS], default="swing")
    parser.add_argument("--folder", type=Path, default=SHARED, help="recorded hours, for swing")
    parser.add_argument("--cache", type=Path, default=ROOT / "data" / "results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
