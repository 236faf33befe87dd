import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nat.datasets.stream import Batching
from nat.efforts import Effort, efforts
from nat.errors import InputError
from nat.options import TransferOptions
from nat.preparation import (
    counted,
    input_sizes,
    looked_over,
    make_searcher,
    read_splits,
    suitable_threads,
    with_absolute_paths,
)
from nat.progress import Task
from nat.run_folder import RunFolder
from nat.searchers import NatSearcher
from nat.surrogates import SURROGATES, RBFEnsemble
from nat.tuning import told_of


def test_threads_do_not_depend_on_what_an_earlier_run_set() -> None:
    before, expected = torch.get_num_threads(), suitable_threads(128)
    try:
        torch.set_num_threads(before + 1)
        assert suitable_threads(128) == expected
        assert suitable_threads(32) == 1
    finally:
        torch.set_num_threads(before)


def test_an_effort_decides_how_errors_are_predicted_and_what_is_evaluated() -> None:
    """Also every name that can be asked for: the paper's rules are NAT's."""
    paper = make_searcher("nat", efforts()["paper"])
    assert isinstance(paper, NatSearcher) and paper.selection == "reference" and paper.surrogate is RBFEnsemble
    for name, kind in SURROGATES.items():
        asked = Effort.model_validate(efforts()["quick"].model_dump() | {"surrogate": name, "selection": "spread"})
        made = make_searcher("nat", asked)
        assert isinstance(made, NatSearcher) and made.surrogate is kind and made.selection == "spread"
    with pytest.raises(ValueError, match="'gp', 'rbf'"):
        TransferOptions(data="digits", overrides={"surrogate": "gpp"})


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


def folder_with_copies(root: Path) -> Path:
    """Four images a class, of 40 pixels; test/ has one of each from train/."""
    for number, label in enumerate(("a", "b")):
        for split in ("train", "test"):
            (root / split / label).mkdir(parents=True)
            for seed in range(4) if split == "train" else (0, 9):
                coarse = np.random.default_rng(10 * number + seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(coarse).resize((40, 40)).save(root / split / label / f"{seed}.png")
    return root


def test_what_is_asked_of_flips_is_on_the_card(tmp_path: Path) -> None:
    folder = str(folder_with_copies(tmp_path))
    for data, flip, expected in ((folder, None, True), (folder, False, False), ("digits", None, False)):
        options = TransferOptions(data=data, flip=flip)
        splits = read_splits(options, Recorder())
        assert splits.card.flip is expected and told_of(splits, options)["flip"] is flip
        assert Batching.suited(splits.card, 2, 0, (0.5,) * 3, (0.5,) * 3).flip is expected


def test_all_near_duplicates_are_listed_and_counted(tmp_path: Path) -> None:
    options, progress = TransferOptions(data=str(folder_with_copies(tmp_path / "images"))), Recorder()
    listed = RunFolder(tmp_path).duplicates
    facts = looked_over(read_splits(options, progress), options, progress, listed)
    assert facts == {"unevenness": 1.0, "near_duplicates": 2}
    pairs = json.loads(listed.read_text())
    names = [f"{label}/0.png" for label in ("a", "b")]
    assert [one["image"] for one in pairs] == [str(tmp_path / "images" / "test" / name) for name in names]
    assert {one["split"] for one in pairs} == {"test"}
    assert str(progress.calls[-1]).endswith(f"all of them: {listed}")


def test_what_was_not_looked_for_is_said(tmp_path: Path) -> None:
    options, progress, listed = TransferOptions(data="digits"), Recorder(), tmp_path / "pairs.json"
    facts = looked_over(read_splits(options, progress), options, progress, listed)
    assert (facts["near_duplicates"], facts["exact_copies"]) == (None, 0) and not listed.exists()
    assert "not looked for (most images are too small, 8 pixels" in str(progress.calls[-1])


def test_a_list_of_near_duplicates_does_not_keep_a_killed_run_from_its_folder(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.duplicates.write_text("[]")
    folder.check_free()
