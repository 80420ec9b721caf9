"""A stop-loss as a sensor and a run: what `exit_latency.py` compares with. Not a way to trade.

The sensor asks for the order book as often as the daemon lets it and, once the bid is below the
stop, requests a run that sells everything by market. POLLED_SAMPLE names the file with the number
of the present sample.
"""

import os
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import dagster as dg

from trading_assets.clock import SystemClock
from trading_assets.exchange import upbit
from trading_assets.exchange.model import OrderRequest, OrderType, Side
from trading_assets.settings import load_settings

MARKET = "KRW-SOL"
STOP = Decimal(98_100)


@dg.op
def sell_all(context: dg.OpExecutionContext) -> None:
    account = upbit.trading(load_settings(), SystemClock())
    (held,) = (b.total for b in account.balances() if b.currency == MARKET.partition("-")[2])
    account.place(
        OrderRequest(
            market=MARKET,
            side=Side.ASK,
            ord_type=OrderType.MARKET,
            identifier=f"polled-{context.run_id}",
            volume=held,
        )
    )


@dg.job(executor_def=dg.in_process_executor)
def sell_job() -> None:
    sell_all()


@dg.sensor(job=sell_job, minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING)
def polled_stop_sensor() -> Iterator[dg.RunRequest | dg.SkipReason]:
    (book,) = upbit.quotation(load_settings(), SystemClock()).order_books([MARKET])
    if book.quote.bid > STOP:
        yield dg.SkipReason("above the stop")
        return
    yield dg.RunRequest(run_key=Path(os.environ["POLLED_SAMPLE"]).read_text())


defs = dg.Definitions(jobs=[sell_job], sensors=[polled_stop_sensor])
