"""`trading-assets setup`: everything a world needs before its first server starts.

Folders, the SQL database, the Dagster home and its storage, the MLflow database, and DAGSTER_HOME
in `.env`. Safe to repeat; migrations run here, once, because servers that migrate at the same time
race each other.
"""

import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from trading_assets.candles.recording_files import require_recording
from trading_assets.commands.files import swap_in
from trading_assets.commands.services import child_environment
from trading_assets.database import connect, database_url, prepare
from trading_assets.errors import EnvironmentProblem
from trading_assets.settings import Settings
from trading_assets.world import World, claim, world_of

DAGSTER_YAML = Path(__file__).parents[2] / "deploy" / "local" / "dagster.yaml"
_PREPARED = "PREPARED"


def prepare_world(
    settings: Settings,
    say: Callable[[str], None],
    close_runs_since: datetime | None = None,
) -> World:
    """Prepare the world of `settings` and return it.

    close_runs_since: given by `run`, which knows that nothing of the world runs: Dagster runs that
        are still called started, or that ended after this moment (the stop of the previous start
        took them down), are closed and may be asked for again. None leaves every run alone.
    Raises SettingsError when there is no such recording, before anything is made; WrongWorld when a
    folder or the database is another world's, EnvironmentProblem when Dagster's or MLflow's storage
    cannot be made.
    """
    require_recording(settings)
    world = world_of(settings)
    for folder in (world.data, world.mlruns, world.dagster_home):
        claim(folder, world.name)
    copy_dagster_yaml(world)
    storages = [
        _start_storage(settings, world, "dagster", _closing(close_runs_since)),
        _start_storage(settings, world, "mlflow"),
    ]
    engine = connect(database_url(settings, world))
    try:
        prepare(engine, world)
    finally:
        engine.dispose()
    for storage in storages:
        storage.finish()
    write_dagster_home(settings.root / ".env", world.dagster_home)
    say(f"world {world.name} is prepared in {world.data}")
    return world


def copy_dagster_yaml(world: World, source: Path = DAGSTER_YAML) -> None:
    """Put the instance's settings into the Dagster home; the source is what a person edits."""
    if not source.is_file():
        raise EnvironmentProblem(
            f"{source} is missing: trading-assets runs from its checkout (pip install -e .)"
        )
    text = source.read_text(encoding="utf-8")
    swap_in(world.dagster_home / "dagster.yaml", text)


def write_dagster_home(env_file: Path, dagster_home: Path) -> None:
    """Set DAGSTER_HOME in `.env`, so that a bare `dagster ...` in the checkout finds the world.

    Every other line stays as it is; the file is swapped in whole and keeps its permissions.
    """
    line = f"DAGSTER_HOME={_quoted(str(dagster_home))}"
    old = env_file.read_text(encoding="utf-8") if env_file.exists() else ""
    lines = old.splitlines()
    places = [i for i, text in enumerate(lines) if _sets_dagster_home(text)]
    if places:
        lines[places[-1]] = line
        for extra in places[:-1]:
            lines[extra] = ""
    else:
        lines.append(line)
    swap_in(env_file, "\n".join(lines) + "\n")


def _sets_dagster_home(line: str) -> bool:
    name, equals, _ = line.strip().removeprefix("export ").partition("=")
    return bool(equals) and name.strip() == "DAGSTER_HOME"


def _quoted(value: str) -> str:
    if all(c.isalnum() or c in "/._-" for c in value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


class _Storage:
    """A storage being made by a child: Dagster and MLflow take seconds to import, each its own."""

    def __init__(self, name: str, process: "subprocess.Popen[str] | None", stamp: Path) -> None:
        self._name, self._process, self._stamp = name, process, stamp

    def finish(self) -> None:
        if self._process is None:
            return
        output, _ = self._process.communicate()
        if self._process.returncode != 0:
            raise EnvironmentProblem(
                f"the storage of {self._name} could not be made in {self._stamp.parent}:\n"
                + "\n".join(output.splitlines()[-5:])
            )
        swap_in(self._stamp, version(self._name) + "\n")


def _closing(since: datetime | None) -> tuple[str, ...]:
    return () if since is None else (since.isoformat(),)


_MAKERS = {
    "dagster": "trading_assets.orchestration.shared.prepare_instance",
    "mlflow": "trading_assets.commands.prepare_mlflow",
}


def _start_storage(
    settings: Settings, world: World, name: str, arguments: tuple[str, ...] = ()
) -> _Storage:
    folder = world.dagster_home if name == "dagster" else world.mlruns
    stamp = folder / _PREPARED
    made_by = stamp.read_text(encoding="utf-8").strip() if stamp.exists() else None
    if not arguments and made_by == version(name):
        return _Storage(name, None, stamp)
    process = subprocess.Popen(
        [sys.executable, "-m", _MAKERS[name], *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=settings.root,
        env=child_environment(settings, world),
    )
    return _Storage(name, process, stamp)
