"""Measuring a bundle again, from the image files, and comparing with what its metrics.json claims."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nat.bundle import load_bundle, measure
from nat.datasets.loading import load_dataset
from nat.errors import InputError
from nat.preparation import MACHINE_THREADS, counted, torch_device
from nat.progress import Progress

TOLERANCE = 1e-6


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
    claim = loaded.metrics["data"]
    with counted(progress, "reading images") as report:
        found = load_dataset(
            claim["source"] if data is None else data,
            root=Path(claim["data_root"]) if claim["data_root"] else None,
            seed=claim["seed"],
            skip_corrupt=claim["skip_corrupt"],
            progress=report,
        )
    if found.classes != loaded.labels:
        raise InputError(
            f"expected images of the subnet's {len(loaded.labels)} classes ({', '.join(loaded.labels[:3])}, ...), got "
            f"{found.num_classes} ({', '.join(found.classes[:3])}, ...)."
        )
    torch.set_num_threads(loaded.metrics.get("threads") or MACHINE_THREADS)  # sums are rounded alike
    result: dict[str, Any] = {}
    for name in splits:
        with progress.task(f"evaluating on {name}", 1) as task:
            result[name] = measure(loaded.model, loaded.preprocess, getattr(found, name), torch_device(device))
            task.advance()
    return result | _comparison(result, loaded.metrics, same=found.fingerprint == claim["fingerprint"])


def _comparison(found: dict[str, Any], claimed: dict[str, Any], *, same: bool) -> dict[str, Any]:
    if not same:
        return {"reproduced": None, "says": "these are not the images of metrics.json: nothing to compare with."}
    worst = max(abs(found[split][key] - claimed[split][key]) for split in found for key in ("top1", "top5", "loss"))
    reproduced = worst <= TOLERANCE
    verb = "reproduces" if reproduced else "does NOT reproduce"
    return {"reproduced": reproduced, "says": f"{verb} metrics.json (greatest difference {worst:.1e})."}
