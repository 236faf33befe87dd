"""The job's frame; the job itself is done in end_to_end/."""

from pathlib import Path
from typing import Any

import pytest

from nat.errors import RunError
from nat.options import TransferOptions
from nat.pipeline import Transfer, resume, transfer
from nat.progress import Silence
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


def test_a_run_whose_supernet_has_other_choices_now_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = TransferOptions(data="digits", supernet="scratch", device="cpu")
    folder = RunFolder(tmp_path)
    job = Transfer(options, folder, Silence())
    config = job.config()
    folder.create({**config, "space": {**config["space"], "expands": [2]}})
    with pytest.raises(RunError, match="other choices than when the run started"):
        resume(tmp_path)


@pytest.mark.parametrize(("asked", "least"), [(0.1, 0.7), (0.9, 0.9)])
def test_training_crops_are_as_large_as_the_data_set_and_the_effort_ask(
    tmp_path: Path, asked: float, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    monkeypatch.setattr("nat.job.training_stream", lambda images, batching, device: seen.append(batching.min_crop_area))
    options = TransferOptions(data="digits", supernet="scratch", device="cpu", overrides={"min_crop_area": asked})
    Transfer(options, RunFolder(tmp_path), Silence()).stream(0)
    assert seen == [least], "digits ask for 0.7"
