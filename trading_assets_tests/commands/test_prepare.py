"""Preparing a world: what is written, what is kept, what is refused."""

from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dotenv import dotenv_values

from trading_assets.commands.files import swap_in
from trading_assets.commands.prepare import DAGSTER_YAML, prepare_world, write_dagster_home
from trading_assets.database import open_database
from trading_assets.errors import WrongWorld
from trading_assets.orchestration.shared.prepare_instance import close_interrupted_runs
from trading_assets.settings import load_settings
from trading_assets.world import claim, world_of

HOME = Path("/somewhere/data/live/dagster")
STOP = datetime(2026, 1, 5, 12, tzinfo=UTC)


def test_dagster_home_is_written_into_a_new_env_file(tmp_path: Path) -> None:
    write_dagster_home(tmp_path / ".env", HOME)
    assert (tmp_path / ".env").read_text() == "DAGSTER_HOME=/somewhere/data/live/dagster\n"


def test_the_other_lines_of_the_env_file_stay_as_they_are(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("# keys\nUPBIT_ACCESS_KEY = 'a b'\n\nexport DAGSTER_HOME=/old\nPROFILE=swing")
    env.chmod(0o600)
    write_dagster_home(env, HOME)
    assert env.read_text() == (
        "# keys\nUPBIT_ACCESS_KEY = 'a b'\n\n"
        "DAGSTER_HOME=/somewhere/data/live/dagster\nPROFILE=swing\n"
    )
    assert env.stat().st_mode & 0o777 == 0o600


def test_a_comment_about_dagster_home_is_no_setting(tmp_path: Path) -> None:
    env = tmp_path / ".env"
    env.write_text("#DAGSTER_HOME=\n")
    write_dagster_home(env, HOME)
    assert env.read_text() == "#DAGSTER_HOME=\nDAGSTER_HOME=/somewhere/data/live/dagster\n"


@pytest.mark.parametrize("folder", ["/a b/dagster", "/it's/dagster", "/a#b/$HOME", "/back\\slash"])
def test_a_folder_with_odd_letters_is_read_back_as_it_is(tmp_path: Path, folder: str) -> None:
    write_dagster_home(tmp_path / ".env", Path(folder))
    assert dotenv_values(tmp_path / ".env", interpolate=False)["DAGSTER_HOME"] == folder


def test_a_linked_env_file_stays_a_link(tmp_path: Path) -> None:
    real = tmp_path / "real.env"
    real.write_text("SEEDS=1\n")
    (tmp_path / ".env").symlink_to(real)
    write_dagster_home(tmp_path / ".env", HOME)
    assert (tmp_path / ".env").is_symlink()
    assert real.read_text().startswith("SEEDS=1\nDAGSTER_HOME=")


def test_a_file_that_does_not_change_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "file"
    swap_in(file, "same\n")
    before = file.stat().st_ino
    swap_in(file, "same\n")
    assert file.stat().st_ino == before


@pytest.mark.slow
def test_setup_prepares_everything_and_can_be_repeated(isolated_settings: Path) -> None:
    settings = load_settings({"markets": ("KRW-BTC",)})
    world = prepare_world(settings, lambda _: None)
    first = (world.mlruns / "mlflow.db").stat().st_mtime_ns
    said: list[str] = []
    assert prepare_world(settings, said.append) == world
    assert said == [f"world {world.name} is prepared in {world.data}"]
    assert (world.mlruns / "mlflow.db").stat().st_mtime_ns == first
    assert (world.dagster_home / "dagster.yaml").read_text() == DAGSTER_YAML.read_text()
    assert (world.dagster_home / "history" / "runs.db").exists()
    assert f"DAGSTER_HOME={world.dagster_home}" in (isolated_settings / ".env").read_text()
    tables = sa.inspect(open_database(settings, world)).get_table_names()
    assert {"signals", "verdicts", "heartbeats", "alerts"} <= set(tables)

    # A run that a killed start left behind: setup alone leaves it, `run` closes it.
    with dg.DagsterInstance.from_config(str(world.dagster_home)) as instance:
        left = run_with(instance, dg.DagsterRunStatus.STARTED)
        prepare_world(settings, said.append)
        assert status_of(instance, left) is dg.DagsterRunStatus.STARTED
        prepare_world(settings, said.append, close_runs_since=datetime.now(UTC))
        assert status_of(instance, left) is dg.DagsterRunStatus.CANCELED


def test_a_mlflow_folder_of_another_world_is_refused(isolated_settings: Path) -> None:
    settings = load_settings()
    claim(world_of(settings).mlruns, "live")
    with pytest.raises(WrongWorld, match="belongs to the world live"):
        prepare_world(settings, lambda _: None)
    assert not (isolated_settings / ".env").exists()


@dg.op
def nothing() -> None:
    """A step."""


@dg.job
def retrain() -> None:
    nothing()


def run_with(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    return instance.create_run_for_job(
        retrain,
        status=status,
        tags={
            "dagster/run_key": "KRW-BTC|never",
            "trading_assets/attempt_scalp": "never|12",
            "kept": "1",
        },
    )


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found.status


def tags_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dict[str, str]:
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return dict(found.tags)


def test_a_run_that_died_with_the_previous_start_is_closed_and_may_be_asked_for_again() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = run_with(instance, dg.DagsterRunStatus.STARTED)
        assert close_interrupted_runs(instance, since=datetime.now(UTC)) == [run.run_id]
        assert status_of(instance, run) is dg.DagsterRunStatus.CANCELED
        tags = tags_of(instance, run)
        assert tags["dagster/run_key"] == f"interrupted {run.run_id}"
        assert tags["trading_assets/attempt_scalp"] == f"interrupted {run.run_id}"
        assert tags["kept"] == "1"


def test_a_run_that_the_stop_took_down_may_be_asked_for_again() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = run_with(instance, dg.DagsterRunStatus.FAILURE)
        assert close_interrupted_runs(instance, since=STOP) == [run.run_id]
        assert tags_of(instance, run)["dagster/run_key"] == f"interrupted {run.run_id}"


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_run_that_failed_before_the_stop_keeps_its_attempt(status: dg.DagsterRunStatus) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = run_with(instance, status)
        assert close_interrupted_runs(instance, since=datetime.now(UTC)) == []
        assert tags_of(instance, run)["dagster/run_key"] == "KRW-BTC|never"


def test_waiting_and_finished_runs_are_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for status in (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.SUCCESS):
            run = run_with(instance, status)
            assert close_interrupted_runs(instance, since=STOP) == []
            assert tags_of(instance, run)["dagster/run_key"] == "KRW-BTC|never"
