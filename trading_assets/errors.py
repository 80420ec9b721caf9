"""Every error the project raises on purpose, grouped by what the caller can do about it.

Wait and try again: `TryAgain`. Fix the request or the data: `BadRequest`, `BadData`. Stop and tell
the person: `Stop`. Outcome unknown, ask before acting: `OutcomeUnknown`. Messages name the rule,
the value and the place; none of them ever carries a secret.
"""


class TradingAssetsError(Exception):
    """The root of the tree."""


# --- wait and try again ---------------------------------------------------------------------


class TryAgain(TradingAssetsError):
    """The same call may succeed later."""


class ExchangeUnavailable(TryAgain):
    """The exchange did not answer, answered with 5xx, or is not there at all."""


class ExchangeTimeout(ExchangeUnavailable):
    """No answer within the time allowed."""


class ExchangeMaintenance(ExchangeUnavailable):
    """The exchange says that it is under maintenance (403 market_offline)."""


class RateLimited(TryAgain):
    """429: too many requests in this second."""


class NotReadyYet(TryAgain):
    """An input that will come (the closing candle, a server that starts) is not there yet."""


# --- fix the request ------------------------------------------------------------------------


class BadRequest(TradingAssetsError):
    """The exchange refused the request for a reason that a repeat does not change."""


class MarketNotFound(BadRequest):
    """The exchange does not know the market (404 Code not found)."""


class IntervalNotServed(BadRequest):
    """The exchange has no candles of this interval (a recording of coarser candles)."""


# --- fix the data ---------------------------------------------------------------------------


class BadData(TradingAssetsError):
    """Data breaks a rule; the message names the value and the rule, nothing was stored."""


class MalformedAnswer(BadData):
    """An answer of the exchange is not of the documented shape."""


class ImpossibleCandle(BadData):
    """A candle that cannot be: a non-finite or negative number, a high below the low, ..."""


class NotEnoughHistory(BadData):
    """Fewer rows than the profile's minimum; says how many there are and how many it takes."""


class ChecksFailed(BadData):
    """A blocking check failed; the message lists each by name with its reason."""


class CorruptStore(BadData):
    """A file of a store cannot be read or contradicts its own record."""


# --- stop and tell the person ---------------------------------------------------------------


class Stop(TradingAssetsError):
    """Nothing the program can do; a person has to act."""


class SettingsError(Stop):
    """A setting is wrong; the message lists its name, value and rule."""


class WrongWorld(Stop):
    """A store, a Dagster home or a model belongs to another world."""


class IpBlocked(Stop):
    """418: the exchange has blocked this address for a while; never retried by itself."""


class EnvironmentProblem(Stop):
    """A port in use, a missing tool, a half-made environment."""


class MigrationNeeded(Stop):
    """The database is not at the schema this version needs."""


# --- outcome unknown ------------------------------------------------------------------------


class OutcomeUnknown(TradingAssetsError):
    """A request was sent and its outcome is not known; ask before doing anything else."""
