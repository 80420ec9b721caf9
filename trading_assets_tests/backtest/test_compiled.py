"""When a compiled simulation on disk is used again, and when it is too old for that."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trading_assets.backtest.account import compiled
from trading_assets.backtest.account.run import simulate_account

# As `run` makes its function: what another file says is closed over, this one stays as it is.
PROGRAM = """
from trading_assets.backtest.account.compiled import compiled_on_disk

def made(version):
    def answer(number):
        version
        return number + 1
    return compiled_on_disk(answer)
"""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    (tmp_path / "a_program_on_disk.py").write_text(PROGRAM)
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("a_program_on_disk")
    yield module.made
    del sys.modules[module.__name__]


def test_a_program_of_other_sources_is_compiled_anew(made: Callable[[str], Any]) -> None:
    def was_on_disk(version: str) -> bool:
        function = made(version)
        assert function(1) == 2
        return bool(sum(function.stats.cache_hits.values()))

    assert [was_on_disk(version) for version in "aabba"] == [False, True, False, True, True]


def test_every_file_of_the_folder_is_a_part_of_the_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    versions = []
    for name, text in (("run.py", "1"), ("run.py", "2"), ("quiet.py", ""), ("run.py", "1")):
        (tmp_path / name).write_text(text)
        versions.append(compiled.source_digest())
    assert len(set(versions)) == len(versions)
    assert compiled.source_digest() == versions[-1]


def test_the_simulation_closes_over_its_version() -> None:
    dispatcher: Any = simulate_account
    closed_over = [cell.cell_contents for cell in dispatcher.py_func.__closure__]
    assert compiled.source_digest() in closed_over
