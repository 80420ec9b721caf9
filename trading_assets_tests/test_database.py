"""Column types, transactions and the world marker of the database."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.schema import CreateIndex

from trading_assets.database import (
    ExactDecimal,
    UtcInstant,
    connect,
    heartbeats,
    impatient,
    metadata,
    patient,
    prepare,
    read,
    write,
)
from trading_assets.errors import DatabaseBusy, WrongWorld
from trading_assets.world import World
from trading_assets_tests.stopped_writer import go_on, stopped_writer
from trading_assets_tests.trading.ledger_world import postgres_schema

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

_metadata = sa.MetaData()
_values = sa.Table(
    "exact_values",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("amount", ExactDecimal),
    sa.Column("at", UtcInstant),
)


def _world(tmp_path: Path, name: str = "sandbox-test") -> World:
    return World(name, tmp_path / name, tmp_path / "mlruns" / name)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.Engine]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path_factory.mktemp('db') / 'types.sqlite'}"
        else:
            url = stack.enter_context(postgres_schema("types"))
        engine = connect(url)
        stack.callback(engine.dispose)
        _metadata.create_all(engine)
        yield engine


def _round_trip(engine: sa.Engine, column: sa.Column[object], value: object) -> object:
    with write(engine) as connection:
        connection.execute(_values.delete())
        connection.execute(_values.insert().values({column: value}))
    with read(engine) as connection:
        return connection.execute(sa.select(column)).scalar_one()


@given(
    st.decimals(min_value=Decimal("-1e20"), max_value=Decimal("1e20"), allow_nan=False, places=18)
)
def test_an_exact_decimal_comes_back_digit_for_digit(engine: sa.Engine, amount: Decimal) -> None:
    assert _round_trip(engine, _values.c.amount, amount) == amount


@given(
    st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 (hypothesis adds the zone)
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=9))]),
    )
)
def test_an_instant_comes_back_as_aware_utc(engine: sa.Engine, moment: datetime) -> None:
    back = _round_trip(engine, _values.c.at, moment)
    assert isinstance(back, datetime)
    assert back == moment
    assert back.utcoffset() == timedelta(0)


def test_a_naive_instant_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.StatementError, match="needs a time zone"):
        _round_trip(engine, _values.c.at, datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_float_is_refused_where_digits_matter(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.StatementError, match="finite Decimal"):
        _round_trip(engine, _values.c.amount, 0.1)


def test_preparing_twice_changes_nothing_and_another_world_is_refused(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'a.sqlite'}")
    prepare(engine, _world(tmp_path))
    prepare(engine, _world(tmp_path))
    with pytest.raises(WrongWorld, match="sandbox-test, not to live"):
        prepare(engine, _world(tmp_path, "live"))


def test_the_migrations_make_exactly_the_tables_of_the_code(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    engine = connect(f"sqlite:///{tmp_path / 'a.sqlite'}")
    prepare(engine, _world(tmp_path))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    # Our own version table is not part of the metadata; types are TEXT in SQLite by design.
    assert [d for d in differences if "alembic_version" not in str(d)] == []


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("one_live_position_a_market", "'planned', 'open'"),
        ("one_live_order_a_market", "'intended', 'sent', 'unknown', 'open'"),
    ],
)
@pytest.mark.parametrize("url", ["sqlite://", "postgresql://nobody@127.0.0.1:1/nothing"])
def test_only_what_is_live_is_unique_in_a_market(url: str, name: str, states: str) -> None:
    (index,) = (i for t in metadata.tables.values() for i in t.indexes if i.name == name)
    made = CreateIndex(index).compile(
        dialect=connect(url).dialect, compile_kwargs={"literal_binds": True}
    )
    table = "positions" if "position" in name else "orders"
    assert str(made) == (
        f"CREATE UNIQUE INDEX {name} ON {table} (market) WHERE state IN ({states})"
    )


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    engine = connect(f"sqlite:///{tmp_path / 'a.sqlite'}")
    prepare(engine, _world(tmp_path))

    def interrupted() -> None:
        with write(engine) as connection:
            connection.execute(heartbeats.insert().values(name="a", beat_at=NOW, detail=""))
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        interrupted()
    with read(engine) as connection:
        assert connection.execute(sa.select(heartbeats)).all() == []


def test_two_writers_wait_for_each_other(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.sqlite'}"
    prepare(connect(url), _world(tmp_path))

    def beat(name: str) -> None:
        engine = connect(url)
        for i in range(50):
            with write(engine) as connection:
                # A read before the write is what makes a deferred transaction fail.
                connection.execute(sa.select(heartbeats)).all()
                connection.execute(heartbeats.delete().where(heartbeats.c.name == name))
                connection.execute(
                    heartbeats.insert().values(name=name, beat_at=NOW, detail=str(i))
                )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(beat, "abcd"))  # raises what a writer raised
    with read(connect(url)) as connection:
        rows = connection.execute(sa.select(heartbeats.c.name, heartbeats.c.detail)).all()
    assert sorted(map(tuple, rows)) == [(n, "49") for n in "abcd"]


@pytest.fixture
def hasty(tmp_path: Path) -> sa.Engine:
    """Waits 50 ms for its turn, where others wait ten seconds."""
    prepare(connect(f"sqlite:///{tmp_path / 'a.sqlite'}"), _world(tmp_path))
    return connect(f"sqlite:///{tmp_path / 'a.sqlite'}", busy_timeout_ms=50)


def _beat(engine: sa.Engine, name: str) -> None:
    with write(engine) as connection:
        connection.execute(heartbeats.insert().values(name=name, beat_at=NOW, detail=""))


def _beats(engine: sa.Engine) -> list[str]:
    with read(engine) as connection:
        return list(connection.execute(sa.select(heartbeats.c.name)).scalars())


def test_a_writer_that_was_stopped_keeps_others_from_writing_but_not_from_reading(
    hasty: sa.Engine, tmp_path: Path
) -> None:
    with stopped_writer(tmp_path / "a.sqlite") as process:
        with pytest.raises(DatabaseBusy, match=r"^the database was locked for 0\.05 s by ") as busy:
            _beat(hasty, "a")
        if sys.platform == "linux":
            assert f"`kill -9 {process.pid}`, its transaction is then undone" in str(busy.value)
        assert _beats(hasty) == []
        go_on(process)
        _beat(hasty, "b")
    assert _beats(hasty) == ["b"]


def test_a_patient_write_goes_on_asking_until_it_has_its_turn(
    hasty: sa.Engine, tmp_path: Path
) -> None:
    tries: list[DatabaseBusy] = []
    with stopped_writer(tmp_path / "a.sqlite") as process:

        def on_busy(busy: DatabaseBusy) -> None:
            tries.append(busy)
            if len(tries) == 3:
                go_on(process)

        _beat(patient(hasty, on_busy), "a")
    assert len(tries) == 3
    assert _beats(hasty) == ["a"]


def test_a_patient_write_may_give_up_and_an_impatient_one_asks_once(
    hasty: sa.Engine, tmp_path: Path
) -> None:
    def give_up(busy: DatabaseBusy) -> None:
        raise TimeoutError from busy

    with stopped_writer(tmp_path / "a.sqlite"):
        waits = patient(hasty, give_up)
        with pytest.raises(TimeoutError):
            _beat(waits, "a")
        with pytest.raises(DatabaseBusy):
            _beat(impatient(waits), "a")
    assert _beats(hasty) == []


def test_a_read_that_goes_on_to_write_is_no_question_of_waiting(hasty: sa.Engine) -> None:
    def write_after_another_wrote() -> None:
        with read(hasty) as connection:
            connection.execute(sa.select(heartbeats)).all()
            _beat(hasty, "another")
            connection.execute(heartbeats.delete())

    with pytest.raises(sa.exc.OperationalError, match="database is locked"):
        write_after_another_wrote()


def test_postgresql_ends_a_transaction_that_stands_still(engine: sa.Engine) -> None:
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite has no server that could end it")
    url = engine.url.render_as_string(hide_password=False)
    frozen = connect(url, busy_timeout_ms=100)

    def stand_still() -> None:
        with write(frozen) as connection:
            connection.execute(sa.text("LOCK TABLE exact_values"))
            with write(engine) as other:  # waits until the server has ended the first
                other.execute(sa.text("SET LOCAL lock_timeout = '30s'"))
                other.execute(_values.insert().values(amount=Decimal("7.25")))
            connection.execute(_values.delete())

    # "terminated by idle-in-transaction timeout", or only a closed connection where that came first
    with pytest.raises(sa.exc.OperationalError) as ended:
        stand_still()
    assert ended.value.connection_invalidated
    frozen.dispose()
    seven = sa.select(_values.c.amount).where(_values.c.amount == Decimal("7.25"))
    with read(engine) as connection:
        assert connection.execute(seven).scalars().all() == [Decimal("7.25")]
