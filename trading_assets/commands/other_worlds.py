"""Starts of other worlds that run now: a command without their settings would not reach them.

`make run TRADING_MODE=live` in one terminal and `trading-assets halt` in another one is a halt of
the sandbox. Nothing is refused for that, but it is told before anything else.
"""

from collections.abc import Iterator

from trading_assets.commands.only_one import OnlyOne
from trading_assets.settings import Settings
from trading_assets.world import world_of


def missed(settings: Settings) -> Iterator[str]:
    """A sentence for each start that runs, unless one of the settings' own world does."""
    own = world_of(settings)
    if OnlyOne(own.run).running_pid() is not None:
        return
    for file in sorted(own.data.parent.glob("*/run/run.json")):
        pid = OnlyOne(file.parent).running_pid()
        if pid is not None:
            yield (
                f"`make run` of the world {file.parent.parent.name} runs (pid {pid}), and these "
                f"settings mean the world {own.name}: to reach it, give this command that start's "
                "settings too, or put them into .env"
            )
