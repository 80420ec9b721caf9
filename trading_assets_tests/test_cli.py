"""The console script: sentences instead of tracebacks, secrets hidden, light commands light."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from trading_assets import cli
from trading_assets.commands.only_one import OnlyOne
from trading_assets.settings import load_settings
from trading_assets.world import claim, world_of


def run_cli(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "trading_assets.cli", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


def test_settings_hides_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UPBIT_SECRET_KEY", "s3cr3t-of-mine")
    monkeypatch.setenv("DATABASE_URL", "sqlite:////nowhere/passw0rd.db")
    assert cli.main(["settings"]) == 0
    shown = capsys.readouterr().out
    assert "UPBIT_SECRET_KEY=********" in shown
    assert "s3cr3t-of-mine" not in shown
    assert "passw0rd" not in shown


def test_settings_shows_what_the_environment_and_the_env_file_say(
    isolated_settings: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (isolated_settings / ".env").write_text("PROFILE=swing\nSEEDS=3\n")
    monkeypatch.setenv("SEEDS", "2")
    assert cli.main(["settings"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "PROFILE=swing" in shown
    assert "SEEDS=2" in shown  # the environment wins


@pytest.mark.parametrize("command", [c.name for c in cli.COMMANDS])
def test_a_wrong_setting_is_one_sentence_and_exit_code_2(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROFILE", "gamble")
    assert cli.main([command]) == 2
    told = capsys.readouterr().err
    assert (
        told == "trading-assets: PROFILE was 'gamble': Input should be 'auto', 'scalp' or 'swing'\n"
    )


@pytest.mark.parametrize(
    "command", ["run", "setup", "settings", "materialize", "evaluate", "tune", "paper-exchange"]
)
def test_a_misspelt_setting_keeps_a_command_from_beginning_anything(
    command: str,
    isolated_settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MARKET", "KRW-BTC")
    assert cli.main([command]) == 2
    said = capsys.readouterr().err
    assert said.startswith("trading-assets: MARKET in the environment is no setting")
    assert list(isolated_settings.iterdir()) == []


@pytest.mark.parametrize("command", ["halt", "resume", "guard", "status", "reconcile", "doctor"])
def test_a_misspelt_setting_keeps_nobody_from_looking_or_selling(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """This world was never prepared, which each of them finds out for itself."""
    monkeypatch.setenv("MARKET", "KRW-BTC")
    assert cli.main([command]) == 1
    answer = capsys.readouterr()
    assert answer.err.startswith("!! MARKET in the environment is no setting, did you mean MARKETS")
    assert "make setup" in answer.err + answer.out


def running(world: str) -> OnlyOne:
    """A start of `world` that this very process is."""
    only_one = OnlyOne(load_settings().under_root(Path("data")) / world / "run")
    only_one.folder.mkdir(parents=True)
    only_one.write([])
    return only_one


@pytest.mark.parametrize("command", ["halt", "resume", "guard", "status", "why-hold", "explain"])
def test_a_command_that_would_miss_the_world_that_runs_says_so_first(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make run TRADING_MODE=live` runs, and somebody halts the sandbox."""
    running("live")
    assert cli.main([command]) == 1
    own = world_of(load_settings()).name
    first, *_ = capsys.readouterr().err.splitlines()
    assert first == (
        f"!! `make run` of the world live runs (pid {os.getpid()}), and these settings mean the "
        f"world {own}: to reach it, give this command that start's settings too, or put them into "
        ".env"
    )


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"pid": "x"}', b"\xff"])
def test_a_broken_file_of_another_world_keeps_nobody_from_halting(
    content: str | bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = running("live").folder / "run.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert cli.main(["halt"]) == 1
    assert "make setup" in capsys.readouterr().err  # what halt itself says: never prepared


def test_nothing_is_told_of_other_worlds_when_the_own_one_runs_or_theirs_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = running("recorded-candles-60m")
    ended.clear()
    assert cli.main(["status"]) == 1
    assert "!!" not in capsys.readouterr().err
    running("live")
    running(world_of(load_settings()).name)
    assert cli.main(["status"]) == 1
    assert "!!" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "setup", "materialize", "evaluate", "paper-exchange"])
@pytest.mark.parametrize(
    "told",
    [
        "nowhere is no folder",
        "a_file is no folder",
        "half has no KRW-ETH-60m.parquet",
        "minutes has no KRW-BTC-60m.parquet, KRW-ETH-60m.parquet but 1-minute candles of each: set "
        "RECORDED_INTERVAL_MINUTES=1",
    ],
)
def test_a_recording_that_is_not_there_is_refused_before_anything_is_made(
    command: str,
    told: str,
    isolated_settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recorded = told.partition(" ")[0]
    (isolated_settings / "a_file").touch()
    (isolated_settings / "half").mkdir()
    (isolated_settings / "half" / "KRW-BTC-60m.parquet").touch()
    (isolated_settings / "minutes").mkdir()
    for market in ("KRW-BTC", "KRW-ETH"):
        (isolated_settings / "minutes" / f"{market}-1m.parquet").touch()
    before = sorted(isolated_settings.rglob("*"))
    monkeypatch.setenv("RECORDED", recorded)
    monkeypatch.setenv("MARKETS", "KRW-BTC,KRW-ETH")
    assert cli.main([command]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"trading-assets: RECORDED was '{recorded}': it must be a folder with")
    assert said.endswith(f"{told}\n")
    assert sorted(isolated_settings.rglob("*")) == before


@pytest.mark.parametrize("name", ["DATA_DIR", "MLRUNS_DIR"])
def test_a_folder_that_cannot_be_made_is_one_sentence(
    name: str,
    isolated_settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (isolated_settings / "a_file").touch()
    monkeypatch.setenv(name, "a_file/below")
    assert cli.main(["setup"]) == 1
    said = capsys.readouterr().err
    assert name in said
    assert "cannot be made: Not a directory" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", ["setup", "status", "halt", "guard"])
def test_a_database_that_nobody_serves_is_one_sentence_without_its_password(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hush-hush@127.0.0.1:1/db")
    assert cli.main([command]) == 1
    said = capsys.readouterr().err
    assert said.startswith("trading-assets: the database postgresql")
    assert "cannot be reached: connection to server" in said
    assert "hush-hush" not in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "by hand"),
        (["odd"], "odd"),
        (["odd", "today"], "odd today"),
        (["BTC", "fell", "-5%", "today"], "BTC fell -5% today"),
        (["-5%", "in", "an", "hour"], "-5% in an hour"),
    ],
)
def test_the_reason_of_a_halt_needs_no_quotes(
    words: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def halted(*arguments: object) -> int:
        given.append(str(arguments[-1]))
        return 0

    monkeypatch.setattr("trading_assets.commands.halt.halt", halted)
    assert cli.main(["halt", *words]) == 0
    assert given == [reason]


def test_a_halt_with_an_option_that_there_is_not_sells_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as refused:
        cli.main(["halt", "odd", "--dry-run"])
    assert refused.value.code == 2
    assert "unrecognized arguments: --dry-run" in capsys.readouterr().err


def test_a_paper_exchange_is_told_who_has_its_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("PAPER_EXCHANGE_PORT", str(port))
        assert cli.main(["paper-exchange"]) == 1
    said = capsys.readouterr().err
    assert f"port {port} of 127.0.0.1 is in use by pid {os.getpid()} (`" in said
    assert said.endswith(": stop it, or set PAPER_EXCHANGE_PORT to a free port\n")


def test_the_doctor_tells_of_a_database_that_nobody_serves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hush-hush@127.0.0.1:1/db")
    assert cli.main(["doctor"]) == 1
    told = capsys.readouterr().out
    assert "FAIL  database: the database postgresql" in told
    assert "hush-hush" not in told


def test_status_of_a_world_never_prepared_says_what_to_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["status"]) == 1
    assert "run `make setup`" in capsys.readouterr().err


def test_setup_of_a_folder_of_another_world_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    claim(world_of(load_settings()).data, "live")
    assert cli.main(["setup"]) == 1
    assert "belongs to the world live" in capsys.readouterr().err


def test_an_unknown_command_lists_the_known_ones() -> None:
    answer = run_cli("rnu")
    assert answer.returncode == 2
    assert "paper-exchange" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    answer = subprocess.run(
        f"{sys.executable} -m trading_assets.cli settings | head -1",
        shell=True,
        check=False,
        capture_output=True,
        text=True,
    )
    assert answer.stdout.startswith("# world sandbox-")
    assert answer.stderr == ""


def test_light_commands_import_no_heavy_library() -> None:
    program = """
import sys
from trading_assets.cli import main
main(["settings"])
import trading_assets.commands.run, trading_assets.commands.signal_table
import trading_assets.commands.guard, trading_assets.commands.explain
import trading_assets.commands.trading_status, trading_assets.commands.reconcile
heavy = {"pandas", "numpy", "lightgbm", "sklearn", "mlflow", "dagster", "pyupbit", "talib"}
print(sorted(heavy & set(sys.modules)))
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.splitlines()[-1] == "[]"
