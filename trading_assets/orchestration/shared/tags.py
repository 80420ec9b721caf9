"""Run tags that both code locations and `deploy/local/dagster.yaml` agree on."""

from enum import StrEnum

# What a research run does; dagster.yaml limits how many of each run at once.
RESEARCH = "trading_assets/research"
# "yes": a run that computes for minutes, whatever it does; dagster.yaml limits them together.
HEAVY = "trading_assets/heavy"
# The market that a run retrains; dagster.yaml lets one of each run at once.
RETRAIN = "trading_assets/retrain"
# What a trade run is about. The lost token is of the lease that a takeover follows, which was seen
# alive for the last time at that moment.
MARKET = "trading_assets/market"
SIGNAL = "trading_assets/signal"
MODEL_VERSION = "trading_assets/model_version"
LOST_TOKEN = "trading_assets/lost_token"
LOST_AT = "trading_assets/lost_at"
# Which evaluations a run draws its conclusions from.
CONCLUSION = "trading_assets/conclusion"
# The profiles of which some market was still being evaluated then, comma-separated.
BEING_EVALUATED = "trading_assets/being_evaluated"
PRIORITY = "dagster/priority"
MAX_RETRIES = "dagster/max_retries"
MAX_RUNTIME = "dagster/max_runtime"
PARTITION = "dagster/partition"
PARTITION_RANGE_START = "dagster/asset_partition_range_start"
PARTITION_RANGE_END = "dagster/asset_partition_range_end"


class Research(StrEnum):
    TRAIN = "train"
    SIGNAL = "signal"
    CHECK = "check"
    EVALUATE = "evaluate"
    CONCLUDE = "conclude"


def attempt(profile: str) -> str:
    """The tag that says on which age and in which hour a retraining of `profile` was asked for."""
    return f"trading_assets/attempt_{profile}"


def evaluation_attempt(profile: str) -> str:
    """The same of an evaluation."""
    return attempt(f"evaluate_{profile}")
