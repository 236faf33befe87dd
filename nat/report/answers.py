"""What nets answer to the test images: classes, confusions, and which images are shown."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nat.predictions import Predictions

SHOWN = 8  # images of each kind for each net
MOST_PAIRS = 3000  # confusions kept for each net, the most frequent ones


def answer_table(predictions: Predictions, classes: int) -> dict[str, Any]:
    """One net's answers, counted.

    Args:
        predictions: of the net.
        classes: how many there are.

    Returns:
        `images`, `top1`; `balanced`: mean recall of the classes that have images; `classes`: for each one [images of
        it, answers that name it, right answers]; `pairs`: mistakes as [true class, answer, count], the most frequent
        first, at most `MOST_PAIRS` of `kinds`.
    """
    labels, answers, right = predictions.labels, predictions.answers, predictions.right
    counts = [np.bincount(values, minlength=classes) for values in (labels, answers, labels[right])]
    codes, times = np.unique(labels[~right].astype(np.int64) * classes + answers[~right], return_counts=True)
    order = np.argsort(-times, kind="stable")[:MOST_PAIRS]
    mistakes = np.stack([codes // classes, codes % classes, times], axis=1)[order]
    there = counts[0] > 0
    return {
        "images": len(labels),
        "top1": predictions.top1,
        "balanced": float((counts[2][there] / counts[0][there]).mean()) if there.any() else 0.0,
        "classes": np.stack(counts, axis=1).tolist(),
        "pairs": mistakes.tolist(),
        "kinds": len(codes),
    }


def examples(predictions: Predictions, shown: int = SHOWN) -> dict[str, list[list[float]]]:
    """Which test images show what a net does: its most confident mistakes, and right answers drawn at random.

    The draw is the same for all nets, so that they show the same images as far as they are right on them.

    Args:
        predictions: of the net.
        shown: most images of each kind.

    Returns:
        `wrong` and `right`, each as [position in the split, true class, answer, confidence].
    """
    wrong = np.flatnonzero(~predictions.right)
    worst = wrong[np.argsort(-predictions.confidence[wrong], kind="stable")]
    drawn = np.random.default_rng(0).permutation(len(predictions.labels))
    kinds = {"wrong": worst, "right": drawn[predictions.right[drawn]]}
    return {kind: [_row(predictions, int(i)) for i in positions[:shown]] for kind, positions in kinds.items()}


def _row(predictions: Predictions, image: int) -> list[float]:
    values = (predictions.labels[image], predictions.answers[image])
    return [image, *map(int, values), round(float(predictions.confidence[image]), 4)]


def images_shown(shown: Mapping[str, Mapping[str, list[list[float]]]]) -> list[int]:
    """Positions of all images that the examples of nets, by id, name; ascending."""
    return sorted({int(row[0]) for kinds in shown.values() for rows in kinds.values() for row in rows})
