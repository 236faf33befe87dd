"""Image folders made hard on purpose: all modes and sizes, nested folders, odd names, copies of images, corrupt files.

`harden` makes one out of a folder of real images, with classes that are rare in training but not in the test;
`write_class`, `write_copies` and `write_broken` are its parts.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from nat.datasets.scan import Scan, scan_folder

MODES = {"RGB": "jpg", "L": "png", "RGBA": "png", "P": "png", "CMYK": "jpg", "1": "png", "I;16": "png"}
NESTED = ("", "nested folder", "nested folder/déep")
BROKEN = (b"", b"no image", b"\xff\xd8\xff\xe0cut", b"\x89PNG\r\n\x1a\ncut")
DECORATION = ("blöt {}", "[red]{}", "編 {}", "a|b <i>{}", "100 % $x^2$ {}", 'rare "{}"', "'{}' [b]")


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    """An image in a mode of `MODES`."""
    if mode == "I;16":
        return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return image.convert(mode)


def write_class(folder: Path, images: Iterable[Image.Image], every: int = 1) -> None:
    """Writes images into nested folders under odd names, one in `every` in the next of the modes, the others in RGB."""
    for number, image in enumerate(images):
        place = folder / NESTED[number % len(NESTED)]
        place.mkdir(parents=True, exist_ok=True)
        mode = "RGB" if number % every else list(MODES)[number // every % len(MODES)]
        in_mode(image, mode).save(place / f"ímage [{number}] ü.{MODES[mode]}")


def write_copies(folder: Path, images: Iterable[tuple[int, Image.Image]]) -> None:
    """Writes images, each with a number for its name, once more: at another size and worse quality."""
    for number, image in images:
        image.convert("RGB").resize((48, 48)).save(folder / f"copy of {number}.jpg", quality=80)


def write_broken(folders: Sequence[Path], count: int) -> None:
    """Writes files that are no images, in turn into the folders."""
    for number in range(count):
        path = folders[number % len(folders)] / f"bro[i]ken {number}.jpg"
        path.write_bytes(BROKEN[number % len(BROKEN)])


def harden(source: Path, root: Path, *, classes: int, most: int, rare: int, share: float, seed: int = 0) -> list[str]:
    """Makes a hard folder with train/ and test/ out of one of real images that has them.

    1 % of the training files are corrupt, and a copy of one test image in 20 is among the training images.

    Args:
        source: of images of any classes.
        root: new folder.
        classes: how many are used, the largest.
        most: training images of a class.
        rare: how many classes are rare in training; the smallest of those used.
        share: of `most`, training images of a rare class.
        seed: which images are taken, and their sizes.

    Returns:
        The rare classes, as they are called in the new folder.
    """
    scan, rng = scan_folder(source), np.random.default_rng(seed)
    chosen = _largest(scan, classes)
    names = {kind: DECORATION[place % len(DECORATION)].format(scan.classes[kind]) for place, kind in enumerate(chosen)}
    for place, kind in enumerate(chosen):
        count = round(share * most) if place >= classes - rare else most
        train, test = (_of(scan, split, kind, rng) for split in ("train", "test"))
        write_class(root / "train" / names[kind], (_opened(path, rng) for path in train[:count]), every=4)
        write_class(root / "test" / names[kind], (_opened(path, rng) for path in test), every=4)
        write_copies(root / "train" / names[kind], ((i, _read(test[i])) for i in range(0, count // 4, 20)))
    files = sum(path.is_file() for path in (root / "train").rglob("*"))
    write_broken([root / "train" / name for name in names.values()], round(0.01 * files))
    return [names[kind] for kind in chosen[classes - rare :]]


def _largest(scan: Scan, count: int) -> list[int]:
    """Labels of the classes with the most training images, the largest first."""
    sizes = np.bincount([label for _, label in scan.files["train"]], minlength=len(scan.classes))
    return np.argsort(-sizes, kind="stable")[:count].tolist()


def _of(scan: Scan, split: str, kind: int, rng: np.random.Generator) -> list[Path]:
    """The files of a class, in random order."""
    files = [path for path, label in scan.files[split] if label == kind]
    return [files[i] for i in rng.permutation(len(files))]


def _opened(path: Path, rng: np.random.Generator) -> Image.Image:
    """An image, smaller by a random factor up to 2."""
    image, factor = _read(path), rng.uniform(0.5, 1)
    return image.resize((max(32, round(factor * image.width)), max(32, round(factor * image.height))))


def _read(path: Path) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")
