"""The promise of `.ci/run`: where shared data lies, no test may skip for want of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TESTS = """
import pytest

@pytest.mark.real_data
def test_marked():
    pytest.skip("not found")

def test_named():
    pytest.skip("needs ../shared/data")

def test_other():
    pytest.skip("needs Linux")
"""
MODULE = 'import pytest\npytest.skip("needs ../shared/data", allow_module_level=True)\n'


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = real_data\n")
    (tmp_path / "test_items.py").write_text(TESTS)
    (tmp_path / "test_module.py").write_text(MODULE)
    return tmp_path


def summary(suite: Path, *arguments: str, required: str) -> str:
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=suite,
        env={**os.environ, "TRADING_ASSETS_REQUIRE_SHARED": required},
        capture_output=True,
        text=True,
        check=False,
    )
    return answer.stdout.splitlines()[-1]


def test_such_skips_fail_where_the_data_is(suite: Path) -> None:
    assert summary(suite, "test_items.py", required="1").startswith("2 failed, 1 skipped")
    assert summary(suite, "test_module.py", required="1").startswith("1 error")


def test_they_stay_skips_where_it_is_not(suite: Path) -> None:
    assert summary(suite, required="0").startswith("4 skipped")
