"""The project's own promises: make, pins, import rules, no machine's paths.

What the documents promise is `test_documents.py`.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
# What a machine's own paths look like; a document or program that names one works nowhere else.
MACHINE_PATHS = re.compile(r"(?<![\w.~$\"'`{}])/(?:work|home|Users|root|opt)/[\w.-]+")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".sh", ".mako", ""}


def makefile_targets() -> set[str]:
    return set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))


def pyproject() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked_files() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("needs the git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def required_packages() -> set[str]:
    project = pyproject()["project"]
    assert isinstance(project, dict)
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    # Without the bound that some carry: `plotly<6`.
    return {re.split("[<>=!~]", name)[0].lower() for group in groups for name in group}


def pinned_packages() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines)


def test_help_lists_every_target_that_a_person_may_call() -> None:
    shown = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    listed = set(re.findall(r"^  ([a-z-]+) ", shown, re.MULTILINE))
    assert listed == makefile_targets() - {"environment"}
    assert {"setup", "run", "test", "test-deep", "check", "bench", "materialize"} <= listed
    assert {"paper-exchange", "clean"} <= listed


def test_help_is_what_a_bare_make_does() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shown.startswith("make <target>")


def test_every_setting_is_in_the_example_file() -> None:
    from trading_assets.settings import effective_settings, load_settings

    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"^#? ?([A-Z][A-Z0-9_]+)=", example, re.MULTILINE))
    assert named == set(effective_settings(load_settings())) | {"DAGSTER_HOME"}


def test_constraints_are_plain_pins() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", line)] == []


def test_every_required_package_is_pinned() -> None:
    assert required_packages() - pinned_packages().keys() == set()


def test_no_tracked_file_names_a_machines_paths() -> None:
    guilty = [
        f"{path.relative_to(ROOT)}: {found[0]}"
        for path in tracked_files()
        if path.suffix in TEXT_SUFFIXES and path != Path(__file__)
        if (found := MACHINE_PATHS.search(path.read_text(encoding="utf-8", errors="replace")))
    ]
    assert guilty == []


def test_what_the_program_makes_stays_out_of_git() -> None:
    def ignored(name: str) -> bool:
        asked = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False)
        return asked.returncode == 0

    tracked_files()
    assert ignored("data/sandbox-0/candles")
    assert ignored("mlruns/sandbox-0/mlflow.db")
    assert ignored(".env")
    assert not ignored("data/.gitkeep")
    assert not ignored(".env.example")


@pytest.mark.slow
def test_the_import_rules_catch_what_they_forbid(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "trading_assets", tmp_path / "trading_assets")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for module, line in {
        "rules/costs.py": "import trading_assets.database",  # upwards
        "candles/frame.py": "import dagster",
        "signals/__init__.py": "import trading_assets.trading.status",
        "commands/run.py": "import trading_assets.paper_exchange.server",
        "trading/status.py": "import numpy",
        "orchestration/trading/sensors.py": "import trading_assets.orchestration.research.keys",
    }.items():
        file = tmp_path / "trading_assets" / module
        file.write_text(file.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert "Contracts: 0 kept, 6 broken." in answer.stdout
