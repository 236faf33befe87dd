from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from nat.errors import InputError
from nat.options import TransferOptions
from nat.preparation import counted, input_sizes, suitable_threads, with_absolute_paths
from nat.progress import Task


def test_threads_do_not_depend_on_what_an_earlier_run_set() -> None:
    before, expected = torch.get_num_threads(), suitable_threads(128)
    try:
        torch.set_num_threads(before + 1)
        assert suitable_threads(128) == expected
        assert suitable_threads(32) == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("pixels", "sizes"),
    [
        (8, [16, 24, 40, 48]),
        (32, [16, 24, 40, 48]),
        (64, [32, 40, 56, 64]),
        (100, [48, 64, 80, 96]),
        (128, [64, 88, 104, 128]),
    ],
)
def test_input_sizes_span_half_to_all_of_the_images_and_enlarge_tiny_ones(pixels: int, sizes: list[int]) -> None:
    assert input_sizes(pixels) == sizes


@pytest.mark.parametrize("path", ["x" * 5000, "/" + "x/" * 5000, "~nobody-here/flowers"])
@pytest.mark.parametrize("name", ["data", "supernet", "data_root"])
def test_paths_that_cannot_be_are_refused(name: str, path: str) -> None:
    with pytest.raises(InputError, match=rf"cannot use '{path}': \w+"):
        with_absolute_paths(TransferOptions(**{"data": "digits", name: path}))  # type: ignore[arg-type]


def test_a_closed_folder_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "exists", closed)
    with pytest.raises(InputError, match="'secret/flowers': Permission denied"):
        with_absolute_paths(TransferOptions(data="secret/flowers"))


class Recorder:
    """Progress that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Task]:
        self.calls.append((title, total))
        yield self
        self.calls.append("end")

    def advance(self, amount: int = 1, note: str = "") -> None:
        self.calls.append(amount)

    def say(self, text: str) -> None:
        self.calls.append(text)


def test_counted_work_is_a_task_of_its_total() -> None:
    progress = Recorder()
    with counted(progress, "reading images") as report:
        assert not progress.calls, "the total is not known yet"
        report(1, 2)
        report(2, 2)
    assert progress.calls == [("reading images", 2), 1, 1, "end"]
