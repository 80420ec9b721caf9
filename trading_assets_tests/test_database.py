"""Column types, transactions and the world marker of the database."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from trading_assets.database import (
    ExactDecimal,
    UtcInstant,
    connect,
    heartbeats,
    prepare,
    read,
    write,
)
from trading_assets.errors import WrongWorld
from trading_assets.world import World

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
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> sa.Engine:
    if request.param == "sqlite":
        engine = connect(f"sqlite:///{tmp_path_factory.mktemp('db') / 'types.sqlite'}")
    else:
        engine = connect("postgresql://root@127.0.0.1:5432/test")
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            pytest.skip("no PostgreSQL at 127.0.0.1:5432 (database test, user root)")
    _metadata.drop_all(engine)
    _metadata.create_all(engine)
    return engine


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

    from trading_assets.database import metadata

    engine = connect(f"sqlite:///{tmp_path / 'a.sqlite'}")
    prepare(engine, _world(tmp_path))
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    # Our own version table is not part of the metadata; types are TEXT in SQLite by design.
    assert [d for d in differences if "alembic_version" not in str(d)] == []


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
