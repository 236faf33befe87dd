"""Peak activation memory of architectures, as arithmetic on a table.

What must be alive at once while one image passes through a network in 32-bit floats: the input and the output of the
operation at work, the input of a residual block until it is added, and the output of the depthwise convolution until
squeeze-and-excite has scaled it. Batch norm is folded into convolutions, activations work in place, padding belongs to
the convolution, and every other operation writes to new memory. Weights are not counted (`CostTable.params`), nor what
a library needs inside one operation.

    >>> from nat.supernet.space import MobileNetSpace
    >>> space = MobileNetSpace()
    >>> MemoryTable(space, num_classes=1000).peak_bytes(space.encode([space.smallest()]))
    array([2359296])
"""

import numpy as np
from numpy.typing import NDArray

from nat.supernet.slots import Slot, halved
from nat.supernet.space import Encodings, MobileNetSpace

BYTES = 4  # of an activation
Counts = NDArray[np.int64]


class MemoryTable:
    """Peak of every choice in every slot of a space; the peak of a network is the greatest of its parts.

    Args:
        space: the space of the encodings.
        num_classes: outputs of the classifier.
    """

    def __init__(self, space: MobileNetSpace, num_classes: int) -> None:
        self.space = space
        codes = 1 + int(space.upper[1:].max())
        self._slots = np.zeros((len(space.resolutions), len(space.slots), codes), dtype=np.int64)
        self._fixed = np.zeros(len(space.resolutions), dtype=np.int64)
        for row, resolution in enumerate(space.resolutions):
            *sizes, last = space.map_sizes(resolution)
            for s, (slot, size) in enumerate(zip(space.slots, sizes, strict=True)):
                for (_, expand), code in space.choices[s].items():
                    self._slots[row, s, code] = block_peak(slot, expand, size)
            self._fixed[row] = max(start_peak(space, resolution), head_peak(space, last, num_classes))

    def peak_bytes(self, encodings: Encodings) -> Counts:
        """Peak activation memory of canonical encodings (n, 1 + slots), in bytes, shape (n,)."""
        rows, slots = encodings[:, :1], np.arange(len(self.space.slots))
        blocks = self._slots[rows, slots, encodings[:, 1:]].max(axis=1)
        peaks: Counts = BYTES * np.maximum(blocks, self._fixed[encodings[:, 0]])
        return peaks


def block_peak(slot: Slot, expand: float, size: int) -> int:
    """Most numbers that are alive at once in an inverted residual block on an input of size x size."""
    mid, out_size = slot.mid_channels(expand), slot.out_size(size)
    before, inside, behind = slot.in_channels * size**2, mid * out_size**2, slot.out_channels * out_size**2
    kept = before if slot.residual else 0
    return max(
        before + mid * size**2,
        kept + mid * size**2 + inside,
        kept + 2 * inside + mid if slot.squeeze_excite else 0,  # the map, its channels' weights, the scaled map
        kept + inside + behind,
        kept + 2 * behind if slot.residual else 0,
    )


def start_peak(space: MobileNetSpace, resolution: int) -> int:
    """The same of the stem and the block behind it."""
    positions = halved(resolution) ** 2
    stem, fixed = (space.channels(base) * positions for base in (space.structure.stem, space.structure.fixed))
    kept = stem if stem == fixed else 0
    return max(3 * resolution**2 + stem, 2 * stem, kept + stem + fixed, kept + 2 * fixed if kept else 0)


def head_peak(space: MobileNetSpace, size: int, num_classes: int) -> int:
    """The same of everything behind the stages, whose maps are size x size."""
    head, last = space.structure.head, space.slots[-1].out_channels
    mix = space.channels(head.mix)
    wide = mix if head.expand is None else space.channels(head.expand)
    vectors = mix + num_classes if head.expand is None else max(wide + mix, mix + num_classes)
    return max((last + wide) * size**2, wide * size**2 + wide, vectors)
