"""Data sets that torchvision reads, in the layout of the originals, with a few small images each."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torchvision import datasets as vision

from nat.datasets import list_datasets, load_dataset
from nat.errors import InputError

MakeImage = Callable[[Path], None]
Layout = Callable[[Path, MakeImage], None]


@pytest.fixture
def image() -> MakeImage:
    """Writes another small image at each call."""
    count = 0

    def make(path: Path) -> None:
        nonlocal count
        count += 1
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(count).integers(0, 256, (40, 44, 3), dtype=np.uint8)
        Image.fromarray(values).save(path)

    return make


def dtd(root: Path, image: MakeImage) -> None:
    for split in ("train", "val", "test"):
        names = [f"{kind}/{kind}_{split}{i}.jpg" for kind in ("banded", "woven") for i in range(3)]
        for name in names:
            image(root / "dtd/dtd/images" / name)
        labels = root / "dtd/dtd/labels"
        labels.mkdir(exist_ok=True)
        (labels / f"{split}1.txt").write_text("\n".join(names))


def flowers102(root: Path, image: MakeImage) -> None:
    for i in range(1, 19):
        image(root / "flowers-102/jpg" / f"image_{i:05d}.jpg")
    sets = {"trnid": range(1, 7), "valid": range(7, 13), "tstid": range(13, 19)}
    savemat(root / "flowers-102/setid.mat", {name: list(ids) for name, ids in sets.items()})
    savemat(root / "flowers-102/imagelabels.mat", {"labels": [1 + i % 2 for i in range(18)]})


def aircraft(root: Path, image: MakeImage) -> None:
    data = root / "fgvc-aircraft-2013b/data"
    for number, split in enumerate(("trainval", "test")):
        names = [f"{number}{i:06d}" for i in range(12 if split == "trainval" else 6)]
        for name in names:
            image(data / "images" / f"{name}.jpg")
        lines = [f"{name} {'707-320' if i % 2 else 'A340-200'}" for i, name in enumerate(names)]
        (data / f"images_variant_{split}.txt").write_text("\n".join(lines) + "\n")
    (data / "variants.txt").write_text("707-320\nA340-200\n")


def food101(root: Path, image: MakeImage) -> None:
    (root / "food-101/meta").mkdir(parents=True)
    for split, count in (("train", 6), ("test", 3)):
        names = {kind: [f"{kind}/{split}{i}" for i in range(count)] for kind in ("apple_pie", "waffles")}
        for name in [*names["apple_pie"], *names["waffles"]]:
            image(root / "food-101/images" / f"{name}.jpg")
        (root / f"food-101/meta/{split}.json").write_text(json.dumps(names))


def pets(root: Path, image: MakeImage) -> None:
    (root / "oxford-iiit-pet/annotations").mkdir(parents=True)
    for split, count in (("trainval", 6), ("test", 3)):
        names = [
            (f"{breed}_{split}{i}", label) for label, breed in ((1, "Abyssinian"), (2, "Sphynx")) for i in range(count)
        ]
        for name, _ in names:
            image(root / "oxford-iiit-pet/images" / f"{name}.jpg")
        lines = [f"{name.replace(split, split)} {label} 1 1" for name, label in names]
        (root / f"oxford-iiit-pet/annotations/{split}.txt").write_text("\n".join(lines) + "\n")


def cars(root: Path, image: MakeImage) -> None:
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    kind = [("fname", object), ("class", object)]
    for split, count, file in (
        ("train", 12, "devkit/cars_train_annos.mat"),
        ("test", 6, "cars_test_annos_withlabels.mat"),
    ):
        rows = np.array([(f"{i:05d}.jpg", 1 + i % 2) for i in range(count)], dtype=kind)
        for name in rows["fname"]:
            image(folder / f"cars_{split}" / name)
        savemat(folder / file, {"annotations": rows})
    savemat(folder / "devkit/cars_meta.mat", {"class_names": np.array(["Audi S4", "BMW M3"], dtype=object)})


def cinic10(root: Path, image: MakeImage) -> None:
    for split in ("train", "valid", "test"):
        for kind in ("airplane", "truck"):
            for i in range(3):
                image(root / "CINIC-10" / split / kind / f"{i}.png")


def imagenet(root: Path, image: MakeImage) -> None:
    for split, count in (("train", 6), ("val", 3)):
        for kind in ("n02012849", "n03126707"):
            for i in range(count):
                image(root / "imagenet" / split / kind / f"{i}.JPEG")


LAYOUTS: dict[str, tuple[Layout, tuple[str, str]]] = {
    "dtd": (dtd, ("banded", "woven")),
    "aircraft": (aircraft, ("707-320", "A340-200")),
    "food101": (food101, ("apple_pie", "waffles")),
    "pets": (pets, ("Abyssinian", "Sphynx")),
    "cars": (cars, ("Audi S4", "BMW M3")),
    "cinic10": (cinic10, ("airplane", "truck")),
    "imagenet": (imagenet, ("n02012849", "n03126707")),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_published_validation_images_train_and_test_images_test(tmp_path: Path, image: MakeImage, name: str) -> None:
    layout, classes = LAYOUTS[name]
    layout(tmp_path, image)
    splits = load_dataset(name, root=tmp_path)
    assert splits.classes == classes and splits.card.name == name
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [10, 2, 6]
    assert all(path.is_file() for path in splits.test.paths or [])
    assert splits.test.labels.bincount().tolist() == [3, 3]
    assert torch.as_tensor(splits.test.images).shape[1:] == (3, 40, 44)


def test_flowers_labels_count_from_one_in_the_files(
    tmp_path: Path, image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowers102(tmp_path, image)
    monkeypatch.setattr(vision.Flowers102, "_check_integrity", lambda self: True)
    monkeypatch.setattr(vision.Flowers102, "classes", ["rose", "tulip"], raising=False)
    splits = load_dataset("flowers102", root=tmp_path)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [10, 2, 6]
    for path, label in zip(splits.test.paths or [], splits.test.labels.tolist(), strict=True):
        assert label == (int(path.stem[-5:]) - 1) % 2


def test_stl10_is_upright(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    picture = np.zeros((3, 96, 96), dtype=np.uint8)
    picture[0, :10] = 200  # red at the top
    for split, count in (("train", 12), ("test", 6)):
        np.stack([picture.transpose(0, 2, 1)] * count).tofile(folder / f"{split}_X.bin")  # columns first in the files
        np.array([1 + i % 2 for i in range(count)], dtype=np.uint8).tofile(folder / f"{split}_y.bin")
    (folder / "class_names.txt").write_text("airplane\nbird\n")
    monkeypatch.setattr(vision.STL10, "_check_integrity", lambda self: True)
    splits = load_dataset("stl10", root=tmp_path)
    assert splits.classes == ("airplane", "bird")
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [10, 2, 6]
    first = torch.as_tensor(splits.train.images)[0]
    assert first[0, :10].eq(200).all() and first[0, 10:].eq(0).all() and first[1:].eq(0).all()


def test_imagenet_classes_of_one_name_are_told_apart(
    tmp_path: Path, image: MakeImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagenet(tmp_path, image)
    folder = tmp_path / "imagenet"
    torch.save(({"n02012849": ("crane",), "n03126707": ("crane",)}, ["n02012849", "n03126707"]), folder / "meta.bin")
    monkeypatch.setattr("torchvision.datasets.imagenet.check_integrity", lambda *_: True)
    assert load_dataset("imagenet", root=tmp_path).classes == ("crane (n02012849)", "crane (n03126707)")


@pytest.mark.parametrize("name", [card.name for card in list_datasets() if card.name != "digits"])
def test_what_is_nowhere_to_be_had_says_where_it_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def no_network(*args: object, **options: object) -> None:
        raise OSError("no network")

    for module in ("cifar", "stl10", "fgvc_aircraft", "dtd", "food101", "oxford_iiit_pet", "flowers102"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", no_network)
    with pytest.raises(InputError) as caught:
        load_dataset(name, root=tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{name} is not in {tmp_path}") and "https://" in message and "data root" in message
