"""Further augmentation of training batches, on the device where they are; functions of the seed and the step alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_OPERATIONS, _MIXUP = 11, 12  # first words of the seeds, so that nothing else draws the same numbers
GROUP = 8  # images that share their operations: Python runs once a group, not once an image


@contextmanager
def _seeded(device: torch.device, *words: int) -> Iterator[None]:
    """torchvision draws from torch's global generators: they are set for a moment and put back."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1)[0]))
        yield


class RandomOperations:
    """RandAugment (Cubuk et al., CVPRW 2020) by torchvision, with operations drawn for each 8 images.

    Args:
        magnitude: strength from 0 to 30; 9 is usual.
        seed: decides operations and signs.
        operations: applied one after the other to each image.
    """

    def __init__(self, magnitude: int, seed: int, *, operations: int = 2) -> None:
        from torchvision.transforms import v2  # as slow to import as torch

        self._transform = v2.RandAugment(operations, magnitude)
        self._seed = seed

    def __call__(self, images: Tensor, step: int, first: int) -> Tensor:
        """Augments bytes, shape (b, 3, h, w).

        Args:
            images: uint8.
            step: of the training.
            first: position of the first image in the whole batch of the step. Where it is no multiple of 8, a part of
                a batch has other operations than in the whole.
        """
        groups = []
        for number, group in enumerate(torch.split(images, GROUP), start=first // GROUP):
            with _seeded(images.device, _OPERATIONS, self._seed, step, number):
                groups.append(self._transform(group))
        return torch.cat(groups)


class MixUp:
    """Mixup (Zhang et al., ICLR 2018) by torchvision: each image with its neighbour, one share a step.

    Processes that train together mix within their own parts of a batch.

    Args:
        alpha: of the Beta distribution of the share; 0.2 is usual.
        num_classes: of the targets.
        seed: decides the shares.
    """

    def __init__(self, alpha: float, num_classes: int, seed: int) -> None:
        from torchvision.transforms import v2

        self._transform = v2.MixUp(alpha=alpha)
        self._classes, self._seed = num_classes, seed

    def __call__(self, images: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Mixes normalised images (b, 3, h, w) and targets: class numbers (b,) or weights of the classes (b, classes).

        Returns:
            Images and weights of the classes.
        """
        weights = F.one_hot(targets, self._classes).float() if targets.ndim == 1 else targets
        with _seeded(images.device, _MIXUP, self._seed, step):
            mixed, weights = self._transform(images, weights)
        return mixed, weights
