"""The console script `trading-assets`: reads the command line and calls one command.

A command's module is imported only when that command runs, so that the light ones stay light. An
error of our own tree becomes its sentence on stderr and an exit code, never a traceback: 2 for a
wrong setting, 1 for everything else.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from trading_assets.errors import SettingsError, TradingAssetsError
from trading_assets.settings import ProfileName, Settings, load_settings, misnamed


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its name, what it does in one line, and what does it.

    options: adds the command's own options; `call` is then given the parsed ones as well. strict:
    whether a misspelt setting keeps it from beginning; one that looks or sells only tells it.
    """

    name: str
    help: str
    call: Callable[..., int]
    options: Callable[[argparse.ArgumentParser], None] | None = None
    strict: bool = False


def say(line: str) -> None:
    """One line for the person, at once."""
    print(line, flush=True)


def _run(settings: Settings, chosen: argparse.Namespace) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.run import run

    return run(settings, SystemClock(), say, yes=chosen.yes)


def _run_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--yes", action="store_true", help="start with real money without typing the phrase"
    )


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


def _paper_exchange(settings: Settings, chosen: argparse.Namespace) -> int:
    from trading_assets.commands.ports import user_of
    from trading_assets.paper_exchange.faults import parse_fault
    from trading_assets.paper_exchange.server import serve

    try:
        faults = [parse_fault(text) for text in chosen.fault]
    except ValueError as exc:
        raise SettingsError(f"--fault: {exc}") from None
    serve(settings, faults, user_of)
    return 0


def _fault_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="KIND[,NAME=VALUE...]",
        help="let something go wrong, e.g. late,seconds=5,times=always or "
        "maintenance,path=/v1/orders,times=always; body=... comes last and may have commas; "
        "may be repeated (docs/paper_exchange.md)",
    )


def _materialize(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.groups import end_once_as_by_ctrl_c
    from trading_assets.commands.materialize import materialize

    end_once_as_by_ctrl_c()  # it takes its paper exchange along
    return materialize(settings, SystemClock(), say)


def _evaluate(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.evaluate import evaluate
    from trading_assets.commands.groups import end_once_as_by_ctrl_c

    end_once_as_by_ctrl_c()
    return evaluate(settings, SystemClock(), say)


def _status(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.trading_status import status

    say(status(settings, SystemClock()))
    return 0


def _signals(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.signal_table import status

    say(status(settings, SystemClock().now()))
    return 0


def _profiles(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.profiles import profiles

    say(profiles(settings, SystemClock().now()))
    return 0


def _explain(settings: Settings, chosen: argparse.Namespace) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.explain import explain

    say(explain(settings, SystemClock(), chosen.name))
    return 0


def _explain_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "name",
        nargs="?",
        metavar="ORDER_OR_TRADE",
        help="an order's identifier or uuid, or a trade's id; without it, the last trades",
    )


def _halt(settings: Settings, chosen: argparse.Namespace) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.halt import halt

    return halt(settings, SystemClock(), say, " ".join(chosen.reason) or "by hand")


def _halt_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("reason", nargs="*", help="why, in any words; kept with the halt")
    # "fell -5% today" is words too; argparse itself takes -5 for one and -5% for an option.
    command._negative_number_matcher = re.compile(r"-[\d.,]")


def _resume(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.halt import resume

    return resume(settings, SystemClock(), say)


def _guard(settings: Settings, chosen: argparse.Namespace) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.groups import end_as_by_ctrl_c
    from trading_assets.commands.guard import guard

    end_as_by_ctrl_c()  # it gives the positions back
    return guard(settings, SystemClock(), say, now_open=chosen.now_open)


def _guard_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--now-open", action="store_true", help="hold what is open now, nothing opened later"
    )


def _reconcile(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.reconcile import reconcile

    return reconcile(settings, SystemClock(), say)


def _why_hold(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.why_hold import why_hold

    return why_hold(settings, SystemClock().now(), say)


def _funnel(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.funnel import funnel

    say(funnel(settings, SystemClock().now()))
    return 0


def _doctor(settings: Settings) -> int:
    from trading_assets.clock import SystemClock
    from trading_assets.commands.doctor import doctor

    return doctor(settings, SystemClock().now(), say)


def _lookahead(settings: Settings, chosen: argparse.Namespace) -> int:
    from trading_assets.commands.causality import lookahead

    return lookahead(settings, say, folder=chosen.candles, cuts=chosen.cuts, every=chosen.all)


def _recursion(settings: Settings, chosen: argparse.Namespace) -> int:
    from trading_assets.commands.causality import recursion

    return recursion(settings, say, folder=chosen.candles, cuts=chosen.cuts, every=chosen.all)


def _analysis_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--candles",
        type=Path,
        metavar="FOLDER",
        help="recorded candles (<market>-60m.parquet); without it, the world's own",
    )
    command.add_argument(
        "--cuts", type=_at_least_one, default=32, help="histories at random a market (32)"
    )
    command.add_argument(
        "--all", action="store_true", help="print each column that a model is given"
    )


def _tune(settings: Settings, chosen: argparse.Namespace) -> int:
    from trading_assets.commands.tune import tune_profile

    return tune_profile(
        settings,
        say,
        name=ProfileName(chosen.profile),
        markets=chosen.market,
        trials=chosen.trials,
        folder=chosen.candles,
    )


def _tune_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profile", choices=[name.value for name in ProfileName], default="swing", help="(swing)"
    )
    command.add_argument(
        "--market",
        action="append",
        metavar="KRW-BTC",
        help="may be repeated; without it, all of MARKETS in one account",
    )
    command.add_argument("--trials", type=_at_least_one, default=50, help="settings to try (50)")
    command.add_argument(
        "--candles",
        type=Path,
        metavar="FOLDER",
        help="recorded candles (<market>-60m.parquet); without it, the world's own",
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, was {number}")
    return number


COMMANDS = (
    Command(
        "run", "start everything, in the foreground, until Ctrl-C", _run, _run_options, strict=True
    ),
    Command(
        "setup", "prepare folders and databases of the world; safe to repeat", _setup, strict=True
    ),
    Command("settings", "print the effective settings, secrets hidden", _settings, strict=True),
    Command("status", "print signals, account, positions, leases and halts", _status),
    Command("signals", "print the latest signal of each market and profile", _signals),
    Command("profiles", "print what each profile earned out of sample", _profiles),
    Command("explain", "print where an order or trade came from", _explain, _explain_options),
    Command("halt", "stop entries, cancel our orders, sell our positions", _halt, _halt_options),
    Command("resume", "end the halt", _resume),
    Command(
        "guard",
        "hold all open positions without Dagster, until they are sold",
        _guard,
        _guard_options,
    ),
    Command("reconcile", "compare the ledger with the account, once", _reconcile),
    Command("why-hold", "say why nothing is bought, and whether that is normal", _why_hold),
    Command("funnel", "print how signals became trades, or why not", _funnel),
    Command("doctor", "check everything and say which command mends what", _doctor),
    Command(
        "materialize", "collect, train and signal once, without servers", _materialize, strict=True
    ),
    Command(
        "evaluate",
        "say what each profile would have earned, without servers",
        _evaluate,
        strict=True,
    ),
    Command(
        "lookahead",
        "check that no feature, label input or signal sees a later candle",
        _lookahead,
        _analysis_options,
    ),
    Command(
        "recursion",
        "check that none of them depends on how far back is read",
        _recursion,
        _analysis_options,
    ),
    Command(
        "tune",
        "search better settings of a profile in its training time; changes nothing",
        _tune,
        _tune_options,
        strict=True,
    ),
    Command(
        "paper-exchange",
        "serve the paper exchange alone, until Ctrl-C",
        _paper_exchange,
        _fault_options,
        strict=True,
    ),
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
        sub = subs.add_parser(command.name, help=command.help, description=command.help)
        if command.options is not None:
            command.options(sub)
    return root


def _check_names(command: Command) -> None:
    """Raises SettingsError for a misspelt setting, or tells it and lets `command` go on."""
    wrong = misnamed()
    if wrong and command.strict:
        raise SettingsError("\n".join(wrong))
    for sentence in wrong:
        print(f"!! {sentence}", file=sys.stderr)


def _tell_of_other_worlds(settings: Settings) -> None:
    from trading_assets.commands.other_worlds import missed

    try:
        sentences = list(missed(settings))
    except (OSError, ValueError, KeyError, TypeError) as exc:
        # A broken file of another world must not keep this one from being halted.
        sentences = [f"whether `make run` runs for another world cannot be read: {exc!r}"]
    for sentence in sentences:
        print(f"!! {sentence}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    chosen = parser().parse_args(arguments)
    command = next(c for c in COMMANDS if c.name == chosen.command)
    try:
        settings = load_settings()
        _check_names(command)
        if not command.strict:
            _tell_of_other_worlds(settings)
        if command.options is None:
            return command.call(settings)
        return command.call(settings, chosen)
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
