import os
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from nat.archive import INDEX, SCHEMA, TABLE, Archive, Evaluation, Proposal
from nat.database import APPLICATION_ID
from nat.errors import InputError, RunError
from nat.supernet.architecture import Architecture

WRITER = """
import sys
from nat.archive import Archive, Evaluation
from nat.supernet.architecture import Architecture

with Archive(sys.argv[1]) as archive:
    for number in range(100_000):
        net = Architecture((3,), (4,), (1,), resolution=number + 1)
        archive.add(Evaluation(net, {"top1_error": 0.5, "macs": float(number)}, round=0, weights_version=0))
        print(number, flush=True)
"""


def net(number: int) -> Architecture:
    return Architecture(kernels=(3, 5), expands=(4, 6), depths=(2,), resolution=number)


def done(number: int, error: float = 0.5, *, round: int = 0, version: int = 0) -> Evaluation:
    return Evaluation(net(number), {"top1_error": error, "macs": 1e6}, round=round, weights_version=version)


def failure(number: int, *, version: int = 0) -> Evaluation:
    return Evaluation(net(number), {}, round=0, weights_version=version, error="out of memory")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive.sqlite"


def test_what_is_added_is_read_again_in_order(path: Path) -> None:
    first = Evaluation(
        net(32), {"top1_error": 1 / 3, "macs": 5e6}, round=2, weights_version=1, seconds=0.1, parent="ab"
    )
    with Archive(path) as archive:
        archive.add(first)
        archive.add(failure(36))
        archive.add(done(28))
        expected = archive.evaluations()
    with Archive(path) as archive:
        assert archive.evaluations() == expected
        assert expected[0] == first and not first.failed
        assert [e.architecture.resolution for e in expected] == [32, 36, 28]
        assert archive.failures() == expected[1:2] and expected[1].failed
        assert len(archive) == 2
        assert net(36) in archive and net(40) not in archive and "ab" not in archive
    assert datetime.fromisoformat(first.created).utcoffset() is not None


def test_memory_keeps_nothing() -> None:
    with Archive(":memory:") as archive:
        archive.add(done(32))
        assert len(archive) == 1
    with Archive(":memory:") as archive:
        assert archive.evaluations() == [] and archive.latest() == [] and archive.versions == []


def test_latest_takes_the_newest_weights_in_order_of_first_appearance() -> None:
    with Archive(":memory:") as archive:
        for evaluation in (
            done(1, 0.5, round=0, version=1),
            failure(3, version=1),
            done(2, 0.4, round=0, version=1),
            done(1, 0.3, round=1, version=3),
            done(3, 0.2, round=1, version=2),
            done(1, 0.1, round=2, version=2),
            failure(2, version=4),
        ):
            archive.add(evaluation)
        pairs = [(e.architecture.resolution, e.weights_version) for e in archive.latest()]
        assert pairs == [(1, 3), (2, 1), (3, 2)]
        assert [e.architecture.resolution for e in archive.at_version(2)] == [3, 1]
        assert archive.versions == [1, 2, 3]


def test_an_archive_can_be_read_as_it_was_before_a_round() -> None:
    with Archive(":memory:") as archive:
        for number in range(4):
            archive.add(done(7, 0.1 * number, round=number, version=number))
        assert [e.round for e in archive.evaluations(before_round=2)] == [0, 1]
        assert [e.round for e in archive.latest(before_round=2)] == [1]
        assert archive.latest(before_round=0) == []
        assert [e.round for e in archive.latest()] == [3]


def test_done_once_is_done_but_a_failure_may_be_retried() -> None:
    with Archive(":memory:") as archive:
        for evaluation in (failure(1), failure(1), done(1, 0.25)):
            archive.add(evaluation)
        for repeat in (done(1, 0.75), failure(1)):
            with pytest.raises(InputError, match=f"{net(1).id} is in the archive with weights version 0 already"):
                archive.add(repeat)
        archive.add(done(1, 0.75, version=1))
        assert [e.objectives["top1_error"] for e in archive.latest()] == [0.75]
        assert len(archive) == 2 and len(archive.failures()) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_scores_that_are_no_numbers_are_refused(value: float) -> None:
    with Archive(":memory:") as archive:
        with pytest.raises(InputError, match="finite objectives"):
            archive.add(done(1, value))
        assert archive.evaluations() == []


def test_a_failure_has_no_scores_and_a_success_has_some() -> None:
    with Archive(":memory:") as archive:
        with pytest.raises(InputError, match="got neither"):
            archive.add(Evaluation(net(1), {}, round=0, weights_version=0))
        with pytest.raises(InputError, match="got both"):
            archive.add(Evaluation(net(1), {"macs": 1.0}, round=0, weights_version=0, error="late"))


def test_numbers_of_numpy_come_back_as_plain_ones() -> None:
    with Archive(":memory:") as archive:
        scores = {"top1_error": np.float32(0.25), "macs": np.int64(7)}
        archive.add(Evaluation(net(1), scores, round=np.int64(2), weights_version=np.int64(3)))
        (read,) = archive.latest()
    assert read.objectives == {"top1_error": 0.25, "macs": 7.0}
    assert (type(read.round), type(read.weights_version)) == (int, int)


def test_files_that_are_no_archives_are_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(RunError, match="file is not a database"):
        Archive(path)
    assert path.read_bytes().startswith(b"not a database")
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE music (title TEXT)")
    connection.close()
    with pytest.raises(RunError, match="a database but not an archive"):
        Archive(path)


def test_a_newer_schema_asks_for_an_upgrade(path: Path) -> None:
    Archive(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(RunError, match="Upgrade"):
        Archive(path)


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere"):
        Archive(tmp_path / "nowhere" / "archive.sqlite")
    with pytest.raises(RunError, match="no such file"):
        Archive(tmp_path / "archive.sqlite", read_only=True)
    (tmp_path / "empty").touch()
    with pytest.raises(RunError, match="an empty file"):
        Archive(tmp_path / "empty", read_only=True)


def test_a_damaged_row_is_an_error_of_the_run(path: Path) -> None:
    with Archive(path) as archive:
        archive.add(done(1))
    connection = sqlite3.connect(path)
    connection.execute("UPDATE evaluation SET objectives = '{'")
    connection.commit()
    connection.close()
    with Archive(path) as archive, pytest.raises(RunError, match=r"row 1 of .* is damaged"):
        archive.evaluations()


def test_a_run_can_be_read_while_it_writes_and_after(path: Path) -> None:
    with Archive(path) as writer:
        writer.add(done(1))
        with Archive(path, read_only=True) as reader:
            assert len(reader) == 1
            writer.add(done(2))
            assert len(reader) == 2
            with pytest.raises(RunError, match="readonly"):
                reader.add(done(3))
    with Archive(path, read_only=True) as reader:
        assert len(reader) == 2


def test_a_folder_that_cannot_be_written_can_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Archive(path) as archive:
        archive.add(done(1))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with Archive(path, read_only=True) as reader:
        assert len(reader) == 1
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_two_writers_wait_for_each_other(path: Path) -> None:
    def write(numbers: range) -> None:
        with Archive(path) as archive:
            for number in numbers:
                archive.add(done(number))

    threads = [threading.Thread(target=write, args=(range(i, 60, 3),)) for i in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Archive(path) as archive:
        assert sorted(e.architecture.resolution for e in archive.evaluations()) == list(range(1, 60))


@pytest.mark.parametrize("acknowledged", [1, 40])
def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(path: Path, acknowledged: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, bufsize=1)
    assert writer.stdout is not None
    numbers = [int(writer.stdout.readline()) for _ in range(acknowledged)]
    os.kill(writer.pid, signal.SIGKILL)
    numbers += [int(line) for line in writer.stdout]
    writer.stdout.close()
    assert writer.wait() == -signal.SIGKILL
    with Archive(path, read_only=True) as archive:
        assert len(archive) >= len(numbers)
    with Archive(path) as archive:
        macs = [e.objectives["macs"] for e in archive.evaluations()]
        assert macs == [float(number) for number in range(len(macs))]
        assert len(numbers) <= len(macs) <= len(numbers) + 1
        archive.add(done(1))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_write_that_is_cut_in_the_middle_leaves_nothing_of_itself(path: Path, cut_write: str) -> None:
    """Killed between INSERT and COMMIT: the row is not there, all before it are, and the file is sound."""
    words = [sys.executable, "-c", cut_write + WRITER, str(path), "8"]
    writer = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    assert writer.returncode == -signal.SIGKILL
    told = [int(line) for line in writer.stdout.split()]
    assert told == list(range(7)), "one commit made the tables, seven a row each"
    with Archive(path) as archive:
        assert [e.objectives["macs"] for e in archive.evaluations()] == [float(number) for number in told]
        archive.add(done(1000))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_a_torn_log_of_writes_loses_the_last_rows_at_most(path: Path, tmp_path: Path, kept: float) -> None:
    """What a power cut may leave: a write-ahead log that ends anywhere. A beginning of what was written is read."""
    torn = tmp_path / "torn.sqlite"
    with Archive(path) as archive:
        for number in range(1, 30):
            archive.add(done(number))
        log = Path(f"{path}-wal").read_bytes()
        torn.write_bytes(path.read_bytes())
        Path(f"{torn}-wal").write_bytes(log[: int(kept * len(log))])
    with Archive(torn) as archive:
        numbers = [e.architecture.resolution for e in archive.evaluations()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) < 29
        archive.add(done(1000))


def test_proposals_of_a_round_are_kept_whole_and_once(path: Path) -> None:
    proposals = [Proposal(net(1), np.float64(0.25), np.float32(0.5)), Proposal(net(2)), Proposal(net(3), 0.125)]
    with Archive(path) as archive:
        assert archive.proposals(4) == []
        archive.add_proposals(4, proposals)
        with pytest.raises(InputError, match="round 4"):
            archive.add_proposals(4, proposals[:1])
        assert len(archive) == 0 and archive.proposals(3) == []
    with Archive(path, read_only=True) as archive:
        assert archive.proposals(4) == proposals
        assert type(archive.proposals(4)[0].mean) is float


def test_an_archive_of_the_first_schema_is_read_and_goes_on(path: Path) -> None:
    connection = sqlite3.connect(path)
    for statement in (TABLE, INDEX, f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 1"):
        connection.execute(statement)
    connection.commit()
    connection.close()
    with Archive(path, read_only=True) as archive:
        assert archive.proposals(0) == [] and archive.evaluations() == []
    with Archive(path) as archive:
        archive.add_proposals(0, [Proposal(net(1))])
        archive.add(done(1))
    with Archive(path, read_only=True) as archive:
        assert archive.proposals(0) == [Proposal(net(1))] and len(archive) == 1
