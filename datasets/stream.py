"""Training batches as a pure function of the step, so that resuming needs no state.

stream = TrainStream(splits.train, Batching(64, seed=0, flip=True, min_crop_area=0.3, mean=mean, std=std))
images, labels = stream.batch(step=1234, resolution=96)
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from math import log
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nat.datasets.balance import drawn_evenly
from nat.datasets.cards import DatasetCard
from nat.datasets.images import ImageSet
from nat.datasets.preprocess import Triple, normalise
from nat.errors import InputError

_NARROWEST, _WIDEST = 3 / 4, 4 / 3  # width / height of a crop
_ORDER, _CROPS = 0, 1  # second word of the seeds, so that the two never share random numbers

Array = np.ndarray[Any, Any]
Augment = Callable[[Tensor, int, int], Tensor]  # (uint8 (b, 3, h, w), step, position of the first row) -> the same


@dataclass(frozen=True)
class Crops:
    """Boxes in pixels and flips for a batch, arrays `(b,)`."""

    top: Array
    left: Array
    height: Array
    width: Array
    flipped: Array

    def part(self, rows: slice) -> "Crops":
        """The crops of some rows of the batch."""
        return Crops(*(field[rows] for field in astuple(self)))

    def as_lists(self) -> tuple[list[int], ...]:
        """The fields as lists: Python's numbers slice tensors faster than NumPy's."""
        return tuple(field.tolist() for field in (self.top, self.left, self.height, self.width, self.flipped))


@dataclass(frozen=True)
class Batching:
    """How images become training batches.

    Attributes:
        size: images in a batch.
        seed: decides order, crops and flips; not negative.
        flip: flip half of the images horizontally.
        min_crop_area: least area of a crop as a fraction of the image, in (0, 1].
        mean: per channel, for values in [0, 1].
        std: per channel, for values in [0, 1].
        evenness: how much more often images of rare classes come, in [0, 1]; see `nat.datasets.balance.evenness`.

    Raises:
        InputError: a number is out of range.
    """

    size: int
    seed: int
    flip: bool
    min_crop_area: float
    mean: Triple
    std: Triple
    evenness: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.size < 1 or self.seed < 0:
            raise InputError(f"expected batch size >= 1 and seed >= 0, got {self.size} and {self.seed}")
        if not 0 < self.min_crop_area <= 1:
            raise InputError(f"expected a least crop area in (0, 1], got {self.min_crop_area}")
        if not 0 <= self.evenness <= 1:
            raise InputError(f"expected an evenness in [0, 1], got {self.evenness}")

    @classmethod
    def suited(cls, card: DatasetCard, size: int, seed: int, mean: Triple, std: Triple) -> "Batching":
        """With the flips and crops that keep the labels of a data set."""
        return cls(size, seed, card.flip, card.min_crop_area, mean, std)


class TrainStream:
    """Shuffled, randomly cropped and flipped batches, endlessly.

    `batch` depends on nothing but its arguments, the seed and the images; it may be called in any order, again,
    and from another thread.

    Attributes:
        batching: how images become batches.
        batch_size: images in a batch; the size of the set if that is smaller.
        steps_per_epoch: batches in an epoch; the images of the last, partial batch wait for another epoch's order.
    """

    def __init__(self, images: ImageSet, batching: Batching, augment: Augment | None = None) -> None:
        """Prepare the stream; opens nothing and draws nothing.

        Args:
            images: what to train on; at least one image.
            batching: size of a batch, crops, flips, normalisation.
            augment: changes the resized bytes of a step further.

        Raises:
            InputError: there are no images.
        """
        if len(images) == 0:
            raise InputError("expected images to train on, got none")
        self.batch_size = min(batching.size, len(images))
        self.steps_per_epoch = len(images) // self.batch_size
        self._images = images
        self.batching = batching
        self._augment = augment
        self._sizes = image_sizes(images)
        self._order = (0, self._shuffled(0))  # of the epoch last asked for, so that it is drawn once

    def batch(self, step: int, resolution: int, rows: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """The batch of a step. The crops do not depend on the resolution.

        Args:
            step: from 0 on, counted through all epochs.
            resolution: side of the images to return, in pixels.
            rows: the part of the batch to make; the same images as in the whole batch.

        Returns:
            Images float32 `(b, 3, resolution, resolution)`, normalised, and labels int64 `(b,)`.
        """
        if resolution < 1:
            raise InputError(f"expected resolution >= 1, got {resolution}")
        chosen = self.indices(step)
        crops = self._crops(step, self._sizes[chosen]).part(rows)
        images = self._resized(chosen[rows], crops, resolution)
        if self._augment is not None:
            images = self._augment(images, step, rows.start or 0)
        return normalise(images, self.batching.mean, self.batching.std), self._labels(chosen[rows]).to(images.device)

    def _resized(self, chosen: Array, crops: Crops, resolution: int) -> Tensor:
        """The boxes of some images, resized and flipped; uint8 `(b, 3, resolution, resolution)`."""
        return _resized_crops(_singles(self._images, chosen), crops, resolution)

    def _labels(self, chosen: Array) -> Tensor:
        """The labels of some images; int64 `(b,)`."""
        return self._images.labels[torch.from_numpy(chosen)]

    def indices(self, step: int) -> Array:
        """Which training images the batch of a step has, `(b,)`.

        Raises:
            InputError: the step is negative.
        """
        if step < 0:
            raise InputError(f"expected step >= 0, got {step}")
        epoch, position = divmod(step, self.steps_per_epoch)
        known, order = self._order
        if known != epoch:
            order = self._shuffled(epoch)
            self._order = (epoch, order)  # one assignment, so that threads never see half of it
        return order[position * self.batch_size : (position + 1) * self.batch_size]

    def _shuffled(self, epoch: int) -> Array:
        rng = np.random.default_rng([self.batching.seed, _ORDER, epoch])
        if self.batching.evenness:
            return drawn_evenly(self._images.labels, self.batching.evenness, rng)
        return rng.permutation(len(self._images))

    def _crops(self, step: int, sizes: Array) -> Crops:
        uniform = np.random.default_rng([self.batching.seed, _CROPS, step]).random((5, len(sizes)))
        box = random_boxes(sizes[:, 0], sizes[:, 1], uniform[:4], self.batching.min_crop_area)
        return Crops(*box, flipped=(uniform[4] < 0.5) & self.batching.flip)


def random_boxes(
    image_height: Array, image_width: Array, uniform: Array, min_area: float
) -> tuple[Array, Array, Array, Array]:
    """Boxes of random area and shape inside images.

    The area is uniform in [min_area, 1] of the image. The ratio of width to height is log-uniform in [3/4, 4/3],
    clipped to what keeps a box of that area inside the image; an image so long that no such ratio does
    cuts the box instead.

    Args:
        image_height: `(b,)`, pixels.
        image_width: `(b,)`, pixels.
        uniform: random numbers in [0, 1), `(4, b)`.
        min_area: in (0, 1].

    Returns:
        Top, left, height and width in whole pixels, int64 `(b,)` each; height and width at least 1.
    """
    share = min_area + (1 - min_area) * uniform[0]
    shape = image_width / image_height
    least, most = np.clip(share * shape, _NARROWEST, _WIDEST), np.clip(shape / share, _NARROWEST, _WIDEST)
    ratio = np.clip(np.exp(log(_NARROWEST) + log(_WIDEST / _NARROWEST) * uniform[1]), least, most)
    area = share * image_height * image_width
    height = np.rint(np.sqrt(area / ratio)).clip(1, image_height).astype(np.int64)
    width = np.rint(np.sqrt(area * ratio)).clip(1, image_width).astype(np.int64)
    top = np.floor(uniform[2] * (image_height - height + 1)).astype(np.int64)
    left = np.floor(uniform[3] * (image_width - width + 1)).astype(np.int64)
    return top, left, height, width


def _resized_crops(images: Sequence[Tensor], crops: Crops, resolution: int) -> Tensor:
    """Cut the boxes out, resize them, antialiased, and flip; uint8 `(b, 3, resolution, resolution)`.

    Images are uint8 `(1, 3, H, W)`. One at a time: on the CPU torch's resize of channels-last bytes takes less time
    than any way of doing a batch of different boxes at once (weight matrices, grid sampling) from 64 pixels on, and
    rounds as evaluation does.
    """
    size = (resolution, resolution)
    results = []
    for image, top, left, height, width, flipped in zip(images, *crops.as_lists(), strict=True):
        box = image[..., top : top + height, left : left + width]
        resized = interpolate(box, size, mode="bilinear", antialias=True)
        results.append(resized.flip(-1) if flipped else resized)
    return torch.cat(results)


def _singles(images: ImageSet, indices: Array) -> list[Tensor]:
    """Batches of one image, `(1, 3, H, W)` each, whose strides tell torch that the bytes are channels-last."""
    if isinstance(images.images, Tensor):
        stacked = images.images
        return [stacked[i : i + 1] for i in indices.tolist()]
    # a new dimension in front of (3, H, W) would get a stride that hides the layout, in front of (H, W, 3) not
    return [images.images[i].permute(1, 2, 0)[None].permute(0, 3, 1, 2) for i in indices.tolist()]


def image_sizes(images: ImageSet) -> Array:
    """Height and width of each image, `(n, 2)`."""
    if isinstance(images.images, Tensor):
        return np.tile(np.array(images.images.shape[-2:]), (len(images), 1))
    return np.array([image.shape[-2:] for image in images.images])
