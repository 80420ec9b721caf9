"""One HTTP request through the official upbit-sdk, its retries off, bounded in time and size.

The SDK signs, encodes and sends; it is asked for the raw answer, because its own models read a
missing field as None and a number through a float. Importing this file imports the SDK (half a
second of CPU), so only the function that builds a client does. Not here: what is asked, limits,
retries, what an answer means (upbit.py, refusals.py).
"""

import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import lru_cache
from typing import Any

from pydantic import SecretStr

from trading_assets.exchange.light_imports import without

# A takeover waits for this import. All are optional where they are imported: the transport of the
# SDK's asynchronous client, httpx's command line with its colours, and what PyJWT signs with
# besides Upbit's shared secret. jwt is imported here, because the SDK does it at the first request.
with without("httpx_aiohttp", "httpx._main", "cryptography"):
    import httpx
    import jwt  # noqa: F401
    import upbit

from trading_assets.clock import Clock
from trading_assets.errors import SettingsError
from trading_assets.exchange.refusals import Answer, NoAnswer
from trading_assets.settings import LOOPBACK_HOSTS, UPBIT_URL, TradingMode

_LONGEST_CONNECT_SECONDS = 3.0
_MAX_BODY_BYTES = 8_000_000  # a list of 1,000 closed orders is about 600 kB
# Failures before the first byte of the request: the exchange cannot have received it.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class UpbitHttp:
    """The SDK's client of one exchange. Thread-safe; its repr and errors carry no key."""

    def __init__(
        self,
        base_url: str,
        mode: TradingMode,
        *,
        access_key: SecretStr,
        secret_key: SecretStr,
        timeout_seconds: float,
        clock: Clock,
    ) -> None:
        """Raises SettingsError when base_url is not one that `mode` may reach."""
        timeout = httpx.Timeout(
            timeout_seconds, connect=min(timeout_seconds, _LONGEST_CONNECT_SECONDS)
        )
        transport = _BoundedTransport(
            httpx.HTTPTransport(verify=_trusted(), trust_env=False), clock, timeout_seconds
        )
        self._sdk = upbit.Upbit(
            # Never None: the SDK would then take keys from the environment.
            access_key=access_key.get_secret_value(),
            secret_key=secret_key.get_secret_value(),
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            http_client=httpx.Client(
                transport=transport, timeout=timeout, follow_redirects=False, trust_env=False
            ),
        )
        check_host(mode, str(self._sdk.base_url))

    def send(self, call: Callable[[Any], Any]) -> Answer:
        """The answer to the one request that `call` makes of the SDK's raw-response client.

        Raises NoAnswer, saying whether the request may have arrived.
        """
        try:
            response = call(self._sdk.with_raw_response).http_response
        except upbit.APIStatusError as exc:
            response = exc.response
        except upbit.APIConnectionError as exc:
            cause = exc.__cause__
            raise NoAnswer(
                f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__,
                sent=not isinstance(cause, _NEVER_SENT),
                timed_out=isinstance(cause, httpx.TimeoutException),
            ) from cause
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, response.content)

    def close(self) -> None:
        self._sdk.close()


@lru_cache(maxsize=1)
def _trusted() -> ssl.SSLContext:
    """Whose certificates are believed, for all clients of the process: reading them takes 20 ms."""
    return httpx.create_ssl_context(trust_env=False)


def check_host(mode: TradingMode, base_url: str) -> None:
    """Raises SettingsError unless `base_url` is Upbit's in live, this machine's otherwise.

    The last look before a client exists: a stray variable must not redirect orders, nor a test
    reach the real exchange.
    """
    if mode is TradingMode.LIVE:
        if base_url.removesuffix("/") != UPBIT_URL:
            raise SettingsError(f"live mode only reaches {UPBIT_URL}, not {base_url}")
    elif httpx.URL(base_url).host not in LOOPBACK_HOSTS:
        raise SettingsError(
            f"{mode} mode only reaches an exchange on this machine (127.0.0.1), not {base_url}"
        )


class _BoundedTransport(httpx.BaseTransport):
    """httpx bounds each silence only; this bounds the whole body, in time and in size."""

    def __init__(self, inner: httpx.BaseTransport, clock: Clock, seconds: float) -> None:
        self._inner = inner
        self._clock = clock
        self._seconds = seconds

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        stream = response.stream
        if not isinstance(stream, httpx.SyncByteStream):
            raise TypeError(f"a synchronous answer was expected, was {type(stream).__name__}")
        return httpx.Response(
            response.status_code,
            headers=response.headers,
            stream=_BoundedBody(stream, self._clock, self._seconds),
            extensions=response.extensions,
        )

    def close(self) -> None:
        self._inner.close()


class _BoundedBody(httpx.SyncByteStream):
    def __init__(self, inner: httpx.SyncByteStream, clock: Clock, seconds: float) -> None:
        self._inner = inner
        self._clock = clock
        self._seconds = seconds

    def __iter__(self) -> Iterator[bytes]:
        deadline = self._clock.now() + timedelta(seconds=self._seconds)
        size = 0
        for chunk in self._inner:
            size += len(chunk)
            if size > _MAX_BODY_BYTES:
                raise httpx.ReadError(f"the answer is longer than {_MAX_BODY_BYTES} bytes")
            if self._clock.now() > deadline:
                raise httpx.ReadTimeout(f"the answer did not end within {self._seconds:g} s")
            yield chunk

    def close(self) -> None:
        self._inner.close()
