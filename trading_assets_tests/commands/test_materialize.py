"""What the commands without servers ask Dagster for, and what they say at the end."""

import os
import signal
import subprocess
import time
from pathlib import Path

import dagster as dg
import pytest
from upath import UPath

from trading_assets import cli
from trading_assets.commands.evaluate import (
    NEEDED,
    anything_to_evaluate,
    evaluation_commands,
    failures,
)
from trading_assets.commands.materialize import UNEVALUATED, dagster_command, what_is_there
from trading_assets.commands.ports import answers
from trading_assets.orchestration.research.keys import CONCLUSIONS, evaluation_keys
from trading_assets.orchestration.research.storage import Codec, WorldIOManager
from trading_assets.settings import load_settings
from trading_assets.signals.choices import record_choice
from trading_assets.world import world_of
from trading_assets_tests.commands.children import free_port, python, until, written_pid
from trading_assets_tests.commands.world_rows import prepared, signal_row
from trading_assets_tests.signals.choice_rows import EVALUATED, chosen


@pytest.mark.parametrize(
    ("profile", "evaluated", "told"),
    [("auto", False, True), ("auto", True, False), ("swing", False, False)],
)
def test_materialize_says_that_nothing_is_entered_before_the_profiles_are_evaluated(
    profile: str, evaluated: bool, told: bool
) -> None:
    settings = load_settings({"profile": profile})
    _, engine = prepared(settings)
    signal_row(engine, "KRW-BTC", EVALUATED)
    if evaluated:
        record_choice(engine, chosen(None))
    table, *more = what_is_there(settings, engine, EVALUATED)
    assert "KRW-BTC  scalp" in table
    assert more == ([UNEVALUATED] if told else [])


def test_evaluate_walks_each_market_forward_and_draws_the_conclusions_last() -> None:
    settings = load_settings({"markets": ["KRW-BTC", "KRW-ETH"], "profiles": ["swing"]})
    keys = [key.to_user_string() for key in evaluation_keys("swing")]
    conclusions = [key.to_user_string() for key in CONCLUSIONS]
    assert list(evaluation_commands(settings)) == [
        ("KRW-BTC", dagster_command(keys, partition="KRW-BTC")),
        ("KRW-ETH", dagster_command(keys, partition="KRW-ETH")),
        ("conclusions", dagster_command(conclusions)),
    ]


def test_evaluate_goes_on_after_a_failure_and_names_it() -> None:
    settings = load_settings({"markets": ["KRW-BTC", "KRW-ETH"]})
    asked: list[str] = []

    def fails_for_btc(name: str, _: tuple[str, ...]) -> bool:
        asked.append(name)
        return name != "KRW-BTC"

    assert failures(settings, fails_for_btc) == ["KRW-BTC"]
    assert asked == ["KRW-BTC", "KRW-ETH", "conclusions"]


def test_evaluate_before_anything_was_collected_names_the_command(
    isolated_settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evaluate"]) == 1
    said = capsys.readouterr().err
    assert said.endswith("has nothing to evaluate yet: run `make materialize` first\n")
    assert list(isolated_settings.iterdir()) == []


def test_evaluate_after_an_interrupted_materialize_names_the_command(
    isolated_settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was ended between its candles and its first model."""
    world = world_of(load_settings())
    (world.candles / "KRW-BTC").mkdir(parents=True)
    (world.assets / "scalp" / "sequences" / "KRW-BTC").mkdir(parents=True)
    assert cli.main(["evaluate"]) == 1
    said = capsys.readouterr().err
    assert said.endswith("has nothing to evaluate yet: run `make materialize` first\n")
    assert not world.database.exists()


def test_what_the_pipeline_keeps_is_what_evaluate_looks_for(isolated_settings: Path) -> None:
    settings = load_settings({"profiles": ["swing"]})
    world = world_of(settings)
    codec = Codec(save=lambda value, folder: None, load=lambda folder: {})
    kept = WorldIOManager(UPath(world.assets), world.name, {dict: codec})
    for name in NEEDED:
        assert not anything_to_evaluate(settings, world)
        place = UPath(world.assets / "swing" / name / "KRW-BTC")
        kept.dump_to_path(dg.build_output_context(), {}, place)
    assert anything_to_evaluate(settings, world)


# The whole command, with a child in place of Dagster that writes its pid and waits for ever; as
# Dagster amid a step, it ends for no polite request.
MATERIALIZES = """
import signal, sys
from trading_assets import cli
from trading_assets.commands import materialize
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # these tests may run under nohup
child = "import os, pathlib, signal, sys, time; signal.signal(15, signal.SIG_IGN);"
child += "p = pathlib.Path(sys.argv[1]); d = p.with_suffix('.draft');"
child += "d.write_text(str(os.getpid())); d.replace(p); time.sleep(600)"
materialize.END_PATIENCE_SECONDS = 1
materialize.dagster_command = lambda *_, **__: (sys.executable, "-c", child, sys.argv[1])
sys.exit(cli.main(["materialize"]))
"""


@pytest.mark.parametrize(
    "asked",
    [(signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGTERM, signal.SIGTERM)],
    ids=["kill", "terminal closed", "kill, twice"],
)
def test_a_materialize_that_is_asked_to_end_takes_all_that_it_started_along(
    isolated_settings: Path, tmp_path: Path, asked: tuple[signal.Signals, ...]
) -> None:
    port, file = free_port(), tmp_path / "pid"
    with subprocess.Popen(
        python(MATERIALIZES, file),
        env={**os.environ, "PAPER_EXCHANGE_PORT": str(port)},
        stdout=subprocess.DEVNULL,
    ) as started:
        until(file.exists, 60)
        child = written_pid(file)
        assert answers(port)
        for number in asked:  # as `kill` does: nobody else is asked
            started.send_signal(number)
            time.sleep(0.3)
        assert started.wait(30) == 130
    assert not answers(port)
    until(lambda: not Path(f"/proc/{child}").exists())


# Says which signals end it.
SAYS = """
import signal, sys
from trading_assets.commands.groups import ending_signals
print(*(s.name for s in ending_signals()))
"""


@pytest.mark.parametrize(
    ("ignored", "said"), [(False, "SIGINT SIGTERM SIGHUP\n"), (True, "SIGINT SIGTERM\n")]
)
def test_the_end_of_the_terminal_ends_what_was_not_started_by_nohup(
    ignored: bool, said: str
) -> None:
    nohup = ("nohup",) if ignored else ()
    done = subprocess.run(
        (*nohup, *python(SAYS)),
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    )
    assert done.stdout == said
