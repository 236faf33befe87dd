"""Data sets: cards, loading, splits and transforms.

    from nat.datasets import load_dataset

    splits = load_dataset("digits", seed=0)          # or a folder of class sub-folders
    splits.train, splits.val, splits.test            # ImageSet each: images, labels, paths

Names are imported when first used, so that `import nat.datasets` does not load torch.
"""

if __name__ == "datasets":  # a checkout's folder found instead of Hugging Face's package of that name
    raise ModuleNotFoundError("this is the source folder of nat.datasets, not Hugging Face's datasets", name="datasets")

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nat.datasets.cards import DatasetCard, folder_card
    from nat.datasets.catalogue import find_dataset, list_datasets
    from nat.datasets.decode import read_image
    from nat.datasets.images import ImageSet
    from nat.datasets.loading import load_dataset
    from nat.datasets.preprocess import Preprocess
    from nat.datasets.splits import Splits, stratified_split
    from nat.datasets.stream import TrainStream

__all__ = [
    "DatasetCard",
    "ImageSet",
    "Preprocess",
    "Splits",
    "TrainStream",
    "find_dataset",
    "folder_card",
    "list_datasets",
    "load_dataset",
    "read_image",
    "stratified_split",
]

_MODULES = {
    "DatasetCard": "cards",
    "ImageSet": "images",
    "Preprocess": "preprocess",
    "Splits": "splits",
    "TrainStream": "stream",
    "find_dataset": "catalogue",
    "folder_card": "cards",
    "list_datasets": "catalogue",
    "load_dataset": "loading",
    "read_image": "decode",
    "stratified_split": "splits",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
