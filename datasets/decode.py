"""Image files to RGB tensors, whatever their mode.

    read_image("scan.tif")   # uint8 (3, H, W)

Greyscale, palette, CMYK and 1-bit images become RGB; transparency is laid over white; 16-bit values are scaled
to 8 bits (Pillow would clip them); the EXIF orientation is applied; of an animation the first frame is taken.
"""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from threading import RLock
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from nat.errors import InputError

Result = TypeVar("Result")

_FILTERS = RLock()  # for what is changed in `warnings`
_ORIENTATION = 0x0112  # EXIF tag; its values beyond 1 say how the stored pixels are to be turned
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Decoded:
    """One decoded file.

    Attributes:
        image: uint8 `(3, H, W)`, shrunk to the store size if it was larger.
        short_side: short side of the file's image in pixels, before shrinking.
        digest: sha256 of the file's bytes.
    """

    image: Tensor
    short_side: int
    digest: bytes

    @property
    def shrunk(self) -> bool:
        """Whether the tensor has fewer pixels than the file."""
        return min(self.image.shape[-2:]) < self.short_side


@dataclass(frozen=True)
class Undecodable:
    """A file that is no readable image, and why."""

    path: Path
    reason: str


def read_image(path: str | Path) -> Tensor:
    """Decode one file at full size.

    Returns:
        uint8 `(3, H, W)`.

    Raises:
        InputError: the file cannot be read as an image.
    """
    with _quiet():
        return _read_full(Path(path))


def read_each(paths: Sequence[Path], use: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Decode files at full size and keep `use(image)` of each, in the order of `paths`.

    Raises:
        InputError: a file cannot be read as an image.
    """
    return in_threads(lambda path: use(_read_full(path)), paths)


def decode_files(
    paths: Sequence[Path], store_size: int, progress: Callable[[int, int], None] | None = None
) -> list[Decoded | Undecodable]:
    """Decode files, shrinking what is larger than needed.

    Args:
        paths: the files.
        store_size: short side in pixels that larger images are shrunk to; nothing is enlarged.
        progress: called with (files done, files in all) after each file.
    """
    return in_threads(lambda path: _decode_file(path, store_size), paths, progress)


def in_threads(
    work: Callable[[Path], Result], paths: Sequence[Path], progress: Callable[[int, int], None] | None = None
) -> list[Result]:
    """Apply `work` to paths, in order, on a few threads: Pillow decodes outside Python's lock."""
    results: list[Result] = []
    with _quiet(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        try:
            for result in pool.map(work, paths):
                results.append(result)
                if progress is not None:
                    progress(len(results), len(paths))
        except BaseException:  # an interrupt must not wait for a hundred thousand images
            pool.shutdown(cancel_futures=True)
            raise
    return results


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to 8-bit RGB, transparency laid over white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _to_grey(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")


def _to_grey(image: Image.Image) -> Image.Image:
    """Scale a one-channel image of 16 bits, or of floats, to 8 bits.

    Integers are taken as 0..65535, which is what Pillow reads 16-bit files as; floats as 0..1 if none is
    greater, else as 0..255.
    """
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    scale = 255 / 65535
    if image.mode == "F":
        scale = 255.0 if values.max() <= 1 else 1.0
    return Image.fromarray(np.rint(values * scale).clip(0, 255).astype(np.uint8))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Pillow's warnings: on images of more than 89 million pixels, odd palettes and broken EXIF data.

    Entered by the calling thread around the pool, and by one at a time, since Python keeps warning filters for all
    threads together: of two that overlap, the last one to leave would put the first one's back.
    """
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _read_full(path: Path) -> Tensor:
    decoded = _decode_file(path, None)
    if isinstance(decoded, Undecodable):
        raise InputError(f"cannot read {path} as an image: {decoded.reason}")
    return decoded.image


def _decode_file(path: Path, store_size: int | None) -> Decoded | Undecodable:
    return decode_bytes(path.read_bytes, path, store_size)


def decode_bytes(read: Callable[[], bytes], path: Path, store_size: int | None) -> Decoded | Undecodable:
    """Decode what `read` gives.

    Args:
        read: gives the bytes of a file.
        path: what to call it.
        store_size: short side in pixels that a larger image is shrunk to; None for full size.
    """
    try:
        data = read()
        with Image.open(BytesIO(data)) as image:
            short_side = min(image.size)
            pixels = _decode(image, store_size)
    except MemoryError:
        raise
    except Exception as error:  # broken files make decoders raise nearly anything: OSError, struct.error, ...
        return Undecodable(path, _reason(error))
    return Decoded(_to_tensor(pixels), short_side, hashlib.sha256(data).digest())


def _decode(image: Image.Image, store_size: int | None) -> Image.Image:
    """The pixels of an opened image as upright RGB, shrunk to `store_size` if that is given."""
    size = image.size
    if store_size is not None:
        image.draft("RGB", (store_size, store_size))  # lets the JPEG decoder skip detail that shrinking drops
    orientation = _orientation(image)
    rgb = to_rgb(image)
    if store_size is not None:
        rgb = _shrink(rgb, size, store_size)
    return rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken metadata is no reason to refuse a sound image
        return 1


def _shrink(image: Image.Image, size: tuple[int, int], store_size: int) -> Image.Image:
    """Shrink to a short side of `store_size`, with the filter that evaluation uses as well.

    Args:
        image: the image, perhaps made smaller by the decoder already.
        size: width and height in the file, which decide the shape.
        store_size: in pixels; at most the short side of `image` where that was made smaller.
    """
    short = min(size)
    if short <= store_size:
        return image
    width, height = (max(1, round(side * store_size / short)) for side in size)
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _to_tensor(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or damaged from its start"  # Pillow's text names a buffer in memory
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels; shrink it first"
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)) or type(error).__name__
