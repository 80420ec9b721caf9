"""The search for settings: it never sees the last window, counts its trials and changes nothing."""

import json
import re
import sys
from dataclasses import fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from trading_assets import cli
from trading_assets.backtest.cadence import Cadence, CadenceUnit
from trading_assets.backtest.candidates import Candidates
from trading_assets.backtest.documents import from_json, to_json
from trading_assets.backtest.tuning import (
    WORTHLESS,
    Knobs,
    Trial,
    Tuning,
    held_out,
    horizons,
    suggested,
    tune,
)
from trading_assets.backtest.walk_forward import first_prediction, plan_of
from trading_assets.candles.series import CandleSeries
from trading_assets.commands.tune import report_lines
from trading_assets.errors import NotEnoughHistory
from trading_assets.exchange.model import Interval
from trading_assets.features.matrix import feature_matrix
from trading_assets.features.sequences import make_sequences
from trading_assets.models.profiles import costs, profile
from trading_assets.settings import FeatureGroup, ProfileName, Settings, load_settings

BTC = "KRW-BTC"
DAYS = 220
# A day to see 60 days of rows and a month between refits; what retraining judges by is 50 days.
SHORT = {
    "first_fit_days": 60,
    "refit_every": "1mo",
    "gate_days": 20,
    "calibration_days": 30,
    "min_ev_costs": 0,
}
VALUES = {"sequence_view": "last", "seeds": 1, "swing": SHORT, "markets": BTC}


@pytest.fixture
def settings() -> Settings:
    return load_settings(VALUES)


def waves() -> CandleSeries:
    """SYNTHETIC hourly candles that rise by 6 % and fall again every day, with a little noise."""
    rng = np.random.default_rng(5)
    hours = np.arange(24 * DAYS)
    wave = 0.03 * np.sin(2 * np.pi * hours / 24) + np.cumsum(rng.normal(0, 0.002, len(hours)))
    close = np.round(5e7 * np.exp(wave), -3)
    opened = np.concatenate([close[:1], close[:-1]])
    start = np.datetime64("2024-01-01T00:00", "us")
    return CandleSeries(
        interval=Interval.M60,
        open_time=start + hours * np.timedelta64(3_600_000_000, "us"),
        open=opened,
        high=np.maximum(opened, close) * 1.001,
        low=np.minimum(opened, close) * 0.999,
        close=close,
        volume=rng.gamma(2.0, 1.0, len(hours)),
        filled=np.zeros(len(hours), dtype=np.bool_),
        segment=np.zeros(len(hours), dtype=np.int64),
    )


def searched(settings: Settings, series: CandleSeries, trials: int = 2, earlier: int = 0) -> Tuning:
    return tune(
        profile(settings, ProfileName.SWING),
        {BTC: series},
        settings,
        trials=trials,
        earlier=earlier,
    )


def poisoned(series: CandleSeries, first: int) -> CandleSeries:
    """Garbage from this candle on."""
    changed = {}
    for name in ("open", "high", "low", "close", "volume"):
        values = getattr(series, name).copy()
        values[first:] = np.nan if name == "close" else -1.0
        changed[name] = values
    return replace(series, **changed)


def test_the_last_window_is_never_read(settings: Settings) -> None:
    series = waves()
    window = held_out(profile(settings, ProfileName.SWING))
    assert window == timedelta(days=50)
    honest = searched(settings, series)
    assert honest.trials[0].trades > 0
    first = len(series) - 24 * 50
    assert to_json(searched(settings, poisoned(series, first))) == to_json(honest)


def test_the_candle_before_it_is_read(settings: Settings) -> None:
    """Or the test above would prove nothing: a day earlier the garbage is noticed."""
    series = waves()
    honest = searched(settings, series, trials=1)
    first = len(series) - 24 * 51
    changed = replace(series, close=series.close.copy(), high=series.high.copy())
    changed.close[first - 24 * 20 : first] *= 1.05
    changed.high[first - 24 * 20 : first] *= 1.06
    assert to_json(searched(settings, changed, trials=1)) != to_json(honest)


def test_trials_are_counted_into_the_doubt(settings: Settings) -> None:
    alone = searched(settings, waves())
    after_others = searched(settings, waves(), earlier=100)
    assert after_others.deflated.trials == pytest.approx(alone.deflated.trials + 100)
    assert after_others.deflated.expected_by_luck > alone.deflated.expected_by_luck
    assert after_others.deflated.probability <= alone.deflated.probability
    assert [t.knobs for t in after_others.trials] == [t.knobs for t in alone.trials]
    assert len(alone.trials) == 3  # the present setting and two others


def with_breaks(series: CandleSeries, days: range) -> CandleSeries:
    """Without seven hours on each of these days."""
    hours = np.arange(len(series))
    missing = np.isin(hours // 24, list(days)) & (hours % 24 < 7)
    columns = {f.name: getattr(series, f.name) for f in fields(series) if f.name != "interval"}
    columns["segment"] = np.cumsum(np.diff(missing, prepend=False)) // 2
    return replace(series, **{name: column[~missing] for name, column in columns.items()})


def test_all_trials_are_judged_on_days_that_each_of_them_predicted() -> None:
    """A break costs the rows whose labels reach into it, so a long label has its first model later
    than a short one."""
    settings = load_settings(VALUES | {"swing": SHORT | {"refit_every": "5d"}})
    swing = profile(settings, ProfileName.SWING)
    series = with_breaks(waves(), range(10, 72, 8))
    found = searched(settings, series, trials=1)
    plan = replace(plan_of(settings, swing), refit=Cadence(10, CadenceUnit.DAYS))
    known = series.until(found.held_out_from)
    sequences = make_sequences(feature_matrix(known), known)

    def begins(minutes: int) -> datetime:
        trial = replace(Knobs.of(swing), horizon_minutes=minutes).applied(swing)
        candidates = Candidates.of(
            BTC, trial, known, sequences, costs=costs(settings), view=settings.sequence_view
        )
        return first_prediction(candidates, plan)

    first, *others = (begins(minutes) for minutes in horizons(swing))
    assert found.judged_from == max(others) > first


def test_too_little_history_is_one_sentence(settings: Settings) -> None:
    series = waves().slice(0, 24 * 120)
    with pytest.raises(NotEnoughHistory) as refused:
        searched(settings, series)
    said = str(refused.value)
    assert "120 days of candles are there, up to " in said
    assert "60 before the first model (SWING__FIRST_FIT_DAYS), 62 until its date" in said
    assert "32 to judge on, the last 50, which stay unseen" in said
    assert said.endswith("all that there is is collected")


@pytest.mark.parametrize(
    ("history", "said"),
    [
        # 60 to the first model, 62 to its date, 32 judged, 50 unseen and the warm-up: above 204.
        (130, r"SWING__HISTORY_DAYS is 130: with SWING__HISTORY_DAYS=2\d\d `make materialize` c"),
        (300, r"SWING__HISTORY_DAYS=300 is enough: `make materialize` collects it$"),
    ],
)
def test_too_little_history_names_the_setting_that_collects_more(history: int, said: str) -> None:
    short = {**SHORT, "history_days": history, "min_history_days": 100}
    with pytest.raises(NotEnoughHistory, match=said):
        searched(load_settings({**VALUES, "swing": short}), waves().slice(0, 24 * 120))


def test_as_much_history_as_the_sentence_asks_for_is_enough(settings: Settings) -> None:
    with pytest.raises(NotEnoughHistory) as refused:
        searched(settings, waves().slice(0, 24 * 100))
    asked_for = re.search(r"up to (\d+) are needed", str(refused.value))
    assert asked_for is not None
    assert searched(settings, waves().slice(0, 24 * int(asked_for[1])), trials=1).trials


class Choices:
    """An Optuna trial that takes the first or the last of everything."""

    def __init__(self, last: bool) -> None:
        self.last = last

    def suggest_categorical(self, name: str, choices: list[int]) -> int:
        del name
        return choices[-1] if self.last else choices[0]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        del name
        return high if self.last else low


@pytest.mark.parametrize("name", list(ProfileName))
@pytest.mark.parametrize("last", [False, True])
def test_a_suggestion_is_settings_that_make_that_profile(name: ProfileName, last: bool) -> None:
    shipped = profile(load_settings({}), name)
    now, knobs = Knobs.of(shipped), suggested(Choices(last), shipped)
    changed: dict[str, str] = {}
    for line in knobs.settings(name.value, now):
        key, _, value = line.partition("=")
        prefix, _, field = key.partition("__")
        assert prefix == name.value.upper()
        changed[field.lower()] = value
    again = profile(load_settings({name.value: changed}), name)
    assert Knobs.of(again) == knobs
    assert again == knobs.applied(shipped)
    assert set(knobs.without) < {group.value for group in FeatureGroup}


def test_knobs_of_a_profile_change_nothing() -> None:
    for name in ProfileName:
        shipped = profile(load_settings({}), name)
        assert Knobs.of(shipped).applied(shipped) == shipped
        assert Knobs.of(shipped).settings(name.value, Knobs.of(shipped)) == ()


def test_few_trades_are_not_judged() -> None:
    knobs = Knobs.of(profile(load_settings({}), ProfileName.SWING))
    assert Trial(knobs, trades=29, net_bp=50.0, sharpe=3.0).score == WORTHLESS
    assert Trial(knobs, trades=30, net_bp=50.0, sharpe=3.0).score == 3.0
    assert Trial(knobs, trades=0, net_bp=float("nan"), sharpe=float("nan")).score == WORTHLESS


def test_the_report_says_what_to_set_and_how_much_of_it_is_luck(settings: Settings) -> None:
    found = searched(settings, waves(), trials=1)
    now = replace(found.trials[0], trades=40, sharpe=1.0)
    better = Trial(replace(now.knobs, barrier_k=Decimal("1.25")), 50, 12.0, 2.0)
    lucky = replace(found.deflated, probability=0.6, trials=3.5)
    made = replace(found, trials=(now, better), best=1, deflated=lucky, earlier=7)
    text = "\n".join(report_lines(made))
    assert "  SWING__BARRIER_K=1.25" in text
    assert "luck shows: 0.60" in text
    assert "3.5 independent settings (2 here, 7 before)" in text
    assert "not told from luck" in text
    sure = "\n".join(report_lines(replace(made, deflated=replace(lucky, probability=0.95))))
    assert "not told from luck" not in sure
    silent = replace(better, trades=0, net_bp=float("nan"), sharpe=float("nan"))
    assert "best: no trades" in report_lines(replace(made, trials=(now, silent)))
    best = "\n".join(report_lines(replace(made, best=0)))
    assert "keep the present settings" in best


# --- the command ----------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The waves as a folder, and settings for a short history."""
    folder = tmp_path / "waves"
    folder.mkdir()
    s = waves()
    columns = {f.name: getattr(s, f.name) for f in fields(s)}
    frame = pd.DataFrame({n: columns[n] for n in ("open", "high", "low", "close", "volume")})
    frame.insert(0, "time", pd.to_datetime(s.open_time, utc=True))
    frame.to_parquet(folder / f"{BTC}-60m.parquet")
    monkeypatch.setenv("MARKETS", BTC)
    monkeypatch.setenv("SEQUENCE_VIEW", "last")
    monkeypatch.setenv("SEEDS", "1")
    for name, value in SHORT.items():
        monkeypatch.setenv(f"SWING__{name.upper()}", str(value))
    return folder


def test_the_command_prints_keeps_and_counts(
    recording: Path, isolated_settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["tune", "--profile", "swing", "--trials", "1", "--candles", str(recording)]
    assert cli.main(command) == 0
    first = capsys.readouterr().out
    assert "1 trials, 0 settings were tried before" in first
    assert "from 2024-06-19 on nothing was read" in first
    assert "suggestion" in first
    assert cli.main(command) == 0
    assert "1 trials, 1 settings were tried before" in capsys.readouterr().out
    kept = sorted(isolated_settings.glob("data/tuning/recorded-waves-60m/swing-*.json"))
    assert [path.name for path in kept] == ["swing-0001.json", "swing-0002.json"]
    found = from_json(Tuning, json.loads(kept[1].read_text()))
    assert (found.earlier, len(found.trials)) == (1, 2)
    assert not (isolated_settings / ".env").exists()


def test_without_optuna_it_is_a_sentence(
    recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert cli.main(["tune", "--candles", str(recording)]) == 1
    assert capsys.readouterr().err == (
        "trading-assets: tuning needs Optuna, which is not installed: pip install -e '.[tuning]'\n"
    )


def test_another_market_is_refused(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tune", "--market", "KRW-ETH", "--candles", str(recording)]) == 2
    assert "--market: KRW-ETH must be among MARKETS (KRW-BTC)" in capsys.readouterr().err
