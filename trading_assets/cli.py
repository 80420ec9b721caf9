"""The console script `trading-assets`: reads the command line and calls one command.

A command's module is imported only when that command runs, so that the light ones stay light. An
error of our own tree becomes its sentence on stderr and an exit code, never a traceback: 2 for a
wrong setting, 1 for everything else.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trading_assets.errors import SettingsError, TradingAssetsError
from trading_assets.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its name, what it does in one line, and what does it."""

    name: str
    help: str
    call: Callable[[Settings], int]


def say(line: str) -> None:
    """One line for the person, at once."""
    print(line, flush=True)


def _run(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.run import run

    return run(settings, SystemClock(), say)


def _setup(settings: Settings) -> int:
    from trading_assets.commands.prepare import prepare_world

    prepare_world(settings, say)
    return 0


def _settings(settings: Settings) -> int:
    from trading_assets.settings import effective_settings
    from trading_assets.world import world_of

    say(f"# world {world_of(settings).name}")
    for name, value in effective_settings(settings).items():
        say(f"{name}={value}")
    return 0


def _paper_exchange(settings: Settings) -> int:
    from trading_assets.paper_exchange.server import serve

    serve(settings)
    return 0


def _materialize(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.materialize import materialize

    return materialize(settings, SystemClock(), say)


def _status(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.signal_table import status

    say(status(settings, SystemClock().now()))
    return 0


def _doctor(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.doctor import doctor

    return doctor(settings, SystemClock().now(), say)


COMMANDS = (
    Command("run", "start everything, in the foreground, until Ctrl-C", _run),
    Command("setup", "prepare folders and databases of the world; safe to repeat", _setup),
    Command("settings", "print the effective settings, secrets hidden", _settings),
    Command("status", "print the latest signal of each market and profile", _status),
    Command("signals", "the same as status", _status),
    Command("doctor", "check everything and say which command mends what", _doctor),
    Command("materialize", "collect, train and signal once, without servers", _materialize),
    Command("paper-exchange", "serve the paper exchange alone, until Ctrl-C", _paper_exchange),
)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(
        prog="trading-assets",
        description="A Dagster-orchestrated machine learning pipeline for Upbit KRW markets. "
        "Settings come from the environment and .env; .env.example lists them.",
    )
    subs = root.add_subparsers(dest="command", required=True, metavar="command")
    for command in COMMANDS:
        subs.add_parser(command.name, help=command.help, description=command.help)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    chosen = parser().parse_args(arguments).command
    command = next(c for c in COMMANDS if c.name == chosen)
    try:
        return command.call(load_settings())
    except SettingsError as exc:
        print(f"trading-assets: {exc}", file=sys.stderr)
        return 2
    except TradingAssetsError as exc:
        print(f"trading-assets: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `trading-assets status | head`: the reader has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
