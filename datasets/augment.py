"""Further augmentation of training batches, on the device where they are; functions of the seed and the step alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_OPERATIONS, _MIXING = 11, 12  # first words of the seeds, so that nothing else draws the same numbers
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


class Mixing:
    """Each image mixed with its neighbour, one share a step, by torchvision.

    Mixup (Zhang et al., ICLR 2018) adds the two; CutMix (Yun et al., ICCV 2019) puts a box of the one into the other,
    at one place a step. With both, each step has one of them, either as often. Processes that train together mix within
    their own parts of a batch.

    Args:
        mixup: alpha of mixup's Beta distribution of the share; 0.2 is usual, 0 for none.
        cutmix: alpha of CutMix's; 1 is usual, 0 for none. One of the two is above 0.
        num_classes: of the targets.
        seed: decides the shares, the boxes and which of the two it is.
    """

    def __init__(self, mixup: float, cutmix: float, num_classes: int, seed: int) -> None:
        from torchvision.transforms import v2

        kinds = [kind(alpha=alpha) for kind, alpha in ((v2.MixUp, mixup), (v2.CutMix, cutmix)) if alpha]
        self._transform = kinds[0] if len(kinds) == 1 else v2.RandomChoice(kinds)
        self._classes, self._seed = num_classes, seed

    def __call__(self, images: Tensor, targets: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Mixes normalised images (b, 3, h, w) and targets: class numbers (b,) or weights of the classes (b, classes).

        Returns:
            Images and weights of the classes.
        """
        weights = F.one_hot(targets, self._classes).float() if targets.ndim == 1 else targets
        with _seeded(images.device, _MIXING, self._seed, step):
            mixed, weights = self._transform(images, weights)
        return mixed, weights
