"""Loaded once by the fork server of the crash tests, so that its children have it for free."""

import trading_assets.exchange.upbit_http
from trading_assets_tests.trading.crash_world import made_markets

MARKETS = made_markets()
SDK = trading_assets.exchange.upbit_http
