"""Training evenly on classes of uneven sizes: by drawing rare classes more often, or by weighing their loss more."""

from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

Mode = Literal["none", "sampler", "loss", "auto"]
MODES: tuple[Mode, ...] = ("none", "sampler", "loss", "auto")
UNEVEN = 3.0  # largest class over smallest, from which on "auto" does something
HALFWAY = 0.5


def unevenness(labels: Tensor) -> float:
    """Images of the largest class over images of the smallest one that has any."""
    counts = labels.bincount()
    return float(counts.max() / counts[counts > 0].min())


def evenness(mode: Mode, labels: Tensor) -> float:
    """How evenly batches are to be drawn: 0 as the images come, 1 all classes alike.

    "auto" goes halfway (square roots, as for the words of word2vec and the languages of multilingual models) where the
    largest class has `UNEVEN` times the images of the smallest: all the way, the few images of a rare class come so
    often that they are learnt by heart.
    """
    if mode == "auto":
        return HALFWAY if unevenness(labels) >= UNEVEN else 0.0
    return 1.0 if mode == "sampler" else 0.0


def loss_weights(mode: Mode, labels: Tensor, num_classes: int) -> Tensor | None:
    """Weights of the classes in the loss, float32 (num_classes,), with mean 1 over the images; None for equal ones."""
    if mode != "loss":
        return None
    counts = labels.bincount(minlength=num_classes).double().clamp(min=1)
    return (len(labels) / (num_classes * counts)).float()


def drawn_evenly(labels: Tensor, evenness: float, rng: Generator) -> NDArray[np.int64]:
    """An epoch's order: as many images as there are, rare classes repeated and frequent ones thinned, (n,).

    An image of a class with c images is expected to come in proportion to c ** -evenness. It comes that often rounded
    down or up, so that an epoch differs from its expectation as little as it can.

    Args:
        labels: of the images, int64 (n,).
        evenness: in [0, 1]; see `evenness`.
        rng: decides what comes once more, and the order.
    """
    kinds = labels.numpy()
    order = rng.permutation(len(kinds))
    order = order[np.argsort(kinds[order], kind="stable")]  # class by class: so each class comes as often as expected
    share = np.power(np.bincount(kinds)[kinds[order]], -float(evenness))
    # systematic sampling: cumulated expectations, cut at whole numbers
    ends = np.cumsum(share / share.sum() * len(kinds)) + rng.random()
    times = np.diff(np.floor(ends), prepend=0.0)
    drawn = np.repeat(order, times.astype(np.int64))
    return rng.permutation(np.resize(drawn, len(kinds)))  # rounding may lose or add one
