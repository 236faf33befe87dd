"""Images that are in two splits: the same photograph again, perhaps at another size or quality.

They flatter what is measured: a network has seen the answer. They are reported, never removed, as which of them to
keep is the user's to say.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from nat.datasets.images import ImageSet
from nat.datasets.splits import Splits

SIDE = 12  # px of the thumbnails that are compared
LEAST_SIDE = 32  # px, of most images; smaller ones, such as digits, look alike without being the same
LIKENESS = 0.99  # correlation of two thumbnails from which on they count as one photograph
LEAST_CONTRAST = 6.0  # standard deviation of a thumbnail's values in 0..255; flatter ones all look alike
MOST_PAIRS = 2_000_000_000  # comparisons; about a minute on one core
_CHUNK = 1024

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Duplicate:
    """An image that is also in an earlier split.

    Attributes:
        split: "val" or "test".
        index: of the image there.
        other_split: "train" or "val".
        other_index: of the likest image there.
        likeness: correlation of the two, at least `LIKENESS`.
    """

    split: str
    index: int
    other_split: str
    other_index: int
    likeness: float


def find_duplicates(splits: Splits, progress: Callable[[int, int], None] | None = None) -> list[Duplicate] | None:
    """Images of val and test that are near-duplicates of images of train, and of test that are ones of val.

    Compares thumbnails of 12 x 12 pixels by the correlation of their values, which does not change with size, quality,
    brightness or contrast. Mirrored or strongly cropped copies are not found.

    Args:
        splits: of one data set.
        progress: called with (parts done, parts in all).

    Returns:
        At most one for each image and earlier split; None if there are too many images to compare, or most of them are
        smaller than `LEAST_SIDE`.
    """
    sets = {"train": splits.train, "val": splits.val, "test": splits.test}
    pairs = [("val", "train"), ("test", "train"), ("test", "val")]
    if sum(len(sets[a]) * len(sets[b]) for a, b in pairs) > MOST_PAIRS or _common_side(splits.train) < LEAST_SIDE:
        return None
    thumbnails = {}
    for done, (name, images) in enumerate(sets.items()):
        thumbnails[name] = _thumbnails(images)
        if progress is not None:
            progress(done + 1, len(sets) + len(pairs))
    found = []
    for done, (split, other) in enumerate(pairs):
        found += _alike(split, thumbnails[split], other, thumbnails[other])
        if progress is not None:
            progress(len(sets) + done + 1, len(sets) + len(pairs))
    return found


def images_in(found: list[Duplicate], split: str) -> int:
    """How many images of a split are near-duplicates; one that is also in two other splits counts once."""
    return len({one.index for one in found if one.split == split})


def in_words(found: list[Duplicate], splits: Splits) -> str:
    """A sentence on what was found."""
    counts = [f"{images_in(found, name)} of {name}" for name in ("val", "test")]
    first = found[0]
    names = [_name(splits, first.split, first.index), _name(splits, first.other_split, first.other_index)]
    return (
        f"{' and '.join(counts)} images are near-duplicates of images of another split, such as {names[0]} and "
        f"{names[1]}: what is measured on them is too good"
    )


def _name(splits: Splits, split: str, index: int) -> str:
    paths = getattr(splits, split).paths
    return f"{split} image {index}" if paths is None else str(paths[index])


def _common_side(images: ImageSet) -> float:
    """Median of the shorter sides: one small image among large ones is no reason not to look."""
    return float(np.median([min(image.shape[-2:]) for image in images.images]))


def _thumbnails(images: ImageSet) -> Floats:
    """Thumbnails (n, 3 * SIDE * SIDE), each channel's mean 0, of length 1; zeros where there is too little contrast."""
    small = torch.cat([_thumbnail(image) for image in images.images])
    centred = (small - small.mean(dim=(2, 3), keepdim=True)).flatten(1)  # else all brown textures are alike
    length = centred.norm(dim=1, keepdim=True)
    flat = length < LEAST_CONTRAST * centred.shape[1] ** 0.5
    rows: Floats = torch.where(flat, 0.0, centred / length.clamp(min=1e-6)).numpy()
    return rows


def _thumbnail(image: Tensor) -> Tensor:
    return interpolate(image[None], (SIDE, SIDE), mode="bilinear", antialias=True).float()


def _alike(split: str, rows: Floats, other: str, others: Floats) -> list[Duplicate]:
    found = []
    for start in range(0, len(rows), _CHUNK):
        likeness = rows[start : start + _CHUNK] @ others.T
        best = likeness.argmax(axis=1)
        values = likeness[np.arange(len(best)), best]
        for i in np.flatnonzero(values >= LIKENESS):
            found.append(Duplicate(split, start + int(i), other, int(best[i]), min(1.0, float(values[i]))))
    return found
