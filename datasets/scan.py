"""What is in a folder of images: classes, splits and files, found without opening an image."""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nat.datasets.splits import shortened
from nat.errors import InputError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})
LAYOUT = "a folder of class sub-folders with images, or train/ [val/] [test/] of class sub-folders"

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


@dataclass(frozen=True)
class Scan:
    """The files of a folder.

    Attributes:
        classes: class names, sorted; the label of a class is its position.
        files: of each split that the folder has ("train" for plain class sub-folders), the images and labels,
            sorted by class and then by path within it. Of what is only measured on, "train" may be missing.
        ignored: number of entries that are hidden, are no images or lie outside the class folders.
    """

    classes: tuple[str, ...]
    files: dict[str, list[tuple[Path, int]]]
    ignored: int

    @property
    def count(self) -> int:
        """Number of images."""
        return sum(len(files) for files in self.files.values())


@dataclass(frozen=True)
class _Listing:
    """Images by class of one folder of class sub-folders."""

    by_class: dict[str, list[Path]]
    ignored: int


def scan_folder(folder: Path, *, to_train: bool = True) -> Scan:
    """Find the images of a folder.

    Class names and the order of files do not depend on the file system: names are compared in Unicode's
    composed form and sorted by code point.

    Args:
        folder: see `LAYOUT`.
        to_train: else they are only measured on: there may be one class, test/ alone, or classes that train/ lacks.

    Raises:
        InputError: the folder is missing, unreadable or laid out in another way; has no images or one class only;
            a class is empty; val or test have a class that train lacks.
    """
    try:
        return _scan(folder, to_train=to_train)
    except OSError as error:
        raise InputError(
            f"cannot read {error.filename or folder}: {error.strerror or error}; expected {LAYOUT}, open to this user."
        ) from error


def _scan(folder: Path, *, to_train: bool) -> Scan:
    _check_folder(folder)
    roots = _split_roots(folder, to_train=to_train)
    listings = {split: _list_classes(root) for split, root in roots.items()}
    # beside the split folders there can be loose files
    loose = 0 if set(roots.values()) == {folder} else sum(not _is_shown_folder(p) for p in folder.iterdir())
    ignored = loose + sum(listing.ignored for listing in listings.values())
    by_class = {split: listing.by_class for split, listing in listings.items()}
    _check_images(folder, roots, by_class, ignored)
    classes = _check_classes(roots, by_class) if to_train else tuple(sorted(set().union(*by_class.values())))
    labels = {name: label for label, name in enumerate(classes)}
    files = {
        split: [(path, labels[name]) for name in sorted(listing.by_class) for path in listing.by_class[name]]
        for split, listing in listings.items()
    }
    return Scan(classes, files, ignored)


def _check_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    if folder.exists():
        hint = " Unpack it first." if folder.suffix.lower() in _ARCHIVES else ""
        raise InputError(f"{folder} is a file; expected {LAYOUT}.{hint}")
    raise InputError(f"there is no folder {folder}; expected {LAYOUT}.")


def _split_roots(folder: Path, *, to_train: bool) -> dict[str, Path]:
    """Of each split, the folder that has its class sub-folders.

    A class may be called "train" (beside "bus" and "car"): train/ is a split if it has sub-folders itself. What
    could be read either way is refused rather than guessed.
    """
    shown = sorted(path for path in folder.iterdir() if _is_shown_folder(path))
    splits = [path for path in shown if path.name.lower() in SPLITS]
    others = [path for path in shown if path.name.lower() not in SPLITS]
    trains = [path for path in splits if _split_of(path) == "train"]
    has_classes = any(_is_shown_folder(path) for train in trains for path in train.iterdir())
    if not splits or (others and not has_classes):
        return {"train": folder}
    if others:
        raise InputError(
            f"{folder} has train/ with sub-folders beside {_named(others)}, which is no split; expected {LAYOUT}. "
            "Move the other folders away."
        )
    if not has_classes and (to_train or trains):
        lack = "no class sub-folders in train/" if trains else "no train/"
        raise InputError(f"{folder} has {_named(splits)} but {lack}; expected {LAYOUT}.")
    roots: dict[str, Path] = {}
    for path in splits:
        other = roots.setdefault(_split_of(path), path)
        if other != path:
            raise InputError(f"{folder} has both {other.name}/ and {path.name}/; keep one of them.")
    return roots


def _split_of(path: Path) -> str:
    return SPLITS[path.name.lower()]


def _named(folders: Sequence[Path]) -> str:
    return shortened([f"{folder.name}/" for folder in folders])


def _list_classes(root: Path) -> _Listing:
    by_class: dict[str, list[Path]] = {}
    ignored = 0
    for entry in root.iterdir():
        if not _is_shown_folder(entry):
            ignored += 1
            continue
        paths = list(_walk(entry, frozenset()))
        images = [path for path in paths if _is_image(path)]
        ignored += len(paths) - len(images)
        images.sort(key=lambda path: composed(path.relative_to(entry).as_posix()))
        by_class.setdefault(composed(entry.name), []).extend(images)
    return _Listing(by_class, ignored)


def _walk(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    """All files below a folder, and its hidden entries; links are followed, but never in circles."""
    here = folder.resolve()
    if here in above:
        return
    for entry in folder.iterdir():
        if _is_shown_folder(entry):
            yield from _walk(entry, above | {here})
        else:
            yield entry


def _check_images(
    folder: Path, roots: dict[str, Path], listings: dict[str, dict[str, list[Path]]], ignored: int
) -> None:
    """Check that there are images, and some of each class."""
    if not any(images for by_class in listings.values() for images in by_class.values()):
        loose = sum(_is_image(path) for path in folder.iterdir())
        what = f"{loose} images outside class sub-folders" if loose else f"no images ({ignored} other files)"
        raise InputError(f"{folder} has {what}; expected {LAYOUT}, as {', '.join(sorted(s[1:] for s in SUFFIXES))}.")
    for split, by_class in listings.items():
        if not by_class:
            raise InputError(
                f"{roots[split]} has no class sub-folders, so its images have no labels; expected the same classes as "
                "in train/. Sort the images into them or move the folder away."
            )
        check_not_empty(roots[split], by_class, "has no images")


def _check_classes(roots: dict[str, Path], listings: dict[str, dict[str, list[Path]]]) -> tuple[str, ...]:
    """The classes of train, which there must be two of, and which the other splits must keep to."""
    classes = tuple(sorted(listings["train"]))
    if len(classes) == 1:
        raise InputError(f"{roots['train']} has one class only, '{classes[0]}'; expected at least 2 sub-folders.")
    for split, by_class in listings.items():
        unknown = sorted(set(by_class) - set(classes))
        if unknown:
            raise InputError(
                f"{roots[split]} has {_quoted(unknown)}, which {roots['train']} lacks; expected the same classes. "
                "Rename or remove the folder."
            )
    return classes


def check_not_empty(root: Path, by_class: dict[str, list[Path]], state: str) -> None:
    """Check that each class has images.

    Args:
        root: the folder of the classes, for the message.
        by_class: images of each class.
        state: what to say of a class without images.

    Raises:
        InputError: a class has none; the message names it.
    """
    empty = sorted(name for name, images in by_class.items() if not images)
    if empty:
        raise InputError(
            f"in {root}, class {_quoted(empty)} {state}; expected at least one. Add images or remove the folder."
        )


def _quoted(names: Sequence[str]) -> str:
    return shortened([f"'{name}'" for name in names])


def _is_shown_folder(path: Path) -> bool:
    return not path.name.startswith(".") and path.is_dir()


def _is_image(path: Path) -> bool:
    """By name only: a broken link called cat.jpg counts, so that loading reports it instead of losing it."""
    return not path.name.startswith(".") and path.suffix.lower() in SUFFIXES and not path.is_dir()


def composed(name: str) -> str:
    """A name in Unicode's composed form, the same on every file system; bytes that are no text are spelt as \\udcXX."""
    return unicodedata.normalize("NFC", name).encode("utf-8", "backslashreplace").decode("utf-8")
