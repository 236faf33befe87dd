"""The runner reads images as the toolkit does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nat.datasets.decode import read_image
from nat.datasets.preprocess import Preprocess
from nat.deployment.runner import Classifier, to_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 4)).astype(np.uint8)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(PIXELS[..., :3]).save(path, exif=exif)


IMAGES: dict[str, Callable[[Path], None]] = {
    "rgb": lambda path: Image.fromarray(PIXELS[..., :3]).save(path),
    "grey": lambda path: Image.fromarray(PIXELS[..., 0]).save(path),
    "one bit": lambda path: Image.fromarray(PIXELS[..., 0]).convert("1").save(path),
    "palette": lambda path: Image.fromarray(PIXELS[..., :3]).convert("P").save(path),
    "see-through": lambda path: Image.fromarray(PIXELS).save(path),
    "16 bits": lambda path: Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200).save(path),
    "turned": turned,
}


@pytest.mark.parametrize("kind", IMAGES)
def test_files_of_all_kinds_are_read_alike(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    IMAGES[kind](path)
    with Image.open(path) as image:
        ours = np.asarray(to_rgb(image)).transpose(2, 0, 1)
    assert np.array_equal(ours, read_image(path).numpy())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(40, 60), (37, 37), (300, 31), (10, 900), (7, 9), (28, 28)])
def test_images_are_prepared_alike(size: tuple[int, int], interpolation: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    preprocess = Preprocess(28, 24, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), interpolation)
    runner = Classifier(lambda images: images, preprocess.to_json(), ["cat"])
    ours, theirs = runner.prepare(tmp_path / "image.png"), preprocess.shape(read_image(tmp_path / "image.png"))
    gaps = np.abs(ours.astype(int) - theirs.numpy().astype(int))
    assert ours.shape == (3, 24, 24) and gaps.mean() < 0.5  # on noise, the worst case for rounding
    assert gaps.max() <= (1 if interpolation == "bilinear" else 16)
    assert np.array_equal(runner.normalise(ours[None]), preprocess.normalise(torch.from_numpy(ours)[None]).numpy())
