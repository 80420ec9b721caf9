"""Starting the paper exchange: what the settings mean, and how it is served on 127.0.0.1.

The application itself is `application.py`.
"""

import socket
from collections.abc import Callable, Sequence

import uvicorn

from trading_assets.clock import Clock, SystemClock
from trading_assets.errors import EnvironmentProblem
from trading_assets.paper_exchange.account import Account
from trading_assets.paper_exchange.application import PaperExchange
from trading_assets.paper_exchange.auth import ANY_PAIR, Keys
from trading_assets.paper_exchange.faults import Fault, Faults
from trading_assets.paper_exchange.lines import NoticedPings
from trading_assets.paper_exchange.markets import Markets
from trading_assets.paper_exchange.sources import markets_of
from trading_assets.paper_exchange.upstream import Upstream
from trading_assets.settings import Settings, TradingMode
from trading_assets.world import World, claim, world_of

HOST = "127.0.0.1"
ACCOUNT_FILE = "account.sqlite"


def create_app(
    prices: Markets | Upstream,
    clock: Clock,
    *,
    world: str = "",
    limited: bool = True,
    faults: Faults | None = None,
    account: Account | None = None,
    keys: Keys = ANY_PAIR,
    idle_seconds: float | None = None,
) -> PaperExchange:
    """The exchange over `prices`. limited: whether request limits are enforced.

    account: where money and orders are kept, default in memory. keys: who may use it. idle_seconds:
    after how long without traffic a stream is closed, default 120.
    """
    return PaperExchange(
        prices,
        clock,
        world,
        limited=limited,
        faults=faults if faults is not None else Faults(),
        account=account if account is not None else Account(),
        keys=keys,
        idle_seconds=idle_seconds,
    )


def server_config(app: PaperExchange, port: int) -> uvicorn.Config:
    """How uvicorn serves the exchange. port: 0 for one that the system chooses."""
    return uvicorn.Config(
        app,
        host=HOST,
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="on",
        ws=NoticedPings,
        # Upbit's server sends no pings; an idle stream is closed instead.
        ws_ping_interval=None,
        timeout_graceful_shutdown=3,
    )


def serve(
    settings: Settings,
    faults: Sequence[Fault] = (),
    user_of: Callable[[int], str] = lambda _: "another program",
) -> None:
    """Serve the exchange of `settings` on 127.0.0.1 until it is stopped.

    faults: what is to go wrong from the beginning. user_of: who has a port, for a person.
    Raises EnvironmentProblem when the mode has no paper exchange or the port is taken, WrongWorld
    when the state folder is another world's, and the errors of a recording that cannot be served.
    """
    world = world_of(settings)
    clock = SystemClock()
    prices: Markets | Upstream
    if settings.trading_mode is TradingMode.PAPER:
        prices = Upstream(settings.upstream_base_url)
    else:
        prices = markets_of(settings, world, clock.now())
    _claim_port(settings.paper_exchange_port, user_of)
    app = create_app(
        prices,
        clock,
        world=world.name,
        faults=Faults(),
        account=open_account(settings, world),
        keys=keys_of(settings),
    )
    for fault in faults:
        app.faults.add(fault)
    uvicorn.Server(server_config(app, settings.paper_exchange_port)).run()


def open_account(settings: Settings, world: World) -> Account:
    """The world's account, made with the starting balance at the first time."""
    claim(world.exchange, world.name)
    return Account(
        world.exchange / ACCOUNT_FILE,
        fee_rate=settings.fee_rate,
        starting_krw=settings.paper_starting_krw,
    )


def keys_of(settings: Settings) -> Keys:
    """The settings' pair alone, or any pair when none is set: it is play money."""
    access, secret = settings.upbit_access_key, settings.upbit_secret_key
    if access is None or secret is None:
        return ANY_PAIR
    return Keys({access.get_secret_value(): secret.get_secret_value()}, any_pair=False)


def _claim_port(port: int, user_of: Callable[[int], str]) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as exc:
            raise EnvironmentProblem(
                f"port {port} of {HOST} is in use by {user_of(port)}: stop it, or set "
                "PAPER_EXCHANGE_PORT to a free port"
            ) from exc
