"""One way in: a name, a folder or a list of files becomes splits.

splits = load_dataset("~/photos/flowers", seed=0)
splits.num_classes, len(splits.train), splits.fingerprint
"""

import os
from collections.abc import Callable
from pathlib import Path

from nat.datasets.catalogue import find_dataset
from nat.datasets.files import Reading, read_labelled, read_scan
from nat.datasets.images import ImageSet
from nat.datasets.lists import DELIMITERS, scan_list
from nat.datasets.scan import scan_folder
from nat.datasets.splits import MOST_VAL, SHARE, Source, Splits, draw_missing
from nat.errors import InputError

ROOT_VARIABLE = "NAT_DATA_ROOT"
DEFAULT_ROOT = "~/.cache/nat/data"
HUB = "hf:"


def load_dataset(
    data: str | Path,
    *,
    root: Path | None = None,
    seed: int = 0,
    val_fraction: float = SHARE,
    test_fraction: float = SHARE,
    max_val: int = MOST_VAL,
    store_size: int = 256,
    skip_corrupt: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Splits:
    """Load a data set into memory and split it; the same seed gives the same splits on any machine.

    Args:
        data: a name of the catalogue ("digits"); a folder: class sub-folders, or train/ [val/] [test/] of class
            sub-folders; a .csv or .tsv file of paths and labels (`nat.datasets.lists`); or "hf:NAME", a data set of
            the Hugging Face hub. A name wins over a folder of that name: write "./digits" for the folder.
        root: where downloaded data sets lie; by default the environment's NAT_DATA_ROOT, else ~/.cache/nat/data.
        seed: decides which images are drawn for validation and test, where the data set does not set them apart.
        val_fraction: share of the training images to draw for validation, class by class, in (0, 1).
        test_fraction: the same for test, drawn before validation.
        max_val: most images to draw for validation (one for each class is drawn in any case).
        store_size: images with a larger short side are shrunk to it in memory, in pixels.
        skip_corrupt: skip any number of corrupt files; else those are refused if they are over 2 % of all. What was
            skipped is in `Splits.skipped`.
        progress: called with (files decoded, files in all) while files are read.

    Raises:
        InputError: the name is unknown, the data cannot be used or does not fit into memory, or a number is out of
            range. The message says what was expected and what to do.
    """
    for what, fraction in (("validation", val_fraction), ("test", test_fraction)):
        if not 0 < fraction < 1:  # said before the images are decoded
            raise InputError(f"expected a {what} fraction between 0 and 1, got {fraction}")
    source = _read(data, data_root(root), Reading(store_size, skip_corrupt, progress))
    return draw_missing(source, seed=seed, val_fraction=val_fraction, test_fraction=test_fraction, max_val=max_val)


def load_source(
    data: str | Path,
    *,
    root: Path | None = None,
    store_size: int = 256,
    skip_corrupt: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Source:
    """Load images to measure on, in the parts that they lie in: no split is drawn, and no class needs several images.

    Args:
        data: as in `load_dataset`; one class will do, and so will test/ alone.
        root: where downloaded data sets lie.
        store_size: images with a larger short side are shrunk to it in memory, in pixels.
        skip_corrupt: skip any number of corrupt files.
        progress: called with (files decoded, files in all) while files are read.

    Raises:
        InputError: the name is unknown, or the data cannot be used or does not fit into memory.
    """
    return _read(data, data_root(root), Reading(store_size, skip_corrupt, progress, to_train=False))


def load_images(
    folder: str | Path, *, store_size: int = 256, progress: Callable[[int, int], None] | None = None
) -> tuple[ImageSet, tuple[str, ...]]:
    """Images to measure on, all in one set, with their class names in label order (the order of the folders' names).

    Args:
        folder: class sub-folders, or test/ of class sub-folders, of which those are taken.
        store_size: images with a larger short side are shrunk to it in memory, in pixels.
        progress: called with (files decoded, files in all).

    Raises:
        InputError: the folder, its layout or an image cannot be used.
    """
    return read_labelled(_expanded(Path(folder)), store_size=store_size, progress=progress)


def data_root(root: Path | None = None) -> Path:
    """Where downloaded data sets lie: `root` if given, else NAT_DATA_ROOT, else ~/.cache/nat/data."""
    return _expanded(root or Path(os.environ.get(ROOT_VARIABLE) or DEFAULT_ROOT))


def _is_name(data: str) -> bool:
    """Whether a word is to be looked up in the catalogue: it has no look of a path and is none."""
    looks_like_path = data.startswith((".", "~")) or any(sep in data for sep in {"/", os.sep})
    if looks_like_path:
        return False
    try:
        return _is_known(data) or not data or not Path(data).exists()
    except OSError:  # a path that cannot be looked at; reading it says why
        return False


def _is_known(name: str) -> bool:
    try:
        find_dataset(name)
    except InputError:
        return False
    return True


def _read(data: str | Path, root: Path, reading: Reading) -> Source:
    # readers are imported where needed: scikit-learn and torchvision's data sets take a second each to import
    if isinstance(data, str) and data.startswith(HUB):
        from nat.datasets.hub import read_hub

        return read_hub(data.removeprefix(HUB), root, reading)
    if isinstance(data, str) and _is_name(data):
        return _read_named(data, root, reading)
    path = _expanded(Path(data))
    scan = scan_list if path.suffix.lower() in DELIMITERS and not path.is_dir() else scan_folder
    return read_scan(path, scan(path, to_train=reading.to_train), None, reading)


def _read_named(name: str, root: Path, reading: Reading) -> Source:
    find_dataset(name)  # an unknown name ends here
    if name == "digits":
        from nat.datasets.digits import read_digits

        return read_digits()
    from nat.datasets.vision import read_vision

    return read_vision(name, root, reading)


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:  # ~somebody, who is not a user here
        raise InputError(f"cannot find the home folder in {path}") from error
