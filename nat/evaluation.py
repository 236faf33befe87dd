"""Judging architectures with a supernet's weights: extract, recalibrate batch norm, measure on validation images."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nat.datasets.images import ImageSet
from nat.datasets.preprocess import Preprocess, Triple
from nat.errors import TransferError
from nat.objectives import TOP1, Measured
from nat.supernet.architecture import Architecture
from nat.supernet.calibration import recalibrate
from nat.supernet.evaluation import batched, folded, predict
from nat.supernet.subnet import Subnet
from nat.supernet.supernet import Supernet

Preprocessing = Callable[[int], Preprocess]  # of a resolution
CALIBRATION_BATCH = 64
PIXELS = 2**18  # of images that a CPU classifies at once


class Normalisation(Protocol):
    """What pixels are normalised with, values in [0, 1]: a card of a supernet, for one."""

    @property
    def mean(self) -> Triple:
        """Of each channel."""

    @property
    def std(self) -> Triple:
        """Of each channel."""


def preprocessing_of(crop_fraction: float, of: Normalisation) -> Preprocessing:
    """What images go through at each resolution, for networks with a supernet's normalisation, or another's."""
    return partial(Preprocess.for_resolution, crop_fraction=crop_fraction, mean=of.mean, std=of.std)


class SubnetEvaluator:
    """Measures architectures on one validation split, always in the same way.

    Args:
        train: images to recalibrate on; a fixed random choice of `calibration_images` of them is used.
        validation: images to measure on.
        preprocessing: gives the preprocessing of a resolution.
        calibration_images: accuracy grows with them up to some 500.
        batch_size: images at once; None for what suits their size.
        device: where networks run.
        seed: of the choice of images.
    """

    def __init__(
        self,
        train: ImageSet,
        validation: ImageSet,
        preprocessing: Preprocessing,
        *,
        calibration_images: int = 512,
        batch_size: int | None = None,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> None:
        count = min(calibration_images, len(train))
        chosen = np.random.default_rng([seed, 0xCA1]).permutation(len(train))[:count]
        self.calibration = train.subset(np.sort(chosen))
        self.validation = validation
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.device = torch.device(device)

    def calibrated(self, supernet: Supernet, architecture: Architecture) -> Subnet:
        """The architecture's network with the supernet's weights and batch norm fitted to the training images."""
        subnet = supernet.extract(architecture, fast=True).to(self.device)
        recalibrate(subnet, self.calibration_batches(architecture.resolution))
        return subnet

    def calibration_batches(self, resolution: int) -> Iterator[Tensor]:
        """The training images that batch norm is fitted to, normalised, shape (n, 3, resolution, resolution)."""
        preprocess = self.preprocessing(resolution)
        images = self.calibration.stored(preprocess)
        return (preprocess.normalise(batch.to(self.device)) for batch in _full_batches(images))

    def top1_error(self, supernet: Supernet, architecture: Architecture) -> float:
        """Validation error of an architecture with the supernet's weights, in [0, 1]."""
        return self.errors(supernet, architecture)[TOP1.name]

    def errors(
        self, supernet: Supernet, architecture: Architecture, objectives: Sequence[Measured] = (TOP1,)
    ) -> dict[str, float]:
        """Validation errors by name, each in [0, 1], of an architecture with the supernet's weights; top-1 always."""
        subnet = self.calibrated(supernet, architecture)
        folded(subnet)
        logits = self._answers(subnet)
        return {o.name: o.error(logits, self.validation.labels) for o in (TOP1, *objectives)}

    def error_of(self, subnet: Subnet, objective: Measured = TOP1) -> float:
        """Validation error of a network as it is, in [0, 1]."""
        return objective.error(self._answers(subnet), self.validation.labels)

    def _answers(self, subnet: Subnet) -> Tensor:
        preprocess = self.preprocessing(subnet.architecture.resolution)
        images = self.validation.stored(preprocess)
        batch_size = self.batch_size or suitable_batch(subnet.architecture.resolution, self.device)
        logits = predict(subnet, images, preprocess.normalise, batch_size)
        if not logits.isfinite().all():  # argmax would make a score of them
            raise TransferError("the network's answers are not finite")
        return logits


def suitable_batch(resolution: int, device: torch.device) -> int:
    """Images at once that are fast to classify.

    On a CPU maps should stay in its caches: at 64 pixels 64 images at once are the fastest, at 128 pixels 16 to 32, and
    128 take 1.1 to 1.6 times as long (`benchmarks/candidate_evaluation.py --batch`). A GPU wants many.
    """
    return 256 if device.type == "cuda" else min(128, max(8, PIXELS // resolution**2))


def _full_batches(images: Tensor) -> list[Tensor]:
    """Batches for recalibration; a rest of under half a batch is left out, as each batch counts alike."""
    batches = list(batched(images, CALIBRATION_BATCH))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) < CALIBRATION_BATCH // 2 else batches
