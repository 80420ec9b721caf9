"""Which profile is traded: rows written by the evaluation, read by signals and by people.

Here: what an evaluation says of a profile in numbers, the row of a choice, and whose signals count
now. Only SQLAlchemy; no pandas, no numpy. Not here: how a profile is chosen (`backtest.selection`).
Trading never reads these rows: a signal carries everything.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from trading_assets.database import positions, profile_choices, read, write
from trading_assets.settings import ProfileName, Settings


class ChoiceReason(StrEnum):
    """Why the choice is what it is."""

    CHOSEN = "chosen"  # none was traded before; this one is the best that has an edge
    KEPT = "kept"  # still has an edge, and no other is better by more than the noise
    SWITCHED = "switched"  # the one before lost its edge, or another is better by more than noise
    NO_EDGE = "no_edge"  # none has an edge


@dataclass(frozen=True, slots=True)
class ProfileNumbers:
    """What an evaluation says of one profile. None where there were too few trades to say it.

    evaluated_at: close of the last candle that it knows. first, last: the out-of-sample decisions
    it covers. *_bp: per trade over what was paid for it,
    1e-4, net after costs. net_low_bp, net_high_bp: the 90 % interval. bound_bp: the 90 % lower
    bound (one-sided). random_bp: net, entries at random in the same number. verdict: one sentence.
    markets: whose trades are in it.
    """

    profile: str
    evaluated_at: datetime
    first: datetime
    last: datetime
    trades: int
    trades_a_day: float
    net_bp: float | None
    net_low_bp: float | None
    net_high_bp: float | None
    bound_bp: float | None
    gross_bp: float | None
    random_bp: float | None
    has_edge: bool
    verdict: str
    markets: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; times ISO 8601 UTC."""
        return {k: _plain(v) for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        # A row from before the markets were written covers none of them, until the next evaluation.
        known = {f.name: values[f.name] for f in fields(cls) if f.name != "markets"}
        known["markets"] = tuple(values.get("markets", ()))
        for name in ("evaluated_at", "first", "last"):
            known[name] = datetime.fromisoformat(known[name])
        return cls(**known)


@dataclass(frozen=True, slots=True)
class Choice:
    """The profile that `auto` trades from `decided_at` on.

    profile: None when none has an edge. since: when it was first chosen, without a break since.
    evaluated_at: of the chosen profile. numbers: of every profile that was looked at.
    """

    decided_at: datetime
    profile: str | None
    since: datetime | None
    reason: ChoiceReason
    detail: str
    evaluated_at: datetime | None
    numbers: tuple[ProfileNumbers, ...]
    run_id: str | None = None

    def __post_init__(self) -> None:
        if (self.profile is None) != (self.reason is ChoiceReason.NO_EDGE):
            raise ValueError(f"a choice of {self.profile} cannot have the reason {self.reason}")
        if (self.profile is None) != (self.since is None) or (
            (self.profile is None) != (self.evaluated_at is None)
        ):
            raise ValueError(f"a choice of {self.profile} says since when and evaluated when")


@dataclass(frozen=True, slots=True)
class Traded:
    """Whose signals count now. profile: None while nothing may be entered, for the reason `why`.

    without: markets in which nothing may be entered either, because the evaluation that chose the
    profile does not cover them: others' profit says nothing of theirs.
    """

    profile: ProfileName | None
    why: str = ""
    without: tuple[str, ...] = ()

    def withheld(self, profile: str, market: str) -> str:
        """Why no entry may follow a BUY of `profile` in `market`, empty when one may.

        Empty too for a profile that is not traded while another is: its signals say so themselves.
        """
        if self.profile is None:
            return self.why
        if profile == self.profile and market in self.without:
            return f"the evaluation of {profile} does not cover {market}"
        return ""


def record_choice(engine: Engine, choice: Choice) -> None:
    """Store `choice`; it holds at once. The same moment stored again (a redone run) is one row."""
    with write(engine) as connection:
        same = sa.select(profile_choices.c.id).where(
            profile_choices.c.decided_at == choice.decided_at
        )
        if connection.execute(same).first() is None:
            connection.execute(profile_choices.insert().values(_values(choice)))


def latest_choice(engine: Engine) -> Choice | None:
    """The choice that holds, None before the first evaluation."""
    with read(engine) as connection:
        return _latest(connection)


def traded_profile(engine: Engine, settings: Settings, now: datetime) -> Traded:
    """Whose signals count at `now`: the pinned profile, or the evaluation's choice.

    A choice whose evaluation is older than EVALUATION_VALID_DAYS, or of a profile that the settings
    no longer name, counts for none.
    """
    if settings.pinned_profile is not None:
        return Traded(settings.pinned_profile)
    choice = latest_choice(engine)
    if choice is None:
        return Traded(None, "the profiles are not evaluated yet")
    if choice.profile is None or choice.evaluated_at is None:
        return Traded(None, choice.detail)
    if choice.profile not in settings.active_profiles:
        return Traded(None, f"{choice.profile} was chosen and is not in PROFILES any more")
    age, limit = now - choice.evaluated_at, evaluation_valid_for(settings)
    if age > limit:
        return Traded(
            None,
            f"the evaluation of {choice.profile} is {age / timedelta(days=1):.1f} days old, it "
            f"proves an edge for {limit / timedelta(days=1):g}",
        )
    covered = {m for n in choice.numbers if n.profile == choice.profile for m in n.markets}
    without = tuple(market for market in settings.markets if market not in covered)
    return Traded(ProfileName(choice.profile), without=without)


def awaits_first_choice(engine: Engine, settings: Settings) -> bool:
    """Whether nothing can be entered until the profiles are evaluated for the first time."""
    return settings.pinned_profile is None and latest_choice(engine) is None


def leading_profile(traded: Traded, settings: Settings) -> ProfileName:
    """The profile that comes first: the traded one, else the first of PROFILES that can be used."""
    return traded.profile or settings.active_profiles[0]


def due_profiles(engine: Engine, settings: Settings, now: datetime) -> tuple[ProfileName, ...]:
    """The profiles whose signals somebody waits for.

    The traded one (every one while none is), and each under which a position is held: its SELL
    must come whatever is traded now.
    """
    traded = traded_profile(engine, settings, now)
    held = sa.select(positions.c.profile).where(positions.c.state.in_(("planned", "open")))
    with read(engine) as connection:
        in_use = set(connection.execute(held).scalars())
    return tuple(
        p
        for p in settings.active_profiles
        if traded.profile is None or p == traded.profile or p in in_use
    )


def evaluation_valid_for(settings: Settings) -> timedelta:
    """How long an evaluation proves an edge."""
    return timedelta(days=float(settings.evaluation_valid_days))


def _latest(connection: Connection) -> Choice | None:
    query = (
        sa.select(profile_choices)
        .order_by(profile_choices.c.decided_at.desc(), profile_choices.c.id.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else _choice(row._mapping)


def _values(choice: Choice) -> dict[str, Any]:
    values = {f.name: getattr(choice, f.name) for f in fields(choice)}
    values["reason"] = choice.reason.value
    values["numbers"] = [n.to_json() for n in choice.numbers]
    return values


def _choice(row: Mapping[Any, Any]) -> Choice:
    values = {f.name: row[f.name] for f in fields(Choice)}
    values["reason"] = ChoiceReason(values["reason"])
    values["numbers"] = tuple(ProfileNumbers.from_json(n) for n in values["numbers"])
    return Choice(**values)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
