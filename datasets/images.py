"""Labelled images, decoded once and kept in memory as bytes.

images.stored(preprocess)      # uint8 (n, 3, crop, crop), from memory: what a search measures on
images.original(preprocess)    # the same from the files at full size: what reports measure on
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nat.datasets.decode import read_each
from nat.datasets.preprocess import Preprocess
from nat.errors import InputError

CACHE_BYTES = 1 << 30  # evaluation images kept per set; a search that visits 25 resolutions would hold them all
_CHUNK = 256  # images resized in one call; bounds the working memory where resizing goes through floats

_Shape = tuple[int, int, str]


class ImageSet:
    """Images of RGB bytes with their labels.

    Attributes:
        images: uint8 `(n, 3, H, W)` if all have one size (in channels-last memory, which crops and resizes
            fastest), else a list of n uint8 `(3, H, W)` tensors.
        labels: int64 `(n,)`.
        paths: the file of each image, or None for a set that has no files.
        digests: sha256 of each image's file, or None where they are not known.
    """

    images: Tensor | list[Tensor]
    labels: Tensor
    paths: list[Path] | None
    digests: list[bytes] | None

    def __init__(
        self,
        images: Tensor | Sequence[Tensor],
        labels: Tensor | Sequence[int],
        paths: Sequence[Path] | None = None,
        *,
        shrunk: bool = False,
        digests: Sequence[bytes] | None = None,
    ) -> None:
        """Wrap decoded images.

        Args:
            images: uint8 `(n, 3, H, W)`, or n uint8 tensors `(3, H, W)`.
            labels: class indices `(n,)`.
            paths: file of each image.
            shrunk: whether some image has fewer pixels than its file, so that `original` must open the files.
            digests: sha256 of each image's file, to find copies.

        Raises:
            InputError: the numbers of images, labels and paths differ, or an image is not uint8 `(3, H, W)`.
        """
        self.images = _together(images)
        self.labels = torch.as_tensor(labels, dtype=torch.int64)
        self.paths = None if paths is None else list(paths)
        self.digests = None if digests is None else list(digests)
        self.shrunk = shrunk and paths is not None
        if len(self.images) != len(self.labels) or (paths is not None and len(paths) != len(self.labels)):
            raise InputError(
                f"expected one label (and path) for each image, got {len(self.images)} images, "
                f"{len(self.labels)} labels and {'no' if paths is None else len(paths)} paths"
            )
        self._cache: OrderedDict[tuple[str, _Shape], Tensor] = OrderedDict()
        self._lock = Lock()  # networks are measured from several threads

    def __len__(self) -> int:
        """Number of images."""
        return len(self.labels)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the cache out of pickles: another process makes its own where it needs it."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"} | {"_cache": OrderedDict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up what `__getstate__` gave."""
        self.__dict__.update(state)
        self._lock = Lock()

    def subset(self, indices: Sequence[int] | np.ndarray[Any, Any] | Tensor) -> "ImageSet":
        """The images of these indices, in this order.

        Args:
            indices: positions, each in [0, n).
        """
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        positions = chosen.tolist()
        images = self.images[chosen] if isinstance(self.images, Tensor) else [self.images[i] for i in positions]
        paths = None if self.paths is None else [self.paths[i] for i in positions]
        digests = None if self.digests is None else [self.digests[i] for i in positions]
        return ImageSet(images, self.labels[chosen], paths, shrunk=self.shrunk, digests=digests)

    @classmethod
    def joined(cls, sets: "Sequence[ImageSet]") -> "ImageSet":
        """The images of several sets of the same classes, one set after the other."""
        paths, digests = [one.paths for one in sets], [one.digests for one in sets]
        return cls(
            [image for one in sets for image in one.images],
            torch.cat([one.labels for one in sets]),
            None if None in paths else [path for part in paths for path in part or []],
            shrunk=any(one.shrunk for one in sets),
            digests=None if None in digests else [digest for part in digests for digest in part or []],
        )

    def relabelled(self, labels: Tensor) -> "ImageSet":
        """The same images with other class indices `(n,)`."""
        return ImageSet(self.images, labels, self.paths, shrunk=self.shrunk, digests=self.digests)

    def stored(self, preprocess: Preprocess) -> Tensor:
        """Evaluation images from what is in memory.

        Kept for the next call with the same sizes (up to `CACHE_BYTES`, the least recently used go first), so
        the result is shared: do not write into it.

        Returns:
            uint8 `(n, 3, crop, crop)`.
        """
        key = ("stored", _shape_of(preprocess))
        return self._cached(key, lambda: self._from_memory(preprocess))

    def original(self, preprocess: Preprocess) -> Tensor:
        """Evaluation images from the files at full size in a single resize, as a user of the exported net has them.

        The same as `stored` where nothing was shrunk on loading, or where there are no files. Shared like it.

        Returns:
            uint8 `(n, 3, crop, crop)`.

        Raises:
            InputError: a file has gone or cannot be read any more.
        """
        if not self.shrunk or self.paths is None:
            return self.stored(preprocess)
        key = ("original", _shape_of(preprocess))
        paths = self.paths
        return self._cached(key, lambda: torch.stack(read_each(paths, preprocess.shape)))

    def _from_memory(self, preprocess: Preprocess) -> Tensor:
        if len(self) == 0:
            return torch.empty((0, 3, preprocess.crop, preprocess.crop), dtype=torch.uint8)
        if isinstance(self.images, Tensor):
            return torch.cat([preprocess.shape(chunk) for chunk in torch.split(self.images, _CHUNK)]).contiguous()
        return torch.stack([preprocess.shape(image) for image in self.images])

    def _cached(self, key: tuple[str, _Shape], make: Callable[[], Tensor]) -> Tensor:
        with self._lock:
            result = self._cache.pop(key) if key in self._cache else make()
            self._cache[key] = result  # popped and put back, so the order is that of use
            while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > CACHE_BYTES:
                self._cache.popitem(last=False)
            return result


def _shape_of(preprocess: Preprocess) -> _Shape:
    """What of a preprocessing decides the bytes: not the mean and std."""
    return preprocess.resize, preprocess.crop, preprocess.interpolation


def _together(images: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
    """One channels-last tensor if all images have one size, else the list of them."""
    if isinstance(images, Tensor):
        if images.ndim != 4:
            raise InputError(f"expected images (n, 3, H, W), got {tuple(images.shape)}")
        _check(images[:1].unbind())
        return images.contiguous(memory_format=torch.channels_last)
    _check(images)
    if len({image.shape for image in images}) == 1:
        return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)
    return list(images)


def _check(images: Sequence[Tensor]) -> None:
    for image in images:
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
            raise InputError(f"expected uint8 images (3, H, W), got {image.dtype} {tuple(image.shape)}")
