"""Splits: which images train, which drive the search, which are kept for the final report."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nat.datasets.cards import DatasetCard
from nat.datasets.images import ImageSet
from nat.errors import InputError

_TEST, _VAL, _HELD = 2, 3, 4  # second word of the seeds: 0 and 1 are the training stream's
SHARE = 0.2  # of the images, drawn for validation or test where a data set sets none apart
MOST_VAL = 10_000  # images drawn for validation

Indices = np.ndarray[tuple[int], np.dtype[np.int64]]


@dataclass(frozen=True)
class Splits:
    """A data set ready for use.

    Attributes:
        train: images to train on.
        val: images that drive the search.
        test: images for the final report only.
        classes: class names; the label of a class is its position.
        card: what the data set is.
        fingerprint: sha256 (hexadecimal) over the class names, the labels and the images as they were found,
            before any split was drawn; the same wherever the data lies and whatever the seed.
        skipped: corrupt files that were left out.
        ignored: number of entries of a folder that are hidden or no images.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet
    classes: tuple[str, ...]
    card: DatasetCard
    fingerprint: str
    skipped: tuple[Path, ...] = ()
    ignored: int = 0

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    def with_flip(self, flip: bool | None) -> "Splits":
        """The same images, to be mirrored in training or not, whatever the card says; None leaves the card as it is."""
        return self if flip is None else replace(self, card=replace(self.card, flip=flip))


@dataclass(frozen=True)
class Source:
    """A data set as it was found, before missing splits are drawn.

    Attributes:
        parts: the image sets there are: "train", perhaps "val" and "test"; of what is only measured on, any of them.
        classes: class names in label order.
        card: what the data set is.
        fingerprint: see `Splits`.
        skipped: corrupt files that were left out.
        ignored: number of entries that are hidden or no images.
    """

    parts: Mapping[str, ImageSet]
    classes: tuple[str, ...]
    card: DatasetCard
    fingerprint: str
    skipped: tuple[Path, ...] = ()
    ignored: int = 0


def stratified_split(
    labels: Tensor | Sequence[int] | np.ndarray[Any, Any],
    fraction: float,
    rng: np.random.Generator,
    at_least: int = 1,
) -> tuple[Indices, Indices]:
    """Hold out a share of each class.

    Of a class of `c` images, `max(at_least, floor(c * fraction))` are held out, chosen by `rng`.

    Args:
        labels: class indices `(n,)`.
        fraction: share to hold out, in (0, 1).
        rng: decides which images; the same state gives the same split.
        at_least: least number of images of each class to hold out.

    Returns:
        The indices that stay and those held out, each sorted; together they are 0..n-1.

    Raises:
        InputError: `fraction` is not in (0, 1), or a class would keep no image.
    """
    if not 0 < fraction < 1:
        raise InputError(f"expected a fraction between 0 and 1 to hold out, got {fraction}")
    all_labels = np.asarray(labels, dtype=np.int64)
    held_out = np.zeros(len(all_labels), dtype=bool)
    for label in np.unique(all_labels):
        members = np.flatnonzero(all_labels == label)
        count = max(at_least, int(len(members) * fraction + 1e-9))  # 0.29 * 100 is 28.999... in floating point
        if count >= len(members):
            raise InputError(
                f"class {label} has {len(members)} images; holding out {count} would leave none. Add images."
            )
        held_out[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def draw_missing(
    source: Source, *, seed: int, val_fraction: float = SHARE, test_fraction: float = SHARE, max_val: int = MOST_VAL
) -> Splits:
    """Draw the splits that a source does not bring from its training images: test first, then val.

    Each draw has random numbers of its own, so that what is asked of val does not change test.

    Args:
        source: the data set as found.
        seed: decides the draws.
        val_fraction: share of the training images (after test was drawn) to validate on.
        test_fraction: share of the training images to test on.
        max_val: most images to draw for validation, unless one for each class is more.

    Raises:
        InputError: a class has too few images, or a number is out of range.
    """
    if seed < 0:
        raise InputError(f"expected a seed of at least 0, got {seed}")
    if max_val < 1:
        raise InputError(f"expected a largest validation set of at least 1 image, got {max_val}")
    train, val, test = (source.parts.get(name) for name in ("train", "val", "test"))
    assert train is not None, "every source has training images"
    drawn = (val is None) + (test is None)
    check_counts(train.labels.tolist(), source.classes, drawn=drawn, skipped=len(source.skipped))
    if test is None:
        train, test = _draw(train, test_fraction, np.random.default_rng([seed, _TEST]))
    if val is None:
        fraction = min(val_fraction, max_val / len(train))
        train, val = _draw(train, fraction, np.random.default_rng([seed, _VAL]))
    return Splits(train, val, test, source.classes, source.card, source.fingerprint, source.skipped, source.ignored)


def hold_out(splits: Splits, share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """The training images in two parts: to train weights on, and held out for what is trained beside them.

    Args:
        splits: whose training images these are.
        share: of each class's images to hold out, in (0, 1); at least one each.
        seed: decides which.

    Raises:
        InputError: a class has one image only.
    """
    check_counts(splits.train.labels.tolist(), splits.classes, drawn=1)
    return _draw(splits.train, share, np.random.default_rng([seed, _HELD]))


def check_counts(labels: Sequence[int], classes: Sequence[str], *, drawn: int, skipped: int = 0) -> None:
    """Check that each class has a training image left after `drawn` splits have taken at least one each.

    Raises:
        InputError: some class has too few images; the message names them, and how many files were `skipped`.
    """
    counts = np.bincount(np.asarray(labels, dtype=np.int64), minlength=len(classes))
    few = [f"'{name}' ({count})" for name, count in zip(classes, counts, strict=True) if count <= drawn]
    if few:
        corrupt = f", corrupt files left out: {skipped}" if skipped else ""
        raise InputError(
            f"expected at least {drawn + 1} training images in each class, one for each split that is made of "
            f"them; too few in {shortened(few)}{corrupt}. Add images or remove the class."
        )


def fingerprint(classes: Sequence[str], parts: Mapping[str, tuple[Sequence[int], Sequence[bytes]]]) -> str:
    """A name for the content of a data set.

    Args:
        classes: class names in label order.
        parts: of each split its labels and the sha256 of each image, in order.

    Returns:
        sha256 in hexadecimal.
    """
    digest = hashlib.sha256(json.dumps(list(classes)).encode())
    for name in sorted(parts):
        labels, images = parts[name]
        digest.update(json.dumps([name, list(labels)]).encode())
        for image in images:
            digest.update(image)
    return digest.hexdigest()


def fingerprint_of_arrays(classes: Sequence[str], parts: Mapping[str, ImageSet]) -> str:
    """The fingerprint of image sets that have no files: over their bytes, channel by channel."""
    return fingerprint(
        classes,
        {
            name: (part.labels.tolist(), [hashlib.sha256(image.numpy().tobytes()).digest() for image in part.images])
            for name, part in parts.items()
        },
    )


def shortened(items: Sequence[str], most: int = 3) -> str:
    """The first few items and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def _draw(images: ImageSet, fraction: float, rng: np.random.Generator) -> tuple[ImageSet, ImageSet]:
    rest, held_out = stratified_split(images.labels, fraction, rng)
    return images.subset(rest), images.subset(held_out)
