"""Whose signals count: the pinned profile, or the one that the evaluation chose."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from trading_assets.database import connect, prepare, profile_choices, read, write
from trading_assets.settings import ProfileName, Settings, load_settings
from trading_assets.signals.choices import (
    ChoiceReason,
    Traded,
    awaits_first_choice,
    due_profiles,
    latest_choice,
    leading_profile,
    record_choice,
    traded_profile,
)
from trading_assets.world import World
from trading_assets_tests.signals.choice_rows import EVALUATED, chosen
from trading_assets_tests.trading.ledger_world import bought, emptied, lease_of

DAY = timedelta(days=1)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'choices.sqlite'}")
    prepare(engine, World("sandbox-test", tmp_path, tmp_path))
    yield engine
    engine.dispose()


def auto(**more: object) -> Settings:
    return load_settings({"profile": "auto", **more})


def test_a_choice_comes_back_as_it_was_written(engine: Engine) -> None:
    record_choice(engine, chosen("scalp"))
    record_choice(engine, chosen("swing", EVALUATED + DAY))
    assert latest_choice(engine) == chosen("swing", EVALUATED + DAY)


def test_a_redone_run_writes_its_choice_once(engine: Engine) -> None:
    record_choice(engine, chosen())
    record_choice(engine, chosen())
    with read(engine) as connection:
        count = sa.select(sa.func.count()).select_from(profile_choices)
        assert connection.execute(count).scalar_one() == 1


def test_a_choice_says_since_when_exactly_if_there_is_one() -> None:
    with pytest.raises(ValueError, match="cannot have the reason no_edge"):
        type(chosen())(
            EVALUATED, "swing", EVALUATED, ChoiceReason.NO_EDGE, "", EVALUATED, numbers=()
        )
    with pytest.raises(ValueError, match="since when"):
        type(chosen())(EVALUATED, "swing", None, ChoiceReason.KEPT, "", EVALUATED, numbers=())


def test_a_pinned_profile_needs_no_evaluation(engine: Engine) -> None:
    assert traded_profile(engine, auto(profile="scalp"), EVALUATED) == Traded(ProfileName.SCALP)
    record_choice(engine, chosen("swing"))
    assert traded_profile(engine, auto(profile="scalp"), EVALUATED) == Traded(ProfileName.SCALP)


def test_before_the_first_evaluation_nothing_is_traded(engine: Engine) -> None:
    traded = traded_profile(engine, auto(), EVALUATED)
    assert traded == Traded(None, "the profiles are not evaluated yet")
    assert leading_profile(traded, auto()) is ProfileName.SCALP
    assert leading_profile(traded, auto(recorded="candles")) is ProfileName.SWING


def test_the_newest_choice_holds_also_when_it_is_none(engine: Engine) -> None:
    record_choice(engine, chosen("swing"))
    assert traded_profile(engine, auto(), EVALUATED) == Traded(ProfileName.SWING)
    record_choice(engine, chosen(None, EVALUATED + DAY))
    assert traded_profile(engine, auto(), EVALUATED + DAY) == Traded(None, "no profile has an edge")


def test_an_evaluation_proves_an_edge_for_seven_days_exactly(engine: Engine) -> None:
    # Kept on the first day by an evaluation that was then a day old.
    record_choice(engine, chosen("swing", EVALUATED + DAY, evaluated_at=EVALUATED))
    assert traded_profile(engine, auto(), EVALUATED + 7 * DAY).profile is ProfileName.SWING
    late = traded_profile(engine, auto(), EVALUATED + 7 * DAY + timedelta(seconds=1))
    assert late == Traded(None, "the evaluation of swing is 7.0 days old, it proves an edge for 7")
    shorter = auto(evaluation_valid_days="0.5")
    assert traded_profile(engine, shorter, EVALUATED + DAY / 2).profile is ProfileName.SWING
    assert traded_profile(engine, shorter, EVALUATED + DAY).profile is None


def test_a_chosen_profile_that_is_no_longer_trained_is_not_traded(engine: Engine) -> None:
    record_choice(engine, chosen("scalp"))
    traded = traded_profile(engine, auto(profiles=("swing",)), EVALUATED)
    assert traded == Traded(None, "scalp was chosen and is not in PROFILES any more")


def test_a_market_that_the_evaluation_does_not_cover_is_not_entered(engine: Engine) -> None:
    record_choice(engine, chosen("swing", markets=("KRW-BTC", "KRW-SOL")))
    traded = traded_profile(engine, auto(markets="KRW-BTC,KRW-ETH"), EVALUATED)
    assert traded == Traded(ProfileName.SWING, without=("KRW-ETH",))
    assert traded.withheld("swing", "KRW-ETH") == ("the evaluation of swing does not cover KRW-ETH")
    assert traded.withheld("swing", "KRW-BTC") == ""
    assert traded.withheld("scalp", "KRW-ETH") == ""  # not traded anyway
    pinned = traded_profile(engine, auto(profile="swing", markets="KRW-ETH"), EVALUATED)
    assert pinned.withheld("swing", "KRW-ETH") == ""


def test_a_choice_from_before_markets_were_written_covers_none(engine: Engine) -> None:
    record_choice(engine, chosen("swing"))
    with write(engine) as connection:
        (row,) = connection.execute(sa.select(profile_choices.c.numbers)).scalars()
        old = [{k: v for k, v in n.items() if k != "markets"} for n in row]
        connection.execute(profile_choices.update().values(numbers=old))
    traded = traded_profile(engine, auto(markets="KRW-BTC"), EVALUATED)
    assert traded == Traded(ProfileName.SWING, without=("KRW-BTC",))


def test_every_profile_is_due_until_one_is_traded(engine: Engine) -> None:
    assert due_profiles(engine, auto(), EVALUATED) == (ProfileName.SCALP, ProfileName.SWING)
    record_choice(engine, chosen("swing"))
    assert due_profiles(engine, auto(), EVALUATED) == (ProfileName.SWING,)
    assert due_profiles(engine, auto(profile="scalp"), EVALUATED) == (ProfileName.SCALP,)


def test_the_profile_of_an_open_position_stays_due_after_a_switch(engine: Engine) -> None:
    emptied(engine)
    assert bought(engine, lease_of(engine)).profile == "scalp"
    record_choice(engine, chosen("swing"))
    assert due_profiles(engine, auto(), EVALUATED) == (ProfileName.SCALP, ProfileName.SWING)
    assert due_profiles(engine, auto(profile="swing"), EVALUATED) == (
        ProfileName.SCALP,
        ProfileName.SWING,
    )
    # The hour's recording has no scalp: its position is left to its barriers and its time limit.
    assert due_profiles(engine, auto(recorded="candles"), EVALUATED) == (ProfileName.SWING,)


def test_the_first_evaluation_is_awaited_until_there_is_a_choice_and_never_under_a_pin(
    engine: Engine,
) -> None:
    assert awaits_first_choice(engine, auto())
    assert not awaits_first_choice(engine, auto(profile="scalp"))
    record_choice(engine, chosen(None))  # nothing has an edge: that is a choice too
    assert not awaits_first_choice(engine, auto())
