"""The job's frame; the job itself is done in end_to_end/."""

from pathlib import Path
from typing import Any

import pytest

from nat.errors import RunError
from nat.options import TransferOptions
from nat.pipeline import resume, transfer
from nat.run_folder import RunFolder

CONFIG: dict[str, Any] = {"options": {"data": "digits"}, "space": {}, "data": {}}


def test_a_second_process_cannot_resume_what_the_first_works_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Job:
        def __init__(self, *_: object) -> None:
            pass

        def config(self) -> dict[str, Any]:
            return CONFIG

        def run(self) -> dict[str, Any]:
            with pytest.raises(RunError, match="another process is at work"):
                resume(tmp_path)
            return {"seen": True}

    monkeypatch.setattr("nat.pipeline.Transfer", Job)
    assert transfer(TransferOptions(data="digits"), tmp_path) == {"seen": True}


def test_resume_does_not_sweep_what_another_process_is_writing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create(CONFIG)
    (tmp_path / ".training.pt.1.draft").write_text("being written")
    with folder.locked(), pytest.raises(RunError, match="another process is at work"):
        resume(tmp_path)
    assert (tmp_path / ".training.pt.1.draft").exists()
