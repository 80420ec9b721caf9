"""Pages of candles through pyupbit, unmodified: UTC, with timeouts, limits and real errors.

pyupbit has no timeouts, swallows every exception and returns None. Its module-level `requests` is
replaced by a router to our session, which keeps the raw answer and the cause; `page` checks the raw
JSON (raw_candles.py) and raises what really happened. Reads are retried here, a bounded number of
times. Not here: which pages are asked and where candles are kept (`candles`).
"""

import re
import threading
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from types import ModuleType
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import pandas as pd
import pyupbit
import pyupbit.request_api
import requests
import urllib3.exceptions

from trading_assets.clock import Clock, as_utc
from trading_assets.errors import (
    BadRequest,
    ExchangeMaintenance,
    ExchangeTimeout,
    ExchangeUnavailable,
    IntervalNotServed,
    IpBlocked,
    MalformedAnswer,
    MarketNotFound,
    RateLimited,
    TradingAssetsError,
    TryAgain,
    WrongWorld,
)
from trading_assets.exchange.limits import PUBLIC_GROUPS
from trading_assets.exchange.listening import START_IT
from trading_assets.exchange.model import Interval
from trading_assets.exchange.rate_limit import RateLimiter
from trading_assets.exchange.raw_candles import (
    PageRequest,
    RawCandle,
    candles_of,
    markets_of,
)
from trading_assets.exchange.strict_json import parse_json
from trading_assets.settings import LOOPBACK_HOSTS, UPBIT_URL, Settings
from trading_assets.world import WORLD_HEADER, world_of

MAX_CANDLES: Final = 200

_ATTEMPTS = 4
_FIRST_BACKOFF_SECONDS = 0.5
_MAX_BODY_BYTES = 4_000_000  # a page of 200 is about 80 kB, market/all about 200 kB
_DEFAULT_BLOCK_SECONDS = 60.0
_LONGEST_BLOCK_SECONDS = 86_400.0
_PYUPBIT_INTERVALS = {
    interval: "day" if interval is Interval.D1 else f"minute{interval.minutes}"
    for interval in Interval
}
_COLUMNS = tuple(f.name for f in fields(RawCandle))
_REMAINING = re.compile(r"\bsec=(\d+)")
_PYUPBIT_REMAINING = re.compile(r"group=([a-z\-]+); min=([0-9]+); sec=([0-9]+)")

_T = TypeVar("_T")


class _RouterState(threading.local):
    session: "ReroutedSession | None" = None


class _Router:
    """Stands in for `requests` inside pyupbit: the calling thread's session, else the module.

    pyupbit has one module global for all threads, so the thread says whose call it is.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._local = _RouterState()

    def use(self, session: "ReroutedSession | None") -> None:
        self._local.session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._local.session or self._module, name)


_router = _Router(requests)
pyupbit.request_api.requests = _router


class ReroutedSession(requests.Session):
    """A session that sends pyupbit's requests to `base_url`, bounded in time and size.

    Keep-alive, no redirects, no proxies or credentials from the environment. It remembers the last
    answer and the cause of the last failure, which pyupbit would lose.
    """

    def __init__(
        self, base_url: str, candles: RateLimiter, clock: Clock, timeout_seconds: float
    ) -> None:
        super().__init__()
        self.trust_env = False
        self._base_url = base_url.rstrip("/")
        self._limiters = {"candle": candles, "market": candles.for_group("market")}
        self._clock = clock
        self._timeout = timeout_seconds
        self.answer: requests.Response | None = None
        self.cause: Exception | None = None

    def forget(self) -> None:
        """Before a new call: no answer, no cause."""
        self.answer, self.cause = None, None

    def request(  # type: ignore[override]  # pyupbit calls with method, url and params only
        self, method: str | bytes, url: str | bytes, **kwargs: Any
    ) -> requests.Response:
        try:
            self.answer = self._send(str(method), str(url), kwargs)
        except Exception as exc:
            self.cause = exc
            raise
        return self.answer

    def _send(self, method: str, url: str, kwargs: dict[str, Any]) -> requests.Response:
        if not url.startswith(UPBIT_URL):
            raise ValueError(f"pyupbit asked for {url}, which is not below {UPBIT_URL}")
        limiter = self._limiters["market" if "/market/" in url else "candle"]
        limiter.acquire()
        response = super().request(
            method,
            self._base_url + url.removeprefix(UPBIT_URL),
            params=_explicit_utc(kwargs.get("params")),
            timeout=self._timeout,
            allow_redirects=False,
            stream=True,
        )
        _keep_limits(limiter, response)
        _read_body(response, self._clock, self._timeout)
        _please_pyupbit(response)
        if response.status_code == 418:
            seconds, words = _block_seconds(response), _words(response)
            for group in PUBLIC_GROUPS:
                limiter.for_group(group).block(seconds, words)
        return response


class CandlePages:
    """Pages of candles of the exchange at `base_url`. Safe to use from several threads.

    timeout_seconds: for connecting, for each silence while reading, and for a whole answer.
    world: whose candles are wanted; an exchange that names another one is refused (WrongWorld).
    """

    def __init__(
        self,
        base_url: str,
        limiter: RateLimiter,
        clock: Clock,
        timeout_seconds: float,
        world: str | None = None,
    ) -> None:
        self._base_url = base_url
        self._limiter = limiter
        self._clock = clock
        self._timeout = timeout_seconds
        self._world = world
        self._sessions = threading.local()

    @property
    def per_second(self) -> Decimal:
        """The configured rate of candle requests."""
        return self._limiter.per_second

    def page(
        self,
        market: str,
        interval: Interval,
        *,
        to: datetime | None = None,
        count: int = MAX_CANDLES,
    ) -> pd.DataFrame:
        """The newest `count` candles that start before `to` (default now), oldest first.

        Columns CANDLE_COLUMNS, open_time datetime64[us, UTC]. The last row may be the still open
        candle. Minutes without trades are left out and the page reaches further back instead; an
        empty table means that there is nothing before `to`.
        Raises MarketNotFound, IntervalNotServed, BadRequest, MalformedAnswer, ImpossibleCandle at
        once; ExchangeUnavailable (also Timeout, Maintenance) and RateLimited after the last retry;
        IpBlocked, never retried.
        """
        if not 1 <= count <= MAX_CANDLES:
            raise ValueError(f"count must be 1 to {MAX_CANDLES}, was {count}")

        def ask() -> pd.DataFrame:
            now = self._clock.now()
            # pyupbit cuts fractions of a second off; do the same where the rule is checked.
            until = (now if to is None else as_utc(to)).replace(microsecond=0)
            asked = PageRequest(market, interval, until, count, now)
            return self._ask_page(asked)

        return self._retrying(ask)

    def markets(self) -> tuple[str, ...]:
        """The codes of all markets of the exchange. Raises like `page`."""

        def ask() -> tuple[str, ...]:
            session = self._bound()
            try:
                pyupbit.get_tickers(verbose=True)
            except Exception as exc:  # noqa: BLE001  # judged below by what the session kept
                if session.answer is None and session.cause is None:
                    session.cause = exc
            finally:
                _router.use(None)
            return markets_of(self._answer_body(session, "market/all"))

        return self._retrying(ask)

    def _ask_page(self, asked: PageRequest) -> pd.DataFrame:
        session = self._bound()
        try:
            found = pyupbit.get_ohlcv(
                asked.market,
                interval=_PYUPBIT_INTERVALS[asked.interval],
                count=asked.count,
                to=asked.to.replace(tzinfo=None),
            )
        finally:
            _router.use(None)
        raw = candles_of(self._answer_body(session, str(asked), asked), asked)
        return _candles(found, raw, asked)

    def _bound(self) -> ReroutedSession:
        """This thread's session, which pyupbit uses until the router is told otherwise."""
        session = getattr(self._sessions, "session", None)
        if session is None:
            session = ReroutedSession(self._base_url, self._limiter, self._clock, self._timeout)
            self._sessions.session = session
        session.forget()
        _router.use(session)
        return session

    def _answer_body(
        self, session: ReroutedSession, about: str, asked: PageRequest | None = None
    ) -> bytes:
        if session.cause is not None:
            raise self._explained(session.cause, about) from session.cause
        if session.answer is None:
            raise MalformedAnswer(f"{about}: pyupbit sent no request")
        self._check_world(session.answer)
        _check_status(session.answer, about, asked)
        return session.answer.content

    def _check_world(self, answer: requests.Response) -> None:
        named = answer.headers.get(WORLD_HEADER)
        if self._world is not None and named not in (None, self._world):
            raise WrongWorld(
                f"the exchange at {self._base_url} is of the world {named}, wanted are candles of "
                f"{self._world}: stop it, or set PAPER_EXCHANGE_PORT"
            )

    def _explained(self, cause: Exception, about: str) -> Exception:
        """`cause` in the words of our error tree."""
        if isinstance(cause, TradingAssetsError):
            return cause
        if isinstance(cause, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
            return ExchangeTimeout(
                f"{about}: {self._base_url} did not answer within {self._timeout:g} s"
            )
        refused = _refused(cause)
        if refused and urlsplit(self._base_url).hostname in LOOPBACK_HOSTS:
            return ExchangeUnavailable(f"nothing listens at {self._base_url}: {START_IT}")
        if isinstance(
            cause, requests.exceptions.ContentDecodingError | urllib3.exceptions.DecodeError
        ):
            return MalformedAnswer(f"{about}: the answer's compression is broken ({cause})")
        if isinstance(cause, requests.exceptions.RequestException | urllib3.exceptions.HTTPError):
            return ExchangeUnavailable(
                f"{about}: the connection to {self._base_url} failed "
                f"({type(cause).__name__}: {cause})"
            )
        return cause

    def _retrying(self, ask: Callable[[], _T]) -> _T:
        """`ask`, asked again while its failure may pass: after 429 in the next window, after a
        failed connection, a timeout or a 5xx with a growing wait. Never after 418."""
        for attempt in range(_ATTEMPTS):
            try:
                return ask()
            except ExchangeMaintenance:
                raise
            except TryAgain as exc:
                if attempt == _ATTEMPTS - 1:
                    raise
                if not isinstance(exc, RateLimited) or attempt > 0:
                    self._clock.sleep(_FIRST_BACKOFF_SECONDS * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")


def candle_pages(settings: Settings, clock: Clock) -> CandlePages:
    """The candle client of `settings`; its limiter is shared by all processes of this checkout."""
    base_url = settings.exchange_base_url
    host = urlsplit(base_url).netloc.replace(":", "-")
    folder = settings.under_root(settings.data_dir) / "limits" / host
    limiter = RateLimiter(folder, "candle", settings.candle_rate, clock)
    timeout, world = float(settings.request_timeout_seconds), world_of(settings).name
    return CandlePages(base_url, limiter, clock, timeout, world)


# --- the session ----------------------------------------------------------------------------


def _explicit_utc(params: Any) -> Any:
    """pyupbit's zone-less `to` means UTC by Upbit's documents; say so on the wire."""
    if not isinstance(params, dict) or "to" not in params:
        return params
    return {**params, "to": str(params["to"]).replace(" ", "T") + "Z"}


def _keep_limits(limiter: RateLimiter, response: requests.Response) -> None:
    left = _REMAINING.search(response.headers.get("Remaining-Req", ""))
    if response.status_code == 429 or (left is not None and int(left.group(1)) == 0):
        limiter.pause_until_next_second()


def _read_body(response: requests.Response, clock: Clock, timeout_seconds: float) -> None:
    """Read the whole body, within the time and size allowed; a drip of bytes is a timeout too."""
    deadline = clock.now() + timedelta(seconds=timeout_seconds)
    body = bytearray()
    try:
        while chunk := response.raw.read1(65_536, decode_content=True):
            body += chunk
            if len(body) > _MAX_BODY_BYTES:
                raise MalformedAnswer(
                    f"the answer must be below {_MAX_BODY_BYTES} bytes, was at least {len(body)}"
                )
            if clock.now() > deadline:
                raise requests.exceptions.ReadTimeout("the answer did not end in time")
    except BaseException:
        response.close()
        raise
    # What `response.content` would have set; pyupbit and we read it from there.
    response._content = bytes(body)
    response._content_consumed = True  # type: ignore[attr-defined]


def _please_pyupbit(response: requests.Response) -> None:
    """pyupbit throws a good answer away when the Remaining-Req header is missing or odd."""
    if not _PYUPBIT_REMAINING.search(response.headers.get("Remaining-Req", "")):
        response.headers["Remaining-Req"] = "group=unknown; min=0; sec=1"


def _block_seconds(response: requests.Response) -> float:
    """How long a 418 says that it lasts; the format is not documented, so guess carefully."""
    header = response.headers.get("Retry-After", "")
    if header.isascii() and header.isdigit():
        return min(float(header), _LONGEST_BLOCK_SECONDS)
    text = response.content[:1000].decode("utf-8", errors="replace")
    units = ((r"(\d{1,6})\s*(?:s\b|sec|초)", 1.0), (r"(\d{1,6})\s*(?:m\b|min|분)", 60.0))
    for pattern, seconds in units:
        found = re.search(pattern, text)
        if found:
            return min(float(found.group(1)) * seconds, _LONGEST_BLOCK_SECONDS)
    return _DEFAULT_BLOCK_SECONDS


# --- the answer -----------------------------------------------------------------------------


def _refused(cause: BaseException) -> bool:
    """Whether nobody listens at the address: a ConnectionRefusedError lies at the bottom."""
    waiting: list[object] = [cause]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if isinstance(one, ConnectionRefusedError):
            return True
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            reason = getattr(one, "reason", None)  # urllib3's, where the cause is not chained
            waiting += [*one.args, one.__cause__, one.__context__, reason]
    return False


def _error_of(response: requests.Response) -> tuple[object, str] | None:
    """Name and message of Upbit's error body, or None when the body is something else."""
    try:
        found = parse_json(response.content, "error")
    except MalformedAnswer:
        return None
    error = found.get("error") if isinstance(found, dict) else None
    if not isinstance(error, dict) or "name" not in error:
        return None
    return error["name"], str(error.get("message", ""))


def _words(response: requests.Response) -> str:
    """What an error answer says, short."""
    error = _error_of(response)
    if error is not None:
        name, message = error
        return f"{name}: {message}"[:200]
    return repr(response.content[:80].decode("utf-8", errors="replace"))


def _check_status(response: requests.Response, about: str, asked: PageRequest | None) -> None:
    """Return for 200. Raises the error that the status and the body stand for."""
    status = response.status_code
    if status == 200:
        return
    said = f"{about}: the exchange answered {status} {_words(response)}"
    if status == 404 and asked is not None:
        _raise_not_found(response, asked, said)
    error = _error_of(response)
    if status == 403 and error is not None and error[0] == "market_offline":
        raise ExchangeMaintenance(said)
    if 300 <= status < 400:
        to = response.headers.get("Location", "nowhere")
        raise MalformedAnswer(f"{said}, a redirect to {to}, which is never followed")
    if status < 300:
        raise MalformedAnswer(f"{said}: a read must be answered with 200")
    if status >= 500:
        raise ExchangeUnavailable(said)
    known: dict[int, type[TradingAssetsError]] = {418: IpBlocked, 429: RateLimited}
    raise known.get(status, BadRequest)(said)


def _raise_not_found(response: requests.Response, asked: PageRequest, said: str) -> None:
    error = _error_of(response)
    if error is None or error[1] == "Not Found":
        return
    if error[1] == "Code not found":
        raise MarketNotFound(
            f"the exchange does not know the market {asked.market} (404 Code not found): it may be "
            "renamed or delisted"
        )
    raise IntervalNotServed(said)


def _candles(
    found: pd.DataFrame | None, raw: tuple[RawCandle, ...], asked: PageRequest
) -> pd.DataFrame:
    """pyupbit's table with an aware UTC open_time, checked against the raw answer."""
    expected = pd.DataFrame(list(raw[::-1]), columns=list(_COLUMNS))
    times = pd.DatetimeIndex([c.open_time for c in reversed(raw)], tz="UTC").as_unit("us")
    if not raw:
        return expected.astype(dict.fromkeys(_COLUMNS[1:], "float64")).assign(open_time=times)
    if found is None or len(found) != len(raw):
        rows = "nothing" if found is None else f"{len(found)} rows"
        raise MalformedAnswer(f"{asked}: pyupbit made {rows} of {len(raw)} candles")
    frame = found[list(_COLUMNS[1:])].astype("float64").reset_index(drop=True)
    # pyupbit's index is Korean time without a zone.
    index = pd.DatetimeIndex(found.index).as_unit("us").tz_localize("Asia/Seoul")
    frame.insert(0, "open_time", index.tz_convert("UTC"))
    if not (frame["open_time"].array == times).all() or not frame[list(_COLUMNS[1:])].equals(
        expected[list(_COLUMNS[1:])].astype("float64")
    ):
        raise MalformedAnswer(f"{asked}: pyupbit's table differs from the answer it was made of")
    return frame
