"""Files to images: every file is decoded once, here, so that a corrupt one is found before any work."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nat.datasets.cards import DatasetCard, folder_card
from nat.datasets.decode import Decoded, Undecodable, decode_files
from nat.datasets.images import ImageSet
from nat.datasets.memory import check_memory
from nat.datasets.scan import Scan, check_not_empty, scan_folder
from nat.datasets.splits import Source, check_counts, fingerprint, shortened
from nat.errors import InputError

MOST_CORRUPT = 0.02  # share of the files that are skipped without being asked to; more looks like a broken copy


@dataclass(frozen=True)
class _Part:
    """The decoded images of one split, in the order of their files."""

    decoded: list[Decoded]
    labels: list[int]
    paths: list[Path]


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        store_size: short side in pixels to which larger images are shrunk in memory.
        skip_corrupt: leave out any number of files that cannot be decoded, instead of refusing more than
            `MOST_CORRUPT` of all.
        progress: called with (files decoded, files in all).
        to_train: else the images are only measured on, and no split is drawn from them; see `scan_folder`.
    """

    store_size: int
    skip_corrupt: bool = False
    progress: Callable[[int, int], None] | None = None
    to_train: bool = True

    def __post_init__(self) -> None:
        if self.store_size < 1:
            raise InputError(f"expected a store size of at least 1 pixel, got {self.store_size}")


def read_scan(where: Path, scan: Scan, card: DatasetCard | None, reading: Reading) -> Source:
    """Decode the files that were found.

    Args:
        where: the folder or list that was read, for messages and the card.
        scan: the files.
        card: what is known of the data set; None for one of the user's own.
        reading: how files are read.

    Raises:
        InputError: an image cannot be used, a class has too few, or they do not fit into memory.
    """
    if reading.to_train:  # before the long part
        drawn = len({"val", "test"} - set(scan.files))
        check_counts([label for _, label in scan.files["train"]], scan.classes, drawn=drawn)
    check_memory([path for files in scan.files.values() for path, _ in files], reading.store_size)
    parts, skipped = _decode(scan, reading.store_size, reading.progress)
    if skipped:
        _check_skipped(where, skipped, scan.count, reading.skip_corrupt)
        _check_emptied(where, scan, parts)
    digests = {name: (part.labels, [item.digest for item in part.decoded]) for name, part in parts.items()}
    return Source(
        {name: _to_images(part) for name, part in parts.items()},
        scan.classes,
        card or _card(where, scan.classes, parts),
        fingerprint(scan.classes, digests),
        tuple(item.path for item in skipped),
        scan.ignored,
    )


def _card(where: Path, classes: Sequence[str], parts: dict[str, _Part]) -> DatasetCard:
    sides = [item.short_side for part in parts.values() for item in part.decoded]
    counts = {name: len(part.paths) for name, part in parts.items()}
    return folder_card(
        where, classes, short_sides=sides, train_images=counts.get("train", 0), test_images=counts.get("test", 0)
    )


def read_labelled(
    folder: Path, *, store_size: int, progress: Callable[[int, int], None] | None = None
) -> tuple[ImageSet, tuple[str, ...]]:
    """All images of class sub-folders, with the class names in label order; nothing is set apart.

    Args:
        folder: class sub-folders, or test/ of class sub-folders, of which those are taken.
        store_size: short side in pixels to which larger images are shrunk in memory.
        progress: called with (files decoded, files in all).

    Raises:
        InputError: the folder, its layout or an image cannot be used.
    """
    scan = scan_folder(folder / "test" if (folder / "test").is_dir() else folder)
    parts, skipped = _decode(scan, store_size, progress)
    if skipped:
        _check_skipped(folder, skipped, 0, skip_corrupt=False)
    return _to_images(parts["train"]), scan.classes


def _decode(
    scan: Scan, store_size: int, progress: Callable[[int, int], None] | None
) -> tuple[dict[str, _Part], list[Undecodable]]:
    everything = [(split, path, label) for split, files in scan.files.items() for path, label in files]
    results = decode_files([path for _, path, _ in everything], store_size, progress)
    parts = {split: _Part([], [], []) for split in scan.files}
    skipped: list[Undecodable] = []
    for (split, path, label), result in zip(everything, results, strict=True):
        if isinstance(result, Undecodable):
            skipped.append(result)
            continue
        parts[split].decoded.append(result)
        parts[split].labels.append(label)
        parts[split].paths.append(path)
    return parts, skipped


def _check_skipped(folder: Path, skipped: Sequence[Undecodable], files: int, skip_corrupt: bool) -> None:
    if skip_corrupt or len(skipped) <= MOST_CORRUPT * files:
        return
    named = shortened([f"{item.path} ({item.reason})" for item in skipped])
    raise InputError(
        f"{folder} has {len(skipped)} corrupt image{'s' * (len(skipped) > 1)} of {files}: {named}. "
        "Remove or replace, or pass --skip-corrupt to count and skip such files."
    )


def _check_emptied(folder: Path, scan: Scan, parts: dict[str, _Part]) -> None:
    """Check that the corrupt files of no class were all it had."""
    for split, files in scan.files.items():
        left: dict[str, list[Path]] = {scan.classes[label]: [] for _, label in files}
        for label, path in zip(parts[split].labels, parts[split].paths, strict=True):
            left[scan.classes[label]].append(path)
        check_not_empty(folder, left, f"has only corrupt images in {split}")


def _to_images(part: _Part) -> ImageSet:
    shrunk, digests = any(item.shrunk for item in part.decoded), [item.digest for item in part.decoded]
    return ImageSet([item.image for item in part.decoded], part.labels, part.paths, shrunk=shrunk, digests=digests)
