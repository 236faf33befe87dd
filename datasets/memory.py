"""Whether images fit into memory, said before they are decoded."""

import os
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from nat.datasets.cards import DatasetCard
from nat.errors import InputError

PROBED = 64  # files whose sizes stand for all
SHARE = 0.8  # of the memory that is free now
SMALLEST = 32  # px
USUAL_SHAPE = 4 / 3  # longer over shorter side of photographs


def check_memory(paths: Sequence[Path], store_size: int, available: int | None = None) -> None:
    """Compares what images take, decoded and shrunk, with the memory that is free.

    Args:
        paths: image files; the sizes of some, evenly spread, are read.
        store_size: short side in pixels to which larger images are shrunk in memory.
        available: bytes; None to ask the system, which not every one tells.

    Raises:
        InputError: they would not fit; the message has a store size that would.
    """
    free = free_bytes() if available is None else available
    if free is None or not paths:
        return
    sizes = [size for path in paths[:: max(1, len(paths) // PROBED)] if (size := _size(path))]
    if not sizes:
        return  # nothing readable: reading says why
    needed = _bytes(sizes, store_size) * len(paths)
    if needed <= SHARE * free:
        return
    fitting = next((size for size in range(store_size, 0, -32) if _bytes(sizes, size) * len(paths) <= SHARE * free), 0)
    advice = f"pass --store-size {fitting}" if fitting >= SMALLEST else "take fewer images, or a machine with more"
    raise InputError(
        f"expected {len(paths):,} images to fit into {free / 2**30:.1f} GiB of free memory; with a short side of "
        f"{store_size} pixels they take {needed / 2**30:.1f} GiB. Please {advice}; the final measurements read the "
        "files at full size in any case."
    )


def bytes_of(card: DatasetCard, store_size: int) -> float:
    """About what all images of a published data set take in memory, in bytes.

    Images of one size are taken as squares of it, others as photographs of 4 : 3 that are large enough to be shrunk.

    Args:
        card: of the data set.
        store_size: short side in pixels to which larger images are shrunk in memory.
    """
    side = card.image_size
    size = (side, side) if side else (round(USUAL_SHAPE * store_size), store_size)
    return _bytes([size], store_size) * (card.train_images + card.test_images)


def _bytes(sizes: Sequence[tuple[int, int]], store_size: int) -> float:
    """Mean bytes of an image in memory."""
    total = 0.0
    for width, height in sizes:
        scale = min(1.0, store_size / min(width, height))
        total += 3 * width * height * scale**2
    return total / len(sizes)


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:  # broken files make decoders raise nearly anything; they are reported when read
        return None


def free_bytes() -> int | None:
    """Memory that is free without swapping, in bytes; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        kilobytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
        return kilobytes * 1024
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
