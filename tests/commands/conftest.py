"""Tiny image folders."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_images(tmp_path: Path) -> Callable[[Mapping[str, int]], Path]:
    """A folder with so many noise images of 24 x 24 pixels in each sub-folder."""

    def make(counts: Mapping[str, int]) -> Path:
        root = tmp_path / "images"
        rng = np.random.default_rng(0)
        for name, count in counts.items():
            (root / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / name / f"{i}.png")
        return root

    return make
