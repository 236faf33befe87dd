from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from nat.datasets import ImageSet, Splits, folder_card
from nat.datasets import duplicates as module
from nat.datasets.duplicates import find_duplicates, in_words


def photograph(seed: int, side: int = 64) -> Image.Image:
    """Blobs of colour."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def compressed(image: Image.Image, quality: int) -> Image.Image:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def image_set(images: list[Image.Image]) -> ImageSet:
    tensors = [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images]
    return ImageSet(tensors, [0] * len(images))


def splits(train: list[Image.Image], val: list[Image.Image], test: list[Image.Image]) -> Splits:
    card = folder_card(__import__("pathlib").Path("x"), ["a", "b"], short_sides=[64], train_images=1, test_images=0)
    return Splits(image_set(train), image_set(val), image_set(test), ("a", "b"), card, "")


def test_copies_are_found_and_other_images_not() -> None:
    train, val, test = ([photograph(100 * k + i) for i in range(30)] for k in range(3))
    assert find_duplicates(splits(train, val, test)) == []
    val[3] = compressed(train[7], 40)
    test[5] = train[9].resize((48, 48)).point(lambda value: int(0.8 * value + 10))
    test[6] = val[1].filter(ImageFilter.GaussianBlur(1))
    data = splits(train, val, test)
    found = find_duplicates(data)
    assert found is not None
    places = [(one.split, one.index, one.other_split, one.other_index) for one in found]
    assert places == [("val", 3, "train", 7), ("test", 5, "train", 9), ("test", 6, "val", 1)]
    assert all(module.LIKENESS <= one.likeness <= 1 for one in found)
    assert in_words(found, data) == (
        "1 of val and 2 of test images are near-duplicates of images of another split, such as val image 3 and "
        "train image 7: what is measured on them is too good"
    )


def test_an_image_in_two_other_splits_counts_once() -> None:
    train, val, test = ([photograph(100 * k + i) for i in range(5)] for k in range(3))
    val[1] = test[2] = train[3]
    train[0] = photograph(0, 20)  # a single small one among large ones
    data = splits(train, val, test)
    found = find_duplicates(data)
    assert found is not None and len(found) == 3
    assert in_words(found, data).startswith("1 of val and 1 of test images")


def test_plain_and_textured_images_are_not_alike() -> None:
    rng = np.random.default_rng(0)

    def brown(noise: int) -> Image.Image:
        return Image.fromarray(
            (np.array([150, 110, 60]) + rng.integers(-noise, noise + 1, (64, 64, 3))).astype(np.uint8)
        )

    assert find_duplicates(splits([brown(0), brown(40)], [brown(0)], [brown(40), brown(5)])) == []


def test_what_is_too_small_or_too_much_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    small = [photograph(i, 16) for i in range(3)]
    assert find_duplicates(splits(small, small, small)) is None
    large, calls = [photograph(i) for i in range(3)], []
    assert len(find_duplicates(splits(large, large, large), lambda *done: calls.append(done)) or []) == 9
    assert calls == [(i, 6) for i in range(1, 7)]
    monkeypatch.setattr(module, "MOST_PAIRS", 20)
    assert find_duplicates(splits(large, large, large)) is None
