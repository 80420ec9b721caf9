"""A database for a module of properties: each example empties it."""

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import Engine

from trading_assets_tests.trading.ledger_world import postgres_schema, prepared


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ledger_engine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("properties")
    if request.param == "sqlite":
        engine = prepared(f"sqlite:///{folder / 'ledger.sqlite'}", folder)
        yield engine
        engine.dispose()
        return
    with postgres_schema("properties") as url:
        engine = prepared(url, folder)
        yield engine
        engine.dispose()
