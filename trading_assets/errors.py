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


class PricesStopped(TryAgain):
    """A price stream ended by itself, by an error of our own: open another one."""


class NotReadyYet(TryAgain):
    """An input that will come (the closing candle, a server that starts) is not there yet."""


class DatabaseBusy(TryAgain):
    """Another process was amid a write for as long as one may wait; says which, where it is known.

    Our writes take milliseconds, so that process was stopped or hangs.
    """


# --- fix the request ------------------------------------------------------------------------


class BadRequest(TradingAssetsError):
    """The exchange refused the request for a reason that a repeat does not change."""


class MarketNotFound(BadRequest):
    """The exchange does not know the market (404 Code not found)."""


class OrderRejected(BadRequest):
    """The exchange refused an order by name: it does not exist and this request never makes one.

    name: the exchange's error name (`invalid_price_bid`). The identifier counts as used up.
    """

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class InsufficientFunds(OrderRejected):
    """The account lacks the amount plus its fee, or the volume (insufficient_funds_bid/_ask)."""


class UnderMinimum(OrderRejected):
    """The order is worth less than the market's minimum (under_min_total_bid/_ask)."""


class OrderNotFound(BadRequest):
    """No order of that uuid or identifier is visible (404); straight after a POST it may be lag."""


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


class CredentialsRefused(Stop):
    """The exchange does not accept the key: wrong, expired, without the permission or address.

    name: the exchange's error name (`expired_access_key`), or "" when there is no key at all.
    """

    def __init__(self, message: str, name: str = "") -> None:
        super().__init__(message)
        self.name = name


class IpBlocked(Stop):
    """418: the exchange has blocked this address for a while; never retried by itself."""


class EnvironmentProblem(Stop):
    """A port in use, a missing tool, a half-made environment."""


class MigrationNeeded(Stop):
    """The database is not at the schema this version needs."""


# --- the books ------------------------------------------------------------------------------


class LedgerError(TradingAssetsError):
    """A change of the ledger breaks one of its rules; nothing was written."""


class IllegalStateChange(LedgerError):
    """The change is not in the table of legal state changes."""


class LedgerMismatch(LedgerError):
    """The exchange says what the ledger cannot contain (a fill that changed, more sold than held).

    Stop entries and tell the person: one of the two is wrong.
    """


class LeaseLost(TradingAssetsError):
    """Another holder has the lease, or it was released: end, and write nothing more."""


# --- outcome unknown ------------------------------------------------------------------------


class OutcomeUnknown(TradingAssetsError):
    """A request was sent and its outcome is not known; ask before doing anything else."""


class OrderOutcomeUnknown(OutcomeUnknown):
    """An order was sent and may or may not exist: look it up by its identifier.

    Never send it under another identifier before that is known. The cause is what went wrong.
    """


class DuplicatedIdentifier(OrderOutcomeUnknown):
    """The exchange has seen this identifier before: the earlier order may well be live."""
