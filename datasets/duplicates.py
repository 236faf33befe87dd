"""Images that are in two splits: the same photograph again, perhaps at another size or quality.

They flatter what is measured: a network has seen the answer. They are reported, never removed, as which of them to
keep is the user's to say.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

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
        likeness: correlation of the two, at least `LIKENESS`; 1 of exact copies.
    """

    split: str
    index: int
    other_split: str
    other_index: int
    likeness: float


@dataclass(frozen=True)
class Duplicates:
    """What was found in a data set.

    Attributes:
        pairs: at most one for each image and earlier split.
        unlooked: why near-duplicates were not looked for, but only exact copies; empty where they were.
    """

    pairs: list[Duplicate]
    unlooked: str = ""

    def images_in(self, split: str) -> int:
        """How many images of a split are in an earlier one, too; one that is in two of them counts once."""
        return len({one.index for one in self.pairs if one.split == split})

    @property
    def images(self) -> int:
        """How many images of val and test are in an earlier split, too."""
        return self.images_in("val") + self.images_in("test")

    def in_words(self, splits: Splits) -> str:
        """A sentence on what was found, and what was not looked for; empty where all is well."""
        found = self._found(splits) if self.pairs else ""
        if not self.unlooked:
            return found
        return f"near-duplicates were not looked for ({self.unlooked}); {found or 'there are no exact copies'}"

    def _found(self, splits: Splits) -> str:
        counts, first = [f"{self.images_in(name)} of {name}" for name in ("val", "test")], self.pairs[0]
        names = [_name(splits, first.split, first.index), _name(splits, first.other_split, first.other_index)]
        kind = "exact copies" if self.unlooked else "near-duplicates"
        return (
            f"{' and '.join(counts)} images are {kind} of images of another split, such as {names[0]} and {names[1]}: "
            "what is measured on them is too good"
        )

    def to_json(self, splits: Splits) -> list[dict[str, Any]]:
        """All pairs, by the paths of their files or, where there are none, by their places in the splits."""
        return [
            {
                "split": one.split,
                "image": _name(splits, one.split, one.index),
                "other_split": one.other_split,
                "other_image": _name(splits, one.other_split, one.other_index),
                "likeness": round(one.likeness, 4),
            }
            for one in self.pairs
        ]


def find_duplicates(splits: Splits, progress: Callable[[int, int], None] | None = None) -> Duplicates:
    """Images of val and test that are near-duplicates of images of train, and of test that are ones of val.

    Compares thumbnails of 12 x 12 pixels by the correlation of their values, which does not change with size, quality,
    brightness or contrast. Mirrored or strongly cropped copies are not found. Where there are too many images to
    compare, or most of them are smaller than `LEAST_SIDE`, only exact copies are found, by their digests.

    Args:
        splits: of one data set.
        progress: called with (parts done, parts in all).
    """
    sets = {"train": splits.train, "val": splits.val, "test": splits.test}
    pairs = [("val", "train"), ("test", "train"), ("test", "val")]
    if unlooked := _unlooked(sets, sum(len(sets[a]) * len(sets[b]) for a, b in pairs)):
        digests = {name: _digests(images) for name, images in sets.items()}
        return Duplicates([one for a, b in pairs for one in _equal(a, digests[a], b, digests[b])], unlooked)
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
    return Duplicates(found)


def _unlooked(sets: dict[str, ImageSet], pairs: int) -> str:
    """Why so many pairs of images are not compared; empty where they are."""
    if pairs > MOST_PAIRS:
        return f"{pairs:,} pairs of images are too many"
    if (side := _common_side(sets["train"])) < LEAST_SIDE:
        return f"most images are too small, {side:g} pixels: below {LEAST_SIDE} many look alike without being the same"
    return ""


def _name(splits: Splits, split: str, index: int) -> str:
    paths = getattr(splits, split).paths
    return f"{split} image {index}" if paths is None else str(paths[index])


def _digests(images: ImageSet) -> Sequence[bytes]:
    """Of each image's file, or of the pixels of one that has none."""
    if images.digests is not None:
        return images.digests
    return [hashlib.sha256(image.numpy().tobytes()).digest() for image in images.images]


def _equal(split: str, digests: Sequence[bytes], other: str, others: Sequence[bytes]) -> list[Duplicate]:
    places = {digest: index for index, digest in enumerate(others)}
    return [Duplicate(split, i, other, places[digest], 1.0) for i, digest in enumerate(digests) if digest in places]


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
