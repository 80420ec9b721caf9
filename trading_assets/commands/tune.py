"""`trading-assets tune`: which settings of a profile would have earned more, and how much is luck.

Reads the world's candles or a folder of recorded ones, prints every trial and a suggestion, and
keeps the report, so that the next search counts this one's trials. It sets nothing: a person puts
the suggestion into `.env`, and the next evaluation judges it on the window that was held out. Not
here: the search (`backtest.tuning`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trading_assets.backtest.documents import from_json, to_json
from trading_assets.backtest.tuning import WORTHLESS, Knobs, Trial, Tuning, require_optuna, tune
from trading_assets.candles.recorded import read_recordings
from trading_assets.candles.series import CandleSeries, regular_series
from trading_assets.candles.store import CandleStore
from trading_assets.errors import CorruptStore, NotReadyYet, SettingsError
from trading_assets.exchange.model import Interval
from trading_assets.models.profiles import profile as profile_of
from trading_assets.rules.profile import Profile
from trading_assets.settings import ProfileName, Settings
from trading_assets.world import prices, world_of

Say = Callable[[str], None]
USUAL_BAR = 0.95


def tune_profile(
    settings: Settings,
    say: Say,
    *,
    name: ProfileName,
    markets: Sequence[str] | None,
    trials: int,
    folder: Path | None,
) -> int:
    """Print the search and its report; 0.

    markets: default those of the settings. folder: of recorded candles, None for the world's own.
    Raises SettingsError for another market, NotReadyYet without candles, EnvironmentProblem without
    Optuna or recording, NotEnoughHistory when the candles are too few.
    """
    require_optuna()
    chosen = _markets(settings, markets)
    profile = profile_of(settings, name)
    series, world, words = _candles(settings, profile, chosen, folder)
    reports = settings.under_root(settings.data_dir) / "tuning" / world
    earlier = _earlier(reports, profile.name)
    say(
        f"{profile.name} in {', '.join(chosen)}, {words}; {trials} trials, "
        f"{earlier} settings were tried before"
    )
    found = tune(
        profile,
        series,
        settings,
        trials=trials,
        earlier=earlier,
        on_trial=lambda number, trial: say(_line(number, trial, Knobs.of(profile), profile.name)),
    )
    for line in report_lines(found):
        say(line)
    say(f"kept in {_save(reports, found)}")
    return 0


def report_lines(found: Tuning) -> list[str]:
    """The report in words: what was judged, the best, how much of it is luck, what to set."""
    now, best = found.trials[0], found.trials[found.best]
    lines = [
        f"judged on {found.judged_from:%Y-%m-%d} to {found.judged_until:%Y-%m-%d}, each row by a "
        f"model fitted before it; from {found.held_out_from:%Y-%m-%d} on nothing was read",
        f"now:  {_numbers(now)}",
        f"best: {_numbers(best)}",
    ]
    if not found.suggestion:
        return [*lines, "suggestion: keep the present settings, no trial was better"]
    luck = found.deflated
    lines.append(
        f"probability of a Sharpe ratio above what luck shows: {luck.probability:.2f}, the usual "
        f"bar is {USUAL_BAR}; counted as {luck.trials:.1f} independent settings "
        f"({len(found.trials)} here, {found.earlier} before)"
    )
    if found.overfitting is not None:
        lines.append(
            f"probability that the best of one half is below the median in the other: "
            f"{found.overfitting.probability:.2f}"
        )
    lines.append("suggestion, for .env (nothing was changed):")
    lines += [f"  {setting}" for setting in found.suggestion]
    if not luck.probability >= USUAL_BAR:
        lines.append("  not told from luck: the present settings are as good a guess")
    lines.append(
        "then `evaluate` in Dagster judges it, on the held-out window too; to look there again and "
        "again uses that window up"
    )
    return lines


def _line(number: int, trial: Trial, now: Knobs, profile: str) -> str:
    changed = " ".join(trial.knobs.settings(profile, now)) or "the present settings"
    return f"  {number:4d}  {_numbers(trial)}  {changed}"


def _numbers(trial: Trial) -> str:
    if not trial.trades:
        return "no trades"
    judged = "" if trial.score != WORTHLESS else ", too few trades to judge"
    earned = f"{trial.net_bp:+.1f} bp net, Sharpe ratio {trial.sharpe:.2f}"
    return f"{trial.trades} trades, {earned}{judged}"


def _markets(settings: Settings, markets: Sequence[str] | None) -> tuple[str, ...]:
    unknown = [m for m in markets or () if m not in settings.markets]
    if unknown:
        raise SettingsError(
            f"--market: {', '.join(unknown)} must be among MARKETS ({', '.join(settings.markets)})"
        )
    return tuple(dict.fromkeys(markets)) if markets else tuple(settings.markets)


def _candles(
    settings: Settings, profile: Profile, markets: Sequence[str], folder: Path | None
) -> tuple[Mapping[str, CandleSeries], str, str]:
    """Series by market, the name of their world, and whose prices they are."""
    interval = Interval.of_minutes(profile.interval_minutes)
    if folder is not None:
        # What all markets lack was maintenance: those that are not tuned help to tell.
        stored = read_recordings(folder, settings.markets, interval)
        world = f"recorded-{folder.resolve().name}-{interval.value}"
        return {m: stored[m].series for m in markets}, world, f"recorded candles in {folder}"
    world = world_of(settings).name
    store = CandleStore(world_of(settings).candles, world)
    series = {
        m: regular_series(store.read(m, interval), store.gaps(m, interval), interval)
        for m in markets
    }
    missing = [m for m, candles in series.items() if not len(candles)]
    if missing:
        raise NotReadyYet(
            f"the world {world} has no {interval.value} candles of {', '.join(missing)} yet: "
            "`make materialize`, or --candles FOLDER"
        )
    return series, world, f"world {world}, {prices(settings)}"


def _reports(folder: Path, profile: str) -> list[Path]:
    return sorted(folder.glob(f"{profile}-*.json"))


def _earlier(folder: Path, profile: str) -> int:
    """Settings that earlier searches tried on these candles; the present one is not one of them."""
    total = 0
    for path in _reports(folder, profile):
        try:
            found = from_json(Tuning, json.loads(path.read_text(encoding="utf-8")))
        except ValueError as exc:  # pydantic's and JSON's are ValueErrors
            raise CorruptStore(
                f"{path} cannot be read, so its trials cannot be counted: {exc}"
            ) from exc
        total += len(found.trials) - 1
    return total


def _save(folder: Path, found: Tuning) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    number = len(_reports(folder, found.profile)) + 1
    path = folder / f"{found.profile}-{number:04d}.json"
    draft = path.with_name(f".{path.name}")
    draft.write_text(json.dumps(to_json(found), indent=1) + "\n", encoding="utf-8")
    draft.replace(path)
    return path
