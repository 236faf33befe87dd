"""Measuring again: a bundle, compared with what its metrics.json claims; a supernet, at both ends and in the middle."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nat.bundle import Bundle, load_bundle, measure
from nat.datasets.images import ImageSet
from nat.datasets.loading import load_dataset
from nat.datasets.splits import Splits
from nat.errors import InputError
from nat.evaluation import SubnetEvaluator, preprocessing_of
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


def verify(bundle: Path, data: str | None, splits: Sequence[str], device: str, progress: Progress) -> dict[str, Any]:
    """Metrics of a bundle on its own data or on other images.

    Args:
        bundle: folder of a subnet.
        data: name or folder; None for the data that the bundle was measured on, with the same splits.
        splits: "val", "test" or both.
        device: where it runs.
        progress: shows how far it is.

    Returns:
        Metrics by split; `reproduced` (True or False on the same images, None on others) and `says`, a sentence.

    Raises:
        InputError: the images have other classes.
    """
    loaded = load_bundle(bundle)
    found = images_of(loaded, data, progress)
    check_classes(loaded, found)
    torch.set_num_threads(loaded.metrics.get("threads") or MACHINE_THREADS)  # sums are rounded alike
    result: dict[str, Any] = {}
    for name in splits:
        with progress.task(f"evaluating on {name}", 1) as task:
            result[name] = measure(loaded.model, loaded.preprocess, getattr(found, name), torch_device(device))
            task.advance()
    return result | _comparison(result, loaded.metrics, same=found.fingerprint == loaded.metrics["data"]["fingerprint"])


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
            root=Path(claim["data_root"]) if claim["data_root"] else None,
            seed=claim["seed"],
            store_size=claim.get("store_size", 256),  # bundles of version 0.1 do not say
            skip_corrupt=claim["skip_corrupt"],
            progress=report,
        )


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


def _comparison(found: dict[str, Any], claimed: dict[str, Any], *, same: bool) -> dict[str, Any]:
    if not same:
        return {"reproduced": None, "says": "these are not the images of metrics.json: nothing to compare with."}
    worst = max(abs(found[split][key] - claimed[split][key]) for split in found for key in ("top1", "top5", "loss"))
    reproduced = worst <= TOLERANCE
    verb = "reproduces" if reproduced else "does NOT reproduce"
    return {"reproduced": reproduced, "says": f"{verb} metrics.json (greatest difference {worst:.1e})."}
