"""Upbit's request groups and how fast we ask in each: below the limits, over all processes.

Source of the limits: docs.upbit.com, rate-limits (order 12/s since 2026-08-21). The limiter itself
is rate_limit.py; groups of one unit (address, or account) are blocked together by a 418.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from trading_assets.clock import Clock
from trading_assets.errors import ExchangeUnavailable
from trading_assets.exchange.rate_limit import RateLimiter
from trading_assets.exchange.refusals import Answer
from trading_assets.settings import Settings


class Group(StrEnum):
    CANDLE = "candle"
    MARKET = "market"
    ORDERBOOK = "orderbook"
    DEFAULT = "default"
    ORDER = "order"
    ORDER_TEST = "order-test"
    WEBSOCKET_CONNECT = "websocket-connect"


# Requests a second, Upbit's limit behind. The public groups follow the candles' rate, because the
# limiters of `candle` and `market` are shared with the candle client.
_ACCOUNT_RATES = {
    Group.DEFAULT: Decimal(24),  # 30
    Group.ORDER: Decimal(9),  # 12
    Group.ORDER_TEST: Decimal(6),  # 8
}
_CONNECT_RATE = Decimal(4)  # 5
# What Upbit counts by address: a 418 in one of them is for all.
PUBLIC_GROUPS = tuple(group for group in Group if group not in _ACCOUNT_RATES)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limiters of one exchange, by group."""

    limiters: dict[Group, RateLimiter]

    def acquire(self, group: Group) -> None:
        """Return when a request of `group` may be sent.

        Raises IpBlocked while a block lasts, ExchangeUnavailable when what all processes share of
        the limits cannot be read or written: nothing was sent, and a later try may work.
        """
        try:
            self.limiters[group].acquire()
        except OSError as exc:
            raise ExchangeUnavailable(f"the request limits cannot be kept: {exc}") from exc

    def heed(self, group: Group, answer: Answer) -> None:
        """Keep what `answer` says about the limits, for every process.

        Raises ExchangeUnavailable when it cannot be kept.
        """
        try:
            self._keep(group, answer)
        except OSError as exc:
            raise ExchangeUnavailable(f"the request limits cannot be kept: {exc}") from exc

    def _keep(self, group: Group, answer: Answer) -> None:
        if answer.nothing_left:
            self.limiters[group].pause_until_next_second()
        if answer.status == 418:
            for other, limiter in self.limiters.items():
                if (other in PUBLIC_GROUPS) == (group in PUBLIC_GROUPS):
                    limiter.block(answer.block_seconds, answer.words)


def limits(settings: Settings, clock: Clock) -> Limits:
    """The limiters of the settings' exchange; their files are shared with the candle client."""
    host = urlsplit(settings.exchange_base_url).netloc.replace(":", "-")
    folder: Path = settings.under_root(settings.data_dir) / "limits" / host
    rates = {
        Group.CANDLE: settings.candle_rate,
        Group.MARKET: settings.candle_rate,
        Group.ORDERBOOK: settings.candle_rate,
        Group.WEBSOCKET_CONNECT: _CONNECT_RATE,
        **_ACCOUNT_RATES,
    }
    return Limits(
        {group: RateLimiter(folder, group.value, rate, clock) for group, rate in rates.items()}
    )
