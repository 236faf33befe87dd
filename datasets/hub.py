"""Data sets of the Hugging Face hub, by the package `datasets` (an extra), as "hf:NAME"."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from nat.datasets.cards import folder_card
from nat.datasets.decode import Decoded, Undecodable, decode_bytes
from nat.datasets.files import MOST_CORRUPT, Reading
from nat.datasets.images import ImageSet
from nat.datasets.scan import SPLITS
from nat.datasets.splits import Source, fingerprint, shortened
from nat.errors import InputError


def read_hub(name: str, root: Path, reading: Reading) -> Source:
    """Read a data set with a column of images and a column of class labels, downloading it if need be.

    Args:
        name: as the hub spells it: "beans", "user/flowers", or with a configuration, "user/flowers:small".
        root: its files are kept in hub/ there.
        reading: how images are read.

    Raises:
        InputError: the package is not installed, there is no such data set, or it has no images with class labels.
    """
    package = _package()
    repository, _, configuration = name.partition(":")
    try:
        loaded = package.load_dataset(repository, configuration or None, cache_dir=str(root / "hub"))
    except Exception as error:  # the package raises what its many back ends raise
        raise InputError(
            f"cannot load '{repository}' from the Hugging Face hub: {error}. Without a network, save it elsewhere as a "
            "folder of class sub-folders, and give that folder."
        ) from error
    tables = {SPLITS[split.lower()]: table for split, table in loaded.items() if split.lower() in SPLITS}
    if "train" not in tables:
        raise InputError(f"'{name}' has the splits {', '.join(loaded)}; expected one called train.")
    image, label = _columns(package, name, tables["train"].features)
    tables = {split: table for split, table in tables.items() if min(table[label], default=-1) >= 0}  # -1: kept secret
    if "train" not in tables:
        raise InputError(f"'{name}' has training images without labels (-1); expected a class label for each.")
    classes = tuple(tables["train"].features[label].names)
    return _source(name, classes, {s: _decoded(package, t, image, label, reading) for s, t in tables.items()}, reading)


def _package() -> Any:
    try:
        return import_module("datasets")
    except ModuleNotFoundError as error:
        raise InputError(
            "data sets of the Hugging Face hub need the package datasets. Install it: "
            'pip install "neural-architecture-transfer[hf]".'
        ) from error


def _columns(package: Any, name: str, features: Mapping[str, Any]) -> tuple[str, str]:
    """The column of the images, and that of the labels."""
    images = [column for column, kind in features.items() if isinstance(kind, package.Image)]
    labels = [column for column, kind in features.items() if isinstance(kind, package.ClassLabel)]
    if not images or not labels:
        raise InputError(
            f"'{name}' has the columns {', '.join(features)}; expected one of images and one of class labels."
        )
    preferred = [column for column in labels if column in ("label", "labels", "fine_label")]
    return images[0], (preferred or labels)[0]


def _decoded(
    package: Any, table: Any, image: str, label: str, reading: Reading
) -> tuple[list[Decoded | Undecodable], list[int]]:
    stored = table.cast_column(image, package.Image(decode=False))
    results = []
    for number, row in enumerate(stored):
        held = row[image]
        path = Path(held["path"] or f"image-{number}")
        read = (lambda data=held["bytes"]: data) if held["bytes"] else path.read_bytes
        results.append(decode_bytes(read, path, reading.store_size))
        if reading.progress is not None:
            reading.progress(number + 1, len(stored))
    return results, list(table[label])


def _source(
    name: str,
    classes: tuple[str, ...],
    parts: Mapping[str, tuple[list[Decoded | Undecodable], list[int]]],
    reading: Reading,
) -> Source:
    broken = [result for results, _ in parts.values() for result in results if isinstance(result, Undecodable)]
    count = sum(len(labels) for _, labels in parts.values())
    if len(broken) > MOST_CORRUPT * count and not reading.skip_corrupt:
        named = shortened([f"{item.path} ({item.reason})" for item in broken])
        raise InputError(
            f"'{name}' has {len(broken)} corrupt images of {count}: {named}. Pass --skip-corrupt to skip such ones."
        )
    sound: dict[str, tuple[list[Decoded], list[int]]] = {}
    for split, (results, labels) in parts.items():
        kept = [(item, label) for item, label in zip(results, labels, strict=True) if isinstance(item, Decoded)]
        sound[split] = [item for item, _ in kept], [label for _, label in kept]
    card = folder_card(
        Path(name.replace("/", "-")),
        classes,
        short_sides=[item.short_side for items, _ in sound.values() for item in items],
        train_images=len(sound["train"][1]),
        test_images=len(sound["test"][1]) if "test" in sound else 0,
    )
    digests = {split: (labels, [item.digest for item in items]) for split, (items, labels) in sound.items()}
    sets = {
        split: ImageSet([item.image for item in items], labels, digests=digests[split][1])
        for split, (items, labels) in sound.items()
    }
    return Source(sets, classes, card, fingerprint(classes, digests), tuple(item.path for item in broken))
