"""The database where research and trading meet: engine, every table, exact column types.

One SQL database per world (SQLite in its folder, or DATABASE_URL). Tables change only by the
Alembic migrations beside this file; `prepare` runs them once, before any server starts. Rows are
written by the rooms they belong to.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Dialect, Engine, ExceptionContext
from sqlalchemy.types import TypeDecorator

from trading_assets.errors import DatabaseBusy, EnvironmentProblem, MigrationNeeded, WrongWorld
from trading_assets.settings import Settings
from trading_assets.world import World
from trading_assets.write_lock import writer_of

BUSY_TIMEOUT_MS = 10_000


class ExactDecimal(TypeDecorator[Decimal]):
    """A Decimal that comes back digit for digit: TEXT in SQLite, NUMERIC in PostgreSQL.

    SQLAlchemy's own Numeric goes through a float in SQLite and loses digits. Text does not sort as
    a number: order and compare in Python.
    """

    impl = sa.Numeric
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.Numeric(asdecimal=True))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if not isinstance(value, Decimal) or not value.is_finite():
            raise ValueError(f"an exact column takes a finite Decimal, was {value!r}")
        return format(value, "f") if dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class UtcInstant(TypeDecorator[datetime]):
    """An aware UTC moment, microseconds kept. A naive datetime is refused."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant needs a time zone, was {value.isoformat()} without one")
        utc = value.astimezone(UTC)
        # Fixed width, so that text order is time order.
        return utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if dialect.name == "sqlite" else utc

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
        assert isinstance(value, datetime)
        return value.astimezone(UTC)


metadata = sa.MetaData()

world_table = sa.Table("world", metadata, sa.Column("name", sa.String(100), primary_key=True))

signals = sa.Table(
    "signals",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("market", sa.String(20), nullable=False),
    sa.Column("profile", sa.String(20), nullable=False),
    sa.Column("traded", sa.Boolean, nullable=False),
    # Start of the closed candle that the signal stands on; null when there was none.
    sa.Column("candle_time", UtcInstant),
    sa.Column("created_at", UtcInstant, nullable=False),
    sa.Column("expires_at", UtcInstant, nullable=False),
    sa.Column("p_sell", sa.Float),
    sa.Column("p_hold", sa.Float),
    sa.Column("p_buy", sa.Float),
    sa.Column("predicted_class", sa.String(4)),
    sa.Column("confidence", sa.Float),
    sa.Column("decision", sa.String(4), nullable=False),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("ev_net", sa.Float),
    sa.Column("close", ExactDecimal),
    sa.Column("sigma", sa.Float),
    sa.Column("stop_loss", ExactDecimal),
    sa.Column("take_profit", ExactDecimal),
    sa.Column("timeout_seconds", sa.Integer),
    sa.Column("model_version", sa.String(100)),
    sa.Column("model_trained_at", UtcInstant),
    sa.Column("model_confirmed_at", UtcInstant),
    sa.Column("skill", sa.Float),
    # Null when the run was not a Dagster run.
    sa.Column("run_id", sa.String(64)),
)
sa.Index("signals_by_market", signals.c.market, signals.c.profile, signals.c.created_at)

verdicts = sa.Table(
    "verdicts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("market", sa.String(20), nullable=False),
    sa.Column("profile", sa.String(20), nullable=False),
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("decided_at", UtcInstant, nullable=False),
    sa.Column("model_version", sa.String(100)),
    sa.Column("run_id", sa.String(64)),
)
sa.Index(
    "verdicts_by_subject",
    verdicts.c.kind,
    verdicts.c.market,
    verdicts.c.profile,
    verdicts.c.decided_at,
)

profile_choices = sa.Table(
    "profile_choices",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("decided_at", UtcInstant, nullable=False),
    # Null: none has an edge, nothing is entered.
    sa.Column("profile", sa.String(20)),
    sa.Column("since", UtcInstant),
    sa.Column("reason", sa.String(20), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    # When the chosen profile was evaluated; a choice is good for some days only.
    sa.Column("evaluated_at", UtcInstant),
    # What was evaluated of each profile.
    sa.Column("numbers", sa.JSON, nullable=False),
    sa.Column("run_id", sa.String(64)),
)
sa.Index("profile_choices_by_time", profile_choices.c.decided_at)

forecasts = sa.Table(
    "forecasts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("profile", sa.String(20), nullable=False),
    sa.Column("made_at", UtcInstant, nullable=False),
    # `signals.forecast.Forecast` as JSON.
    sa.Column("document", sa.JSON, nullable=False),
)
sa.Index("forecasts_by_profile", forecasts.c.profile, forecasts.c.made_at)

heartbeats = sa.Table(
    "heartbeats",
    metadata,
    sa.Column("name", sa.String(60), primary_key=True),
    sa.Column("beat_at", UtcInstant, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("created_at", UtcInstant, nullable=False),
    sa.Column("severity", sa.String(10), nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    # One alert per key: the same fact reported twice is one row.
    sa.Column("dedupe_key", sa.String(200), nullable=False, unique=True),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("sent_at", UtcInstant),
)


# --- the ledger: what trading intended, did and holds. Written by `trading/` only -------------

leases = sa.Table(
    "leases",
    metadata,
    # What is held: a market.
    sa.Column("subject", sa.String(40), primary_key=True),
    sa.Column("holder", sa.String(100), nullable=False),
    # Grows with every taking and is never used again, so that an old holder can be told.
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("taken_at", UtcInstant, nullable=False),
    sa.Column("heartbeat_at", UtcInstant, nullable=False),
    # When the holder last judged a price, and the bid it judged; null before the first.
    sa.Column("progress_at", UtcInstant),
    sa.Column("bid", ExactDecimal),
    sa.Column("expires_at", UtcInstant, nullable=False),
    sa.Column("released_at", UtcInstant),
)

positions = sa.Table(
    "positions",
    metadata,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column("market", sa.String(20), nullable=False),
    sa.Column("profile", sa.String(20), nullable=False),
    # One position a signal, whoever asks.
    sa.Column("signal_id", sa.Integer, nullable=False, unique=True),
    sa.Column("model_version", sa.String(100)),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("created_at", UtcInstant, nullable=False),
    sa.Column("opened_at", UtcInstant),
    sa.Column("closed_at", UtcInstant),
    # Sums over the fills; fees over the orders.
    sa.Column("bought_volume", ExactDecimal, nullable=False),
    sa.Column("bought_funds", ExactDecimal, nullable=False),
    sa.Column("sold_volume", ExactDecimal, nullable=False),
    sa.Column("sold_funds", ExactDecimal, nullable=False),
    sa.Column("fees", ExactDecimal, nullable=False),
    # Left at the close because it was worth less than can be sold.
    sa.Column("dust_volume", ExactDecimal, nullable=False),
    # The signal's exit terms, and the prices they became at the entry.
    sa.Column("stop_loss", ExactDecimal, nullable=False),
    sa.Column("take_profit", ExactDecimal, nullable=False),
    sa.Column("timeout_seconds", sa.Integer, nullable=False),
    sa.Column("stop_price", ExactDecimal),
    sa.Column("take_price", ExactDecimal),
    sa.Column("deadline", UtcInstant),
    # Why it was sold; of several sells, stop_loss if one was a stop.
    sa.Column("exit_reason", sa.String(20)),
)
sa.Index(
    "one_live_position_a_market",
    positions.c.market,
    unique=True,
    sqlite_where=positions.c.state.in_(("planned", "open")),  # PostgreSQL's: `connect`
)
sa.Index("positions_by_close", positions.c.closed_at)

orders = sa.Table(
    "orders",
    metadata,
    # Written before the order is sent; the exchange takes each identifier once, for ever.
    sa.Column("identifier", sa.String(64), primary_key=True),
    sa.Column("position_id", sa.String(40), sa.ForeignKey("positions.id"), nullable=False),
    sa.Column("leg", sa.String(10), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("market", sa.String(20), nullable=False),
    sa.Column("side", sa.String(3), nullable=False),
    sa.Column("order_type", sa.String(10), nullable=False),
    sa.Column("time_in_force", sa.String(10)),
    sa.Column("price", ExactDecimal),
    sa.Column("volume", ExactDecimal, nullable=False),
    sa.Column("reason", sa.String(20), nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    # The exchange's own name for it, once known.
    sa.Column("uuid", sa.String(64), unique=True),
    sa.Column("executed_volume", ExactDecimal, nullable=False),
    sa.Column("paid_fee", ExactDecimal, nullable=False),
    # What the account had besides the ledger before it was sent: the proof for a lost order.
    sa.Column("quote_outside", ExactDecimal),
    sa.Column("base_outside", ExactDecimal),
    sa.Column("sends", sa.Integer, nullable=False),
    sa.Column("created_at", UtcInstant, nullable=False),
    sa.Column("sent_at", UtcInstant),
    sa.Column("unknown_since", UtcInstant),
    sa.Column("ended_at", UtcInstant),
    sa.UniqueConstraint("position_id", "leg", "attempt"),
)
sa.Index(
    "one_live_order_a_market",
    orders.c.market,
    unique=True,
    sqlite_where=orders.c.state.in_(("intended", "sent", "unknown", "open")),
)

order_events = sa.Table(
    "order_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("identifier", sa.String(64), sa.ForeignKey("orders.identifier"), nullable=False),
    sa.Column("at", UtcInstant, nullable=False),
    # Null for the first event of an order.
    sa.Column("from_state", sa.String(10)),
    sa.Column("to_state", sa.String(10), nullable=False),
    sa.Column("holder", sa.String(100), nullable=False),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)
sa.Index("order_events_by_order", order_events.c.identifier, order_events.c.id)

fills = sa.Table(
    "fills",
    metadata,
    # The exchange's name for the trade: a fill that is told twice is booked once.
    sa.Column("uuid", sa.String(64), primary_key=True),
    sa.Column("identifier", sa.String(64), sa.ForeignKey("orders.identifier"), nullable=False),
    sa.Column("position_id", sa.String(40), sa.ForeignKey("positions.id"), nullable=False),
    sa.Column("side", sa.String(3), nullable=False),
    sa.Column("price", ExactDecimal, nullable=False),
    sa.Column("volume", ExactDecimal, nullable=False),
    sa.Column("funds", ExactDecimal, nullable=False),
    sa.Column("traded_at", UtcInstant, nullable=False),
    sa.Column("booked_at", UtcInstant, nullable=False),
)
sa.Index("fills_by_order", fills.c.identifier)
sa.Index("fills_by_position", fills.c.position_id)

funnel = sa.Table(
    "funnel",
    metadata,
    # Every candidate entry ends here exactly once.
    sa.Column("signal_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("market", sa.String(20), nullable=False),
    sa.Column("profile", sa.String(20), nullable=False),
    sa.Column("code", sa.String(30), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("needed_krw", ExactDecimal),
    sa.Column("position_id", sa.String(40), sa.ForeignKey("positions.id")),
    sa.Column("decided_at", UtcInstant, nullable=False),
)
sa.Index("funnel_by_time", funnel.c.decided_at)

equity_marks = sa.Table(
    "equity_marks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", UtcInstant, nullable=False),
    sa.Column("capital", ExactDecimal, nullable=False),
    sa.Column("pnl", ExactDecimal, nullable=False),
    sa.Column("peak_pnl", ExactDecimal, nullable=False),
    sa.Column("day_start_pnl", ExactDecimal, nullable=False),
    sa.Column("day_low_pnl", ExactDecimal, nullable=False),
    sa.Column("exposure", ExactDecimal, nullable=False),
)
sa.Index("equity_marks_by_time", equity_marks.c.at)

capital_changes = sa.Table(
    "capital_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", UtcInstant, nullable=False),
    # declared: amount is the capital from now on. flow: amount is added (negative: taken out).
    sa.Column("kind", sa.String(10), nullable=False),
    sa.Column("amount", ExactDecimal, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)

halts = sa.Table(
    "halts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("started_at", UtcInstant, nullable=False),
    sa.Column("reason", sa.String(40), nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("resumed_at", UtcInstant),
    sa.Column("resumed_by", sa.String(100)),
)


def database_url(settings: Settings, world: World) -> str:
    """The database's URL; may hold a password, so never print it."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{world.database}"


def connect(url: str, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Engine:
    """An engine with the rules of this project: WAL, busy timeout, FULL synchronous for SQLite.

    busy_timeout_ms: how long one try to write waits for its turn in SQLite before DatabaseBusy, and
    how long PostgreSQL lets a transaction stand idle before it ends it: whoever was stopped amid a
    transaction (none of ours waits for anything) must not keep all others from writing.
    """
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg2")
    engine = sa.create_engine(parsed, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", lambda dbapi, _: _set_up_sqlite(dbapi, busy_timeout_ms))
        sa.event.listen(engine, "begin", _begin)
        sa.event.listen(
            engine, "handle_error", lambda context: _busy(context, busy_timeout_ms), retval=True
        )
    else:
        _say_conditions_to_postgresql()
        sa.event.listen(
            engine, "connect", lambda dbapi, _: _set_up_postgresql(dbapi, busy_timeout_ms)
        )
    return engine


def _say_conditions_to_postgresql() -> None:
    """Give each partial index the condition for PostgreSQL that it has for SQLite.

    Not beside the tables: there it would load PostgreSQL's dialect in every trade process, also
    where the database is SQLite.
    """
    for table in metadata.tables.values():
        for index in table.indexes:
            condition = index.dialect_options["sqlite"]["where"]
            index.dialect_options["postgresql"]["where"] = condition


def _set_up_sqlite(connection: Any, busy_timeout_ms: int) -> None:
    # The driver would start deferred transactions of its own; `_begin` starts ours.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout={busy_timeout_ms}")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _set_up_postgresql(connection: Any, busy_timeout_ms: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = {busy_timeout_ms}")
    connection.commit()


def _busy(context: ExceptionContext, busy_timeout_ms: int) -> DatabaseBusy | None:
    """What to raise instead of the driver's "database is locked"; None leaves other errors be."""
    code = getattr(context.original_exception, "sqlite_errorcode", None)
    if code is None or code & 0xFF != sqlite3.SQLITE_BUSY or code == sqlite3.SQLITE_BUSY_SNAPSHOT:
        return None  # the last: a read that went on to write, which no waiting mends
    writer = None
    if context.engine is not None and context.engine.url.database:
        writer = writer_of(Path(context.engine.url.database))
    by = "another process" if writer is None else str(writer)
    end = ""
    if writer is not None and writer.is_stopped:
        end = f": end it with `kill -9 {writer.pid}`, its transaction is then undone"
    return DatabaseBusy(f"the database was locked for {busy_timeout_ms / 1000:g} s by {by}{end}")


def patient(engine: Engine, on_busy: Callable[[DatabaseBusy], None]) -> Engine:
    """`engine`, whose writes try again after DatabaseBusy for as long as `on_busy` returns.

    It raises to give up. PostgreSQL's writes wait by themselves.
    """
    return engine.execution_options(on_busy=on_busy)


def impatient(engine: Engine) -> Engine:
    """`engine`, whose writes try once and raise DatabaseBusy."""
    return engine.execution_options(on_busy=None)


@contextmanager
def write(engine: Engine) -> Iterator[Connection]:
    """One write transaction, committed at the end or rolled back whole.

    In SQLite it is BEGIN IMMEDIATE: it waits for its turn at the start, where a deferred
    transaction that upgrades to a write fails at once under load (measured). Keep nothing slow,
    and no network call, inside. Raises DatabaseBusy.
    """
    with engine.begin() as connection:
        yield connection


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("read_only"):
        connection.exec_driver_sql("BEGIN")
        return
    on_busy = options.get("on_busy")
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            return
        except DatabaseBusy as busy:
            if on_busy is None:
                raise
            on_busy(busy)


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the database; takes no write lock."""
    with engine.connect().execution_options(read_only=True) as connection:
        yield connection


def prepare(engine: Engine, world: World) -> None:
    """Bring the schema to this version and claim the database for `world`.

    Run once before any server starts: migrations that race each other fail. Raises WrongWorld
    when the database is another world's, EnvironmentProblem when it cannot be reached.
    """
    from alembic import command
    from alembic.config import Config

    _require_reachable(engine)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    with write(engine) as connection:
        names = connection.execute(sa.select(world_table.c.name)).scalars().all()
        if not names:
            connection.execute(world_table.insert().values(name=world.name))
        elif names != [world.name]:
            raise WrongWorld(f"the database belongs to the world {names[0]}, not to {world.name}")


def _require_reachable(engine: Engine) -> None:
    """Raise EnvironmentProblem when nobody answers there; the sentence has no password."""
    try:
        with engine.connect():
            pass
    except sa.exc.OperationalError as exc:
        where = engine.url.render_as_string(hide_password=True)
        told = " ".join(str(exc.orig).split())
        raise EnvironmentProblem(f"the database {where} cannot be reached: {told}") from None


def open_database(settings: Settings, world: World) -> Engine:
    """The prepared database of `world`.

    Raises MigrationNeeded when it was never prepared, WrongWorld when it is another world's,
    EnvironmentProblem when it cannot be reached, DatabaseBusy.
    """
    engine = connect(database_url(settings, world))
    _require_reachable(engine)
    try:
        with read(engine) as connection:
            names = connection.execute(sa.select(world_table.c.name)).scalars().all()
    except (sa.exc.OperationalError, sa.exc.ProgrammingError) as exc:
        raise MigrationNeeded(
            f"the database of the world {world.name} is not prepared: run `make setup`"
        ) from exc
    if names != [world.name]:
        raise WrongWorld(f"the database belongs to the world {names}, not to {world.name}")
    return engine
