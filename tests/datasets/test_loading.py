import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10, CIFAR100

from nat.datasets import Splits, load_dataset
from nat.datasets.images import ImageSet
from nat.datasets.loading import data_root, load_images, load_source
from nat.errors import InputError

MakeFolder = Callable[[Mapping[str, int]], Path]
SHARED = Path(__file__).resolve().parents[3] / "shared"


def parts(splits: Splits) -> list[torch.Tensor]:
    return [torch.as_tensor(part.images) for part in (splits.train, splits.val, splits.test)]


def test_digits_end_to_end() -> None:
    splits = load_dataset("digits", seed=0)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [1157, 285, 355]
    assert splits.classes == tuple("0123456789") and splits.card.name == "digits"
    for part in (splits.train, splits.val, splits.test):
        assert torch.as_tensor(part.images).shape[1:] == (3, 8, 8) and part.paths is None
        counts = Counter(part.labels.tolist())
        assert set(counts) == set(range(10)) and max(counts.values()) - min(counts.values()) <= 8
    together = torch.cat(parts(splits))
    assert together.min() == 0 and together.max() == 255  # 16 in the source
    assert torch.equal(together[:, 0], together[:, 2])


def test_digits_splits_depend_on_the_seed_alone() -> None:
    first, again, other = load_dataset("digits", seed=1), load_dataset("digits", seed=1), load_dataset("digits", seed=2)
    assert all(torch.equal(a, b) for a, b in zip(parts(first), parts(again), strict=True))
    assert not any(torch.equal(a[:99], b[:99]) for a, b in zip(parts(first), parts(other), strict=True))
    assert first.fingerprint == again.fingerprint == other.fingerprint


def test_the_test_split_does_not_depend_on_what_is_asked_of_val() -> None:
    few, many = load_dataset("digits", val_fraction=0.1), load_dataset("digits", max_val=40)
    assert torch.equal(parts(few)[2], parts(many)[2])
    assert len(many.val) <= 40 < len(few.val)
    assert len(load_dataset("digits", max_val=1).val) == 10  # one for each class in any case


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"val_fraction": 0.0}, "validation fraction between 0 and 1, got 0.0"),
        ({"test_fraction": 1.5}, "test fraction between 0 and 1, got 1.5"),
        ({"max_val": 0}, "at least 1 image, got 0"),
        ({"seed": -1}, "seed of at least 0"),
    ],
)
def test_numbers_out_of_range(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_dataset("digits", **options)  # type: ignore[arg-type]


def test_words_paths_and_names(make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder({"a": 3, "b": 3})
    monkeypatch.chdir(folder.parent)
    assert load_dataset("data").classes == load_dataset("./data").classes == load_dataset(Path("data")).classes
    folder.rename("digits")
    assert load_dataset("digits").num_classes == 10  # the name wins
    assert load_dataset("./digits").num_classes == load_dataset(Path("digits")).num_classes == 2
    monkeypatch.setenv("HOME", str(folder.parent))
    assert load_dataset("~/digits").num_classes == 2
    for word in ("digit", "", "dgits"):
        with pytest.raises(InputError, match=f"unknown data set '{word}'.*digits"):
            load_dataset(word)
    for path in ("photos/flowers", "./digit", "~/digit", str(folder.parent / "digit")):
        with pytest.raises(InputError, match="there is no folder"):
            load_dataset(path)
    with pytest.raises(InputError, match="store size of at least 1"):
        load_dataset("./digits", store_size=0)


def test_data_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NAT_DATA_ROOT", raising=False)
    assert data_root() == Path.home() / ".cache" / "nat" / "data"
    monkeypatch.setenv("NAT_DATA_ROOT", str(tmp_path))
    assert data_root() == tmp_path
    assert data_root(Path("here")) == Path("here")


class _OldDtype:
    """Pickles as the data type of bytes did in 2009, with a number for `align`."""

    def __reduce__(self) -> tuple[object, ...]:
        return np.dtype, ("u1", 0, 1)


def _write_cifar(root: Path, name: str) -> None:
    """Files in the layout of the originals: rows of 3072 bytes, channel by channel, with a label list."""
    reader, key = (CIFAR10, "labels") if name == "cifar10" else (CIFAR100, "fine_labels")
    classes = 10 if name == "cifar10" else 100
    folder = root / reader.base_folder
    folder.mkdir(parents=True)
    for i, (file, _) in enumerate([*reader.train_list, *reader.test_list]):
        labels = [label for label in range(classes) for _ in range(4)]
        data = np.random.default_rng(i).integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        data[:, 0], data[:, 1024], data[:, 2048] = labels, 1, 2  # red, green, blue of the first pixel
        (folder / file).write_bytes(pickle.dumps({"data": data, key: labels, "dtype": _OldDtype()}))
    names = [f"class{i}" for i in range(classes)]
    (folder / reader.meta["filename"]).write_bytes(pickle.dumps({reader.meta["key"]: names}))


def _forget_checksums(monkeypatch: pytest.MonkeyPatch, reader: type[CIFAR10]) -> None:
    """Let torchvision check that the files are there, but not that they are the originals."""
    for name in ("train_list", "test_list"):
        monkeypatch.setattr(reader, name, [[file, None] for file, _ in getattr(reader, name)])
    monkeypatch.setattr(reader, "meta", reader.meta | {"md5": None})


@pytest.mark.parametrize(("name", "reader", "train"), [("cifar10", CIFAR10, 200), ("cifar100", CIFAR100, 400)])
def test_cifar_from_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: type[CIFAR10], train: int
) -> None:
    _write_cifar(tmp_path, name)
    _forget_checksums(monkeypatch, reader)
    monkeypatch.setenv("NAT_DATA_ROOT", str(tmp_path))
    splits = load_dataset(name)
    classes = splits.num_classes
    assert classes == splits.card.num_classes and splits.classes[1] == "class1"
    held = classes * max(1, int(train / classes * 0.2))
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [train - held, held, classes * 4]
    for part in (splits.train, splits.val, splits.test):
        images = torch.as_tensor(part.images)
        assert images.shape[1:] == (3, 32, 32)
        assert torch.equal(images[:, 0, 0, 0].long(), part.labels)
        assert images[0, 1:, 0, 0].tolist() == [1, 2]


def test_cifar_that_is_nowhere_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: object, **options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    message = r"cifar10 is not in .*no network.*cs\.toronto\.edu.*cifar-10-python\.tar\.gz.*cifar-10-batches-py/"
    with pytest.raises(InputError, match=message):
        load_dataset("cifar10", root=tmp_path)
    _write_cifar(tmp_path, "cifar10")  # there, but not the original files: the checksums refuse them
    with pytest.raises(InputError, match=message):
        load_dataset("cifar10", root=tmp_path)


@pytest.mark.skipif(
    not (SHARED / "data" / "dtd10_160.npz").exists(), reason="no shared image packs beside the repository"
)
def test_real_photographs(tmp_path: Path) -> None:
    unpack = [sys.executable, str(SHARED / "tools" / "unpack.py"), "dtd10_160", str(tmp_path), "--per-class", "8"]
    subprocess.run(unpack, check=True, capture_output=True, timeout=60, env=dict(os.environ))
    splits = load_dataset(str(tmp_path), store_size=96)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [70, 10, 80]
    assert splits.num_classes == 10 and splits.card.image_size == 160 and splits.card.crop_fraction == 0.875
    assert splits.train.shrunk
    means = torch.stack([torch.as_tensor(image).float().mean() for image in splits.train.images])
    assert 60 < means.mean() < 200 and means.std() > 5  # photographs, not blanks


@pytest.mark.parametrize("inside", ["", "test"])
def test_images_to_measure_on_are_taken_whole(tmp_path: Path, inside: str) -> None:
    for label, count in (("b", 1), ("a", 2)):
        (tmp_path / inside / label).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (20, 30), (number, 0, 0)).save(tmp_path / inside / label / f"{number}.png")
    images, classes = load_images(tmp_path, store_size=10)
    assert classes == ("a", "b") and images.labels.tolist() == [0, 0, 1]
    assert all(min(image.shape[-2:]) == 10 for image in images.images)
    (tmp_path / inside / "b" / "bad.png").write_text("no image")
    with pytest.raises(InputError, match=r"bad\.png"):
        load_images(tmp_path)


@pytest.mark.parametrize(
    ("counts", "sizes"),
    [
        ({"a": 1, "b": 2}, {"train": 3}),
        ({"only": 2}, {"train": 2}),
        ({"test/a": 1, "test/b": 1}, {"test": 2}),
        ({"train/a": 1, "train/b": 1, "test/c": 1}, {"test": 1, "train": 2}),
    ],
)
def test_what_is_only_measured_on_lies_in_any_parts(
    make_folder: MakeFolder, counts: Mapping[str, int], sizes: Mapping[str, int]
) -> None:
    folder = make_folder(counts)
    source = load_source(folder)
    assert {name: len(part) for name, part in source.parts.items()} == sizes
    assert source.classes == tuple(sorted({Path(name).name for name in counts}))
    for part in source.parts.values():
        assert [path.parent.name for path in part.paths or []] == [source.classes[i] for i in part.labels]
    joined = ImageSet.joined(list(source.parts.values()))
    assert len(joined) == sum(sizes.values()) == len(joined.paths or []) == len(joined.digests or [])
    with pytest.raises(InputError):
        load_dataset(folder)


def test_a_list_that_is_only_measured_on(make_folder: MakeFolder) -> None:
    folder = make_folder({"new": 2})
    (folder / "list.csv").write_text("path,label,split\nnew/000.png,rose,test\nnew/001.png,rose,test\n")
    source = load_source(folder / "list.csv")
    assert source.classes == ("rose",) and len(source.parts["test"]) == 2
    with pytest.raises(InputError, match="one class only"):
        load_dataset(folder / "list.csv")


def test_the_fingerprint_does_not_depend_on_what_the_images_are_for(make_folder: MakeFolder) -> None:
    folder = make_folder({"train/a": 3, "train/b": 3, "test/b": 2})
    assert load_source(folder).fingerprint == load_dataset(folder).fingerprint
