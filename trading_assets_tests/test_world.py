"""Worlds: their names, their folders, and that one refuses another's store."""

import os
import signal
from pathlib import Path

import pytest

from trading_assets import world
from trading_assets.errors import WrongWorld
from trading_assets.settings import load_settings
from trading_assets.world import claim, world_of


@pytest.fixture(autouse=True)
def _empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADING_ASSETS_HOME", str(tmp_path))


def test_a_sandbox_is_named_by_its_parameters() -> None:
    first = world_of(load_settings()).name
    assert first.startswith("sandbox-")
    assert first == world_of(load_settings()).name
    assert first != world_of(load_settings({"synthetic": {"seed": 8}})).name
    assert first != world_of(load_settings({"synthetic": {"edge": "0"}})).name


def test_another_generator_of_prices_is_another_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    before = world_of(load_settings()).name
    monkeypatch.setattr(world, "SYNTHETIC_GENERATION", world.SYNTHETIC_GENERATION + 1)
    assert world_of(load_settings()).name != before


def test_what_does_not_change_prices_does_not_change_the_sandbox() -> None:
    assert world_of(load_settings()) == world_of(load_settings({"seeds": 1, "profile": "swing"}))


def test_a_recording_is_named_by_its_folder_and_interval() -> None:
    recorded = {"recorded": "some/candles", "profile": "swing"}
    assert world_of(load_settings(recorded)).name == "recorded-candles-60m"


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_paper_and_live_are_worlds_of_their_own(mode: str) -> None:
    assert world_of(load_settings({"trading_mode": mode, "profile": "swing"})).name == mode


def test_prices_of_another_upstream_are_not_the_world_of_upbits() -> None:
    local = {"trading_mode": "paper", "upstream_url": "http://127.0.0.1:8701/"}
    assert world_of(load_settings(local)).name == "paper-127.0.0.1-8701"
    upbit = {"trading_mode": "paper", "upstream_url": "https://api.upbit.com/"}
    assert world_of(load_settings(upbit)).name == "paper"


def test_everything_of_a_world_lies_in_its_own_folders(tmp_path: Path) -> None:
    paper = world_of(load_settings({"trading_mode": "paper"}))
    assert paper.data == tmp_path / "data" / "paper"
    assert paper.mlruns == tmp_path / "mlruns" / "paper"
    for folder in (
        paper.candles,
        paper.assets,
        paper.champions,
        paper.models,
        paper.dagster_home,
        paper.database.parent,
        paper.exchange,
        paper.run,
    ):
        assert folder.is_relative_to(paper.data)
    assert paper.mlflow_uri == f"sqlite:///{tmp_path}/mlruns/paper/mlflow.db"
    assert paper.mlflow_artifacts.is_relative_to(paper.mlruns)


def test_a_folder_is_claimed_once_and_refuses_another_world(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    claim(folder, "paper")
    claim(folder, "paper")
    with pytest.raises(WrongWorld, match="belongs to the world paper, not to live"):
        claim(folder, "live")
    assert (folder / "WORLD").read_text() == "paper\n"


def test_a_kill_while_claiming_leaves_a_folder_that_can_be_claimed(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    pid = os.fork()
    if pid == 0:
        Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment, method-assign]
        claim(folder, "paper")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert not (folder / "WORLD").exists()
    claim(folder, "live")
    assert (folder / "WORLD").read_text() == "live\n"
