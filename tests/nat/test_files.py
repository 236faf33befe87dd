import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nat.errors import InputError
from nat.files import read_json, whole_file, write_json, write_text

KILLED = """
import os, signal, sys
from pathlib import Path
from nat.files import whole_file

with whole_file(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_appears_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with whole_file(path) as draft:
        draft.write_text("new")
        assert not path.exists()
        assert draft.parent == path.parent
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, InputError])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(error), whole_file(path) as draft:
        draft.write_text("half")
        raise error("stop")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_of_the_system_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot write.*a\.txt"):
        write_text(tmp_path / "none" / "a.txt", "text")
    assert not list(tmp_path.iterdir())


def test_a_kill_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_json_keeps_its_order_and_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [0.1, "ä"]})
    assert read_json(path) == {"b": 1, "a": [0.1, "ä"]}
    assert path.read_text().index('"b"') < path.read_text().index('"a"')
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"b": math.nan})
    assert read_json(path)["b"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_unreadable_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    for name in ("a.json", "none.json"):
        with pytest.raises(InputError, match=name):
            read_json(tmp_path / name)
