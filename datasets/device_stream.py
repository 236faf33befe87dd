"""Training batches made on the device that holds the images: crop, resize and flip of a whole batch by two products.

batching = Batching(256, seed=0, flip=True, min_crop_area=0.3, mean=mean, std=std)
stream = training_stream(splits.train, batching, device="cuda")
images, labels = stream.batch(step=1234, resolution=96)   # on the device, if the images fit into it

Not measured yet: nothing here has run on a GPU. Unknown are the time of a batch there against `TrainStream`'s, the
memory that the products take beside a network, and whether half-precision products would be faster.
"""

from dataclasses import astuple

import numpy as np
import torch
from torch import Tensor

from nat.datasets.images import ImageSet
from nat.datasets.stream import Array, Augment, Batching, Crops, TrainStream, image_sizes

_MOST_BITS = 16  # of weights after the point: with the 8 of a byte they fill the 24 of float32
_WORK_BYTES = 1 << 30  # of float images in one product; only large paddings or batches need several


class DeviceStream(TrainStream):
    """The batches of `TrainStream`, made where the images are kept as bytes.

    Same images, crops and flips. Bytes are the same, too, unless about 4 pixels or more become one: then a few differ
    by one level. Rows are the same in every part of a batch, as the sums are exact (unless torch was told to multiply
    float32 matrices in less than float32).
    """

    def __init__(
        self, images: ImageSet, batching: Batching, augment: Augment | None = None, *, device: torch.device | str
    ) -> None:
        """Copy the images and labels to the device.

        Args:
            images: what to train on; at least one image.
            batching: size of a batch, crops, flips, normalisation.
            augment: changes the resized bytes of a step further, on the device.
            device: where images and labels are kept and batches are made.

        Raises:
            InputError: there are no images.
        """
        super().__init__(images, batching, augment)
        self._padded = _padded(images, torch.device(device))
        self._device_labels = images.labels.to(device)
        self._at_once = max(1, _WORK_BYTES // (4 * self._padded[0].numel()))

    def _resized(self, chosen: Array, crops: Crops, resolution: int) -> Tensor:
        boxes = torch.from_numpy(np.stack([chosen, *astuple(crops)]))  # together, to be sent in one transfer
        parts = torch.split(boxes.to(self._padded.device), self._at_once, dim=1)
        return torch.cat([self._part(part, resolution) for part in parts])

    def _part(self, boxes: Tensor, resolution: int) -> Tensor:
        """Some images `(b, 3, resolution, resolution)` of boxes `(6, b)`: image, then the fields of `Crops`."""
        chosen, top, left, height, width, flipped = boxes
        images = self._padded[chosen].float()
        down = _weights(top, height, images.shape[-2], resolution, torch.zeros_like(flipped))
        across = _weights(left, width, images.shape[-1], resolution, flipped)
        return _products(images, down, across)

    def _labels(self, chosen: Array) -> Tensor:
        return self._device_labels[torch.from_numpy(chosen).to(self._device_labels.device)]


def training_stream(
    images: ImageSet, batching: Batching, augment: Augment | None = None, *, device: torch.device | str
) -> TrainStream:
    """A stream for training on a device: on it where the images fit (see `fits`), else on the CPU.

    Args:
        images: what to train on; at least one image.
        batching: size of a batch, crops, flips, normalisation.
        augment: changes the resized bytes of a step further.
        device: where the training runs.

    Raises:
        InputError: there are no images.
    """
    if fits(images, device):
        return DeviceStream(images, batching, augment, device=device)
    return TrainStream(images, batching, augment)


def fits(images: ImageSet, device: torch.device | str, share: float = 0.5) -> bool:
    """Whether a device can hold the images, padded to one size, in a share of its free memory.

    Args:
        images: of any sizes.
        device: never fits if it is not CUDA: on the CPU `TrainStream` is faster.
        share: of the free memory, in (0, 1]; the rest is for the training.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return int(np.prod(_padded_shape(images))) <= share * free


def _padded_shape(images: ImageSet) -> tuple[int, int, int, int]:
    height, width = image_sizes(images).max(0, initial=0).tolist()
    return len(images), 3, height, width


def _padded(images: ImageSet, device: torch.device) -> Tensor:
    """The images in the top left corners of one uint8 tensor `(n, 3, most rows, most columns)`."""
    padded = torch.zeros(_padded_shape(images), dtype=torch.uint8, device=device)
    for target, image in zip(padded, images.images, strict=True):  # one by one: no second copy of all
        target[:, : image.shape[1], : image.shape[2]] = image
    return padded


def _weights(start: Tensor, length: Tensor, side: int, resolution: int, mirrored: Tensor) -> Tensor:
    """Antialiased triangle weights of one side of the boxes, as torch's bilinear `interpolate` has them.

    Args:
        start: first pixel of each box, int64 `(b,)`.
        length: pixels of each box, int64 `(b,)`.
        side: pixels of the padded images.
        resolution: pixels of the result.
        mirrored: 1 where the result is to be read backwards, else 0; int64 `(b,)`.

    Returns:
        float32 `(b, resolution, side)`, in fixed point; zero outside the boxes.
    """
    start, length, mirrored = (each[:, None, None] for each in (start, length, mirrored))
    row = torch.arange(resolution, device=start.device)[:, None]
    row = torch.where(mirrored == 1, resolution - 1 - row, row)
    pixel = torch.arange(side, device=start.device) - start
    scale = length.double() / resolution
    distance = (pixel + 0.5 - (row + 0.5) * scale).abs_()
    weights = distance.div_(-scale.clamp(min=1)).add_(1).clamp_(min=0)
    weights *= (pixel >= 0) & (pixel < length)
    return _fixed_point(weights.div_(weights.sum(-1, keepdim=True)))


def _fixed_point(weights: Tensor) -> Tensor:
    """Weights rounded as torch's resize of bytes does, `(b, resolution, side)`; float64 in, float32 out.

    Torch takes the largest unit 2**-p for which the largest weight needs all 15 bits. Here p is at most 16, which
    makes sums of bytes times weights exact in float32, in any order; torch's is larger where 4 pixels or more make one.
    """
    peak = weights.amax((-2, -1), keepdim=True)
    bits = torch.log2((2**15 - 0.5) / peak).ceil_().sub_(1).clamp_(max=_MOST_BITS)
    units = torch.exp2(bits).round_()
    return weights.mul_(units).round_().div_(units).float()


def _products(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Resize the columns, round, resize the rows and round: the order of torch's resize of bytes.

    Args:
        images: whole numbers, float32 `(b, 3, H, W)`.
        down: weights of the rows, `(b, resolution, H)`.
        across: weights of the columns, `(b, resolution, W)`.

    Returns:
        uint8 `(b, 3, resolution, resolution)`.
    """
    batch, channels, height, _ = images.shape
    narrow = torch.bmm(images.flatten(1, 2), across.mT).add_(0.5).floor_()
    down = down[:, None].expand(-1, channels, -1, -1).flatten(0, 1)
    resized = torch.bmm(down, narrow.view(batch * channels, height, -1)).add_(0.5).clamp_(max=255)
    return resized.to(torch.uint8).view(batch, channels, *resized.shape[-2:])
