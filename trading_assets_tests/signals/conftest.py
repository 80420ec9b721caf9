"""One prepared database for the tests of signals, empty at the start of each."""

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import Engine

from trading_assets.database import metadata
from trading_assets_tests.signals.said import database


@pytest.fixture(scope="session")
def prepared_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    made = database(tmp_path_factory.mktemp("signals"))
    yield made
    made.dispose()


@pytest.fixture
def engine(prepared_database: Engine) -> Engine:
    with prepared_database.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            if table.name != "world":
                connection.execute(table.delete())
    return prepared_database
