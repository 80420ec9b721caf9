"""The results table: what the shipped rules and the user's would have earned on unseen time.

`swing` and a 60-minute proxy of the user's rule, walked forward on recorded hourly candles from
2023 on; why the numbers differ from the earlier measurements, one change at a time; the true
30-minute rule on the recorded minutes, without any model; `scalp` on 120 days of the synthetic
market. Everything is printed as docs/results.md has it; `--write` writes that file and its picture.
Models are kept in the cache folder, so that a second run takes seconds.

    python benchmarks/results.py [--folder ../shared/data/candles] [--cache data/results] [--write]
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import lightgbm
import numpy as np
from inputs import synthetic
from inputs.recordings import ROOT, SHARED, hourly, is_missing, world_of

from trading_assets.backtest.earlier import all_by_difference, without_barriers, without_limits
from trading_assets.backtest.engine import simulate
from trading_assets.backtest.inputs import AccountRules
from trading_assets.backtest.paths import Signals, account_rules, signals_of
from trading_assets.backtest.predictions import Predictions, PredictionStore
from trading_assets.backtest.report import SYNTHETIC, Report
from trading_assets.backtest.report_text import (
    interval_text,
    overfitting_text,
    percent,
    report_text,
    signed,
    table,
)
from trading_assets.backtest.statistics import Interval as Estimate
from trading_assets.backtest.steps import Step, change_text, net_change, steps_table
from trading_assets.backtest.study import Prices, Study, judge, predict
from trading_assets.backtest.thresholds import threshold_search
from trading_assets.backtest.users_rule import hourly_proxy, minutes_table
from trading_assets.candles.recorded import read_recordings
from trading_assets.candles.recording_files import recording_path
from trading_assets.candles.series import CandleSeries
from trading_assets.clock import SystemClock
from trading_assets.exchange.model import Interval
from trading_assets.models.profiles import costs, profile
from trading_assets.paper_exchange.synthetic import EPOCH
from trading_assets.reporting.charts import equity_chart
from trading_assets.settings import ProfileName, SequenceView, Settings

START = datetime(2023, 1, 1, tzinfo=UTC)
END = datetime(2100, 1, 1, tzinfo=UTC)
EARLIER_TRIALS = 332  # configurations that were tried before `swing` was chosen
# What was measured before, by other code on the same candles (net bp a trade).
EARLIER_SWING = "+25 [+4, +43]; seeds +24 (+20 to +29); 1.2 trades a day"
EARLIER_PROXY = "-13 [-15, -11]; 11.7 trades a day"


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """What every part of the table needs."""

    settings: Settings
    folder: Path
    store: PredictionStore
    series: dict[str, CandleSeries]
    prices: Prices

    @property
    def rules(self) -> AccountRules:
        return account_rules(self.settings)

    def steps(self, steps: Sequence[Step]) -> str:
        return steps_table(steps, costs(self.settings), self.settings.base_seed)


def main() -> None:
    chosen = _options()
    if is_missing(chosen.folder):
        return
    settings = Settings()
    series = hourly(chosen.folder, settings.markets)
    world = world_of(chosen.folder)
    bench = Bench(
        settings,
        chosen.folder,
        PredictionStore(chosen.cache / world, world),
        series,
        Prices(world, "recorded prices", _digest(chosen.folder, settings.markets)),
    )
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for text, picture in _parts(bench, None if chosen.recorded_only else chosen.cache):
        print(text, flush=True)
        print()
        parts.append(text)
        pictures |= picture
    if chosen.write:
        _write(parts, pictures)


def _parts(bench: Bench, cache: Path | None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Every section and the pictures that go with it, as soon as it is known."""
    swing = swing_study(bench.settings)
    predictions = predict(swing, bench.series, bench.settings, bench.store, start=START, end=END)
    search = threshold_search(
        predictions, bench.series, swing.traded, bench.rules, costs(bench.settings)
    )
    report = judge(swing, predictions, bench.series, bench.settings, bench.prices, search=search)
    proxy = hourly_proxy(profile(bench.settings, ProfileName.SWING))
    proxied = predict(proxy, bench.series, bench.settings, bench.store, start=START, end=END)
    user = judge(proxy, proxied, bench.series, bench.settings, bench.prices)
    command = "python benchmarks/results.py" + (" --recorded-only" if cache is None else "")
    late = late_change(bench, swing, predictions)
    yield head(bench, command, report, user, late), {}
    yield f"## `swing`\n\n{report_text(report)}", {"results_swing_equity": equity_chart(report)}
    yield why_swing(bench, swing, predictions), {}
    yield f"## The user's rule as a 60-minute proxy\n\n{report_text(user)}", {}
    yield why_proxy(bench, proxy, proxied), {}
    yield thirty_minutes(bench), {}
    if cache is not None:
        yield synthetic_scalp(bench.settings, cache), {}


def swing_study(settings: Settings) -> Study:
    shipped = profile(settings, ProfileName.SWING)
    return Study(
        shipped,
        shipped,
        settings.recipe,
        "enters when EV after costs exceeds one more round trip; barriers 1 sigma x sqrt(12), 12 h",
    )


def late_change(bench: Bench, study: Study, predictions: Sequence[Predictions]) -> Estimate:
    """What entering an hour late adds to a trade, bp."""
    paths = signals_of(predictions, bench.series, study.traded, costs(bench.settings)).paths
    charges = costs(bench.settings)
    at_once = simulate(paths, bench.rules, charges)
    late = simulate(paths, bench.rules, charges, delay_candles=1)
    return net_change(at_once.trades, late.trades, bench.settings.base_seed)


def head(bench: Bench, command: str, swing: Report, user: Report, late: Estimate) -> str:
    """What was run, the two rules beside the earlier measurements, and what to think of it."""
    hours = {market: len(candles) for market, candles in bench.series.items()}
    rows = [
        ("`swing`", *_numbers(swing), EARLIER_SWING),
        ("user's rule, 60-minute proxy", *_numbers(user), EARLIER_PROXY),
    ]
    columns = ("rule", "trades a day", "hit rate", "gross bp", "net bp a trade [95 %]", "account",
               "random entries, net bp", "measured before")  # fmt: skip
    return "\n\n".join(
        [
            "# Results",
            f"Made by `{command} --write` on {SystemClock().now():%Y-%m-%d}. "
            f"Candles: {', '.join(f'{k} {v} hours' for k, v in hours.items())} "
            f"({swing.subject.candle_hash}). LightGBM {lightgbm.__version__}, numpy "
            f"{np.__version__}, base seed {bench.settings.base_seed}. Unseen time, walk-forward, "
            "after costs; what each number means and what it does not prove is in "
            "[evaluation.md](evaluation.md). Brackets: 95 % by resampled weeks.",
            table(columns, rows),
            reading(swing, user, late),
        ]
    )


def reading(swing: Report, user: Report, late: Estimate) -> str:
    """The verdicts that follow from the numbers, whatever they are."""
    net, best = swing.measured.net_bp, swing.without_best
    lines = [
        f"- `swing` earned {interval_text(net)} bp a trade after costs: "
        + (
            "above zero beyond the noise of these weeks."
            if net.low > 0
            else "**not told from zero on these weeks; the edge is not proven here.**"
        ),
        f"- Without its best {best.weeks} weeks it earned {signed(best.net_bp)} bp a trade"
        + (", so a few weeks made all of it." if best.net_bp <= 0 < net.value else "."),
    ]
    if swing.placebo is not None and swing.random is not None:
        lines.append(
            f"- The same signals at the wrong time earned {signed(swing.placebo.mean)} bp, random "
            f"entries {signed(swing.random.mean)} bp; {percent(swing.placebo.reached, 0)} and "
            f"{percent(swing.random.reached, 0)} of {swing.random.draws} tries reached `swing`: "
            + (
                "the days of the signals are better than others."
                if max(swing.placebo.p_value, swing.random.p_value) <= 0.05
                else "that is what luck does."
            )
        )
    lines.append(f"- An hour later against as traded: {change_text(late)}; {_of_late(late)}")
    if swing.search is not None:
        found = swing.search
        lines.append(
            f"- Deflated by {len(found.settings)} settings of this run, the probability of a real "
            f"Sharpe ratio above luck is {found.deflated.probability:.2f} (0.95 is the usual bar); "
            f"the probability that the best setting is overfitted is "
            f"{overfitting_text(found.overfitting)}. {EARLIER_TRIALS} configurations were tried "
            "before `swing` was chosen, on these same candles: that search is not undone by this "
            "one."
        )
    lines.append(
        f"- The user's rule earned {interval_text(user.measured.net_bp)} bp a trade, "
        f"{signed(100 * user.measured.account_return)} % of the account: "
        + (
            "it loses, beyond the noise."
            if user.measured.net_bp.high < 0
            else "not told from zero."
        )
    )
    return "\n".join(lines)


def _of_late(late: Estimate) -> str:
    if late.low > 0:
        return "later was better, which no rule here explains."
    if late.high < 0:
        return "the hour of the signal counts."
    return (
        "these weeks do not show that the hour of the signal counts, and are no reason to enter "
        "late."
    )


def why_swing(bench: Bench, study: Study, predictions: Sequence[Predictions]) -> str:
    """From our rules to those of the earlier measurement, one change at a time."""
    raw = predict(
        replace(study, calibrated=False),
        bench.series,
        bench.settings,
        bench.store,
        start=START,
        end=END,
    )
    last = replace(
        study,
        learnt=replace(study.learnt, name="swing_last"),
        view=SequenceView.LAST,
        calibrated=False,
    )
    of_last = predict(last, bench.series, bench.settings, bench.store, start=START, end=END)
    free = without_limits(bench.rules)

    def ours(p: Sequence[Predictions]) -> Signals:
        return signals_of(p, bench.series, study.traded, costs(bench.settings))

    def theirs(p: Sequence[Predictions]) -> Signals:
        charges, found = costs(bench.settings), ours(p)
        seeds = [
            all_by_difference(paths, [one.of_seed(i) for one in p], charges)
            for i, paths in enumerate(found.seed_paths)
        ]
        return Signals(all_by_difference(found.paths, p, charges), seeds)

    steps = [
        Step("as traded", ours(predictions), bench.rules),
        Step("+ without the trader's rests and limits", ours(predictions), free),
        Step("+ EV = (p_buy - p_sell) x barrier - cost", theirs(predictions), free),
        Step("+ probabilities not calibrated", theirs(raw), free),
        Step("+ last row instead of the summarised sequence", theirs(of_last), free),
    ]
    text = (
        "## Why `swing` differs from the earlier measurement\n\n"
        f"Measured before: {EARLIER_SWING}. Each row adds one change to the row above; the last "
        "column takes a flat 16 bp from the gross instead of half a tick where that is more."
    )
    return f"{text}\n\n{bench.steps(steps)}"


def why_proxy(bench: Bench, study: Study, predictions: Sequence[Predictions]) -> str:
    """From our rules to those of the earlier measurement, one change at a time."""
    yearly = replace(
        study,
        learnt=replace(study.learnt, name="proxy_year"),
        calibrated=False,
        history=timedelta(days=365),
    )
    year = predict(yearly, bench.series, bench.settings, bench.store, start=START, end=END)

    def ours(p: Sequence[Predictions]) -> Signals:
        return signals_of(p, bench.series, study.traded, costs(bench.settings))

    free = without_limits(bench.rules)
    at_close = Signals([without_barriers(path) for path in ours(year).paths], [])
    steps = [
        Step("as traded", ours(predictions), bench.rules),
        Step("+ without the trader's rests and limits", ours(predictions), free),
        Step("+ learnt from the last year only, not calibrated", ours(year), free),
        Step("+ no barriers, the next close alone", at_close, free),
    ]
    return (
        "## Why the proxy differs from the earlier measurement\n\n"
        f"Measured before: {EARLIER_PROXY}. An hour that reaches +2 % and -2 % counts as a loss "
        f"here, the stop being judged first.\n\n{bench.steps(steps)}"
    )


def thirty_minutes(bench: Bench) -> str:
    """The user's true rule on the recorded minutes."""
    title = "## The true 30-minute rule, without a model\n\n"
    first = bench.settings.markets[0]
    if not recording_path(bench.folder, first, Interval.M1).is_file():
        return f"{title}Skipped: the folder has no 1-minute candles."
    stored = read_recordings(bench.folder, bench.settings.markets, Interval.M1)
    made = minutes_table(
        {market: candles.series for market, candles in stored.items()},
        profile(bench.settings, ProfileName.SCALP),
        bench.rules,
        costs(bench.settings),
        bench.settings.base_seed,
    )
    return (
        f"{title}+-2 % or 30 minutes, entered at every recorded minute; then an account that "
        "enters whenever its rules allow. So few days are evidence of nothing but the size of "
        f"costs against moves; intervals by days.\n\n{made}"
    )


def synthetic_scalp(settings: Settings, cache: Path) -> str:
    """`scalp` walked forward on the sandbox's market: a test of the machinery, not of a market."""
    series, world = synthetic.five_minutes(settings), synthetic.world_of(settings)
    shipped = profile(settings, ProfileName.SCALP)
    study = Study(
        shipped,
        shipped,
        settings.recipe,
        "enters when p_buy >= 50 % and EV after costs > 0; +-2 %, 30 min",
    )
    store = PredictionStore(cache / world, world)
    predictions = predict(study, series, settings, store, start=EPOCH, end=END)
    report = judge(study, predictions, series, settings, Prices(world, SYNTHETIC))
    return (
        f"## `scalp` on {synthetic.DAYS} days of the synthetic market\n\n**{SYNTHETIC}** with a "
        "planted, known predictability: this shows that the pipeline finds and trades what is "
        "there, and says nothing about any real market. 60 days to learn from come first; so few "
        f"weeks make the intervals too narrow.\n\n{report_text(report)}"
    )


def _numbers(report: Report) -> tuple[str, ...]:
    found = report.measured
    return (
        f"{found.trades_a_day.value:.2f}",
        percent(found.hit_rate.value, 0),
        signed(found.gross_bp.value),
        interval_text(found.net_bp),
        f"{signed(100 * found.account_return, 1)} %",
        "-" if report.random is None else signed(report.random.mean),
    )


def _digest(folder: Path, markets: Sequence[str]) -> str:
    """SHA-256 over the files of the recording, so that the same candles are known by it."""
    digest = hashlib.sha256()
    for market in markets:
        digest.update(recording_path(folder, market, Interval.M60).read_bytes())
    return f"sha256 {digest.hexdigest()[:16]}"


def _write(parts: Sequence[str], pictures: dict[str, bytes]) -> None:
    images = ROOT / "docs" / "images"
    for name, png in pictures.items():
        (images / f"{name}.png").write_bytes(png)
    shown = "\n\n".join(f"![{name}](images/{name}.png)" for name in pictures)
    (ROOT / "docs" / "results.md").write_text("\n\n".join([*parts, shown]) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=SHARED)
    parser.add_argument("--cache", type=Path, default=ROOT / "data" / "results")
    parser.add_argument("--write", action="store_true", help="write docs/results.md")
    parser.add_argument(
        "--recorded-only", action="store_true", help="leave out `scalp` on the synthetic market"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
