"""The ledger's two databases."""

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import Engine

from trading_assets_tests.trading.ledger_world import emptied, postgres_schema, prepared


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def ledger_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("ledger")
    if request.param == "sqlite":
        engine = prepared(f"sqlite:///{folder / 'ledger.sqlite'}", folder)
        yield engine
        engine.dispose()
        return
    with postgres_schema("ledger") as url:
        engine = prepared(url, folder)
        yield engine
        engine.dispose()


@pytest.fixture
def books_engine(ledger_database: Engine) -> Engine:
    """An empty ledger with a capital of 1,000,000 KRW, on SQLite and on PostgreSQL."""
    return emptied(ledger_database)
