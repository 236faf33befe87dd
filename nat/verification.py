"""Measuring again: a bundle, compared with what its metrics.json claims; a supernet, at both ends and in the middle."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nat.bundle import Bundle, load_bundle
from nat.datasets.images import ImageSet
from nat.datasets.loading import load_dataset, load_source
from nat.datasets.splits import Source, Splits, draw_missing, shortened
from nat.errors import InputError
from nat.evaluation import SubnetEvaluator, preprocessing_of
from nat.metrics import Metrics, measure
from nat.preparation import MACHINE_THREADS, counted, torch_device
from nat.pretrained.card import Card
from nat.progress import Progress
from nat.supernet.architecture import Architecture
from nat.supernet.costs import CostTable
from nat.supernet.evaluation import predict, top1_accuracy
from nat.supernet.sampling import ladder
from nat.supernet.supernet import Supernet

TOLERANCE = 1e-6
CALIBRATION_IMAGES = 2000  # as once-for-all has it
IMAGENET_CROP = 0.875
CHANGED = (
    "The images of {} have changed since metrics.json was written, so that other ones may be in each split: some of "
    "those measured here may have been trained on."
)


def verify(bundle: Path, data: str | None, splits: Sequence[str], device: str, progress: Progress) -> dict[str, Any]:
    """Metrics of a bundle on its own images, in the splits that it was trained with, or on all of others.

    Args:
        bundle: folder of a subnet.
        data: name, folder or list; None for the images that the bundle was measured on. They are taken for its own if
            they lie where those did, or are the same to the byte.
        splits: "val", "test" or both, of its own images. Of others, those of test/ are measured, or all if there is
            none.
        device: where it runs.
        progress: shows how far it is.

    Returns:
        Metrics by split, of other images under "test" or "all"; `reproduced` (True or False on the same images, None
        on others) and `says`, a sentence.

    Raises:
        InputError: the images cannot be read, or are of other classes.
    """
    loaded = load_bundle(bundle)
    claim = loaded.metrics["data"]
    found = _found(loaded, data, progress)
    if isinstance(found, Splits):
        check_classes(loaded, found)
        parts = {name: getattr(found, name) for name in splits}
    else:
        parts = measured_part(found, loaded.labels)
    torch.set_num_threads(loaded.metrics.get("threads") or MACHINE_THREADS)  # sums are rounded alike
    result: dict[str, Any] = {}
    for name, images in parts.items():
        with progress.task(f"evaluating on {name}", 1) as task:
            result[name] = measure(loaded.model, loaded.preprocess, images, torch_device(device))
            task.advance()
    if found.fingerprint == claim["fingerprint"]:
        return result | _comparison(result, loaded.metrics)
    said = CHANGED.format(claim["source"]) if isinstance(found, Splits) else _about_others(found, parts, loaded.labels)
    return result | {"reproduced": None, "says": f"{said} There is nothing to compare with."}


def _found(bundle: Bundle, data: str | None, progress: Progress) -> Splits | Source:
    """A bundle's own images, split as they were, or others as they lie."""
    claim = bundle.metrics["data"]
    if data is None or _same_place(data, claim["source"]):
        return images_of(bundle, data, progress)
    with counted(progress, "reading images") as report:
        source = load_source(
            data,
            root=_root(claim),
            store_size=claim.get("store_size", 256),
            skip_corrupt=claim["skip_corrupt"],
            progress=report,
        )
    own = source.fingerprint == claim["fingerprint"]
    return draw_missing(source, seed=claim["seed"]) if own else source


def _same_place(data: str, source: str) -> bool:
    """Whether the user's word is what a bundle calls the place of its images: a name, or an absolute path."""
    try:
        return data == source or (Path(source).is_absolute() and Path(data).expanduser().samefile(source))
    except (OSError, RuntimeError):  # one of them is not there; the home of nobody
        return False


def measured_part(source: Source, labels: tuple[str, ...]) -> dict[str, ImageSet]:
    """What is measured of images that a network has not seen: test/, or all there is where nothing is called so.

    Args:
        source: the images, with classes in an order of their own.
        labels: the network's classes.

    Returns:
        One set, called "test" or "all", whose labels are the network's.

    Raises:
        InputError: some are of a class that the network does not know.
    """
    name = "test" if "test" in source.parts else "all"
    images = source.parts["test"] if name == "test" else ImageSet.joined(list(source.parts.values()))
    there = [source.classes[i] for i in sorted(set(images.labels.tolist()))]
    unknown = [f"'{label}'" for label in there if label not in labels]
    if unknown:
        raise InputError(
            f"expected images of the subnet's {len(labels)} classes ({', '.join(labels[:3])}, ...), got also "
            f"{shortened(unknown)}. Name classes as in labels.json, and leave others out."
        )
    places = torch.tensor([labels.index(label) if label in labels else -1 for label in source.classes])
    return {name: images.relabelled(places[images.labels])}


def _about_others(source: Source, parts: dict[str, ImageSet], labels: tuple[str, ...]) -> str:
    """What was measured of images that are not the bundle's."""
    ((name, images),) = parts.items()
    left_out, there = sum(map(len, source.parts.values())) - len(images), set(images.labels.tolist())
    which = f"all {len(images)} of them"
    if name == "test":
        which = f"the {len(images)} of their test split ({left_out} others were not looked at)"
    said = f"This is another set of images than that of metrics.json; measured on {which}"
    if lacking := [f"'{label}'" for number, label in enumerate(labels) if number not in there]:
        said += f"; none of them is of class {shortened(lacking)}"
    if source.skipped:
        said += f"; skipped {len(source.skipped)} corrupt files, such as {source.skipped[0]}"
    return f"{said}."


def images_of(bundle: Bundle, data: str | None, progress: Progress) -> Splits:
    """The images that a bundle was measured on, or others, split and stored as those were.

    Args:
        bundle: whose metrics.json says how.
        data: name or folder; None for the bundle's own.
        progress: shows how far it is.

    Raises:
        InputError: they cannot be read.
    """
    claim = bundle.metrics["data"]
    with counted(progress, "reading images") as report:
        return load_dataset(
            claim["source"] if data is None else data,
            root=_root(claim),
            seed=claim["seed"],
            store_size=claim.get("store_size", 256),  # bundles of version 0.1 do not say
            skip_corrupt=claim["skip_corrupt"],
            progress=report,
        )


def _root(claim: Metrics) -> Path | None:
    return Path(claim["data_root"]) if claim["data_root"] else None


def check_classes(bundle: Bundle, splits: Splits) -> None:
    """Raises `InputError` if images are not of a bundle's classes, in their order."""
    if splits.classes != bundle.labels:
        raise InputError(
            f"expected images of the subnet's {len(bundle.labels)} classes ({', '.join(bundle.labels[:3])}, ...), got "
            f"{splits.num_classes} ({', '.join(splits.classes[:3])}, ...)."
        )


def verify_supernet(
    supernet: Supernet, card: Card, splits: Splits, device: torch.device, progress: Progress
) -> dict[str, dict[str, Any]]:
    """Accuracy on test images of the smallest, a middle and the largest subnet, batch norm recalibrated on train.

    Args:
        supernet: with a classifier for the images' classes.
        card: of the supernet.
        splits: the images.
        device: where it runs.
        progress: shows how far it is.

    Returns:
        For "smallest", "middle" and "largest": `top1`, `macs`, `params`, `resolution` and the `id` of the subnet.

    Raises:
        InputError: the images have another number of classes.
    """
    if splits.num_classes != supernet.num_classes:
        raise InputError(
            f"expected images of the {supernet.num_classes} classes that '{card.name}' was trained on, got "
            f"{splits.num_classes} classes. To use it on other classes: nat transfer DATA --supernet {card.name}."
        )
    preprocessing = preprocessing_of(splits.card.crop_fraction, card)
    evaluator = SubnetEvaluator(
        splits.train, splits.test, preprocessing, calibration_images=CALIBRATION_IMAGES, device=device
    )
    costs, result = CostTable(card.space, supernet.num_classes), {}
    rungs = ladder(card.space, 3)
    nets = [rungs[0], rungs[len(rungs) // 2], rungs[-1]]
    with progress.task("evaluating subnets", len(nets)) as task:
        for place, net in zip(("smallest", "middle", "largest"), nets, strict=True):
            macs, params = costs.of(net)
            top1 = round(1 - evaluator.top1_error(supernet, net), 6)
            result[place] = {"top1": top1, "macs": macs, "params": params, "resolution": net.resolution, "id": net.id}
            task.advance()
    return result


def top1_as_is(
    supernet: Supernet, card: Card, architecture: Architecture, images: ImageSet, device: torch.device
) -> float:
    """Top-1 accuracy of an architecture with the supernet's own batch-norm statistics, in [0, 1].

    Images are resized and cropped by the usual 0.875, as ImageNet's networks are judged.

    Args:
        supernet: with a classifier for the images' classes.
        card: of the supernet.
        architecture: of its space.
        images: labelled like the supernet's classes.
        device: where it runs.

    Raises:
        InputError: the images have labels that the supernet has not.
    """
    subnet = supernet.extract(architecture, fast=True).eval()
    return top1_of(subnet, card, architecture.resolution, images, device)


def top1_of(network: nn.Module, card: Card, resolution: int, images: ImageSet, device: torch.device) -> float:
    """Top-1 accuracy of a network with a supernet's normalisation and classes; see `top1_as_is`."""
    if (classes := int(images.labels.max()) + 1) > card.num_classes:
        raise InputError(f"expected images of the {card.num_classes} classes of '{card.name}', got {classes}.")
    preprocess = preprocessing_of(IMAGENET_CROP, card)(resolution)
    logits = predict(network.to(device), images.stored(preprocess), preprocess.normalise)
    return top1_accuracy(logits, images.labels)


def _comparison(found: dict[str, Any], claimed: dict[str, Any]) -> dict[str, Any]:
    worst = max(abs(found[split][key] - claimed[split][key]) for split in found for key in ("top1", "top5", "loss"))
    reproduced = worst <= TOLERANCE
    verb = "reproduces" if reproduced else "does NOT reproduce"
    return {"reproduced": reproduced, "says": f"{verb} metrics.json (greatest difference {worst:.1e})."}
