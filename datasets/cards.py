"""Cards: what a data set is, where it comes from, how it is licensed and how its images are to be treated."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SMALL_SIDE = 72  # px; below it every border pixel counts, so evaluation does not crop any away


@dataclass(frozen=True)
class DatasetCard:
    """What is known of a data set before an image is opened.

    Attributes:
        name: the name that commands take; for a folder, the folder's own name.
        title: the name in prose.
        num_classes: number of classes.
        image_size: short side of the images as published, in pixels; None where it varies.
        train_images: number of training images as published, before a validation split is drawn from them.
        test_images: number of test images as published; 0 where none are set apart, so that a test split is
            drawn from the training images. Where a validation split is published, its images count as training
            images (so did NAT's authors), and validation images are drawn from all of them.
        licence: the licence or terms of use, as the source states them.
        source: where the data set comes from.
        how_to_get: what to do to have it on this machine.
        flip: whether a horizontal flip keeps the label.
        crop_fraction: evaluation centre crop / short side after resizing, in (0, 1].
        min_crop_area: least area of the random resized crop in training, as a fraction of the image.
    """

    name: str
    title: str
    num_classes: int
    image_size: int | None
    train_images: int
    test_images: int
    licence: str
    source: str
    how_to_get: str
    flip: bool
    crop_fraction: float
    min_crop_area: float


def folder_card(
    path: Path, classes: Sequence[str], *, short_sides: Sequence[int], train_images: int, test_images: int
) -> DatasetCard:
    """The card of a folder of images.

    Args:
        path: the folder.
        classes: names of the classes.
        short_sides: short side of each image file in pixels; at least one.
        train_images: number of images to train on, before a validation split is drawn from them.
        test_images: number of images in the folder's own test split, 0 if it has none.
    """
    sides = sorted(short_sides)
    median = sides[len(sides) // 2]
    name = path.resolve().name or "images"  # the root of a drive has no name
    return DatasetCard(
        name=name.encode("utf-8", "backslashreplace").decode("utf-8"),  # bytes that are no text cannot be written
        title=f"images in {path}",
        num_classes=len(classes),
        image_size=sides[0] if sides[0] == sides[-1] else None,
        train_images=train_images,
        test_images=test_images,
        licence="the user's own",
        source=str(path),
        how_to_get="a folder on this machine",
        flip=True,
        crop_fraction=1.0 if median < SMALL_SIDE else 0.875,
        min_crop_area=0.3,
    )
