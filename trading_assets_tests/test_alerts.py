"""The outbox: one row per fact, in the transaction of the fact."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa

from trading_assets.alerts import Severity, write_alert
from trading_assets.database import alerts, connect, prepare, read, write
from trading_assets.world import World

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    engine = connect(f"sqlite:///{tmp_path / 'db.sqlite'}")
    prepare(engine, World("sandbox-test", tmp_path / "data", tmp_path / "mlruns"))
    return engine


def _alert(connection: sa.Connection, key: str, message: str = "old") -> bool:
    return write_alert(
        connection,
        severity=Severity.WARNING,
        kind="stale_model",
        dedupe_key=key,
        message=message,
        now=NOW,
    )


def _alert_and_fail(engine: sa.Engine) -> None:
    with write(engine) as connection:
        _alert(connection, "a")
        raise RuntimeError("fact failed")


def test_the_same_fact_told_twice_is_one_row(engine: sa.Engine) -> None:
    with write(engine) as connection:
        assert _alert(connection, "a", "first")
        assert not _alert(connection, "a", "second")
        assert _alert(connection, "b", "third")
    with read(engine) as connection:
        rows = connection.execute(sa.select(alerts.c.message, alerts.c.sent_at)).all()
    assert rows == [("first", None), ("third", None)]


def test_an_alert_goes_with_the_transaction_of_its_fact(engine: sa.Engine) -> None:
    with pytest.raises(RuntimeError, match="fact failed"):
        _alert_and_fail(engine)
    with read(engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(alerts)).scalar() == 0
