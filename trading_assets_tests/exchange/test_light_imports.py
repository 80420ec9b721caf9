"""What a trade's imports leave out, and the collector that rests meanwhile."""

import gc
from collections.abc import Iterator

import pytest

from trading_assets.exchange.light_imports import uncollected, without


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_a_module_is_left_out_in_the_block_alone() -> None:
    with without("tabnanny"), pytest.raises(ImportError):
        import tabnanny
    import tabnanny  # noqa: F401


def test_what_is_made_in_the_block_is_never_looked_through_again() -> None:
    gc.unfreeze()
    with uncollected():
        assert not gc.isenabled()
        made = [[number] for number in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= len(made)


def test_the_collector_goes_on_after_a_failed_import() -> None:
    with pytest.raises(ImportError), uncollected():
        raise ImportError("no such part")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with uncollected():
        pass
    assert not gc.isenabled()
