"""CIFAR-10 and CIFAR-100, read by torchvision, which downloads what is absent and checks it."""

import warnings
from pathlib import Path
from tarfile import TarError
from typing import Any

import torch
from torchvision.datasets import CIFAR10, CIFAR100

from nat.datasets.cards import find_dataset
from nat.datasets.images import ImageSet
from nat.datasets.splits import Source, fingerprint_of_arrays
from nat.errors import InputError

_READERS = {"cifar10": CIFAR10, "cifar100": CIFAR100}


def read_cifar(name: str, root: Path) -> Source:
    """Read the training and test images, downloading them if they are not there.

    Args:
        name: "cifar10" or "cifar100".
        root: folder that has, or will have, the archive and the folder unpacked from it.

    Raises:
        InputError: the data is neither there nor to be had; says which files to put where.
    """
    reader = _READERS[name]
    try:
        root.mkdir(parents=True, exist_ok=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's remarks on the age of the files
            found = {"train": reader(root, train=True, download=True), "test": reader(root, train=False)}
    except (OSError, RuntimeError, EOFError, TarError) as error:
        raise InputError(
            f"{name} is not in {root} and could not be downloaded ({error}). Download {reader.url} on another "
            f"machine and put {reader.filename}, or the folder {reader.base_folder}/ unpacked from it, in {root}."
        ) from error
    parts = {split: _to_images(part) for split, part in found.items()}
    classes = tuple(str(label) for label in found["train"].classes)
    return Source(parts, classes, find_dataset(name), fingerprint_of_arrays(classes, parts))


def _to_images(part: Any) -> ImageSet:
    return ImageSet(torch.from_numpy(part.data).permute(0, 3, 1, 2), part.targets)
