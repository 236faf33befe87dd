from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from nat.datasets import ImageSet, Splits, folder_card, load_dataset
from nat.datasets import duplicates as module
from nat.datasets.duplicates import find_duplicates


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
    card = folder_card(Path("x"), ["a", "b"], short_sides=[64], train_images=1, test_images=0)
    return Splits(image_set(train), image_set(val), image_set(test), ("a", "b"), card, "")


def test_copies_are_found_and_other_images_not() -> None:
    train, val, test = ([photograph(100 * k + i) for i in range(30)] for k in range(3))
    assert find_duplicates(splits(train, val, test)).pairs == []
    val[3] = compressed(train[7], 40)
    test[5] = train[9].resize((48, 48)).point(lambda value: int(0.8 * value + 10))
    test[6] = val[1].filter(ImageFilter.GaussianBlur(1))
    data = splits(train, val, test)
    found = find_duplicates(data)
    places = [(one.split, one.index, one.other_split, one.other_index) for one in found.pairs]
    assert places == [("val", 3, "train", 7), ("test", 5, "train", 9), ("test", 6, "val", 1)]
    assert all(module.LIKENESS <= one.likeness <= 1 for one in found.pairs)
    assert [(one["split"], one["image"], one["other_image"]) for one in found.to_json(data)] == [
        ("val", "val image 3", "train image 7"),
        ("test", "test image 5", "train image 9"),
        ("test", "test image 6", "val image 1"),
    ]
    assert found.in_words(data) == (
        "1 of val and 2 of test images are near-duplicates of images of another split, such as val image 3 and "
        "train image 7: what is measured on them is too good"
    )


def test_an_image_in_two_other_splits_counts_once() -> None:
    train, val, test = ([photograph(100 * k + i) for i in range(5)] for k in range(3))
    val[1] = test[2] = train[3]
    train[0] = photograph(0, 20)  # a single small one among large ones
    data = splits(train, val, test)
    found = find_duplicates(data)
    assert len(found.pairs) == 3 and found.images == 2
    assert found.in_words(data).startswith("1 of val and 1 of test images")


def test_plain_and_textured_images_are_not_alike() -> None:
    rng = np.random.default_rng(0)

    def brown(noise: int) -> Image.Image:
        return Image.fromarray(
            (np.array([150, 110, 60]) + rng.integers(-noise, noise + 1, (64, 64, 3))).astype(np.uint8)
        )

    assert find_duplicates(splits([brown(0), brown(40)], [brown(0)], [brown(40), brown(5)])).pairs == []


def test_of_what_is_too_small_or_too_much_exact_copies_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    small = [photograph(i, 16) for i in range(3)]
    data = splits(small, [photograph(3, 16), small[2]], [small[0], compressed(small[1], 90)])
    found = find_duplicates(data)
    assert [(one.split, one.index, one.other_index, one.likeness) for one in found.pairs] == [
        ("val", 1, 2, 1.0),
        ("test", 0, 0, 1.0),
    ]
    assert found.in_words(data).startswith("near-duplicates were not looked for (most images are too small, 16 pixels")
    assert "1 of val and 1 of test images are exact copies of images" in found.in_words(data)
    large, calls = [photograph(i) for i in range(3)], []
    assert len(find_duplicates(splits(large, large, large), lambda *done: calls.append(done)).pairs) == 9
    assert calls == [(i, 6) for i in range(1, 7)]
    monkeypatch.setattr(module, "MOST_PAIRS", 20)
    data = splits(large, [photograph(5)], [photograph(6)] * 5)
    found = find_duplicates(data)
    assert found.pairs == [] and found.in_words(data) == (
        "near-duplicates were not looked for (23 pairs of images are too many); there are no exact copies"
    )


def test_copies_of_files_are_known_by_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split, seeds in (("train", range(3)), ("val", range(3, 6)), ("test", range(2, 5))):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for seed in seeds:
                photograph(seed + 10 * (label == "b"), 40).save(tmp_path / split / label / f"{seed}.png")
    monkeypatch.setattr(module, "MOST_PAIRS", 1)
    data = load_dataset(tmp_path, store_size=8)
    pairs = [(one["image"], one["other_image"]) for one in find_duplicates(data).to_json(data)]
    found = [tuple(str(Path(path).relative_to(tmp_path)) for path in pair) for pair in pairs]
    assert found == [
        ("test/a/2.png", "train/a/2.png"),
        ("test/b/2.png", "train/b/2.png"),
        ("test/a/3.png", "val/a/3.png"),
        ("test/a/4.png", "val/a/4.png"),
        ("test/b/3.png", "val/b/3.png"),
        ("test/b/4.png", "val/b/4.png"),
    ]
