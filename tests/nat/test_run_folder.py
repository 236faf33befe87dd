import json
from pathlib import Path

import pytest

from nat.errors import RunError
from nat.run_folder import RunFolder

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
    folder.sweep()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "training.pt"]
