"""The compiled simulation: when one on disk is too old, and that it stays within its tables."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trading_assets.backtest.account import compiled
from trading_assets.backtest.account.prices import band_at
from trading_assets.backtest.account.records import RULES
from trading_assets.backtest.account.run import simulate_account
from trading_assets.exchange.price_units import KRW_TICKS

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


@pytest.mark.parametrize("begun_at", [0, 5, len(KRW_TICKS) - 1])
@pytest.mark.parametrize(
    ("price", "band"),
    [
        (0.0, 0),
        (1000.0, [int(start) for start, _ in KRW_TICKS[::-1]].index(1000)),
        (1e300, len(KRW_TICKS) - 1),
        # No prices, and no reason to read what lies beside the table.
        (np.inf, len(KRW_TICKS) - 1),
        (-1.0, 0),
    ],
)
def test_every_number_has_a_band_of_the_table(price: float, band: int, begun_at: int) -> None:
    rules = np.zeros(1, RULES)[0]
    rules["tick_from"] = [*(start for start, _ in KRW_TICKS[::-1]), np.inf]
    assert band_at(price, rules, begun_at) == band
