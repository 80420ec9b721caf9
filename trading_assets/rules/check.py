"""The outcome of one check, as a value.

Here: what a check says. Not here: the checks themselves (in the room whose data they judge) and
where an outcome is shown or stored (Dagster asset checks, verdict rows).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is: nothing to do, worth a look, something has to be done."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What one check found.

    name: snake_case, unique within its subject. reason: one sentence with the value and the rule,
    also when it passed. blocking: a failure stops what stands on this data. values: plain numbers,
    strings and booleans for tables and metadata.
    """

    name: str
    passed: bool
    reason: str
    blocking: bool = True
    values: Mapping[str, bool | int | float | str] = field(default_factory=dict)


def blocking_failures(outcomes: Iterable[CheckOutcome]) -> tuple[CheckOutcome, ...]:
    """Those outcomes that must stop what follows, in the order given."""
    return tuple(o for o in outcomes if o.blocking and not o.passed)
