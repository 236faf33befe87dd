"""The builder of hard image folders: what is rare, what is corrupt, and that test images stay even."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from hard_images import MODES, harden, in_mode

from nat.datasets.scan import scan_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for kind in range(5):
        for split, count in (("train", 45 + kind), ("test", 20)):
            folder = tmp_path / "photos" / split / f"class {kind}"
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 255, (40, 50, 3), np.uint8)).save(folder / f"{number}.jpg")
    return tmp_path / "photos"


def read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
    return image


def test_a_hard_folder_is_rare_in_training_alone(photos: Path, tmp_path: Path) -> None:
    rare = harden(photos, tmp_path / "hard", classes=4, most=40, rare=3, share=0.1)
    scan = scan_folder(tmp_path / "hard")
    assert len(scan.classes) == 4 and len(rare) == 3 and {*rare} < {*scan.classes}
    assert not any("class 0" in name for name in scan.classes), "the largest four of five"
    for kind, name in enumerate(scan.classes):
        train, test = ([p for p, label in scan.files[split] if label == kind] for split in ("train", "test"))
        copies = [path for path in train if path.name.startswith("copy")]
        broken = [path for path in train if path.name.startswith("bro[i]ken")]
        assert len(train) - len(copies) - len(broken) == (4 if name in rare else 40) and len(test) == 20
        assert len({read(path).size for path in test}) > 5, "of all sizes"
    files = [path for path, _ in scan.files["train"]]
    assert sum(path.name.startswith("bro[i]ken") for path in files) == round(0.01 * len(files))
    assert sum(path.name.startswith("copy") for path in files) == 4


@pytest.mark.parametrize("mode", MODES)
def test_images_are_in_the_mode_asked_for(mode: str, tmp_path: Path) -> None:
    path = tmp_path / f"image.{MODES[mode]}"
    in_mode(Image.new("RGB", (8, 8), (200, 10, 30)), mode).save(path)
    assert read(path).mode == mode
