"""Whether the exchange on this machine is there at all, and the sentence for when it is not.

Not here: whether it answers well (`candle_pages.py`, `upbit.py`).
"""

import socket
from urllib.parse import urlsplit

from trading_assets.settings import LOOPBACK_HOSTS

START_IT = "start the paper exchange with `make paper-exchange` or `trading-assets paper-exchange`"
_SECONDS = 2.0


def missing_exchange(url: str) -> str | None:
    """The sentence that says how to start the exchange at `url`; None when something listens.

    Only asks this machine: None, too, for any other host.
    """
    parts = urlsplit(url)
    if parts.hostname not in LOOPBACK_HOSTS:
        return None
    try:
        socket.create_connection((parts.hostname, parts.port or 80), timeout=_SECONDS).close()
    except OSError:
        return f"nothing listens at {url}: {START_IT}"
    return None
