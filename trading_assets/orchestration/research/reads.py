"""How an asset reads from the exchange: again when that may help, and in plain words when not.

Only reads are tried again by Dagster. What may help is the error tree's `TryAgain`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import dagster as dg

from trading_assets.candles.collection import Progress
from trading_assets.errors import TradingAssetsError, TryAgain

READS_AGAIN = dg.RetryPolicy(
    max_retries=3, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
_PAGES_PER_MESSAGE = 25


@contextmanager
def explained_reads(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Say a domain error in one line of its own, and let Dagster retry only what that may help."""
    try:
        yield
    except TradingAssetsError as exc:
        _say(context, exc)
        if isinstance(exc, TryAgain):
            raise
        raise dg.Failure(str(exc), allow_retries=False) from exc


def _say(context: dg.AssetExecutionContext, error: TradingAssetsError) -> None:
    """One line without a stack trace: Dagster logs that too, far below."""
    context.log.error(str(error))


def told(context: dg.AssetExecutionContext) -> Callable[[Progress], None]:
    """Writes the progress of a collection into the run's log, every few pages."""

    def tell(progress: Progress) -> None:
        if progress.pages_done % _PAGES_PER_MESSAGE == 0:
            expected = "" if progress.pages_expected is None else f" of {progress.pages_expected}"
            context.log.info(
                f"{progress.market} {progress.interval}: {progress.pages_done}{expected} pages, "
                f"{progress.rows} candles, back to {progress.oldest}, "
                f"{progress.pages_per_second:.1f} pages/s"
            )

    return tell
