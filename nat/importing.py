"""Weights of others, recognised, measured on images if there are any, and written to a folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nat.datasets.images import ImageSet
from nat.datasets.loading import load_images
from nat.errors import InputError
from nat.pretrained.card import Card
from nat.pretrained.importing import Imported, import_weights
from nat.pretrained.published import plain_name
from nat.pretrained.store import destination, save_new_supernet
from nat.progress import Progress
from nat.supernet.encodings import at_resolution


@dataclass(frozen=True)
class ImportOptions:
    """What to import, and what to measure it on.

    Attributes:
        file: of weights.
        name: of the supernet; None for the file's.
        data: folder of class sub-folders, in the order of the weights' classes; None to measure nothing.
        resolution: input size to measure at, in pixels; None for the largest of the space.
        device: where it is measured.
    """

    file: Path
    name: str | None = None
    data: Path | None = None
    resolution: int | None = None
    device: str = "auto"


def import_to_folder(options: ImportOptions, out: Path, progress: Progress) -> dict[str, Any]:
    """Makes, checks and writes OUT/NAME.safetensors and its card.

    Args:
        options: what to import.
        out: folder; made if need be.
        progress: shows how far it is.

    Returns:
        The facts of what was imported, its `file` and `title`, and, with data, `top1` and `resolution`.

    Raises:
        InputError: the images or the place cannot be used.
        CheckpointError: the file cannot be used.
    """
    path = destination(out, options.name or plain_name(options.file))
    imported = import_weights(options.file, path.stem)
    facts = imported.facts() | {"file": str(path), "title": imported.card.title}
    card = imported.card
    if options.data is not None:
        accuracy = _measured(imported, options.data, options, progress)
        card, facts = replace(card, accuracy=accuracy), facts | accuracy["largest"]
    save_new_supernet(imported.supernet, card, path)
    return facts


def _measured(imported: Imported, data: Path, options: ImportOptions, progress: Progress) -> dict[str, Any]:
    """Accuracy of the largest subnet with the weights as they are, as a card says it."""
    from nat.preparation import torch_device  # these import timm, which takes seconds
    from nat.verification import top1_as_is

    card, device = imported.card, torch_device(options.device)
    largest = card.space.largest()
    largest = at_resolution(largest, options.resolution or largest.resolution)
    images = images_to_measure(card, data, progress)
    with progress.task("measuring the largest subnet", 1) as task:
        top1 = top1_as_is(imported.supernet, card, largest, images, device)
        task.advance()
    measured_on = f"{len(images):,} images of '{data.resolve().name}', with the weights and statistics as they are"
    return {"measured_on": measured_on, "largest": {"top1": round(top1, 6), "resolution": largest.resolution}}


def images_to_measure(card: Card, data: str | Path, progress: Progress) -> ImageSet:
    """Images to measure weights on as they are.

    Args:
        card: of the weights.
        data: image folder of the classes that they were trained on, in their order.
        progress: shows how far it is.

    Raises:
        InputError: the images cannot be read, or have another number of classes.
    """
    from nat.preparation import counted  # imports timm, which takes seconds

    with counted(progress, "reading images") as report:
        images, classes = load_images(data, progress=report)
    if len(classes) != card.num_classes:
        raise InputError(
            f"expected --data with the {card.num_classes} classes of the weights, got {len(classes)} in '{data}' "
            f"({', '.join(classes[:3])}, ...)."
        )
    return images
