"""Choices of a profile for tests: short ways to say what an evaluation found."""

from datetime import UTC, datetime, timedelta

from trading_assets.signals.choices import Choice, ChoiceReason, ProfileNumbers

EVALUATED = datetime(2026, 1, 2, 2, 30, tzinfo=UTC)


EVERYWHERE = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL")


def numbers(
    profile: str = "swing", *, has_edge: bool = True, markets: tuple[str, ...] = EVERYWHERE
) -> ProfileNumbers:
    return ProfileNumbers(
        profile=profile,
        evaluated_at=EVALUATED,
        first=EVALUATED - timedelta(days=200),
        last=EVALUATED - timedelta(days=1),
        trades=240,
        trades_a_day=1.2,
        net_bp=24.0 if has_edge else -9.5,
        net_low_bp=4.25,
        net_high_bp=43.0,
        bound_bp=8.0 if has_edge else -24.0,
        gross_bp=40.0,
        random_bp=-14.5,
        has_edge=has_edge,
        verdict=f"{profile} by the test",
        markets=markets,
    )


def chosen(
    profile: str | None = "swing",
    at: datetime = EVALUATED,
    *,
    evaluated_at: datetime | None = None,
    markets: tuple[str, ...] = EVERYWHERE,
) -> Choice:
    """`profile` chosen at `at` (None: none has an edge)."""
    return Choice(
        decided_at=at,
        profile=profile,
        since=None if profile is None else at,
        reason=ChoiceReason.NO_EDGE if profile is None else ChoiceReason.CHOSEN,
        detail="no profile has an edge" if profile is None else f"{profile} is the best",
        evaluated_at=None if profile is None else evaluated_at or at,
        numbers=(
            numbers("scalp", has_edge=profile == "scalp", markets=markets),
            numbers("swing", markets=markets),
        ),
    )
