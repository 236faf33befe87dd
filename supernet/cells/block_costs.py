"""Multiply-adds and parameters of networks of block cells, for whole arrays of encodings at once.

Everything but the operations (stem, the 1x1 convolutions before each cell, classifier) depends on how many blocks a
cell joins, and on nothing else. Both parts are counted on modules that run without computing, once, and kept in tables.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nat.supernet.cells.blocks import INPUTS, BlockCell, BlockSpace
from nat.supernet.cells.counting import count, operation_costs
from nat.supernet.cells.network import CellForm, CellNetwork
from nat.supernet.searchable import Counts, Encodings

FREE = "avg_pool_3x3"  # no multiply-adds, no parameters


def stacked(repeats: int, channels: int, num_classes: int, *, resolution: int = 32) -> CellForm:
    """PNAS's form for small images: N normal cells, a reduction, N, a reduction, N.

    Args:
        repeats: N; the paper searches with 2 and 24 channels.
        channels: F, of the operations in the first cells; each reduction doubles them.
        num_classes: outputs.
        resolution: input size that costs are counted at, pixels.
    """
    reductions = (repeats, 2 * repeats + 1)
    return CellForm(3 * repeats + 2, channels, num_classes, reductions, resolution=resolution)


class BlockCosts:
    """Exact costs of the networks of a block space.

    Args:
        space: the space of the encodings.
        form: everything of the networks but their cells.
    """

    def __init__(self, space: BlockSpace, form: CellForm) -> None:
        self.space, self.form = space, form

    def macs(self, encodings: Encodings) -> Counts:
        """Multiply-adds of canonical encodings (n, 4 blocks), shape (n,)."""
        return self._sums(encodings)[:, 0]

    def params(self, encodings: Encodings) -> Counts:
        """Parameters of canonical encodings (n, 4 blocks), shape (n,)."""
        return self._sums(encodings)[:, 1]

    def ends(self) -> Encodings:
        """The cell of least costs, then those of greatest multiply-adds and of greatest parameters, shape (3, genes).

        The least has the cheapest operation everywhere and joins one block; the greatest have all blocks on the
        inputs, where operations cost most, and all joined.
        """
        cheap = self.space.encode([self.space.smallest()])
        cheap[:, 1::2] = self._operations[:, :, 0].argmin(axis=1)[(cheap[:, ::2] >= INPUTS).astype(np.int64)]
        dear = np.repeat(self.space.encode([self.space.largest()]), 2, axis=0)
        dear[:, 1::2] = self._operations[0].argmax(axis=0)[:, None]
        return self.space.repair(np.concatenate([cheap, dear]))

    def of(self, architecture: BlockCell) -> tuple[int, int]:
        """Multiply-adds and parameters of one cell's network."""
        macs, params = self._sums(self.space.encode([architecture]))[0].tolist()
        return macs, params

    def _sums(self, encodings: Encodings) -> Counts:
        inputs, operations = encodings[:, ::2], encodings[:, 1::2]
        inside = (inputs >= INPUTS).astype(np.int64)
        total: Counts = self._operations[inside, operations].sum(axis=1) + self._joints[joined(inputs)]
        return total

    @cached_property
    def _operations(self) -> NDArray[np.int64]:
        """Of an operation on the cell's inputs, then on a block, summed over all cells, shape (2, operations, 2)."""
        table = np.zeros((2, len(self.space.operations), 2), dtype=np.int64)
        for place, name in enumerate(self.space.operations):
            for inside in (0, 1):
                table[inside, place] = self._over_cells(name, bool(inside))
        return table

    def _over_cells(self, name: str, inside: bool) -> NDArray[np.int64]:
        total = np.zeros(2, dtype=np.int64)
        for layout in self.form.layouts():
            stride = 1 + (layout.reduces and not inside)
            total += operation_costs(name, layout.channels, stride, layout.after if inside else layout.size)
        return total

    @cached_property
    def _joints(self) -> NDArray[np.int64]:
        """Of all but the operations, for cells that join 0 (none does), 1, 2, ... blocks, (blocks + 1, 2)."""
        import torch

        rows = [(0, 0)]
        for ends in range(1, self.space.blocks + 1):
            inputs = [[0, FREE, 1, FREE]] * ends
            with torch.device("meta"):
                network = CellNetwork(BlockCell(inputs).genotype(), self.form)
            rows.append(count(network, 3, self.form.resolution, self.form.resolution))
        return np.array(rows, dtype=np.int64)


def joined(inputs: Encodings) -> NDArray[np.int64]:
    """How many blocks no other block takes, of inputs (n, 2 blocks), shape (n,)."""
    blocks = np.arange(INPUTS, INPUTS + inputs.shape[1] // 2)
    counts: NDArray[np.int64] = (~(inputs[:, :, None] == blocks).any(axis=1)).sum(axis=1)
    return counts
