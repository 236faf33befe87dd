import json
import os
from pathlib import Path

import pytest

from nat.errors import RunError
from nat.run_folder import RunFolder, check_new

CONFIG = {"options": {"data": "digits", "seed": 3}, "space": {}, "data": {}, "threads": 1}


def test_a_new_folder_is_free_and_made_only_on_request(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.check_free()
    assert not list(tmp_path.iterdir())
    folder.create(CONFIG)
    assert folder.read_config() == CONFIG
    with pytest.raises(RunError, match="nat resume"):
        folder.check_free()


def test_an_empty_folder_is_free_and_a_used_one_is_not(tmp_path: Path) -> None:
    RunFolder(tmp_path).check_free()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="in use"):
        RunFolder(tmp_path).check_free()
    with pytest.raises(RunError, match="in use"):
        RunFolder(tmp_path / "notes.txt").check_free()
    with pytest.raises(RunError, match="cannot write"):
        RunFolder(tmp_path / "notes.txt" / "run").check_free()


def test_a_run_that_another_process_has_made_since_is_not_overwritten(tmp_path: Path) -> None:
    RunFolder(tmp_path).create(CONFIG)
    with pytest.raises(RunError, match="nat resume"):
        RunFolder(tmp_path).create({**CONFIG, "threads": 2})
    assert RunFolder(tmp_path).read_config() == CONFIG


def test_one_at_a_time_has_the_lock(tmp_path: Path) -> None:
    with RunFolder(tmp_path / "run").locked(), pytest.raises(RunError, match="another process is at work"):
        RunFolder(tmp_path / "run").locked().__enter__()
    with RunFolder(tmp_path / "run").locked():
        RunFolder(tmp_path / "run").check_free()  # the lock alone is no run


def test_a_place_for_a_new_folder_is_checked_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_new(tmp_path / "deep" / "new")
    assert not list(tmp_path.iterdir())
    with pytest.raises(RunError, match="is there already"):
        check_new(tmp_path)
    with pytest.raises(RunError, match="File name too long"):
        check_new(tmp_path / ("x" * 5000))
    with pytest.raises(RunError, match="File name too long"):
        RunFolder(tmp_path / ("x" * 5000)).read_config()
    monkeypatch.setattr("os.access", lambda path, mode, **_: not mode & os.W_OK)
    with pytest.raises(RunError, match="cannot write in"):
        check_new(tmp_path / "deep" / "new")


def test_options_come_back_with_the_threads_of_the_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create(CONFIG)
    options = folder.read_options()
    assert (options.data, options.seed, options.threads) == ("digits", 3, 1)


@pytest.mark.parametrize(
    "change", [{"options": {"sed": 1}}, {"options": {"data": "digits", "sed": 1}}, {"options": 1}, {"data": None}]
)
def test_a_config_of_something_else_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    folder = RunFolder(tmp_path)
    folder.create(CONFIG | change)
    with pytest.raises(RunError, match=r"config\.json"):
        folder.read_options()


def test_the_front_is_there_when_the_run_is_finished(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(RunError, match="there is none"):
        folder.read_front()
    folder.create(CONFIG)
    with pytest.raises(RunError, match="not finished"):
        folder.read_front()
    folder.front.write_text('{"front": []}')
    assert folder.read_front() == {"front": []}


def test_events_are_lines_and_their_seconds_add_up(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.seconds_logged() == 0
    folder.log("adapt", 1.5, {"round": 2})
    folder.log("evaluate", 0.25)
    first, second = (json.loads(line) for line in folder.events.read_text().splitlines())
    assert (first["event"], first["round"], first["seconds"]) == ("adapt", 2, 1.5)
    assert second["time"].endswith("Z")
    assert folder.seconds_logged() == 1.75
    with folder.events.open("a") as file:
        file.write('{"event": "adapt", "sec')
    assert folder.seconds_logged() == 1.75


def test_leftover_drafts_are_swept_and_nothing_else(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create(CONFIG)
    (tmp_path / ".training.pt.123.draft").write_text("half")
    (tmp_path / "training.pt").write_text("whole")
    for place in (folder.subnets, folder.controls):
        for name in (".1a2b.draft", "3c4d"):
            (place / name).mkdir(parents=True)
            (place / name / "model.safetensors").write_text("weights")
    folder.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "controls", "subnets", "training.pt"]
    assert [path.name for path in tmp_path.glob("*/*/")] == ["3c4d", "3c4d"]
