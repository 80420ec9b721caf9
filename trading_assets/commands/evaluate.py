"""`trading-assets evaluate`: what each profile would have earned, and which is traded, once.

For those who work without servers: what `evaluation_sensor` asks for while `run` runs, as the same
`dagster asset materialize` a person would type. It needs what `materialize` has made, no exchange
and no network.
"""

from collections.abc import Callable, Iterator

from trading_assets.candles.recording_files import require_recording
from trading_assets.clock import Clock
from trading_assets.commands.materialize import dagster_command, followed
from trading_assets.commands.prepare import prepare_world
from trading_assets.commands.profiles import profiles
from trading_assets.errors import NotReadyYet
from trading_assets.settings import Settings
from trading_assets.world import World, world_of

NEEDED = ("sequences", "labels")
OF_A_MARKET = ("walk_forward", "shadow")
CONCLUSIONS = ("profile_choice", "forecast", "model_comparison", "report")
# The name of what follows from all markets together, in lines and logs.
TOGETHER = "conclusions"


def evaluate(settings: Settings, clock: Clock, say: Callable[[str], None]) -> int:
    """Walk every profile forward in every market, then choose; 1 when something failed.

    Raises NotReadyYet when nothing was prepared for a model yet, and as `prepare_world`.
    """
    require_recording(settings)
    world = world_of(settings)
    if not anything_to_evaluate(settings, world):
        raise NotReadyYet(
            f"the world {world.name} has nothing to evaluate yet: run `make materialize` first"
        )
    prepare_world(settings, say)
    (world.run / "logs").mkdir(parents=True, exist_ok=True)

    def follow(name: str, command: tuple[str, ...]) -> bool:
        return followed(command, name, settings, world, say, log_name="evaluate")

    failed = failures(settings, follow)
    say(profiles(settings, clock.now()))
    if failed:
        say(f"failed: {', '.join(failed)}; logs in {world.run / 'logs'}")
    return 1 if failed else 0


def anything_to_evaluate(settings: Settings, world: World) -> bool:
    """Whether a profile has what it is walked forward with, in one market at least.

    With ASSETS_URL, which is not asked here, collected candles are taken for it.
    """
    if settings.assets_url is not None:
        return any(world.candles.glob("*"))
    return any(
        all((world.assets / profile / name / market / "CURRENT").exists() for name in NEEDED)
        for profile in settings.active_profiles
        for market in settings.markets
    )


def failures(settings: Settings, follow: Callable[[str, tuple[str, ...]], bool]) -> list[str]:
    """Follow every command; the names of those that failed.

    One market's failure does not stop the others: as under `run`, the conclusions are drawn from
    those that are through.
    """
    return [name for name, command in evaluation_commands(settings) if not follow(name, command)]


def evaluation_commands(settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(name, command) of each market, then of what follows from all of them."""
    keys = [f"{profile}/{name}" for profile in settings.active_profiles for name in OF_A_MARKET]
    for market in settings.markets:
        yield market, dagster_command(keys, partition=market)
    yield TOGETHER, dagster_command(CONCLUSIONS)
