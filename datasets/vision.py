"""Data sets that torchvision finds, downloads and checks; files are decoded here like those of any folder."""

import pickle
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tarfile import TarError
from typing import Any

import numpy as np
import torch
from torchvision import datasets as vision

from nat.datasets.catalogue import find_dataset
from nat.datasets.files import Reading, read_scan
from nat.datasets.images import ImageSet
from nat.datasets.scan import Scan, scan_folder
from nat.datasets.splits import Source, fingerprint_of_arrays
from nat.errors import InputError

_ARRAYS = {"cifar10": vision.CIFAR10, "cifar100": vision.CIFAR100, "stl10": vision.STL10}
Parts = Mapping[str, Sequence[Any]]
_ABSENT = (OSError, RuntimeError, ValueError, EOFError, TarError, pickle.UnpicklingError)


def read_vision(name: str, root: Path, reading: Reading) -> Source:
    """Read a named data set, downloading it if it is not there and can be downloaded.

    Args:
        name: of the catalogue, but "digits".
        root: folder that has, or will have, the archives and what is unpacked from them.
        reading: how files are read.

    Raises:
        InputError: the data is neither there nor to be had, with what to put where; or it does not fit into memory.
    """
    card = find_dataset(name)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's remarks on the age of the files
            found = _arrays(name, root) if name in _ARRAYS else _files(name, root)
    except _ABSENT as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} is not in {root} and could not be had ({error}). {_advice(name)}") from error
    if isinstance(found, Source):
        return found
    return read_scan(root, found, card, reading)


def _advice(name: str) -> str:
    card = find_dataset(name)
    how = card.how_to_get
    if name in ("cifar10", "cifar100"):
        return f"Download {_ARRAYS[name].url} on another machine: {how}."
    return f"It comes from {card.source}: {how}."


# --- arrays --------------------------------------------------------------------------------------------------------


def _arrays(name: str, root: Path) -> Source:
    """CIFAR-10, CIFAR-100 and STL-10: files of bytes."""
    reader = _ARRAYS[name]
    if name == "stl10":
        found = [reader(root, split="train", download=True), reader(root, split="test")]
        images = [part.data for part in found]
        labels = [part.labels for part in found]
    else:
        found = [reader(root, train=True, download=True), reader(root, train=False)]
        images = [part.data.transpose(0, 3, 1, 2) for part in found]
        labels = [part.targets for part in found]
    parts = {
        split: ImageSet(torch.from_numpy(np.ascontiguousarray(bytes_)), torch.as_tensor(of))
        for split, bytes_, of in zip(("train", "test"), images, labels, strict=True)
    }
    classes = tuple(str(label) for label in found[0].classes)
    return Source(parts, classes, find_dataset(name), fingerprint_of_arrays(classes, parts))


# --- files ---------------------------------------------------------------------------------------------------------


def _files(name: str, root: Path) -> Scan:
    if name == "cinic10":
        return _cinic(root / "CINIC-10")
    if name == "imagenet":
        return _imagenet(root / "imagenet")
    opened = _OPENED[name](root)
    classes = tuple(str(label) for label in opened["train"][0].classes)
    return Scan(
        classes, {split: [item for part in parts for item in _items(part)] for split, parts in opened.items()}, 0
    )


def _dtd(root: Path) -> Parts:
    open_ = [vision.DTD(root, split, download=split == "train", loader=_path) for split in ("train", "val", "test")]
    return {"train": open_[:2], "test": open_[2:]}


def _flowers(root: Path) -> Parts:
    splits = ("train", "val", "test")
    open_ = [vision.Flowers102(root, split, download=split == "train", loader=_path) for split in splits]
    return {"train": open_[:2], "test": open_[2:]}


def _aircraft(root: Path) -> Parts:
    train = vision.FGVCAircraft(root, "trainval", download=True, loader=_path)
    return {"train": [train], "test": [vision.FGVCAircraft(root, "test", loader=_path)]}


def _food(root: Path) -> Parts:
    train = vision.Food101(root, "train", download=True, loader=_path)
    return {"train": [train], "test": [vision.Food101(root, "test", loader=_path)]}


def _pets(root: Path) -> Parts:
    train = vision.OxfordIIITPet(root, "trainval", download=True)
    return {"train": [train], "test": [vision.OxfordIIITPet(root, "test")]}


def _cars(root: Path) -> Parts:
    return {split: [vision.StanfordCars(root, split, loader=_path)] for split in ("train", "test")}


_OPENED: Mapping[str, Callable[[Path], Parts]] = {
    "aircraft": _aircraft,
    "cars": _cars,
    "dtd": _dtd,
    "flowers102": _flowers,
    "food101": _food,
    "pets": _pets,
}


def _path(path: str | Path) -> Path:
    """A loader that opens nothing: torchvision is to say only which files there are."""
    return Path(path)


def _items(part: Any) -> list[tuple[Path, int]]:
    if isinstance(part, vision.OxfordIIITPet):  # the one that takes no loader
        return [(Path(path), int(label)) for path, label in zip(part._images, part._labels, strict=True)]
    return [(part[i][0], int(part[i][1])) for i in range(len(part))]


def _cinic(folder: Path) -> Scan:
    scan = _scan(folder, "train", "val", "test")
    files = {"train": scan.files["train"] + scan.files["val"], "test": scan.files["test"]}
    return Scan(scan.classes, files, scan.ignored)


def _imagenet(folder: Path) -> Scan:
    """The validation images, whose labels are known, are the test split."""
    names: dict[str, str] = {}
    if any(folder.glob("ILSVRC2012_devkit_t12.tar.gz")) or (folder / "meta.bin").is_file():
        for split in ("train", "val"):  # unpacks what is not unpacked yet
            opened = vision.ImageNet(folder, split)
        names = {wnid: words[0] for wnid, words in zip(opened.wnids, opened.classes, strict=True)}
    scan = _scan(folder, "train", "val")
    words = [names.get(wnid, wnid) for wnid in scan.classes]  # two classes are called crane, two maillot
    classes = tuple(
        f"{word} ({wnid})" if words.count(word) > 1 else word for word, wnid in zip(words, scan.classes, strict=True)
    )
    return Scan(classes, {"train": scan.files["train"], "test": scan.files["val"]}, scan.ignored)


def _scan(folder: Path, *splits: str) -> Scan:
    """The files of a folder that is to have these splits."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    scan = scan_folder(folder)
    if missing := [split for split in splits if split not in scan.files]:
        raise FileNotFoundError(f"{folder} has no {' and no '.join(missing)}")
    return scan
