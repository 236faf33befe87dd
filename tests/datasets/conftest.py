"""Small image folders, made on the spot."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[[Mapping[str, int]], Path]


def _noise(seed: int, size: tuple[int, int]) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.fixture
def noise() -> Callable[[int, tuple[int, int]], Image.Image]:
    return _noise


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Folder with `count` PNG images of 12 x 10 pixels in each given sub-folder, every image another."""

    def make(counts: Mapping[str, int]) -> Path:
        root = tmp_path / "data"
        root.mkdir(exist_ok=True)
        for position, (folder, count) in enumerate(counts.items()):
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                _noise(1000 * position + i, (12, 10)).save(root / folder / f"{i:03d}.png")
        return root

    return make
