"""Evaluation preprocessing: the one definition, used to measure subnets and shipped with them as preprocess.json.

preprocess = Preprocess.for_resolution(224, 0.875, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
batch = preprocess.normalise(preprocess.shape(read_image("cat.jpg"))[None])   # float32 (1, 3, 224, 224)
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import ceil, isfinite
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from nat.errors import InputError

Triple = tuple[float, float, float]

_INTERPOLATIONS = ("bicubic", "bilinear")
_LONGEST_ASPECT = 4  # beyond it, the ends that the centre crop cannot see are cut off before resizing


@dataclass(frozen=True)
class Preprocess:
    """Resize the short side, take the centre, normalise.

    Attributes:
        resize: short side after resizing, in pixels.
        crop: side of the square centre crop, in pixels; at most `resize`.
        mean: per channel (red, green, blue), for values in [0, 1].
        std: per channel, for values in [0, 1].
        interpolation: "bilinear" or "bicubic", antialiased.
    """

    resize: int
    crop: int
    mean: Triple
    std: Triple
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.resize:
            raise InputError(f"preprocess: expected 1 <= crop <= resize, got crop {self.crop}, resize {self.resize}")
        if self.interpolation not in _INTERPOLATIONS:
            raise InputError(
                f"preprocess: expected interpolation {' or '.join(_INTERPOLATIONS)}, got {self.interpolation!r}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(isfinite, (*self.mean, *self.std))):
            raise InputError(f"preprocess: expected 3 means and 3 stds, got {self.mean} and {self.std}")
        if min(self.std) <= 0:
            raise InputError(f"preprocess: expected stds above 0, got {self.std}")

    @classmethod
    def for_resolution(cls, resolution: int, crop_fraction: float, mean: Triple, std: Triple) -> "Preprocess":
        """The preprocessing for a network's input resolution.

        Args:
            resolution: input side in pixels.
            crop_fraction: centre crop / resized short side, in (0, 1].
            mean: per channel, for values in [0, 1].
            std: per channel, for values in [0, 1].

        Raises:
            InputError: `crop_fraction` is not in (0, 1] or `resolution` is below 1.
        """
        if not 0 < crop_fraction <= 1:
            raise InputError(f"preprocess: expected a crop fraction in (0, 1], got {crop_fraction}")
        # 70 / 0.7 is 100.00000000000001 in floating point: rounding up must not make 101 of it
        return cls(ceil(resolution / crop_fraction - 1e-9), resolution, mean, std)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Preprocess":
        """Read what `to_json` wrote.

        Raises:
            InputError: a key is missing or unknown, or a value is of the wrong kind.
        """
        expected = set(cls.__dataclass_fields__)
        if set(data) != expected:
            raise InputError(f"preprocess: expected the keys {sorted(expected)}, got {sorted(data)}")
        try:
            return cls(
                resize=int(data["resize"]),
                crop=int(data["crop"]),
                mean=_triple(data["mean"]),
                std=_triple(data["std"]),
                interpolation=str(data["interpolation"]),
            )
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"preprocess: a value is of the wrong kind: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """The values as a dictionary that `json` can write."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    def shape(self, image: Tensor) -> Tensor:
        """Resize and crop, as torchvision's `Resize` (antialiased, of tensors) and `CenterCrop` do.

        Written out here because importing torchvision takes as long as importing torch.

        Args:
            image: uint8 `(3, H, W)`, or a batch of one size, `(n, 3, H, W)`; any size and aspect ratio;
                on the CPU.

        Returns:
            uint8 `(3, crop, crop)`, or `(n, 3, crop, crop)`; each image of a batch as it would be alone. Where
            nothing is to be done this is the very tensor that was given.
        """
        if image.dtype != torch.uint8 or image.ndim not in (3, 4) or image.shape[-3] != 3:
            raise InputError(f"expected uint8 images (3, H, W), got {image.dtype} {tuple(image.shape)}")
        if image.shape[-2:] == (self.crop, self.crop) and self.crop == self.resize:
            return image
        shaped = self._centre(self._resized(_trim(image if image.ndim == 4 else image[None])))
        return shaped if image.ndim == 4 else shaped[0]

    def normalise(self, batch: Tensor) -> Tensor:
        """Scale uint8 values to [0, 1], subtract the mean and divide by the std.

        Args:
            batch: uint8 `(n, 3, h, w)`, on any device.

        Returns:
            float32 `(n, 3, h, w)` on the same device.
        """
        return normalise(batch, self.mean, self.std)

    def _resized(self, batch: Tensor) -> Tensor:
        height, width = batch.shape[-2:]
        short = min(height, width)
        if short == self.resize:
            return batch
        size = (self.resize * height // short, self.resize * width // short)
        return interpolate(batch, size, mode=self.interpolation, antialias=True)

    def _centre(self, batch: Tensor) -> Tensor:
        top, left = (round((side - self.crop) / 2) for side in batch.shape[-2:])
        return batch[..., top : top + self.crop, left : left + self.crop].contiguous()


def normalise(batch: Tensor, mean: Triple, std: Triple) -> Tensor:
    """Normalise uint8 images `(n, 3, h, w)` by the mean and std of values in [0, 1]; float32, contiguous."""
    mean_of_bytes = torch.tensor(mean, device=batch.device).mul(255).view(3, 1, 1)
    std_of_bytes = torch.tensor(std, device=batch.device).mul(255).view(3, 1, 1)
    # converting and changing the memory layout in one pass is what keeps this cheap
    floats = batch.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
    return floats.sub_(mean_of_bytes).div_(std_of_bytes)


def _trim(image: Tensor) -> Tensor:
    """Cut the ends off an extremely long image, so that resizing a 1 x 10,000 strip does not take gigabytes.

    As many pixels go at one end as at the other, so that the centre stays where it is; the square that the centre
    crop takes lies far from the cuts.
    """
    height, width = image.shape[-2:]
    excess = max(height, width) - _LONGEST_ASPECT * min(height, width)
    if excess < 2:
        return image
    long_axis = -2 if height > width else -1
    return image.narrow(long_axis, excess // 2, image.shape[long_axis] - 2 * (excess // 2))


def _triple(values: Any) -> Triple:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
