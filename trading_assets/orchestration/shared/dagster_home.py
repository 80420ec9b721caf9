"""Whether a Dagster home is the world's: history written to another one is lost or misleading.

Here: the rule and its sentence, and the commands that end by a sentence. The resource `world`
applies the rule to every run and tick.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from trading_assets.errors import WrongWorld
from trading_assets.exchange.listening import missing_exchange
from trading_assets.settings import Settings
from trading_assets.world import World, world_of

# Commands that execute in their own process, where a temporary Dagster home is easily missed.
_EXECUTING_COMMANDS = frozenset({"asset", "job"})
# What is in a selection or job that asks the exchange; `*` and `+` may reach it.
_READING = ("candles", "signals", "retrain", "*", "+")


def require_dagster_home(home: Path | None, world: World) -> None:
    """Raise WrongWorld, with the command that helps, unless `home` is the world's Dagster home.

    home: the folder of the Dagster instance in use, None when there is no DAGSTER_HOME. A folder
    elsewhere is the world's when its WORLD marker says so (one home for several hosts).
    """
    if home is not None and _belongs(home, world):
        return
    found = "DAGSTER_HOME is not set" if home is None else f"the Dagster home is {home}"
    prepare = "" if world.dagster_home.is_dir() else "run `make setup` once, then "
    raise WrongWorld(
        f"this run belongs to the world {world.name}, but {found}, so nobody would see it: "
        f"{prepare}use `make materialize`, or first `export DAGSTER_HOME={world.dagster_home}`"
    )


def stop_lost_command(settings: Settings, arguments: Sequence[str]) -> None:
    """End `dagster asset ...` and `dagster job ...` without the world's home by one sentence.

    arguments: of the process. The resource `world` refuses such a run too, but there the sentence
    would be buried in Dagster's log. Raises SystemExit.
    """
    if not _executes(arguments):
        return
    named = os.environ.get("DAGSTER_HOME")
    try:
        require_dagster_home(Path(named) if named else None, world_of(settings))
    except WrongWorld as exc:
        raise SystemExit(str(exc)) from exc


def stop_command_without_exchange(settings: Settings, arguments: Sequence[str]) -> None:
    """End a `dagster asset ...` or `dagster job ...` that reads from an exchange that is not there.

    The step would say so, too, but after its retries and above pages of stack traces. Raises
    SystemExit.
    """
    if not _executes(arguments) or not any(word in " ".join(arguments) for word in _READING):
        return
    missing = missing_exchange(settings.exchange_base_url)
    if missing is not None:
        raise SystemExit(missing)


def _executes(arguments: Sequence[str]) -> bool:
    return (
        len(arguments) > 1
        and "dagster" in Path(arguments[0]).parts[-2:]
        and arguments[1] in _EXECUTING_COMMANDS
    )


def _belongs(home: Path, world: World) -> bool:
    if home.resolve() == world.dagster_home.resolve():
        return True
    marker = home / "WORLD"
    return marker.is_file() and marker.read_text(encoding="utf-8").strip() == world.name
