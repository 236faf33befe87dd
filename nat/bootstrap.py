"""How sure accuracies are: the bootstrap over images, the same resamples for all nets, so that differences are paired.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993: percentile intervals. They tell what other images of the
same kind would change, not what another seed of the training would.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

RESAMPLES, SEED, LEVEL = 2000, 0, 0.95
CHUNK = 250  # resamples at once
CORRECT = "correct.safetensors"  # in a bundle's folder

Floats = NDArray[np.float64]
Correct = NDArray[np.bool_]


def read_correct(bundle: Path) -> dict[str, Correct]:
    """Which images a bundle's net is right on, by split; empty for bundles of older versions."""
    try:
        return {split: values.astype(bool) for split, values in load_file(bundle / CORRECT).items()}
    except (OSError, SafetensorError):
        return {}


def resampled(correct: Correct | Floats, resamples: int = RESAMPLES, seed: int = SEED) -> Floats:
    """Accuracies on resampled images.

    Args:
        correct: which images each net is right on, or any other value of each image, shape (nets, images).
        resamples: how many sets of images are drawn with replacement, each as large as the first.
        seed: of the draws; the same for all nets.

    Returns:
        Accuracies, shape (resamples, nets).
    """
    rng, images = np.random.default_rng(seed), correct.shape[1]
    hits = correct.T.astype(float)
    parts = []
    for start in range(0, resamples, CHUNK):
        size = min(CHUNK, resamples - start)
        parts.append(rng.multinomial(images, np.full(images, 1 / images), size=size) @ hits / images)
    return np.concatenate(parts)


def interval(values: Floats, level: float = LEVEL) -> list[float]:
    """Percentile interval of resampled values, shape (resamples,): [low, high]."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]


def intervals(correct: Mapping[str, Correct]) -> dict[str, list[float] | None]:
    """`val_interval` and `test_interval` of a net's accuracy; None where its bundle does not say what was right."""
    found: dict[str, list[float] | None] = {}
    for split in ("val", "test"):
        right = correct.get(split)
        known = right is not None and len(right) > 0
        found[f"{split}_interval"] = interval(resampled(right[None])[:, 0]) if known and right is not None else None
    return found


def tied_with_best(correct: Correct) -> NDArray[np.bool_]:
    """Which nets cannot be told from the most accurate one: the interval of the paired difference holds zero.

    Args:
        correct: which images each net is right on, shape (nets, images), at least one image.

    Returns:
        A mask of shape (nets,); the most accurate net, the first of several, is among them.
    """
    best = int(np.argmax(correct.mean(axis=1)))
    accuracies = resampled(correct)
    behind = accuracies[:, [best]] - accuracies
    return np.array([interval(column)[0] <= 0.0 for column in behind.T])


def ties(rows: Sequence[dict[str, Any]], correct: Mapping[str, Mapping[str, Correct]]) -> dict[str, Any] | None:
    """The nets of a front that are as good as its most accurate one, as far as validation images can tell.

    Args:
        rows: of front.json.
        correct: by id, which images each net is right on, by split.

    Returns:
        `ids`, cheapest first, `cheapest`, `level`, and `says`, a sentence; None where a bundle does not say, or where
        there are no validation images or nets.
    """
    known = [correct.get(row["id"], {}).get("val") for row in rows]
    table = [right for right in known if right is not None and len(right)]
    if not rows or len(table) < len(rows) or len({len(right) for right in table}) > 1:
        return None
    mask = tied_with_best(np.stack(table))
    tied = sorted((row for row, is_tied in zip(rows, mask, strict=True) if is_tied), key=lambda row: row["macs"])
    ids = [row["id"] for row in tied]
    if len(rows) == 1:
        says = f"{ids[0]} is the only net of the front."
    elif len(ids) == 1:
        says = f"{ids[0]} is the most accurate on validation images, by more than chance (95 % paired bootstrap)."
    else:
        says = (
            f"{', '.join(ids[:-1])} and {ids[-1]} are statistically tied on validation images (95 % paired bootstrap); "
            f"the cheapest is {ids[0]}."
        )
    return {"ids": ids, "cheapest": ids[0], "level": LEVEL, "says": says}
