"""Who is named as the writer of an SQLite database."""

import sys
from pathlib import Path

import pytest

from trading_assets.database import connect, write
from trading_assets.write_lock import Writer, writer_of
from trading_assets_tests.stopped_writer import go_on, stopped_writer

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells who holds a lock (/proc/locks)"
)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database in WAL mode that somebody has open, as always while servers run."""
    engine = connect(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with write(engine):
        pass
    return tmp_path / "a.sqlite"


@linux_only
def test_a_process_stopped_amid_a_write_is_named_until_it_has_gone_on(database: Path) -> None:
    assert writer_of(database) is None
    with stopped_writer(database) as process:
        writer = writer_of(database)
        assert writer is not None
        assert writer.pid == process.pid
        assert writer.is_stopped
        assert str(writer) == f"process {process.pid} ({writer.name}), which is stopped"
        go_on(process)
        assert writer_of(database) is None


@linux_only
def test_a_writer_of_another_database_is_not_meant(database: Path, tmp_path: Path) -> None:
    other = connect(f"sqlite:///{tmp_path / 'b.sqlite'}")
    with write(other):
        pass
    with stopped_writer(tmp_path / "b.sqlite"):
        assert writer_of(database) is None


def test_where_nothing_is_known_nobody_is_named(database: Path, tmp_path: Path) -> None:
    assert writer_of(database, proc=tmp_path / "no-proc") is None
    assert writer_of(tmp_path / "no-database") is None


def test_only_the_holder_of_the_writers_byte_that_has_the_file_open_is_named(
    database: Path, tmp_path: Path
) -> None:
    """Byte 120 is the writer's; 121 a checkpoint's, 123 on are readers'. An arrow marks one that
    waits. The same inode on another disk is another file: process 6 does not have ours open."""
    shared = database.with_name("a.sqlite-shm")
    inode = shared.stat().st_ino
    proc = tmp_path / "proc"
    for pid in (1, 2, 3, 4, 5, 6, 7):
        (proc / str(pid) / "fd").mkdir(parents=True)
        file = tmp_path / "another-file" if pid == 6 else shared
        (proc / str(pid) / "fd" / "9").symlink_to(file)
        (proc / str(pid) / "stat").write_text(f"{pid} (a (strange) name) S 1 1 1\n")
    (tmp_path / "another-file").touch()
    locks = (
        f"1: POSIX  ADVISORY  READ 1 08:01:{inode} 120 120",
        f"2: POSIX  ADVISORY  WRITE 2 08:01:{inode} 121 121",
        f"3: FLOCK  ADVISORY  WRITE 3 08:01:{inode} 0 EOF",
        f"4: -> POSIX  ADVISORY  WRITE 4 08:01:{inode} 120 120",
        f"5: POSIX  ADVISORY  WRITE 5 08:01:{inode + 1} 120 120",
        f"6: POSIX  ADVISORY  WRITE 6 08:02:{inode} 120 120",
        f"7: POSIX  ADVISORY  WRITE 7 08:01:{inode} 120 120",
    )
    (proc / "locks").write_text("\n".join(locks))
    assert writer_of(database, proc) == Writer(7, "a (strange) name", "S")
    assert str(Writer(7, "python", "S")) == "process 7 (python)"
    (proc / "locks").write_text("\n".join(locks[:6]))
    assert writer_of(database, proc) is None
