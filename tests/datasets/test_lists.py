from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nat.datasets import load_dataset
from nat.datasets.lists import scan_list
from nat.errors import InputError

Noise = Callable[[int, tuple[int, int]], Image.Image]


@pytest.fixture
def images(tmp_path: Path, noise: Noise) -> Path:
    for i in range(12):
        (tmp_path / "photos é").mkdir(exist_ok=True)
        noise(i, (12, 10)).save(tmp_path / "photos é" / f"{i}.png")
    return tmp_path


def write(folder: Path, text: str, name: str = "list.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_a_list_is_read_like_a_folder(images: Path) -> None:
    lines = "\n".join(f"photos é/{i}.png,{'rose' if i % 2 else 'tulip, red'!r}" for i in range(12)).replace("'", '"')
    splits = load_dataset(str(write(images, f"path,label\n{lines}\n")))
    assert splits.classes == ("rose", "tulip, red") and splits.card.name == "list.csv"
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [8, 2, 2]
    assert splits.train.paths is not None
    for path, label in zip(splits.train.paths, splits.train.labels.tolist(), strict=True):
        assert int(path.stem) % 2 == 1 - label


def test_splits_tabs_and_other_names_of_columns(images: Path) -> None:
    rows = [(i, "ab"[i % 2], ["train", "valid", "TEST"][i // 4]) for i in range(12)]
    text = "﻿Split\tFile\tClass\n" + "".join(f"{split}\tphotos é/{i}.png\t{label}\n" for i, label, split in rows)
    scan = scan_list(write(images, text, "list.tsv"))
    assert {name: len(files) for name, files in scan.files.items()} == {"train": 4, "val": 4, "test": 4}
    assert scan.count == 12 and scan.classes == ("a", "b")
    pixels = load_dataset(images / "list.tsv").test.images
    assert np.asarray(pixels).shape == (4, 3, 10, 12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column path and no column label, only an empty line"),
        ("path,label\n", "lists no images"),
        ("file,colour\nphotos é/1.png,red\n", "no column label, only file, colour; expected a first line"),
        (
            "path,label\nphotos é/1.png,a\nphotos é/99.png,b\n",
            r"lists what is not there: .*99.png \(line 3\) \(1 of 2\)",
        ),
        ("path,label\nphotos é/1.png,\n", "line 2 of .* has no label"),
        ("path,label\n,a\n", "line 2 of .* has no path"),
        ("path,label,split\nphotos é/1.png,a,dev\n", "expected the split train, val or test, got 'dev'"),
        ("path,label\nphotos é/1.png,a\nphotos é/2.png,a\n", "one class only, 'a'"),
        ("path,label,split\nphotos é/1.png,a,test\nphotos é/2.png,b,test\n", "no images of the split train"),
        ("path,label,split\nphotos é/1.png,a,train\nphotos é/2.png,b,test\n", "class 'b' has no training images"),
        ("path,label\nphotos é/1.png,a\nphotos é/1.png,b\n", "more than once"),
    ],
)
def test_what_cannot_be_used_is_said(images: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset(write(images, text))


def test_a_list_that_is_absent_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*absent\.csv"):
        load_dataset(tmp_path / "absent.csv")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot read .*UTF-8"):
        load_dataset(tmp_path / "bytes.csv")
