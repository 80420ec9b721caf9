"""`trading-assets doctor`: is everything well, and which command mends what is not.

Each check looks at one thing and answers with a `Finding`; none of them changes anything. A world
whose servers do not run is no failure: what needs them is then a WARN that says so.
"""

import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import PackageNotFoundError, distribution

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.commands import dagster_web, signal_table
from trading_assets.commands.ports import answers, is_free, server_ports, user_of
from trading_assets.database import heartbeats, open_database, read
from trading_assets.errors import (
    DatabaseBusy,
    EnvironmentProblem,
    MigrationNeeded,
    NotReadyYet,
    TradingAssetsError,
    WrongWorld,
)
from trading_assets.models.staleness import confirmed_at, is_expired, is_stale
from trading_assets.rules.check import Level
from trading_assets.settings import Settings, misnamed
from trading_assets.signals.choices import (
    ChoiceReason,
    latest_choice,
    leading_profile,
    traded_profile,
)
from trading_assets.signals.health import check_signals, subject_of
from trading_assets.world import World, world_of
from trading_assets.write_lock import writer_of

# The sensor beats every 30 s; three missed beats are no chance any more.
HEARTBEAT_LIMIT = timedelta(seconds=100)
# A collection comes after each close; two intervals without one are an outage.
CANDLE_LIMIT_INTERVALS = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. fix: the command or setting that mends it, empty without need."""

    level: Level
    subject: str
    text: str
    fix: str = ""

    def line(self) -> str:
        end = f" -> {self.fix}" if self.fix else ""
        return f"{self.level:<4}  {self.subject}: {self.text}{end}"


def doctor(settings: Settings, now: datetime, say: Callable[[str], None]) -> int:
    """Print every finding; the exit code is 1 when one is FAIL."""
    worst = 0
    for finding in findings(settings, now):
        say(finding.line())
        if finding.level is Level.FAIL:
            worst = 1
    return worst


def findings(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Every check in the order a person would mend things."""
    world = world_of(settings)
    yield python_version(sys.version_info[:2])
    yield environment()
    yield from (Finding(Level.FAIL, "settings", text, "correct its name") for text in misnamed())
    yield world_match(settings, world)
    running = answers(settings.dagster_port)
    yield from ports(settings, world, running=running)
    yield exchange(settings)
    try:
        engine = open_database(settings, world)
    except (MigrationNeeded, WrongWorld) as exc:
        yield Finding(Level.FAIL, "database", str(exc), "make setup")
        return
    except (DatabaseBusy, EnvironmentProblem) as exc:
        yield Finding(Level.FAIL, "database", str(exc))
        return
    try:
        yield database(world)
        yield from dagster_daemons(settings, world, running=running)
        yield trading_heartbeat(engine, now, running=running)
        yield from candles(settings, world, now)
        yield from models(settings, engine, now)
        yield evaluation(settings, engine, now)
        yield from signals(settings, engine, now)
        yield from live_checks(settings, engine, now)
    finally:
        engine.dispose()


def python_version(found: tuple[int, int]) -> Finding:
    text = f"{found[0]}.{found[1]}"
    if found >= (3, 11):
        return Finding(Level.OK, "python", text)
    return Finding(Level.FAIL, "python", f"{text}, 3.11 is needed", "make clean && make setup")


def environment() -> Finding:
    """Whether every package that the project requires is installed."""
    try:
        required = distribution("trading-assets").requires or []
    except PackageNotFoundError:
        return Finding(Level.FAIL, "environment", "trading-assets is not installed", "make setup")
    names = [r.split(";")[0].strip() for r in required if "extra ==" not in r]
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        return Finding(Level.FAIL, "environment", f"missing {', '.join(missing)}", "make setup")
    return Finding(Level.OK, "environment", f"{len(names)} required packages in {sys.prefix}")


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def world_match(settings: Settings, world: World) -> Finding:
    """Whether the folders and DAGSTER_HOME in `.env` are this world's."""
    for folder in (world.data, world.mlruns, world.dagster_home):
        marker = folder / "WORLD"
        if not marker.is_file():
            return Finding(Level.FAIL, "world", f"{world.name} was never prepared", "make setup")
        owner = marker.read_text(encoding="utf-8").strip()
        if owner != world.name:
            text = f"{folder} belongs to {owner}, the settings say {world.name}"
            return Finding(
                Level.FAIL, "world", text, "set DATA_DIR and MLRUNS_DIR to other folders"
            )
    env_file = settings.root / ".env"
    named = env_file.read_text(encoding="utf-8") if env_file.is_file() else ""
    if str(world.dagster_home) not in named:
        text = f"{world.name}, but DAGSTER_HOME in .env is another world's"
        return Finding(Level.WARN, "world", text, "make setup")
    return Finding(Level.OK, "world", world.name)


def ports(settings: Settings, world: World, *, running: bool) -> Iterator[Finding]:
    """Free while nothing runs, answering while `make run` does."""
    for name, port in server_ports(settings).items():
        subject = f"port {port} ({name})"
        if running and answers(port):
            yield Finding(Level.OK, subject, "a server answers")
        elif running:
            yield Finding(Level.FAIL, subject, "its server does not answer", _logs(world))
        elif is_free(port):
            yield Finding(Level.OK, subject, "free")
        else:
            fix = f"stop what uses it, or set {name} to another port"
            yield Finding(Level.WARN, subject, f"in use by {user_of(port)}", fix)


def exchange(settings: Settings) -> Finding:
    """Whether the exchange lists its markets, ours among them."""
    url = f"{settings.exchange_base_url}/v1/market/all"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            listed = answer.read().decode()
    except (OSError, ValueError) as exc:
        fix = "make run, or make paper-exchange" if "127.0.0.1" in url else "try again"
        return Finding(Level.WARN, "exchange", f"{url} does not answer ({exc})", fix)
    unknown = [m for m in settings.markets if f'"{m}"' not in listed]
    if unknown:
        text = f"{url} does not list {', '.join(unknown)}"
        return Finding(Level.FAIL, "exchange", text, "correct MARKETS")
    return Finding(Level.OK, "exchange", f"{url} lists all {len(settings.markets)} markets")


def database(world: World) -> Finding:
    """Whether everybody can write: a process stopped amid a write keeps all others from it."""
    writer = writer_of(world.database)
    if writer is None or not writer.is_stopped:
        return Finding(Level.OK, "database", f"prepared for the world {world.name}")
    text = f"nobody can write, it is locked by {writer}"
    return Finding(Level.FAIL, "database", text, f"kill -9 {writer.pid}")


def dagster_daemons(settings: Settings, world: World, *, running: bool) -> Iterator[Finding]:
    """The heartbeats of Dagster's daemons, asked of its web server."""
    if not running:
        yield Finding(Level.WARN, "Dagster daemon", "Dagster does not run", "make run")
        return
    try:
        listed = dagster_web.daemons(settings.dagster_port)
        broken = dagster_web.broken_locations(settings.dagster_port)
    except NotReadyYet as exc:
        yield Finding(Level.FAIL, "Dagster daemon", str(exc), "make run")
        return
    for location, error in broken.items():
        yield Finding(Level.FAIL, f"code location {location}", error, _logs(world))
    sick = [d for d in listed if not d.healthy]
    for daemon in sick:
        text = daemon.detail or "no heartbeat"
        yield Finding(Level.FAIL, f"Dagster daemon {daemon.name}", text, _logs(world))
    if not sick:
        yield Finding(Level.OK, "Dagster daemon", f"{len(listed)} daemons beat")


def trading_heartbeat(engine: Engine, now: datetime, *, running: bool) -> Finding:
    """Whether the trading location has shown itself lately."""
    with read(engine) as connection:
        row = connection.execute(
            sa.select(heartbeats.c.beat_at, heartbeats.c.detail).where(
                heartbeats.c.name == "trading_status_sensor"
            )
        ).one_or_none()
    level = Level.FAIL if running else Level.WARN
    if row is None:
        return Finding(level, "trading", "never showed itself", "make run")
    if now - row.beat_at > HEARTBEAT_LIMIT:
        text = f"last heartbeat {signal_table.age(now - row.beat_at)} ago"
        return Finding(level, "trading", text, "make run")
    return Finding(Level.OK, "trading", f"{row.detail}, {signal_table.age(now - row.beat_at)} ago")


def candles(settings: Settings, world: World, now: datetime) -> Iterator[Finding]:
    """The age of the newest stored candle of each market and interval."""
    from trading_assets.candles.store import CandleStore
    from trading_assets.exchange.model import Interval

    store = CandleStore(world.candles, world.name)
    intervals = {settings.profile_interval_minutes(p) for p in settings.active_profiles}
    for market in settings.markets:
        for minutes in sorted(intervals):
            subject = f"candles {market} {minutes}m"
            try:
                newest = store.last_open_time(market, Interval.of_minutes(minutes))
            except TradingAssetsError as exc:
                yield Finding(Level.FAIL, subject, str(exc), "make materialize")
                continue
            if newest is None:
                yield Finding(Level.WARN, subject, "none collected yet", "make run")
                continue
            old = now - (newest + timedelta(minutes=minutes))
            text = f"newest closed {signal_table.age(old)} ago"
            if old > CANDLE_LIMIT_INTERVALS * timedelta(minutes=minutes):
                yield Finding(Level.WARN, subject, text, "make run")
            else:
                yield Finding(Level.OK, subject, text)


def models(settings: Settings, engine: Engine, now: datetime) -> Iterator[Finding]:
    """The age of each model, counted from its last verdict."""
    retrain_after = timedelta(hours=float(settings.retrain_after_hours))
    stop_after = timedelta(hours=float(settings.entries_stop_after_hours))
    for market in settings.markets:
        for profile in settings.active_profiles:
            subject = f"model {market} {profile}"
            confirmed = confirmed_at(engine, market, profile)
            if confirmed is None:
                yield Finding(Level.WARN, subject, "never judged", "make run, or make materialize")
                continue
            text = f"confirmed {signal_table.age(now - confirmed)} ago"
            if is_expired(confirmed, now, stop_after):
                yield Finding(Level.FAIL, subject, f"{text}: no new entries", "make run")
            elif is_stale(confirmed, now, retrain_after):
                yield Finding(Level.WARN, subject, f"{text}: retraining is due", "make run")
            else:
                yield Finding(Level.OK, subject, text)


def evaluation(settings: Settings, engine: Engine, now: datetime) -> Finding:
    """Whether a profile is traded, and whether that rests on an evaluation."""
    traded, choice = traded_profile(engine, settings, now), latest_choice(engine)
    how = f"PROFILE={settings.profile}"
    if traded.profile is None:
        # Without an edge it is right to trade nothing; without an evaluation it is not known.
        known = choice is not None and choice.reason is ChoiceReason.NO_EDGE
        fix = "trading-assets profiles" if known else "make run evaluates after the training"
        level = Level.OK if known else Level.WARN
        return Finding(level, "profile", f"{how}: nothing is entered, {traded.why}", fix)
    if choice is None:
        text = f"{how}: {traded.profile} is traded, not evaluated yet"
        return Finding(Level.WARN, "profile", text, "make run evaluates after the training")
    age = signal_table.age(now - choice.decided_at)
    text = f"{how}: {traded.profile} is traded; evaluated {age} ago: {choice.detail}"
    agreed = choice.profile == traded.profile
    return Finding(
        Level.OK if agreed else Level.WARN,
        "profile",
        text,
        "" if agreed else "trading-assets profiles",
    )


def signals(settings: Settings, engine: Engine, now: datetime) -> Iterator[Finding]:
    """Whether the traded profile of each market has a signal that is still good."""
    profile = leading_profile(traded_profile(engine, settings, now), settings)
    lines = signal_table.latest(engine, settings.markets, (profile,))
    by_market = {line.market: line for line in lines}
    for market in settings.markets:
        subject = f"signal {market} {profile}"
        line = by_market.get(market)
        if line is None:
            yield Finding(Level.WARN, subject, "none yet", "make run, or make materialize")
        elif now >= line.expires_at:
            text = f"expired {signal_table.age(now - line.expires_at)} ago"
            yield Finding(Level.WARN, subject, text, "make run")
        else:
            yield Finding(Level.OK, subject, f"{line.decision} ({line.reason})")


def live_checks(settings: Settings, engine: Engine, now: datetime) -> Iterator[Finding]:
    """The live checks of the signals of the profile that comes first, those that are well as one.

    The same findings as on `signals` in Dagster and in `why-hold`.
    """
    profile = leading_profile(traded_profile(engine, settings, now), settings)
    subject = subject_of(settings, engine, profile)
    if subject.forecast is None:
        text = "none yet: how rare signals may be is not known"
        yield Finding(Level.WARN, f"forecast {profile}", text, "make run: the job `evaluate`")
    found = check_signals(engine, subject, now)
    for f in found:
        if f.level is not Level.OK:
            yield Finding(f.level, f"{f.check} {f.market}", f.text, f.fix)
    well = sum(f.level is Level.OK for f in found)
    yield Finding(Level.OK, f"live checks {profile}", f"{well} of {len(found)} are well")


def _logs(world: World) -> str:
    return f"look into {world.run / 'logs'}"
