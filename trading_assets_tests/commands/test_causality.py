"""`trading-assets lookahead` and `recursion`: the table, the names of what is wrong, exit codes."""

from pathlib import Path

import pandas as pd
import pytest

from trading_assets.backtest.quantities import Family, families
from trading_assets.candles.store import CandleStore
from trading_assets.cli import main
from trading_assets.commands import causality
from trading_assets.models.challengers import ChallengerStore
from trading_assets.models.champions import ChampionStore
from trading_assets.settings import load_settings
from trading_assets.world import world_of
from trading_assets_tests.backtest.leaks import (
    Column,
    broken_history,
    family,
    long_history,
    next_return,
    running_mean,
)
from trading_assets_tests.signals.market_world import BTC, NOW, dataset, reference, small_model


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with 13,500 hourly candles of one market."""
    monkeypatch.setenv("MARKETS", BTC)
    monkeypatch.setenv("PROFILES", "swing")
    monkeypatch.setenv("PROFILE", "swing")
    write(tmp_path, long_history().frame)
    return tmp_path


def write(folder: Path, frame: pd.DataFrame) -> None:
    """A recording has no candles without trades."""
    traded = frame.rename(columns={"open_time": "time"}).assign(volume=frame["volume"] + 1.0)
    traded.to_parquet(folder / f"{BTC}-60m.parquet")


def with_a_leak(monkeypatch: pytest.MonkeyPatch, leak: Column) -> None:
    """Let one value more be computed, and let it cheat."""

    def made(*arguments: object) -> tuple[Family, ...]:
        honest = families(*arguments)  # type: ignore[arg-type]
        return (*honest, family(leak.__name__, leak))

    monkeypatch.setattr(causality, "families", made)


def test_lookahead_prints_every_value_and_that_none_looks_ahead(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lookahead", "--candles", str(recorded), "--cuts", "4"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "swing: nothing looks ahead (292 values)"
    row = next(line for line in printed if "rsi_14" in line).split()
    # group, value, compared, differing, largest difference, passed
    assert (row[0], row[1], row[3], row[4], row[5]) == ("feature", "rsi_14", "0", "0", "yes")
    assert int(row[2].replace(",", "")) > 20_000
    assert sum("230 columns" in line for line in printed) == 1
    assert "no champion" in printed[1]


def test_what_looks_ahead_is_named_with_exit_code_1(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_a_leak(monkeypatch, next_return)
    assert main(["lookahead", "--candles", str(recorded), "--cuts", "4"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == "swing: 1 of 293 values look ahead:"
    assert printed[-1].startswith("  test next_return: KRW-BTC 2024-")
    assert printed[-1].endswith("infinitely apart")
    assert any(line.endswith("NO") and "next_return" in line for line in printed)


def test_recursion_tells_how_long_each_value_remembers(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recursion", "--candles", str(recorded), "--cuts", "4"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == "swing: nothing depends on how far back is read (292 values)"
    head = next(line for line in printed if line.startswith("group"))
    assert "124 read" in head
    windowed = next(line for line in printed if "log_return_24" in line).split()
    assert windowed[2:7] == ["0"] * 5
    recursive = next(line for line in printed if "ema_gap_55" in line).split()
    assert float(recursive[2]) > float(recursive[3]) > float(recursive[4]) > 0


def test_what_depends_on_the_start_is_named_with_exit_code_1(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with_a_leak(monkeypatch, running_mean)
    assert main(["recursion", "--candles", str(recorded), "--cuts", "4"]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2] == "swing: 1 of 293 values depend on how far back is read:"
    assert printed[-1].startswith("  test running_mean: KRW-BTC ")
    # The other way round it is honest: it never sees a later candle.
    assert main(["lookahead", "--candles", str(recorded), "--cuts", "4"]) == 0


def test_all_prints_each_column_that_a_model_is_given(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lookahead", "--candles", str(recorded), "--cuts", "2", "--all"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("model input") == 230
    assert "adx_14_mean" in printed


def test_the_worlds_own_candles_go_through_its_champion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MARKETS", BTC)
    world = world_of(load_settings())
    candles = long_history()
    CandleStore(world.candles, world.name).merge(BTC, candles.interval, candles.frame)
    made = ChallengerStore(world.models, world.name).save(
        small_model(),
        market=BTC,
        profile="swing",
        version="v1",
        gate_x=dataset().x[:1],
        reference=reference(),
        record={"trained_at": NOW.isoformat(), "skill": 0.05},
    )
    ChampionStore(world.champions, world.name).promote(BTC, "swing", "v1", made.folder)
    for command in ("lookahead", "recursion"):
        assert main([command, "--cuts", "4"]) == 0
        printed = capsys.readouterr().out
        assert f"world {world.name}, SYNTHETIC prices" in printed
        assert "scalp: KRW-BTC has no 5m candles yet" in printed
        assert "champion v1" in printed
        decision = next(line for line in printed.splitlines() if "decision" in line).split()
        assert (decision[0], decision[-1]) == ("signal", "yes")


def test_a_world_without_candles_is_told_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lookahead"]) == 1
    assert "has no candles yet: `make materialize`" in capsys.readouterr().err


def test_too_short_a_recording_is_no_success(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(recorded, broken_history().frame)
    assert main(["recursion", "--candles", str(recorded)]) == 1
    said = capsys.readouterr()
    assert "no more than a signal reads" in said.out
    assert "nothing was analysed" in said.err


@pytest.mark.parametrize("cuts", ["0", "-3"])
def test_at_least_one_cut_is_asked_for(cuts: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["lookahead", "--cuts", cuts])
    assert stopped.value.code == 2
    assert "must be at least 1" in capsys.readouterr().err
