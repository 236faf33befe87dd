"""The Hugging Face hub's data sets, with a stand-in for the package, which is an extra."""

import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from nat.datasets import load_dataset
from nat.errors import InputError

Noise = Callable[[int, tuple[int, int]], PillowImage.Image]


class Image:
    def __init__(self, decode: bool = True) -> None:
        self.decode = decode


class ClassLabel:
    names = ("cat", "dog")


class Table:
    """Rows with an image as stored and a label."""

    def __init__(self, rows: list[dict[str, Any]], stored: bool = False) -> None:
        self.rows, self.stored = rows, stored
        self.features = {"id": int, "picture": Image(), "label": ClassLabel()}

    def cast_column(self, column: str, kind: Image) -> "Table":
        assert column == "picture" and not kind.decode
        return Table(self.rows, stored=True)

    def __getitem__(self, column: str) -> list[Any]:
        return [row[column] for row in self.rows]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        assert self.stored, "decoding is ours"
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, noise: Noise, tmp_path: Path) -> dict[str, Table]:
    def rows(seed: int, count: int) -> list[dict[str, Any]]:
        made = []
        for i in range(count):
            stream = BytesIO()
            noise(seed + i, (30, 20)).save(stream, "PNG")
            held = {"bytes": stream.getvalue(), "path": None}
            if i == 0:  # some are kept as files
                (tmp_path / f"{seed}.png").write_bytes(stream.getvalue())
                held = {"bytes": None, "path": str(tmp_path / f"{seed}.png")}
            made.append({"id": i, "picture": held, "label": i % 2})
        return made

    tables = {"train": Table(rows(0, 20)), "validation": Table(rows(100, 6)), "test": Table(rows(200, 8))}

    def load(name: str, configuration: str | None, cache_dir: str) -> dict[str, Table]:
        if name != "user/pets" or configuration not in (None, "small"):
            raise FileNotFoundError("no such data set")
        assert cache_dir == str(tmp_path / "hub")
        return tables

    package = SimpleNamespace(load_dataset=load, Image=Image, ClassLabel=ClassLabel)
    monkeypatch.setitem(sys.modules, "datasets", package)  # type: ignore[arg-type]
    return tables


def test_images_and_labels_as_published(hub: dict[str, Table], tmp_path: Path, noise: Noise) -> None:
    splits = load_dataset("hf:user/pets:small", root=tmp_path)
    assert splits.classes == ("cat", "dog") and splits.card.name == "user-pets:small"
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [20, 6, 8]
    first = torch.as_tensor(splits.test.images)[0].permute(1, 2, 0).numpy()
    assert np.array_equal(first, np.array(noise(200, (30, 20)))) and splits.test.labels.tolist() == [0, 1] * 4
    assert torch.as_tensor(load_dataset("hf:user/pets", root=tmp_path, store_size=10).train.images).shape[1:] == (
        3,
        10,
        15,
    )


def test_secret_labels_and_broken_images(hub: dict[str, Table], tmp_path: Path) -> None:
    for row in hub["test"].rows:
        row["label"] = -1
    hub["train"].rows[3]["picture"] = {"bytes": b"nothing", "path": "three.png"}
    with pytest.raises(InputError, match=r"1 corrupt images of 26: three\.png \(.*--skip-corrupt"):
        load_dataset("hf:user/pets", root=tmp_path)
    splits = load_dataset("hf:user/pets", root=tmp_path, skip_corrupt=True)
    assert splits.skipped == (Path("three.png"),)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [16, 6, 3]  # test is drawn


def test_what_cannot_be_used(hub: dict[str, Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot load 'user/cars' from the Hugging Face hub: no such data set"):
        load_dataset("hf:user/cars", root=tmp_path)
    label, hub["train"].rows[2]["label"] = hub["train"].rows[2]["label"], -1
    with pytest.raises(InputError, match="has training images without labels"):
        load_dataset("hf:user/pets", root=tmp_path)
    hub["train"].rows[2]["label"] = label
    hub["train"].features.pop("label")
    with pytest.raises(InputError, match="has the columns id, picture; expected one of images and one of class labels"):
        load_dataset("hf:user/pets", root=tmp_path)
    del hub["train"]
    with pytest.raises(InputError, match="has the splits validation, test; expected one called train"):
        load_dataset("hf:user/pets", root=tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"need the package datasets.*pip install .*\[hf\]"):
        load_dataset("hf:user/pets", root=tmp_path)
